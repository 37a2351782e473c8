//! The indexers' hot parts, asked over their internal API; what they answer is bounded and checked.
//!
//! ```text
//! POST {process}/internal/v1/scan[?indexers=ID,ID…]  Scans → [HotHeads…] line, then record lines or one answer line
//! POST {process}/internal/v1/feed   {indexer, tenant, filter, after} → feed frame lines without end
//! ```
//! A process may answer for several indexers: its own, and those that it has taken over. Each is asked for in one
//! place only, the one that the catalog names, so that a record that two processes hold for a moment counts once.
//! Who is listed and has no head in any answer is missing from it.

mod client;
mod list;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use heliograph_model::filter::Filter;
use heliograph_model::record::{ApiRecord, Record};
use heliograph_model::scan::{Answer, CommitId, FeedFrame, HotAnswer, HotHeads, Scans, Want};
use heliograph_model::tenant::TenantId;
use heliograph_store::catalog::Catalog;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::io::StreamReader;
use uuid::Uuid;

use crate::config::Discovery;
use crate::error::Result;
pub(crate) use client::Client;
pub(crate) use list::Indexer;
use list::List;

/// Longest line of an answer: a commit's records in a feed frame, at most a batch of 16 MiB and its escapes.
const LINE_BYTES_MAX: usize = 64 << 20;
/// Longest time to the first line of an answer to a scan: a process that is stopped must not hold all searches.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Why an indexer gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Silent {
    /// It did not answer, or broke off.
    #[error("the indexer does not answer")]
    Http(#[from] reqwest::Error),
    /// It refused.
    #[error("the indexer answered {0}")]
    Status(u16),
    /// The catalog does not say which indexers there are.
    #[error("the indexers cannot be listed")]
    Unlisted(#[from] heliograph_store::Error),
    /// It is not whole there at this moment: its process is gone, joins, or takes it over just now.
    #[error("nobody answers for the indexer now")]
    Elsewhere,
    /// It answered something else than agreed.
    #[error("the indexer's answer cannot be read: {0}")]
    Answer(String),
}

/// The lines of an answer, as they come.
pub(crate) type Lines = BoxStream<'static, Result<String, Silent>>;

/// All indexers.
pub(crate) struct Indexers {
    client: Client,
    token: SecretString,
    list: List,
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

impl Head {
    fn read(head: HotHeads, of: &[Indexer], scans: &Scans) -> Result<Self, Silent> {
        if head.sealed_through.len() != scans.tenants.len() {
            return Err(Silent::Answer("not a head for each tenant".to_owned()));
        }
        let id = of.iter().find_map(|indexer| indexer.learn(&head.indexer).transpose());
        Ok(Self {
            indexer: id.unwrap_or_else(|| Err(Silent::Answer("a head of another indexer".to_owned())))?,
            committed: head.committed,
            sealed_through: scans.tenants.iter().cloned().zip(head.sealed_through).collect(),
        })
    }
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

impl Indexers {
    /// The indexers that are found so; what they are asked with, and what is shown to them.
    pub(crate) fn new(
        discovery: &Discovery,
        catalog: Arc<dyn Catalog>,
        client: Client,
        token: SecretString,
    ) -> Self {
        Self { client, token, list: List::new(discovery, catalog) }
    }

    /// All of them, no longer ago than a new one waits before it takes anything.
    pub(crate) async fn all(&self) -> Result<Arc<[Indexer]>, Silent> {
        self.list.get().await
    }

    /// What the hot part of a process answers for its indexers, for all tenants: a head for each indexer that it
    /// can answer for. Safe to drop half-way.
    pub(crate) async fn scan(&self, of: &[Indexer], scans: &Scans) -> Result<(Vec<Head>, Found), Silent> {
        let Some(first) = of.first() else { return Err(Silent::Answer("nobody was asked".to_owned())) };
        let ids: Vec<String> = of.iter().filter_map(Indexer::registered).map(|id| id.to_string()).collect();
        // The only one is asked for all that it has.
        let asked = if ids.is_empty() { String::new() } else { format!("?indexers={}", ids.join(",")) };
        let opening = async {
            let mut lines = self.post(&first.url, &format!("scan{asked}"), scans).await?;
            let line = lines.next().await.ok_or_else(|| Silent::Answer("it is empty".to_owned()))??;
            Ok::<_, Silent>((line, lines))
        };
        let (line, mut lines) = tokio::time::timeout(ANSWER_MAX, opening)
            .await
            .unwrap_or_else(|_| Err(Silent::Answer("no answer in time".to_owned())))?;
        let heads = parse::<Vec<HotHeads>>(&line)?;
        let heads =
            heads.into_iter().map(|head| Head::read(head, of, scans)).collect::<Result<Vec<_>, _>>()?;
        let distinct: HashSet<_> = heads.iter().map(|head| head.indexer).collect();
        if distinct.len() != heads.len() {
            return Err(Silent::Answer("two heads of one indexer".to_owned()));
        }
        let found = match &scans.want {
            Want::Records { .. } | Want::Around { .. } => {
                let tenants: HashSet<&TenantId> = scans.tenants.iter().collect();
                let mut records = Vec::new();
                while let Some(line) = lines.next().await {
                    let line = line?;
                    let record: ApiRecord<'_> = parse(&line)?;
                    let Some(tenant) = tenants.get(&record.tenant).copied() else {
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
        Ok((heads, found))
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
            indexer: Option<Uuid>,
        }
        let body = Body { tenant, filter, after, indexer: indexer.registered() };
        let mut lines = self.post(&indexer.url, "feed", &body).await?;
        let first = lines.next().await.ok_or_else(|| Silent::Answer("it is empty".to_owned()))??;
        match frame(&first)? {
            FeedFrame::Open { indexer: id, committed, sealed_through } => {
                let other = || Silent::Answer("a feed of another indexer".to_owned());
                let indexer = indexer.learn(&id)?.ok_or_else(other)?;
                Ok((Opened { indexer, committed, sealed_through }, lines))
            }
            _ => Err(Silent::Answer("a feed that is not opened".to_owned())),
        }
    }

    async fn post(&self, url: &str, what: &str, body: &impl Serialize) -> Result<Lines, Silent> {
        let response = self
            .client
            .get()
            .post(format!("{url}/internal/v1/{what}"))
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
