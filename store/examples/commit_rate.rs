//! How many commits a second a catalog takes: `commit_rate [URL [INDEXERS]]`.
//!
//! Without a URL, a new SQLite file in the temporary folder: set `TMPDIR` to the disk that you mean. The database
//! of a URL should be a new one. Each indexer makes one commit after the other, as indexers do, with a batch of
//! each of 1, 16 or 256 producers, over 1, 100 or 10,000 tenants in turn.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_model::batch::{BatchId, ProducerId};
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::Timestamp;
use heliograph_store::catalog::{self, Catalog, CommittedBatch, Lease, NewCommit, Tenant};
use heliograph_store::layout::new_object_id;
use tokio::task::JoinSet;
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const MEASURED: Duration = Duration::from_secs(3);
const PRODUCERS: [usize; 3] = [1, 16, 256];
const TENANTS: [usize; 3] = [1, 100, 10_000];

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the numbers are what the program is for")]
async fn main() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let mut arguments = std::env::args().skip(1);
    let file = format!("sqlite:{}/catalog.db", folder.path().display());
    let url = catalog::Url::from(arguments.next().unwrap_or(file));
    let indexers: usize = arguments.next().map_or(Ok(1), |n| n.parse())?;
    let first = catalog::open(&url, None).await?;
    let mut tenants = Vec::new();
    println!("{url}, {indexers} indexers at once, {} s each", MEASURED.as_secs());
    for number in TENANTS {
        while tenants.len() < number {
            tenants.push(a_tenant(&*first, tenants.len()).await?);
        }
        for producers in PRODUCERS {
            let mut measuring = JoinSet::new();
            for _ in 0..indexers {
                let catalog = catalog::open(&url, None).await?;
                measuring.spawn(measure(catalog, tenants.clone(), producers));
            }
            let mut commits = 0;
            while let Some(measured) = measuring.join_next().await {
                commits += measured??;
            }
            let rate = f64::from(commits) / MEASURED.as_secs_f64();
            println!("{number:>6} tenants, {producers:>3} batches a commit: {rate:>6.0} commits/s");
        }
    }
    Ok(())
}

async fn a_tenant(catalog: &dyn Catalog, number: usize) -> Outcome<TenantId> {
    let tenant = Tenant {
        name: TenantId::parse(&format!("tenant-{number}"))?,
        workspace: Workspace::parse("w")?,
        uid: Uuid::new_v4(),
        wrapped_key: vec![0; 60],
        created: Timestamp::MIN,
    };
    catalog.create_tenant(&tenant).await?;
    Ok(tenant.name)
}

/// How many commits a new indexer, with producers of its own, makes in the time.
async fn measure(catalog: Arc<dyn Catalog>, tenants: Vec<TenantId>, producers: usize) -> Outcome<u32> {
    let lease = Lease::embedded(Uuid::new_v4());
    let names = (0..producers)
        .map(|n| ProducerId::parse(&format!("{}-{n}", lease.indexer.simple())))
        .collect::<Result<Vec<_>, _>>()?;
    let mut sequences: HashMap<(usize, usize), u64> = HashMap::new();
    let mut turns = (0..tenants.len()).cycle();
    let begun = Instant::now();
    let mut commits = 0;
    while begun.elapsed() < MEASURED {
        let mut batches = Vec::with_capacity(producers);
        for (by, (producer, at)) in names.iter().zip(turns.by_ref()).enumerate() {
            let Some(tenant) = tenants.get(at) else { continue };
            let sequence = sequences.entry((at, by)).or_default();
            *sequence += 1;
            let id = BatchId { producer: producer.clone(), epoch: 1, sequence: *sequence };
            batches.push(CommittedBatch { tenant: tenant.clone(), id: Some(id) });
        }
        let commit = NewCommit { lease, object: new_object_id(), bytes: 1000, at: Timestamp::MIN, batches };
        catalog.commit(&commit).await?;
        commits += 1;
        // As sealing does, so that the table stays as small as it is in life.
        if commits % 100 == 0 {
            let needed = catalog.wal_objects(lease.indexer).await?;
            catalog.release(&lease, &needed.iter().map(|w| w.object).collect::<Vec<_>>()).await?;
        }
    }
    Ok(commits)
}
