//! Random questions in query text over random records of several tenants, hot, sealed and merged, against looking
//! at every record.

// The records and scans that segments are tested with.
#[path = "../../../../store/src/segment/tests/sample.rs"]
mod sample;
mod truth;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use heliograph_model::record::{Record, RecordId};
use heliograph_model::scan::{CommitId, Order, Scan, Want};
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::Timestamp;
use http::StatusCode;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::stage::{Stage, tenant};
use crate::syntax::written::{canonical, written};
use truth::{Known, Truth};

type Committed = (CommitId, Arc<Record>);

/// The seed of a run to repeat, as a failure prints it; with `None` each run has a new one.
const SEED: Option<u64> = None;
/// Stages, and the questions asked on each: thousands of cases, most of them several requests.
const WORLDS: u64 = 10;
const QUESTIONS: u64 = 260;
const TENANTS: [&str; 3] = ["a", "b", "c"];
/// Most pages of one search.
const PAGES_MAX: usize = 4;

/// A stage that fills while it is asked.
struct World {
    stage: Stage,
    cookie: String,
    random: sample::Random,
    /// Commits that are still to come, each of one tenant.
    coming: VecDeque<(TenantId, Vec<Record>)>,
    /// All records that are there.
    known: Vec<Known>,
}

/// One question, as it is asked.
struct Asked {
    scan: Scan,
    /// Those that the caller names; all where none.
    tenants: Vec<TenantId>,
    /// The filter as text.
    text: String,
    /// Said where it fails.
    name: String,
}

impl World {
    async fn new(seed: u64) -> Self {
        let mut random = sample::Random(seed);
        let stage = Stage::with(|config| config.search_concurrency = 16).await;
        stage.store.tenants.create(&tenant("c"), &Workspace::parse("w").unwrap()).await.unwrap();
        let cookie = crate::access::tests::sign_in(&stage, "bob").await;
        let mut of_tenants = TENANTS.map(|name| commits(&mut random, &tenant(name)));
        // Some tenants have records with the same keys.
        for (_, records) in of_tenants[0].clone() {
            if random.one_in(3) {
                of_tenants[1].push_back((tenant(TENANTS[1]), records));
            }
        }
        let mut coming = VecDeque::new();
        while of_tenants.iter().any(|commits| !commits.is_empty()) {
            let of = usize::try_from(random.below(3)).unwrap();
            coming.extend(of_tenants[of].pop_front());
        }
        Self { stage, cookie, random, coming, known: Vec::new() }
    }

    /// Commits records, seals or merges a tenant's, or has that done in the middle of the next question.
    async fn go_on(&mut self) {
        let indexer = Arc::clone(&self.stage.indexer);
        match self.random.below(8) {
            0 => indexer.seal(&tenant(self.random.pick(&TENANTS))).await,
            1 => indexer.seals_after_scan.store(true, Ordering::SeqCst),
            2 => {
                let of = tenant(self.random.pick(&TENANTS));
                indexer.merge(&of, |_| self.random.one_in(2)).await;
            }
            3 => {
                // Of segments on both sides of what the hot part said.
                indexer.seals_after_scan.store(true, Ordering::SeqCst);
                indexer.merges_after_scan.store(true, Ordering::SeqCst);
            }
            _ => {
                let Some((of, records)) = self.coming.pop_front() else { return };
                let commit = self.stage.indexer.commit(&of, &records).await;
                let known = |record: Record| {
                    let record = self.stage.indexer.planted(&of, &record);
                    Known { tenant: of.clone(), committed: (commit, Arc::new(record)) }
                };
                self.known.extend(records.into_iter().map(known));
            }
        }
    }

    /// A question that the language can ask.
    fn question(&mut self, name: String) -> Option<Asked> {
        let committed: Vec<Committed> = self.known.iter().map(|known| known.committed.clone()).collect();
        let mut scan = sample::scan(&mut self.random, &committed);
        scan.filter = canonical(&scan.filter)?;
        let text = written(&scan.filter, &mut |n| self.random.below(n));
        let names: Vec<&str> = TENANTS.into_iter().filter(|_| self.random.one_in(2)).collect();
        let tenants = names.into_iter().map(tenant).collect();
        let name = format!("{name}, tenants {tenants:?}, {text:?}, which is {scan:?}");
        Some(Asked { scan, tenants, text, name })
    }

    async fn get(&self, what: &str, asked: &Asked, more: &[(&str, String)]) -> (StatusCode, Value) {
        let mut query: Vec<(&str, String)> = more.to_vec();
        query.push(("q", asked.text.clone()));
        query.extend(asked.tenants.iter().map(|tenant| ("tenant", tenant.as_str().to_owned())));
        let request = self.stage.client.get(format!("{}/api/v1/{what}", self.stage.url));
        let response = request.query(&query).header("cookie", &self.cookie).send().await.unwrap();
        let status = response.status();
        assert!(!status.is_server_error(), "{}: {status}", asked.name);
        (status, response.json().await.unwrap())
    }

