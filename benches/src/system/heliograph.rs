//! Ours: `heliograph up` on free ports.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use heliograph_model::batch::{EPOCH_HEADER, PRODUCER_HEADER, SEQUENCE_HEADER, TENANT_HEADER};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, SET_COOKIE};
use reqwest::{Body, Client, RequestBuilder};
use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;

use super::{Setup, System, metric};
use crate::corpus::{Form, Parcel, producer};
use crate::process::{Process, free_address};
use crate::questions::{Question, Want};
use crate::truth::Answer;

const AGENT_TOKEN: &str = "bench-agent-token";
const PASSWORD: &str = "bench-admin-password";
/// When a tenant's records become a segment, however few: so that a measurement comes to an end.
const SEAL_AFTER: &str = "30s";
/// How long sealing may take after that.
const SEAL_PATIENCE: Duration = Duration::from_secs(600);
/// An interval wider than any corpus, so that all falls into a bucket or two.
const ALL_OF_IT: &str = "52w";

/// A running server.
pub(crate) struct Heliograph {
    process: Process,
    /// Of the API.
    pub(crate) base: String,
    indexer: String,
    client: Client,
    /// The administrator's session: all tenants.
    cookie: String,
}

/// How one server differs from another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// Settings.
    pub(crate) environment: Vec<(String, String)>,
    /// The authority of its certificates, if it speaks TLS.
    pub(crate) authority: Option<PathBuf>,
}

impl Shape {
    /// A client of such a server, with connections of its own.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let builder = Client::builder().no_proxy().tcp_nodelay(true);
        let builder = match &self.authority {
            Some(file) => builder.tls_certs_only([reqwest::Certificate::from_pem(&std::fs::read(file)?)?]),
            None => builder,
        };
        Ok(builder.build()?)
    }
}

impl Heliograph {
    /// Starts it; follows the files of a glob, if there is one.
    pub(crate) async fn start_with(setup: &Setup, logs: Option<&str>) -> anyhow::Result<Self> {
        Self::start_as(setup, logs, &Shape::default()).await
    }

    /// Likewise, with what differs.
    pub(crate) async fn start_as(setup: &Setup, logs: Option<&str>, shape: &Shape) -> anyhow::Result<Self> {
        let (query, indexer, agent) = (free_address()?, free_address()?, free_address()?);
        let mut command = Command::new(&setup.program);
        command.args(["up", "--data-dir"]).arg(&setup.data);
        command.args(logs.iter().flat_map(|glob| ["--logs", glob]));
        command.envs([
            ("HELIOGRAPH_QUERY__LISTEN", query.as_str()),
            ("HELIOGRAPH_INDEXER__LISTEN", &indexer),
            ("HELIOGRAPH_AGENT__STATUS_LISTEN", &agent),
            ("HELIOGRAPH_INDEXER__SEAL_AFTER", SEAL_AFTER),
            ("HELIOGRAPH_AUTH__AGENT_TOKEN", AGENT_TOKEN),
            ("HELIOGRAPH_BOOTSTRAP__ADMIN_PASSWORD", PASSWORD),
            ("HELIOGRAPH_TELEMETRY__METRICS_OPEN", "true"),
            ("HELIOGRAPH_TELEMETRY__LOG_FILTER", "warn"),
        ]);
        command.envs(shape.environment.iter().map(|(name, value)| (name, value)));
        let client = shape.client()?;
        let url = |address: &str| match shape.authority {
            // By a name that is in the certificates.
            Some(_) => format!("https://{}", address.replace("127.0.0.1", "localhost")),
            None => format!("http://{address}"),
        };
        let (base, indexer) = (url(&query), url(&indexer));
        let said = setup.data.with_extension("log");
        let process = Process::start_for(&client, command, &said, &format!("{base}/readyz")).await?;
        let cookie = sign_in(&client, &base).await?;
        Ok(Self { process, base, indexer, client, cookie })
    }

    /// The request that hands an agent's batch in.
    pub(crate) fn send(
        &self,
        tenant: &TenantId,
        producer: &str,
        sequence: u64,
        body: impl Into<Body>,
    ) -> RequestBuilder {
        self.client
            .post(format!("{}/v1/logs", self.indexer))
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(CONTENT_ENCODING, "zstd")
            .header(PRODUCER_HEADER, producer)
            .header(EPOCH_HEADER, 1)
            .header(SEQUENCE_HEADER, sequence)
            .header(AUTHORIZATION, format!("Bearer {AGENT_TOKEN}"))
            .header(TENANT_HEADER, tenant.as_str())
            .body(body)
    }

    /// How many lines of all tenants have this word; a hundred at most.
    pub(crate) async fn search_all(&self, word: &str) -> anyhow::Result<usize> {
        let parameters = [("q", word), ("start", "2000-01-01T00:00:00Z"), ("limit", "100")];
        let request = self.client.get(format!("{}/api/v1/search", self.base)).query(&parameters);
        let answer = request.header(COOKIE, &self.cookie).send().await?.error_for_status()?;
        let found: Found = serde_json::from_slice(&answer.bytes().await?)?;
        ensure_complete(found.complete)?;
        Ok(found.records.len())
    }

    /// A gauge of the indexer.
    pub(crate) async fn gauge(&self, name: &str) -> anyhow::Result<f64> {
        let value = metric(&self.client, &format!("{}/metrics", self.indexer), name).await?;
        value.with_context(|| format!("there is no metric {name}"))
    }
}

