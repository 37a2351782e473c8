//! How many commits a second the catalog takes: `cargo run -p heliograph-store --example commit_rate`.
//!
//! Each commit has a batch of each of 1, 10 or 50 producers; one caller commits after the other, as the
//! indexer does. The file lies in the temporary folder, so set `TMPDIR` to the disk that you mean.

use std::error::Error;
use std::time::{Duration, Instant};

use heliograph_model::batch::{BatchId, ProducerId};
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::Timestamp;
use heliograph_store::catalog::{self, Catalog, CommittedBatch, Lease, NewCommit, Tenant};
use heliograph_store::layout::new_object_id;
use uuid::Uuid;

const MEASURED: Duration = Duration::from_secs(3);

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the numbers are what the program is for")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let catalog =
        catalog::open(&format!("sqlite:{}/catalog.db", folder.path().display()).into(), None).await?;
    let tenant = Tenant {
        name: TenantId::parse("a")?,
        workspace: Workspace::parse("w")?,
        uid: Uuid::new_v4(),
        wrapped_key: Vec::new(),
        created: Timestamp::MIN,
    };
    catalog.create_tenant(&tenant).await?;
    for producers in [1, 10, 50] {
        let (commits, took) = measure(&*catalog, &tenant.name, producers).await?;
        let rate = f64::from(commits) / took.as_secs_f64();
        println!("{producers:>3} batches a commit: {rate:>6.0} commits/s");
    }
    Ok(())
}

async fn measure(
    catalog: &dyn Catalog,
    tenant: &TenantId,
    producers: usize,
) -> Result<(u32, Duration), Box<dyn Error>> {
    let names = (0..producers)
        .map(|n| ProducerId::parse(&format!("of-{producers}-{n}")))
        .collect::<Result<Vec<_>, _>>()?;
    let begun = Instant::now();
    let mut commits = 0;
    while begun.elapsed() < MEASURED {
        commits += 1;
        let batch = |producer: &ProducerId| CommittedBatch {
            tenant: tenant.clone(),
            id: Some(BatchId { producer: producer.clone(), epoch: 1, sequence: u64::from(commits) }),
        };
        let commit = NewCommit {
            lease: Lease::embedded(Uuid::nil()),
            object: new_object_id(),
            bytes: 1000,
            at: Timestamp::MIN,
            batches: names.iter().map(batch).collect(),
        };
        catalog.commit(&commit).await?;
        // As sealing does, so that the table stays as small as it is in life.
        if commits % 100 == 0 {
            let needed = catalog.wal_objects(Uuid::nil()).await?;
            catalog
                .release(&Lease::embedded(Uuid::nil()), &needed.iter().map(|w| w.object).collect::<Vec<_>>())
                .await?;
        }
    }
    Ok((commits, begun.elapsed()))
}
