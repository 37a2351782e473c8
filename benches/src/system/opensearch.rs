//! The peer: OpenSearch, one node, started by `benches/peers/opensearch`; one index as people who keep logs there
//! have it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use heliograph_model::time::{TimeRange, Timestamp};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Setup, System};
use crate::corpus::{Form, Parcel};
use crate::process::{Process, free_address};
use crate::questions::{Question, Want};
use crate::truth::{Answer, Test};

/// The one index. The tenant is a field of its documents, as it is one of VictoriaLogs' stream: an index for each
/// tenant costs a shard for each, which no cluster bears for thousands, and every question of the table but two is
/// about all tenants.
const INDEX: &str = "logs";
const ACTION: &[u8] = b"{\"create\":{}}\n";
/// How long merging may take.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// A running server.
pub(crate) struct OpenSearch {
    process: Process,
    base: String,
    client: Client,
}

/// Fields as log shippers' templates have them. The message is not a second time in it as a keyword: that would
/// cost as much again, and be asked by no question but two.
fn template() -> Value {
    let keywords = [
        "tenant",
        "level",
        "component",
        "namespace",
        "pod",
        "container",
        "node",
        "stream",
        "dag_id",
        "task_id",
        "run_id",
        "log_id",
        "logger",
    ];
    let mut fields = serde_json::Map::new();
    fields.insert("@timestamp".to_owned(), json!({ "type": "date_nanos" }));
    fields.insert("message".to_owned(), json!({ "type": "text", "analyzer": "standard" }));
    fields.extend(keywords.map(|name| (name.to_owned(), json!({ "type": "keyword" }))));
    fields.extend(["map_index", "try_number"].map(|name| (name.to_owned(), json!({ "type": "integer" }))));
    let other_texts =
        json!({ "match_mapping_type": "string", "mapping": { "type": "keyword", "ignore_above": 1024 } });
    json!({
        "index_patterns": [INDEX],
        "template": {
            "settings": {
                "number_of_shards": 1,
                "number_of_replicas": 0,
                "codec": "best_compression",
                "refresh_interval": "5s",
            },
            "mappings": { "dynamic_templates": [{ "texts": other_texts }], "properties": fields },
        },
    })
}

/// What is asked for, in the query language; nothing where words of the standard analyzer cannot say it exactly.
fn query(test: &Test) -> Option<Value> {
    Some(match test {
        Test::Any => json!({ "match_all": {} }),
        Test::All(tests) => {
            json!({ "bool": { "filter": tests.iter().map(query).collect::<Option<Vec<_>>>()? } })
        }
        Test::Run(text) => {
            json!({ "match_phrase": { "message": std::str::from_utf8(text.needle()).ok()? } })
        }
        Test::Prefix(text) if is_in_one_word(text) => json!({ "prefix": { "message": text } }),
        Test::Contains(text) if is_in_one_word(text) => {
            json!({ "wildcard": { "message": { "value": format!("*{text}*") } } })
        }
        // A regular expression is held against single words here, not against the message.
        Test::Prefix(_) | Test::Contains(_) | Test::Regex(_) => return None,
        Test::Level(level) => json!({ "term": { "level": level.as_str() } }),
        Test::LogId(id) => json!({ "term": { "log_id": id } }),
        Test::Trace(id) => json!({ "term": { "trace_id": id } }),
    })
}

/// Whether a text always lies within one of the analyzer's words, and as it is.
fn is_in_one_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The whole search.
fn search(question: &Question, range: &TimeRange) -> Value {
    let times = json!({ "gte": range.start.to_string(), "lt": range.end.to_string() });
    let mut filter = vec![json!({ "range": { "@timestamp": times } })];
    filter.extend(question.tenant.iter().map(|tenant| json!({ "term": { "tenant": tenant.as_str() } })));
    filter.extend(query(&question.test));
    let mut search =
        json!({ "query": { "bool": { "filter": filter } }, "size": 0, "track_total_hits": false });
    let every_five_minutes = json!({ "field": "@timestamp", "fixed_interval": "5m", "min_doc_count": 1 });
    let more = match question.want {
        Want::Latest(limit) => json!({ "size": limit, "sort": [{ "@timestamp": "desc" }] }),
        Want::Count => json!({ "track_total_hits": true }),
        Want::Histogram => json!({ "aggs": { "found": { "date_histogram": every_five_minutes } } }),
        Want::LevelHistogram => {
            let by = json!({ "levels": { "terms": { "field": "level" } } });
            json!({ "aggs": { "found": { "date_histogram": every_five_minutes, "aggs": by } } })
        }
        Want::Top(field) => json!({ "aggs": { "found": { "terms": { "field": field, "size": 10 } } } }),
    };
    if let (Some(search), Value::Object(more)) = (search.as_object_mut(), more) {
        search.extend(more);
    }
    search
}

