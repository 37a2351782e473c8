//! The indexers' hot parts, asked over their internal API; what they answer is bounded and checked.
//!
//! ```text
//! POST {indexer}/internal/v1/scan   Scans                   → HotHeads line, then record lines or one answer line
//! POST {indexer}/internal/v1/feed   {tenant, filter, after} → feed frame lines without end
//! ```

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use heliograph_model::filter::Filter;
use heliograph_model::record::{ApiRecord, Record};
use heliograph_model::scan::{Answer, CommitId, FeedFrame, HotAnswer, HotHeads, Scans, Want};
use heliograph_model::tenant::TenantId;
use parking_lot::RwLock;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::io::StreamReader;
use uuid::Uuid;

use crate::error::{Error, Result};

/// Longest line of an answer: a commit's records in a feed frame, at most a batch of 16 MiB and its escapes.
const LINE_BYTES_MAX: usize = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why an indexer gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Silent {
    /// It did not answer, or broke off.
    #[error("the indexer does not answer")]
    Http(#[from] reqwest::Error),
    /// It refused.
    #[error("the indexer answered {0}")]
    Status(u16),
    /// It answered something else than agreed.
    #[error("the indexer's answer cannot be read: {0}")]
    Answer(String),
}

/// The lines of an answer, as they come.
pub(crate) type Lines = BoxStream<'static, Result<String, Silent>>;

/// One indexer.
#[derive(Debug)]
pub(crate) struct Indexer {
    url: String,
    /// The name that users see; its address is the operator's business.
    pub(crate) name: String,
    /// As its last answer said.
    id: RwLock<Option<Uuid>>,
}

/// All indexers.
#[derive(Debug)]
pub(crate) struct Indexers {
    client: reqwest::Client,
    token: SecretString,
    all: Vec<Indexer>,
}

/// What an indexer's answer stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Which indexer.
    pub(crate) indexer: Uuid,
    /// Its newest commit.
    pub(crate) committed: CommitId,
    /// For each tenant that was asked for: up to which commit its records are sealed, and not in the answer.
    pub(crate) sealed_through: HashMap<TenantId, CommitId>,
}

/// What an indexer's hot part answers for all tenants that were asked for.
#[derive(Debug)]
pub(crate) enum Found {
    /// Records, each with its tenant, which is one that was asked for.
    Records(Vec<(TenantId, Record)>),
    /// Counts of all together.
    Counts(Answer),
}

impl Found {
    /// The records, if it is records.
    pub(crate) fn into_records(self) -> Vec<(TenantId, Record)> {
        match self {
            Self::Records(records) => records,
            Self::Counts(_) => Vec::new(),
        }
    }
}

/// The first frame of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Which indexer.
    pub(crate) indexer: Uuid,
    /// The newest commit before the feed.
    pub(crate) committed: CommitId,
    /// Up to here the feed brings nothing: it is sealed.
    pub(crate) sealed_through: CommitId,
}

impl Indexer {
    /// Its id, once it has answered.
    pub(crate) fn id(&self) -> Option<Uuid> {
        *self.id.read()
    }

    fn learn(&self, id: &str) -> Result<Uuid, Silent> {
        let id = Uuid::parse_str(id).map_err(|e| Silent::Answer(format!("indexer id: {e}")))?;
        if self.id() != Some(id) {
            *self.id.write() = Some(id);
        }
        Ok(id)
    }
}

