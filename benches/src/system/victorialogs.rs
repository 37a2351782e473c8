//! The peer: VictoriaLogs, one process, with its own defaults.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use heliograph_model::time::{TimeRange, Timestamp};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use tokio::process::Command;

use super::{Setup, System, metric};
use crate::corpus::{Form, Parcel};
use crate::process::{Process, free_address};
use crate::questions::{Question, Want};
use crate::truth::Answer;

/// How long flushing and merging may take.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// A running server.
pub(crate) struct VictoriaLogs {
    process: Process,
    base: String,
    client: Client,
}

impl VictoriaLogs {
    async fn call(&self, path: &str) -> anyhow::Result<()> {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await?;
        answer.error_for_status().with_context(|| format!("{path} failed"))?;
        Ok(())
    }

    async fn wait_until_zero(&self, gauge: &str) -> anyhow::Result<()> {
        let url = format!("{}/metrics", self.base);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            // First of all, for what was asked for to begin.
            tokio::time::sleep(Duration::from_millis(250)).await;
            if metric(&self.client, &url, gauge).await? == Some(0.0) {
                return Ok(());
            }
        }
        bail!("{gauge} does not become zero: {}", self.process.last_words())
    }
}

impl System for VictoriaLogs {
    const NAME: &'static str = "VictoriaLogs";
    const SHORT: &'static str = "VL";

    async fn start(setup: &Setup) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(&setup.program);
        command
            .arg(format!("-storageDataPath={}", setup.data.display()))
            .arg(format!("-httpListenAddr={address}"))
            // A corpus' times are fixed, the clock is not.
            .args(["-retentionPeriod=100y", "-futureRetention=100y", "-loggerLevel=WARN"]);
        let base = format!("http://{address}");
        let process =
            Process::start(command, &setup.data.with_extension("log"), &format!("{base}/health")).await?;
        let client = Client::builder().no_proxy().tcp_nodelay(true).build()?;
        Ok(Self { process, base, client })
    }

    fn process(&self) -> &Process {
        &self.process
    }

    /// Always as `_bulk`, the most used of the forms that it takes. The stream is the tenant's pod.
    fn post(&self, parcel: &Parcel, _form: Form, body: Vec<u8>) -> RequestBuilder {
        let extra = format!("tenant={}", parcel.tenant);
        self.client
            .post(format!("{}/insert/elasticsearch/_bulk", self.base))
            .query(&[
                ("_msg_field", "message"),
                ("_time_field", "@timestamp"),
                ("_stream_fields", "tenant,component,pod"),
                ("extra_fields", &extra),
            ])
            .header(CONTENT_TYPE, "application/x-ndjson")
            .body(body)
    }

    fn ask(&self, question: &Question, range: &TimeRange) -> RequestBuilder {
        let mut text = question.tenant.as_ref().map_or_else(String::new, |t| format!("{{tenant=\"{t}\"}}"));
        if !question.logsql.is_empty() {
            text = format!("{text} {}", question.logsql);
        }
        let mut parameters = vec![("start", range.start.to_string()), ("end", range.end.to_string())];
        let route = match question.want {
            Want::Latest(limit) => {
                // The quickest way that it has: it then looks at the latest lines first.
                parameters.push(("limit", limit.to_string()));
                "query"
            }
            Want::Count => {
                text.push_str(" | stats count() as n");
                "query"
            }
            Want::Histogram | Want::LevelHistogram => {
                parameters.push(("step", "5m".to_owned()));
                if question.want == Want::LevelHistogram {
                    parameters.push(("field", "level".to_owned()));
                }
                "hits"
            }
            Want::Top(field) => {
                // One more than is asked for: lines without the field count as a value here.
                text.push_str(&format!(" | top 11 by ({field}) hits as n"));
                "query"
            }
        };
        parameters.push(("query", text.trim().to_owned()));
        self.client.get(format!("{}/select/logsql/{route}", self.base)).query(&parameters)
    }

    fn read(question: &Question, body: &[u8]) -> anyhow::Result<Answer> {
        let lines = || body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        match question.want {
            Want::Latest(_) => {
                let times = lines().map(|line| Ok(serde_json::from_slice::<Line>(line)?.time.as_nanos()));
                Ok(Answer::Lines(times.collect::<anyhow::Result<_>>()?))
            }
            Want::Count => {
                let counted: Counted = serde_json::from_slice(lines().next().context("no count")?)?;
                Ok(Answer::Count(counted.n.parse()?))
            }
            Want::Top(field) => {
                let mut counts = Vec::new();
                for line in lines() {
                    let row: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line)?;
                    let has_value = row.get(field).and_then(|v| v.as_str()).is_some_and(|v| !v.is_empty());
                    if has_value {
                        counts.push(row.get("n").and_then(|n| n.as_str()).context("no count")?.parse()?);
                    }
                }
                Ok(Answer::top(counts))
            }
            Want::Histogram | Want::LevelHistogram => {
                Ok(serde_json::from_slice::<Hits>(body)?.answer(question.want))
            }
        }
    }

    async fn flush(&self) -> anyhow::Result<()> {
        self.call("/internal/force_flush").await
    }

    async fn settle(&self) -> anyhow::Result<()> {
        // It writes what it holds in memory every five seconds.
        self.wait_until_zero("vl_storage_rows{type=\"storage/inmemory\"}").await
    }

    async fn compact(&self) -> anyhow::Result<()> {
        self.call("/internal/force_merge").await?;
        // It merges in the background.
        self.wait_until_zero("vl_active_force_merges").await
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "_time")]
    time: Timestamp,
}

#[derive(Deserialize)]
struct Counted {
    n: String,
}

#[derive(Deserialize)]
struct Hits {
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(default)]
    fields: std::collections::BTreeMap<String, String>,
    timestamps: Vec<Timestamp>,
    values: Vec<u64>,
}

impl Hits {
    fn answer(self, want: Want) -> Answer {
        let counts = self.hits.into_iter().flat_map(|hit| {
            let level = hit.fields.get("level").cloned().unwrap_or_default();
            let buckets = hit.timestamps.into_iter().zip(hit.values);
            buckets.filter(|(_, n)| *n > 0).map(move |(start, n)| ((start.as_nanos(), level.clone()), n))
        });
        if want == Want::LevelHistogram {
            Answer::LevelHistogram(counts.filter(|((_, level), _)| !level.is_empty()).collect())
        } else {
            Answer::Histogram(counts.map(|((start, _), n)| (start, n)).collect())
        }
    }
}