impl OpenSearch {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}/{path}", self.base))
    }

    async fn call(&self, request: RequestBuilder) -> anyhow::Result<Vec<u8>> {
        let answer = request.send().await.with_context(|| self.process.last_words())?;
        let (status, body) = (answer.status(), answer.bytes().await?);
        anyhow::ensure!(status.is_success(), "{status}: {:.500}", String::from_utf8_lossy(&body));
        Ok(body.into())
    }
}

impl System for OpenSearch {
    const NAME: &'static str = "OpenSearch";
    const SHORT: &'static str = "OS";
    /// A JVM compiles what it has run often: most of that is done by then.
    const WARM_UPS: u32 = 20;

    async fn start(setup: &Setup) -> anyhow::Result<Self> {
        let address = free_address()?;
        let port = address.rsplit_once(':').context("an address without a port")?.1;
        let mut command = Command::new(&setup.program);
        command.arg(&setup.data).arg(port);
        let base = format!("http://{address}");
        // Ready when what was there before is: it answers otherwise, and otherwise well, until then.
        let health = format!("{base}/_cluster/health?wait_for_status=green&timeout=1s");
        let process = Process::start(command, &setup.data.with_extension("log"), &health).await?;
        let client = Client::builder().no_proxy().tcp_nodelay(true).build()?;
        let server = Self { process, base, client };
        let template = server.request(Method::PUT, "_index_template/logs").json(&template());
        server.call(template).await.context("it refuses the template")?;
        Ok(server)
    }

    fn stored_in(data: &Path) -> PathBuf {
        // Beside it lie its configuration and what it says.
        data.join("data")
    }

    fn process(&self) -> &Process {
        &self.process
    }

    /// Always as `_bulk`. The tenant is put into each document here, as a shipper would do it, so that it costs the
    /// server no more than any other field.
    fn post(&self, parcel: &Parcel, _form: Form, body: Vec<u8>) -> RequestBuilder {
        // As its shippers ask for it: not a line for each document that went well.
        self.request(Method::POST, &format!("{INDEX}/_bulk?filter_path=errors,items.*.error"))
            .header(CONTENT_TYPE, "application/x-ndjson")
            .body(with_tenant(&body, parcel.tenant.as_str()))
    }

    fn can_ask(question: &Question) -> bool {
        query(&question.test).is_some()
    }

    fn ask(&self, question: &Question, range: &TimeRange) -> RequestBuilder {
        // Without the cache of whole answers, which every refresh empties where logs keep coming in.
        self.request(Method::POST, &format!("{INDEX}/_search?request_cache=false"))
            .json(&search(question, range))
    }

    fn read(question: &Question, body: &[u8]) -> anyhow::Result<Answer> {
        let found: Found = serde_json::from_slice(body)?;
        anyhow::ensure!(!found.timed_out && found.shards.failed == 0, "the answer is not complete");
        let buckets = found.aggregations.unwrap_or_default().found.buckets;
        Ok(match question.want {
            Want::Latest(_) => Answer::Lines(
                found.hits.hits.into_iter().map(|hit| hit.source.timestamp.as_nanos()).collect(),
            ),
            Want::Count => Answer::Count(found.hits.total.context("no total")?.value),
            Want::Histogram => Answer::Histogram(
                buckets.iter().map(|b| Ok((b.nanos()?, b.doc_count))).collect::<anyhow::Result<_>>()?,
            ),
            Want::LevelHistogram => {
                let mut counts = std::collections::BTreeMap::new();
                for bucket in &buckets {
                    for level in bucket.levels.iter().flat_map(|levels| &levels.buckets) {
                        let name = level.key.as_str().context("a level that is no text")?;
                        counts.insert((bucket.nanos()?, name.to_owned()), level.doc_count);
                    }
                }
                Answer::LevelHistogram(counts)
            }
            Want::Top(_) => Answer::top(buckets.iter().map(|bucket| bucket.doc_count)),
        })
    }

