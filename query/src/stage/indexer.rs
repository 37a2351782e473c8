//! An indexer as far as query sees one: hot records that tests commit and seal, scans and feeds over HTTP.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Json, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::StreamExt;
use heliograph_model::filter::{Filter, Matcher};
use heliograph_model::record::{Attributes, Record};
use heliograph_model::rows::Rows;
use heliograph_model::scan::{Answer, Collector, CommitId, FeedFrame, HotAnswer, HotHead, HotHeads, Scans};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;
use heliograph_store::catalog::Lease;
use heliograph_store::{Store, compaction};
use heliograph_testbed::watch::Canaries;
use http::{HeaderMap, StatusCode};
use object_store::ObjectStoreExt;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{CLUSTER_TOKEN, NOW};

#[derive(Default)]
struct Hot {
    tenants: HashMap<TenantId, Vec<(CommitId, Arc<Record>)>>,
    sealed: HashMap<TenantId, CommitId>,
    committed: i64,
    feeds: Vec<(TenantId, Arc<Matcher>, mpsc::Sender<String>)>,
}

/// An indexer as far as query sees one.
pub(crate) struct FakeIndexer {
    pub(crate) id: Uuid,
    store: Store,
    canaries: Canaries,
    hot: Mutex<Hot>,
    sealing: tokio::sync::Mutex<()>,
    merging: tokio::sync::Mutex<()>,
    /// Seals between the next answer to a scan and whatever the asker does then.
    pub(crate) seals_after_scan: AtomicBool,
    /// Then merges all that is sealed, too.
    pub(crate) merges_after_scan: AtomicBool,
    /// Commits a record between the next opening of a feed and whatever the asker does then.
    pub(crate) commits_after_open: Mutex<Option<(TenantId, Record)>>,
    pub(crate) is_down: AtomicBool,
    /// Scans answered so far.
    pub(crate) scans: AtomicUsize,
    /// The tenant whose records it says all to be, if it lies.
    pub(crate) answers_as: Mutex<Option<TenantId>>,
    /// Scans wait while a test holds it.
    pub(crate) hold: Arc<tokio::sync::RwLock<()>>,
}

#[derive(Deserialize)]
struct FeedRequest {
    tenant: TenantId,
    filter: Filter,
    after: Option<CommitId>,
}

fn line(value: &impl serde::Serialize) -> String {
    format!("{}\n", serde_json::to_string(value).unwrap())
}

impl FakeIndexer {
    pub(super) fn new(store: Store, canaries: Canaries) -> Arc<Self> {
        Arc::new(Self {
            id: Uuid::new_v4(),
            store,
            canaries,
            hot: Mutex::default(),
            sealing: tokio::sync::Mutex::default(),
            merging: tokio::sync::Mutex::default(),
            seals_after_scan: AtomicBool::new(false),
            merges_after_scan: AtomicBool::new(false),
            commits_after_open: Mutex::new(None),
            is_down: AtomicBool::new(false),
            scans: AtomicUsize::new(0),
            answers_as: Mutex::new(None),
            hold: Arc::default(),
        })
    }

    pub(super) fn routes(this: &Arc<Self>) -> Router {
        Router::new()
            .route("/internal/v1/scan", post(scan))
            .route("/internal/v1/feed", post(feed))
            .with_state(Arc::clone(this))
    }

    /// A record as it is committed: with its tenant's canary.
    pub(crate) fn planted(&self, tenant: &TenantId, record: &Record) -> Record {
        let text = Some(record.attributes.as_json()).filter(|text| !text.is_empty()).unwrap_or("{}");
        let mut attributes: serde_json::Value = serde_json::from_str(text).unwrap();
        attributes["canary"] = self.canaries.of(tenant.as_str()).into();
        Record { attributes: Attributes::from_json(&attributes.to_string()).unwrap(), ..record.clone() }
    }