    async fn check(&mut self, asked: &Asked) {
        let truth = Truth::new(&self.known, asked);
        match &asked.scan.want {
            Want::Records { order, limit, .. } => {
                let expected = truth.as_ref().map(|truth| truth.records(*order)).ok();
                let pages = self.pages(asked, *order, *limit, expected.as_ref().map_or(0, Vec::len)).await;
                let name = format!("{} by {limit}", asked.name);
                truth::same_list(&name, pages.as_ref(), expected.as_ref());
            }
            Want::Around { key, before, after } => {
                let most = |n: &usize| (*n).min(1_000);
                let of = tenant(self.random.pick(&TENANTS));
                let count = |n: &usize| most(n).to_string();
                let id = RecordId::new(&of, *key).to_string();
                let more = [("id", id), ("before", count(before)), ("after", count(after))];
                let answer = self.get("context", asked, &more).await;
                let records = records(answer, StatusCode::NOT_FOUND);
                let expected = truth.ok().and_then(|t| t.around(&of, *key, most(before), most(after)));
                truth::same_list(&format!("{} in {of}", asked.name), records.as_ref(), expected.as_ref());
            }
            Want::Histogram { by_level, .. } => {
                let interval = self.random.pick(&["auto", "auto", "6h", "1d"]).to_owned();
                let mut more = vec![("interval", interval)];
                more.extend(by_level.then(|| ("by", "level".to_owned())));
                more.extend(times(&asked.scan));
                let (status, body) = self.get("histogram", asked, &more).await;
                truth::same_status(asked, status, truth.is_ok());
                truth.into_iter().for_each(|truth| truth.check_histogram(&body, *by_level));
            }
            Want::Values { field } => {
                let more = [vec![("field", field.name().to_owned())], times(&asked.scan)].concat();
                let (status, body) = self.get("values", asked, &more).await;
                let truth = truth.ok().filter(|_| truth::has_values(field));
                truth::same_status(asked, status, truth.is_some());
                truth.into_iter().for_each(|truth| truth.check_values(&body, field));
            }
            Want::Fields => {
                let (status, body) = self.get("fields", asked, &times(&asked.scan)).await;
                truth::same_status(asked, status, truth.is_ok());
                truth.into_iter().for_each(|truth| truth.check_fields(&body));
            }
        }
    }

    /// All pages of a search, while its records go from hot to sealed; none where it is refused.
    async fn pages(
        &mut self,
        asked: &Asked,
        order: Order,
        limit: usize,
        expected: usize,
    ) -> Option<Vec<Value>> {
        let limit = limit.clamp(1 + expected / PAGES_MAX, 10_000);
        let order = if order == Order::Desc { "desc" } else { "asc" };
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = [("order", order.to_owned()), ("limit", limit.to_string()), ("cursor", cursor)];
            let answer = self.get("search", asked, &[page.to_vec(), times(&asked.scan)].concat()).await;
            let next = answer.1["next_cursor"].as_str().map(str::to_owned);
            all.extend(records(answer, StatusCode::BAD_REQUEST)?);
            let Some(next) = next else { return Some(all) };
            cursor = next;
            if self.random.one_in(8) {
                self.stage.indexer.seal(&tenant(self.random.pick(&TENANTS))).await;
            }
            if self.random.one_in(8) {
                let (indexer, of) = (Arc::clone(&self.stage.indexer), tenant(self.random.pick(&TENANTS)));
                indexer.merge(&of, |_| self.random.one_in(2)).await;
            }
        }
    }
}

/// Some commits of one tenant, in order.
fn commits(random: &mut sample::Random, of: &TenantId) -> VecDeque<(TenantId, Vec<Record>)> {
    let count = usize::try_from(1 + random.below(100)).unwrap();
    let sources = usize::try_from(1 + random.below(8)).unwrap().min(count);
    let mut all = sample::records(random, count, sources);
    all.sort_by_key(|(commit, _)| *commit);
    let commits = all.chunk_by(|a, b| a.0 == b.0);
    commits.map(|part| (of.clone(), part.iter().map(|(_, record)| (**record).clone()).collect())).collect()
}

/// The range as parameters.
fn times(scan: &Scan) -> Vec<(&'static str, String)> {
    let ends = [("start", scan.range.start, Timestamp::MIN), ("end", scan.range.end, Timestamp::MAX)];
    ends.into_iter().filter(|(_, at, open)| at != open).map(|(name, at, _)| (name, at.to_string())).collect()
}

/// The records of an answer; none where it is a refusal.
fn records((status, body): (StatusCode, Value), refusal: StatusCode) -> Option<Vec<Value>> {
    if status == refusal || status == StatusCode::BAD_REQUEST {
        return None;
    }
    assert_eq!((status, &body["complete"]), (StatusCode::OK, &Value::Bool(true)), "{body}");
    Some(body["records"].as_array().unwrap().clone())
}

async fn asked_world(seed: u64) -> u64 {
    let mut world = World::new(seed).await;
    while world.known.is_empty() {
        world.go_on().await;
    }
    let mut compared = 0;
    for n in 0..QUESTIONS {
        if world.random.one_in(2) {
            world.go_on().await;
        }
        if let Some(asked) = world.question(format!("SEED = Some({seed}), question {n}")) {
            let sealed_meanwhile = world.random.one_in(3).then(|| tenant(world.random.pick(&TENANTS)));
            let indexer = Arc::clone(&world.stage.indexer);
            let is_merged = world.random.one_in(2);
            let seal = async {
                if let Some(of) = sealed_meanwhile {
                    indexer.seal(&of).await;
                    if is_merged {
                        indexer.merge(&of, |_| true).await;
                    }
                }
            };
            tokio::join!(world.check(&asked), seal);
            compared += 1;
        }
    }
    compared
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_question_answers_what_looking_at_each_record_answers() {
    let seed = SEED.unwrap_or_else(sample::seed);
    println!("seed {seed}");
    let mut running = JoinSet::new();
    for n in 0..WORLDS {
        running.spawn(asked_world(seed.wrapping_add(n)));
    }
    let mut compared = 0;
    while let Some(done) = running.join_next().await {
        compared += done.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
    }
    println!("{compared} questions");
    assert!(compared > WORLDS * QUESTIONS / 2, "only {compared} questions were compared");
}