    async fn flush(&self) -> anyhow::Result<()> {
        self.call(self.request(Method::POST, &format!("{INDEX}/_refresh"))).await.map(drop)
    }

    async fn settle(&self) -> anyhow::Result<()> {
        self.call(self.request(Method::POST, &format!("{INDEX}/_flush"))).await?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            // First of all, for merges that the flush has caused to begin.
            tokio::time::sleep(Duration::from_millis(250)).await;
            let body = self.call(self.request(Method::GET, &format!("{INDEX}/_stats/merge"))).await?;
            let stats: Value = serde_json::from_slice(&body)?;
            if stats.pointer("/_all/total/merges/current").and_then(Value::as_u64) == Some(0) {
                return Ok(());
            }
        }
        bail!("it does not stop merging: {}", self.process.last_words())
    }

    async fn compact(&self) -> anyhow::Result<()> {
        let merge = format!("{INDEX}/_forcemerge?max_num_segments=1");
        self.call(self.request(Method::POST, &merge)).await?;
        // Only then does it let go of the segments that were merged.
        self.flush().await
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await
    }
}

/// Puts the tenant into each document of a `_bulk` body.
fn with_tenant(body: &[u8], tenant: &str) -> Vec<u8> {
    let field = format!("{{\"tenant\":\"{tenant}\",");
    let mut out = Vec::with_capacity(body.len() + body.len() / 8);
    for line in body.split_inclusive(|b| *b == b'\n') {
        match line.strip_prefix(b"{") {
            Some(rest) if line != ACTION => {
                out.extend_from_slice(field.as_bytes());
                out.extend_from_slice(rest);
            }
            _ => out.extend_from_slice(line),
        }
    }
    out
}

#[derive(Deserialize)]
struct Found {
    timed_out: bool,
    #[serde(rename = "_shards")]
    shards: Shards,
    hits: Hits,
    aggregations: Option<Aggregations>,
}

#[derive(Deserialize)]
struct Shards {
    failed: u64,
}

#[derive(Deserialize)]
struct Hits {
    total: Option<Total>,
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Total {
    value: u64,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_source")]
    source: Source,
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "@timestamp")]
    timestamp: Timestamp,
}

#[derive(Default, Deserialize)]
struct Aggregations {
    found: Buckets,
}

#[derive(Default, Deserialize)]
struct Buckets {
    buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Bucket {
    /// Milliseconds since the epoch, or a field's value.
    key: Value,
    doc_count: u64,
    levels: Option<Buckets>,
}

impl Bucket {
    fn nanos(&self) -> anyhow::Result<i64> {
        let millis = self.key.as_i64().context("a bucket without a time")?;
        millis.checked_mul(1_000_000).context("a bucket out of all time")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenant_goes_into_documents_only() {
        let body = b"{\"create\":{}}\n{\"message\":\"{\"}\n{\"create\":{}}\n{\"message\":\"b\"}\n";
        let expected = "{\"create\":{}}\n{\"tenant\":\"a\",\"message\":\"{\"}\n\
                        {\"create\":{}}\n{\"tenant\":\"a\",\"message\":\"b\"}\n";
        assert_eq!(String::from_utf8(with_tenant(body, "a")).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_said_exactly_is_not_asked() {
        assert!(query(&Test::Contains("ception")).is_some());
        assert!(query(&Test::Contains("a-b")).is_none());
        assert!(query(&Test::Prefix("a.b")).is_none());
        let one_is_not = Test::All(vec![Test::run("a"), Test::regex("a").unwrap()]);
        assert!(query(&one_is_not).is_none());
    }
}