    /// Makes records durable and hot, each with its tenant's canary, and gives them to the feeds.
    pub(crate) async fn commit(&self, tenant: &TenantId, records: &[Record]) -> CommitId {
        let records: Vec<Record> = records.iter().map(|record| self.planted(tenant, record)).collect();
        let (commit, sends) = {
            let mut hot = self.hot.lock();
            hot.committed += 1;
            let commit = CommitId(hot.committed);
            let part = hot.tenants.entry(tenant.clone()).or_default();
            part.extend(records.iter().map(|r| (commit, Arc::new(r.clone()))));
            let sends: Vec<_> = hot
                .feeds
                .iter()
                .map(|(of, matcher, out)| {
                    let meant: Vec<_> = records.iter().filter(|r| matcher.matches(*r)).collect();
                    let frame = if of == tenant && !meant.is_empty() {
                        FeedFrame::Records {
                            commit,
                            records: meant.iter().map(|r| r.to_api(tenant)).collect(),
                        }
                    } else {
                        FeedFrame::Heartbeat { commit }
                    };
                    (out.clone(), line(&frame))
                })
                .collect();
            (commit, sends)
        };
        for (out, text) in sends {
            drop(out.send(text).await);
        }
        commit
    }

    /// Says to all feeds that records were skipped.
    pub(crate) async fn skip(&self, count: u64) {
        let (commit, feeds) = {
            let hot = self.hot.lock();
            (CommitId(hot.committed), hot.feeds.iter().map(|f| f.2.clone()).collect::<Vec<_>>())
        };
        let at = Timestamp::parse(NOW).unwrap();
        for out in feeds {
            drop(out.send(line(&FeedFrame::Skipped { count, from: at, to: at, commit })).await);
        }
    }

    /// Ends all feeds, as a restart does.
    pub(crate) fn break_feeds(&self) {
        self.hot.lock().feeds.clear();
    }

    /// Seals all hot records of a tenant into a segment.
    pub(crate) async fn seal(&self, name: &TenantId) {
        let _one_at_a_time = self.sealing.lock().await;
        let (records, after, through) = {
            let hot = self.hot.lock();
            let records = hot.tenants.get(name).cloned().unwrap_or_default();
            let after = hot.sealed.get(name).copied().unwrap_or_default();
            let through = CommitId(hot.committed);
            (records, after, through)
        };
        if records.is_empty() {
            return;
        }
        let open = self.store.tenants.get(name).await.unwrap();
        let id = heliograph_store::layout::new_object_id();
        let rows = |of: &[(CommitId, Arc<Record>)]| {
            let of: Vec<Record> = of.iter().map(|(_, record)| (**record).clone()).collect();
            Rows::try_from(of.as_slice()).unwrap()
        };
        let parts: Vec<(CommitId, Rows)> =
            records.chunk_by(|a, b| a.0 == b.0).map(|of| (of[0].0, rows(of))).collect();
        let parts: Vec<_> = parts.iter().map(|(commit, rows)| (*commit, rows)).collect();
        let built = heliograph_store::segment::build(&open, id, &parts).unwrap();
        let path = heliograph_store::layout::segment(open.uid, id);
        let created = Timestamp::parse(NOW).unwrap();
        let meta = built.meta(name, id, self.id, (after, through), created);
        self.store.objects.put(&path, built.bytes.into()).await.unwrap();
        self.store.catalog.publish(&Lease::embedded(self.id), &meta, &[]).await.unwrap();
        // Hot until they are published, and not a moment longer.
        let mut hot = self.hot.lock();
        hot.sealed.insert(name.clone(), through);
        if let Some(records) = hot.tenants.get_mut(name) {
            records.retain(|(commit, _)| *commit > through);
        }
    }

    /// Merges those of a tenant's segments that are picked, by their place in the order of commits.
    pub(crate) async fn merge(&self, name: &TenantId, mut is_picked: impl FnMut(usize) -> bool) {
        let _one_at_a_time = self.merging.lock().await;
        let mut candidates = self.store.catalog.merge_candidates(name).await.unwrap();
        candidates.retain(|candidate| candidate.meta.indexer == self.id);
        let picked = candidates.into_iter().enumerate().filter(|(place, _)| is_picked(*place));
        let inputs: Vec<_> = picked.map(|(_, candidate)| candidate.meta).collect();
        if inputs.len() < 2 {
            return;
        }
        let mut contents = Vec::new();
        for input in &inputs {
            contents.extend(compaction::read(&self.store, input).await.unwrap());
        }
        let (id, at) = (heliograph_store::layout::new_object_id(), Timestamp::parse(NOW).unwrap());
        compaction::write(&self.store, &inputs, contents, id, at).await.unwrap();
    }

