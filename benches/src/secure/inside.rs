//! Single steps, in this process: encrypting and decrypting, expanding, and rows of the audit log on disk.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use heliograph_model::cipher::SecretKey;
use heliograph_model::codec;
use heliograph_model::time::{Clock, Timestamp};
use heliograph_store::Store;
use heliograph_store::audit::{Action, Actor, Details, Event, Log, Outcome, Subject};
use serde_json::{Map, Value};

use crate::sample::Sample;
use crate::series::Series;

/// As a segment's blocks are.
const PAGE_BYTES: usize = 64 << 10;
const MIB: usize = 1 << 20;
/// Pages that are sealed and opened.
const PAGES: usize = 64 * MIB / PAGE_BYTES;
/// Appends to the audit log, of each kind.
const APPENDS: usize = 200;
const BATCH: usize = 16;

/// Milliseconds of each.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Steps {
    /// A MiB, encrypted.
    pub(super) seal_ms: f64,
    /// A MiB, decrypted.
    pub(super) open_ms: f64,
    /// A MiB of pages as they lie, expanded.
    pub(super) expand_ms: f64,
    /// A row, in batches.
    pub(super) row_ms: f64,
    /// A row, in a transaction of its own.
    pub(super) lone_row_ms: f64,
}

pub(super) async fn measure(folder: &Path, sample: &Sample) -> anyhow::Result<Steps> {
    let body = sample.batches.iter().find(|batch| batch.body.len() > PAGE_BYTES).context("no large batch")?;
    let page = body.body.get(..PAGE_BYTES).context("no page")?.to_vec();
    let cipher = SecretKey::generate()?.pages()?;
    let (mut seal, mut open) = (Duration::ZERO, Duration::ZERO);
    for number in 0..PAGES as u64 {
        let mut bytes = page.clone();
        let begun = Instant::now();
        cipher.seal(number, b"bench", &mut bytes)?;
        seal += begun.elapsed();
        let begun = Instant::now();
        cipher.open(number, b"bench", &mut bytes)?;
        open += begun.elapsed();
        anyhow::ensure!(bytes == page, "WRONG: a page did not come back");
    }
    let (mut expand, mut expanded) = (Duration::ZERO, 0);
    for batch in &sample.batches {
        let begun = Instant::now();
        std::hint::black_box(codec::decompress(&batch.body, 64 << 20)?);
        expand += begun.elapsed();
        expanded += batch.body.len();
    }
    let (row_ms, lone_row_ms) = rows(folder).await?;
    let of_a_mib = |time: Duration, bytes: usize| time.as_secs_f64() * 1_000.0 * MIB as f64 / bytes as f64;
    Ok(Steps {
        seal_ms: of_a_mib(seal, PAGES * PAGE_BYTES),
        open_ms: of_a_mib(open, PAGES * PAGE_BYTES),
        expand_ms: of_a_mib(expand, expanded),
        row_ms,
        lone_row_ms,
    })
}

struct Now;

impl Clock for Now {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(0)
    }
}

/// Milliseconds of a row, in batches and alone: wall time on SQLite, with its syncs.
async fn rows(folder: &Path) -> anyhow::Result<(f64, f64)> {
    let at = |name: &str| folder.join(name);
    let config = heliograph_store::Config {
        catalog_url: format!("sqlite:{}", at("audit.sqlite").display()).into(),
        catalog_password: None,
        storage: heliograph_store::objects::Config::at(format!("file:{}", at("audit-objects").display())),
        master_key_file: at("audit.key"),
        cache: None,
    };
    let store = Store::open(&config, Arc::new(Now)).await?;
    let name = heliograph_model::tenant::TenantId::parse("team")?;
    let workspace = heliograph_model::tenant::Workspace::parse("default")?;
    let open = store.tenants.create(&name, &workspace).await?;
    let details = [("q", "dag_id:etl_orders level:error"), ("start", "now-1h"), ("limit", "100")];
    let details: Map<String, Value> =
        details.map(|(n, v)| (n.to_owned(), Value::from(v))).into_iter().collect();
    let event = Event {
        at: Timestamp::from_nanos(0),
        actor: Actor::User("somebody@example.com".to_owned()),
        action: Action::Search,
        subject: Subject::Tenant { name, uid: open.uid },
        from: Some("10.0.0.1".parse()?),
        outcome: Outcome::Done,
        details: Details::new(details),
    };
    let log = Log::of(&store);
    let time = async |rows: usize| {
        let events = vec![event.clone(); rows];
        let begun = Instant::now();
        log.append(&events).await?;
        anyhow::Ok(begun.elapsed().as_secs_f64() * 1_000.0 / rows as f64)
    };
    // In turn: a disk that is busy for a while holds up both.
    let (mut batched, mut lone) = (Vec::new(), Vec::new());
    for _ in 0..APPENDS {
        batched.push(time(BATCH).await?);
        lone.push(time(1).await?);
    }
    let (batched, lone) = (Series::new(batched).median(), Series::new(lone).median());
    anyhow::ensure!(log.verify(None).await?.is_whole(), "WRONG: the audit log is not whole");
    Ok((batched, lone))
}