async fn sign_in(client: &Client, base: &str) -> anyhow::Result<String> {
    let url = format!("{base}/api/v1/session");
    let body = json!({ "user": "admin", "password": PASSWORD });
    let answer = client.post(url).json(&body).send().await?.error_for_status().context("cannot sign in")?;
    let cookie = answer.headers().get(SET_COOKIE).and_then(|c| c.to_str().ok()).context("no cookie")?;
    Ok(cookie.split(';').next().unwrap_or_default().to_owned())
}

/// Makes a token of a tenant that may read.
pub(crate) async fn create_token(program: &Path, data: &Path, tenant: &str) -> anyhow::Result<String> {
    admin(program, data, &["token", "create", "--tenant", tenant, "--role", "viewer"]).await
}

/// Runs an administrator's command on a server's data; what it says.
pub(crate) async fn admin(program: &Path, data: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    let output = command.arg("admin").args(arguments).arg("--data-dir").arg(data).output().await?;
    if !output.status.success() {
        bail!("admin {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

impl System for Heliograph {
    const NAME: &'static str = "heliograph";
    const SHORT: &'static str = "HG";

    async fn start(setup: &Setup) -> anyhow::Result<Self> {
        Self::start_with(setup, None).await
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn post(&self, parcel: &Parcel, form: Form, body: Vec<u8>) -> RequestBuilder {
        let request = match form {
            Form::Bulk => {
                let request = self.client.post(format!("{}/_bulk", self.indexer));
                request.header(CONTENT_TYPE, "application/x-ndjson")
            }
            Form::Binary => return self.send(&parcel.tenant, producer(parcel.lane), parcel.sequence, body),
        };
        request
            .header(AUTHORIZATION, format!("Bearer {AGENT_TOKEN}"))
            .header(TENANT_HEADER, parcel.tenant.as_str())
            .body(body)
    }

    fn ask(&self, question: &Question, range: &TimeRange) -> RequestBuilder {
        let mut parameters = vec![
            ("q", question.text.clone()),
            ("start", range.start.to_string()),
            ("end", range.end.to_string()),
        ];
        parameters.extend(question.tenant.iter().map(|tenant| ("tenant", tenant.to_string())));
        let route = match question.want {
            Want::Latest(limit) => {
                parameters.push(("limit", limit.to_string()));
                "search"
            }
            Want::Count => {
                parameters.push(("interval", ALL_OF_IT.to_owned()));
                "histogram"
            }
            Want::Histogram | Want::LevelHistogram => {
                parameters.push(("interval", "5m".to_owned()));
                if question.want == Want::LevelHistogram {
                    parameters.push(("by", "level".to_owned()));
                }
                "histogram"
            }
            Want::Top(field) => {
                parameters.push(("field", field.to_owned()));
                "values"
            }
        };
        let url = format!("{}/api/v1/{route}", self.base);
        self.client.get(url).query(&parameters).header(COOKIE, &self.cookie)
    }

    fn read(question: &Question, body: &[u8]) -> anyhow::Result<Answer> {
        match question.want {
            Want::Latest(_) => {
                let found: Found = serde_json::from_slice(body)?;
                ensure_complete(found.complete)?;
                Ok(Answer::Lines(found.records.into_iter().map(|r| r.timestamp.as_nanos()).collect()))
            }
            Want::Top(_) => {
                let values: Values = serde_json::from_slice(body)?;
                ensure_complete(values.complete)?;
                Ok(Answer::top(values.values.into_iter().map(|value| value.count)))
            }
            Want::Count | Want::Histogram | Want::LevelHistogram => {
                let histogram: Histogram = serde_json::from_slice(body)?;
                ensure_complete(histogram.complete)?;
                Ok(histogram.answer(question.want))
            }
        }
    }

    async fn flush(&self) -> anyhow::Result<()> {
        // What is acknowledged can be found.
        Ok(())
    }

    async fn settle(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + SEAL_PATIENCE;
        while Instant::now() < deadline {
            if self.gauge("heliograph_indexer_hot_records").await? == 0.0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("records are still unsealed: {}", self.process.last_words())
    }

    async fn compact(&self) -> anyhow::Result<()> {
        Ok(())
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await
    }
}

fn ensure_complete(complete: bool) -> anyhow::Result<()> {
    if complete { Ok(()) } else { bail!("the answer is not complete") }
}

#[derive(Deserialize)]
struct Found {
    records: Vec<Line>,
    complete: bool,
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "@timestamp")]
    timestamp: Timestamp,
}

#[derive(Deserialize)]
struct Values {
    values: Vec<Value>,
    complete: bool,
}

#[derive(Deserialize)]
struct Value {
    count: u64,
}

#[derive(Deserialize)]
struct Histogram {
    buckets: Vec<Bucket>,
    complete: bool,
}

#[derive(Deserialize)]
struct Bucket {
    start: Timestamp,
    total: u64,
    #[serde(default)]
    by: BTreeMap<String, u64>,
}

impl Histogram {
    fn answer(self, want: Want) -> Answer {
        let filled = self.buckets.into_iter().filter(|bucket| bucket.total > 0);
        match want {
            Want::Histogram => Answer::Histogram(filled.map(|b| (b.start.as_nanos(), b.total)).collect()),
            Want::LevelHistogram => Answer::LevelHistogram(
                filled
                    .flat_map(|bucket| {
                        let start = bucket.start.as_nanos();
                        bucket.by.into_iter().map(move |(level, n)| ((start, level), n))
                    })
                    .filter(|((_, level), _)| level != "none")
                    .collect(),
            ),
            _ => Answer::Count(filled.map(|bucket| bucket.total).sum()),
        }
    }
}