    fn head(hot: &Hot, id: Uuid, tenant: &TenantId) -> HotHead {
        HotHead {
            indexer: id.to_string(),
            sealed_through: hot.sealed.get(tenant).copied().unwrap_or_default(),
            committed: CommitId(hot.committed),
        }
    }

    fn is_refused(&self, headers: &HeaderMap) -> bool {
        let bearer = format!("Bearer {CLUSTER_TOKEN}");
        self.is_down.load(Ordering::SeqCst)
            || headers.get("authorization").is_none_or(|v| v.as_bytes() != bearer.as_bytes())
    }
}

async fn scan(
    State(this): State<Arc<FakeIndexer>>,
    headers: HeaderMap,
    Json(scans): Json<Scans>,
) -> Response {
    if this.is_refused(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    drop(this.hold.read().await);
    this.scans.fetch_add(1, Ordering::SeqCst);
    let matcher = Matcher::new(&scans.filter).unwrap();
    let mut counts = Collector::of(&scans.want);
    let (mut text, mut lines) = (String::new(), String::new());
    {
        let hot = this.hot.lock();
        let heads = scans.tenants.iter().map(|tenant| FakeIndexer::head(&hot, this.id, tenant));
        text += &line(&[HotHeads {
            indexer: this.id.to_string(),
            committed: CommitId(hot.committed),
            sealed_through: heads.map(|head| head.sealed_through).collect(),
        }]);
        for tenant in &scans.tenants {
            let scan = scans.of(tenant);
            let mut collector = Collector::new(&scan);
            for (commit, record) in hot.tenants.get(tenant).into_iter().flatten() {
                let is_late = scan.committed_after.is_none_or(|after| *commit > after);
                if is_late && scan.range.contains(record.time) && matcher.matches(&**record) {
                    collector.offer(record.key(), &**record, || (**record).clone());
                }
            }
            let named = this.answers_as.lock().clone().unwrap_or_else(|| tenant.clone());
            match collector.finish() {
                Answer::Records(records) => records.iter().for_each(|r| lines += &line(&r.to_api(&named))),
                part => counts.merge(part),
            }
        }
    };
    if this.seals_after_scan.swap(false, Ordering::SeqCst) {
        for tenant in &scans.tenants {
            this.seal(tenant).await;
        }
    }
    if this.merges_after_scan.swap(false, Ordering::SeqCst) {
        for tenant in &scans.tenants {
            this.merge(tenant, |_| true).await;
        }
    }
    match counts.finish() {
        Answer::Records(_) => text += &lines,
        Answer::Histogram(histogram) => text += &line(&HotAnswer::Histogram { histogram }),
        Answer::Values(values) => text += &line(&HotAnswer::Values { values }),
        Answer::Fields(fields) => text += &line(&HotAnswer::Fields { fields }),
    }
    text.into_response()
}

async fn feed(
    State(this): State<Arc<FakeIndexer>>,
    headers: HeaderMap,
    Json(ask): Json<FeedRequest>,
) -> Response {
    if this.is_refused(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let (out, lines) = mpsc::channel(1024);
    let matcher = Arc::new(Matcher::new(&ask.filter).unwrap());
    let mut first = String::new();
    {
        let mut hot = this.hot.lock();
        let HotHead { indexer, sealed_through, committed } = FakeIndexer::head(&hot, this.id, &ask.tenant);
        first += &line(&FeedFrame::Open { indexer, committed, sealed_through });
        if let Some(after) = ask.after {
            for (commit, record) in hot.tenants.get(&ask.tenant).into_iter().flatten() {
                if *commit > after && matcher.matches(&**record) {
                    let records = vec![record.to_api(&ask.tenant)];
                    first += &line(&FeedFrame::Records { commit: *commit, records });
                }
            }
            first += &line(&FeedFrame::Heartbeat { commit: committed });
        }
        hot.feeds.push((ask.tenant.clone(), matcher, out));
    }
    let late = this.commits_after_open.lock().take();
    if let Some((tenant, record)) = late {
        this.commit(&tenant, &[record]).await;
    }
    let live = futures::stream::unfold(lines, |mut lines| async { lines.recv().await.map(|l| (l, lines)) });
    let all = futures::stream::iter([first]).chain(live).map(Ok::<_, std::convert::Infallible>);
    Body::from_stream(all).into_response()
}
