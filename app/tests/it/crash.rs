//! Promise: a process that is killed at any moment has lost nothing and doubles nothing.

use crate::seed::Random;
use crate::server::Place;
use crate::writer::{Writers, assert_same, expected};

const KILLS: usize = 12;
const WRITERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_nothing_is_lost_or_doubled() {
    let mut random = Random::new("crash");
    let place = Place::new();
    let glob = place.logs().join("*.log").display().to_string();
    // Small and frequent seals, so that kills hit them too.
    let environment =
        [("HELIOGRAPH_INDEXER__SEAL_BYTES", "256 KiB"), ("HELIOGRAPH_INDEXER__SEAL_AFTER", "400ms")];
    let writers = Writers::start(&place.logs(), WRITERS, Some(300));
    for kill in 0..KILLS {
        let mut server = place.spawn_up(&["--logs", &glob], &environment);
        // One kill in three hits the start itself.
        if random.below(3) > 0 {
            server.wait_until_ready().await;
        }
        tokio::time::sleep(random.millis(50, 1_500)).await;
        eprintln!("crash: kill {kill}");
        server.kill().await;
    }
    let server = place.up_with(&["--logs", &glob], &environment).await;
    let written = writers.finish();
    let token = place.token("default", "viewer").await;
    for (name, count) in &written {
        server.wait_for(&token, &format!("{name} \"{}\"", count - 1), 1).await;
    }
    let found = server.messages(&token).await;
    for (name, count) in written {
        assert_same(&name, found.get(&name).map_or(&[][..], Vec::as_slice), &expected(count));
    }
    assert_eq!(found.len(), WRITERS);
    server.stop().await;
}
