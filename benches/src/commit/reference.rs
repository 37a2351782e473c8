//! The least that it takes to make the same bytes durable in the same place: a file and its `fdatasync`, or one
//! request to the same S3 server.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use bytes::Bytes;
use futures::future::try_join_all;
use heliograph_store::objects;

use super::place::Kind;
use super::producers::{Bound, Done, millis_since};
use crate::batches::Batches;

/// So many writers, each of which makes one batch durable after the other.
pub(super) async fn measure(
    kind: Kind,
    storage: &objects::Config,
    folder: &Path,
    batches: &Batches,
    (writers, bound): (usize, Bound),
) -> anyhow::Result<Done> {
    let (begun, sent) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let bytes = batches.bytes;
    let body_of = |writer: usize| batches.bodies.get(writer % batches.bodies.len().max(1)).cloned();
    let bodies = (0..writers).filter_map(body_of).enumerate();
    let millis = match kind {
        Kind::Disk => {
            let writing = bodies.map(|(writer, body)| {
                let (folder, sent) = (folder.to_owned(), Arc::clone(&sent));
                tokio::task::spawn_blocking(move || {
                    let mut millis = Vec::new();
                    while bound.allows(begun, &sent, bytes) {
                        millis.push(write(&folder.join(format!("{writer}-{}", millis.len())), &body)?);
                    }
                    anyhow::Ok(millis)
                })
            });
            try_join_all(writing).await?.into_iter().collect::<anyhow::Result<_>>()?
        }
        Kind::S3(_) => {
            let (store, _) = objects::open(storage)?;
            let putting = bodies.map(|(writer, body)| {
                let (store, sent) = (&store, &sent);
                async move {
                    let mut millis = Vec::new();
                    while bound.allows(begun, sent, bytes) {
                        let path = format!("reference/{writer}-{}", millis.len()).into();
                        let since = Instant::now();
                        objects::create(&**store, &path, body.clone()).await?;
                        millis.push(millis_since(since));
                    }
                    anyhow::Ok(millis)
                }
            });
            try_join_all(putting).await?
        }
    };
    Ok(Done::of(millis, begun))
}

/// Milliseconds for a new file that is on disk.
fn write(path: &Path, body: &Bytes) -> anyhow::Result<f64> {
    let since = Instant::now();
    let mut file = File::create_new(path)?;
    file.write_all(body)?;
    file.sync_data()?;
    Ok(millis_since(since))
}