impl Indexers {
    /// The indexers behind these base URLs.
    pub(crate) fn new(urls: &[String], token: SecretString) -> Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|e| Error::server("the client for indexers", e))?;
        let all = urls
            .iter()
            .enumerate()
            .map(|(n, url)| Indexer {
                url: url.trim_end_matches('/').to_owned(),
                name: format!("indexer-{}", n + 1),
                id: RwLock::new(None),
            })
            .collect();
        Ok(Self { client, token, all })
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Indexer] {
        &self.all
    }

    /// What one indexer's hot part answers for all tenants. Safe to drop half-way.
    pub(crate) async fn scan(&self, indexer: &Indexer, scans: &Scans) -> Result<(Head, Found), Silent> {
        let mut lines = self.post(indexer, "scan", scans).await?;
        let first = lines.next().await.ok_or_else(|| Silent::Answer("it is empty".to_owned()))??;
        let heads: HotHeads = parse(&first)?;
        if heads.sealed_through.len() != scans.tenants.len() {
            return Err(Silent::Answer("not a head for each tenant".to_owned()));
        }
        let head = Head {
            indexer: indexer.learn(&heads.indexer)?,
            committed: heads.committed,
            sealed_through: scans.tenants.iter().cloned().zip(heads.sealed_through).collect(),
        };
        let found = match &scans.want {
            Want::Records { .. } | Want::Around { .. } => {
                let mut records = Vec::new();
                while let Some(line) = lines.next().await {
                    let line = line?;
                    let record: ApiRecord<'_> = parse(&line)?;
                    let Some((tenant, _)) = head.sealed_through.get_key_value(&record.tenant) else {
                        return Err(Silent::Answer("a record of another tenant".to_owned()));
                    };
                    let record = record.into_record().map_err(|e| Silent::Answer(e.to_string()))?;
                    records.push((tenant.clone(), record));
                }
                Found::Records(records)
            }
            Want::Histogram { .. } | Want::Values { .. } | Want::Fields => {
                let line =
                    lines.next().await.ok_or_else(|| Silent::Answer("it is cut short".to_owned()))??;
                Found::Counts(match parse(&line)? {
                    HotAnswer::Histogram { histogram } => Answer::Histogram(histogram),
                    HotAnswer::Values { values } => Answer::Values(values),
                    HotAnswer::Fields { fields } => Answer::Fields(fields),
                })
            }
        };
        Ok((head, found))
    }

    /// Opens the feed of a tenant's fresh records, from after a commit or from now; the lines are to be read
    /// with [`frame`].
    pub(crate) async fn feed(
        &self,
        indexer: &Indexer,
        tenant: &TenantId,
        filter: &Filter,
        after: Option<CommitId>,
    ) -> Result<(Opened, Lines), Silent> {
        #[derive(Serialize)]
        struct Body<'a> {
            tenant: &'a TenantId,
            filter: &'a Filter,
            after: Option<CommitId>,
        }
        let mut lines = self.post(indexer, "feed", &Body { tenant, filter, after }).await?;
        let first = lines.next().await.ok_or_else(|| Silent::Answer("it is empty".to_owned()))??;
        match frame(&first)? {
            FeedFrame::Open { indexer: id, committed, sealed_through } => {
                Ok((Opened { indexer: indexer.learn(&id)?, committed, sealed_through }, lines))
            }
            _ => Err(Silent::Answer("a feed that is not opened".to_owned())),
        }
    }

    async fn post(&self, indexer: &Indexer, what: &str, body: &impl Serialize) -> Result<Lines, Silent> {
        let response = self
            .client
            .post(format!("{}/internal/v1/{what}", indexer.url))
            .bearer_auth(self.token.expose_secret())
            .json(body)
            .send()
            .await?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(Silent::Status(response.status().as_u16()));
        }
        Ok(lines(response.bytes_stream()))
    }
}

fn lines(bytes: impl Stream<Item = reqwest::Result<Bytes>> + Send + 'static) -> Lines {
    let reader = StreamReader::new(bytes.map_err(std::io::Error::other));
    FramedRead::new(reader, LinesCodec::new_with_max_length(LINE_BYTES_MAX))
        .map_err(|e| Silent::Answer(e.to_string()))
        .boxed()
}

/// Reads a line of a feed.
pub(crate) fn frame(line: &str) -> Result<FeedFrame<'_>, Silent> {
    parse(line)
}

fn parse<'a, T: serde::Deserialize<'a>>(line: &'a str) -> Result<T, Silent> {
    serde_json::from_str(line).map_err(|e| Silent::Answer(e.to_string()))
}
