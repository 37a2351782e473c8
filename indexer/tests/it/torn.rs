//! Write-ahead objects that are torn, changed, missing or from another time: it always opens, says what it cannot
//! read, and loses nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;
use heliograph_indexer::Config;
use heliograph_model::record::Record;
use uuid::Uuid;

use crate::bench::{Server, config, once, records, until};

/// Nothing is sealed, so that the same objects can be damaged again and again.
fn patient() -> Config {
    Config { seal_after: Duration::from_hours(1), ..config() }
}

/// Some commits of one batch each, by the objects in which they lie.
struct Written {
    folder: tempfile::TempDir,
    objects: Vec<(PathBuf, Vec<u8>, Vec<Record>)>,
}

impl Written {
    async fn new(commits: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start_with(folder.path(), patient(), |store| store).await;
        let batches: Vec<_> = (0..commits).map(|n| records("a", n * 3..n * 3 + 3)).collect();
        for (sequence, batch) in (1..).zip(&batches) {
            assert_eq!(server.send("t", "p", sequence, batch).await, 200);
        }
        let files = server.wal_files(folder.path());
        server.kill().await;
        assert_eq!(files.len(), batches.len());
        let with_bytes = |(path, batch): (PathBuf, _)| {
            let bytes = std::fs::read(&path).unwrap();
            (path, bytes, batch)
        };
        Self { objects: files.into_iter().zip(batches).map(with_bytes).collect(), folder }
    }

    /// Puts damaged bytes, or none, in place of some objects, starts, and looks what is there. Then all is as before.
    async fn check(&self, damages: BTreeMap<usize, Option<Vec<u8>>>) {
        for (number, (path, ..)) in self.objects.iter().enumerate() {
            match damages.get(&number) {
                None => {}
                Some(None) => std::fs::remove_file(path).unwrap(),
                Some(Some(bytes)) => std::fs::write(path, bytes).unwrap(),
            }
        }
        let server = Server::start_with(self.folder.path(), patient(), |store| store).await;
        let intact = self.objects.iter().enumerate().filter(|(number, _)| !damages.contains_key(number));
        let expected: Vec<&Record> = intact.flat_map(|(_, (.., batch))| batch).collect();
        assert_eq!(server.everything("t").await, once(expected), "{damages:?}");
        #[expect(clippy::cast_precision_loss, reason = "a few")]
        let damaged = damages.len() as f64;
        assert_eq!(server.figure("heliograph_indexer_wal_damaged_total"), damaged, "{damages:?}");
        server.kill().await;
        for (number, (path, bytes, _)) in self.objects.iter().enumerate() {
            let left = std::fs::read(path).ok();
            assert_eq!(left, damages.get(&number).cloned().unwrap_or(Some(bytes.clone())), "it is kept");
            std::fs::write(path, bytes).unwrap();
        }
    }

    /// Every second object, damaged by each of these in turn, as many at a time as there are objects.
    async fn check_all(&self, damages: impl Iterator<Item = Option<Vec<u8>>>) {
        let mut round = BTreeMap::new();
        for damage in damages {
            round.insert(2 * round.len() + 1, damage);
            if 2 * round.len() + 1 >= self.objects.len() {
                self.check(std::mem::take(&mut round)).await;
            }
        }
        self.check(round).await;
    }
}

#[tokio::test]
async fn cut_off_at_every_byte_zeroed_at_the_end_or_missing_it_costs_no_neighbour() {
    let written = Written::new(81).await;
    let (_, last, _) = written.objects.last().unwrap();
    let cut_off = (0..last.len()).map(|length| Some(last[..length].to_vec()));
    let zeroed = (1..=last.len()).step_by(7).map(|zeros| {
        let mut bytes = last.clone();
        bytes[last.len() - zeros..].fill(0);
        Some(bytes)
    });
    written.check_all(cut_off.chain(zeroed).chain([None, None])).await;
}

#[expect(clippy::disallowed_methods, reason = "a run that is to be made again")]
fn seed() -> u64 {
    let given = std::env::var("HELIOGRAPH_TEST_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| fastrand::u64(..))
}

#[tokio::test]
async fn each_of_a_thousand_flipped_bits_is_told_and_costs_no_neighbour() {
    let seed = seed();
    eprintln!("torn: HELIOGRAPH_TEST_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let written = Written::new(81).await;
    let places: Vec<usize> = (1..written.objects.len()).step_by(2).collect();
    for _ in 0..1_000 / places.len() {
        let flip = |number: &usize| {
            let mut bytes = written.objects[*number].1.clone();
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 << random.u8(..8);
            (*number, Some(bytes))
        };
        written.check(places.iter().map(flip).collect()).await;
    }
}

fn put_beside(path: &Path, bytes: &[u8]) {
    std::fs::write(path.with_file_name(Uuid::now_v7().simple().to_string()), bytes).unwrap();
}

#[tokio::test]
async fn what_was_not_acknowledged_is_let_go_wherever_it_was_torn() {
    let written = Written::new(2).await;
    let (path, bytes, _) = &written.objects[1];
    for length in 0..=bytes.len() {
        put_beside(path, &bytes[..length]);
    }
    written.check(BTreeMap::new()).await;
    let left = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(left, written.objects.len());
}

#[tokio::test]
async fn objects_of_another_time_that_turn_up_again_double_nothing() {
    let written = Written::new(5).await;
    let hasty = Config { seal_after: Duration::from_millis(1), ..config() };
    let folder = written.folder.path();
    let server = Server::start_with(folder, hasty, |store| store).await;
    until("all is sealed", || async { server.wal_files(folder).is_empty() }).await;
    server.kill().await;
    for (path, bytes, _) in &written.objects {
        std::fs::write(path, bytes).unwrap();
    }
    let server = Server::start_with(folder, patient(), |store| store).await;
    assert_eq!(server.everything("t").await, once(written.objects.iter().flat_map(|(.., batch)| batch)));
    assert_eq!(server.wal_files(folder), Vec::<PathBuf>::new());
    server.stop().await;
}
