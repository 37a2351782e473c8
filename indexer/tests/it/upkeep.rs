//! Segments are merged and deleted beside everything else; a stop at any point neither loses nor doubles a record.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use heliograph_indexer::{Config, Upkeep};
use heliograph_model::record::Record;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use heliograph_store::Store;
use heliograph_store::catalog::SegmentMeta;
use heliograph_store::retention::{Keep, Own, OwnKeep};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::bench::{Server, config, once, records, until};
use crate::faults::{Database, Disk, Fault};
use crate::takeover::answered;

/// A moment in the life of a merged segment and of those that it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    BeforePut,
    AfterPut,
    BeforeReplace,
    AfterReplace,
    BeforeDelete,
    AfterDelete,
    BeforeForget,
    AfterForget,
    BeforeFinish,
    AfterFinish,
}

impl Point {
    /// Those of a merge.
    const ALL: [Self; 8] = [
        Self::BeforePut,
        Self::AfterPut,
        Self::BeforeReplace,
        Self::AfterReplace,
        Self::BeforeDelete,
        Self::AfterDelete,
        Self::BeforeForget,
        Self::AfterForget,
    ];
}

/// Work that comes to a point stops there until it is let go.
#[derive(Debug)]
pub(crate) struct Stop {
    at: Mutex<Option<Point>>,
    reached: AtomicBool,
    go: Semaphore,
}

impl Default for Stop {
    fn default() -> Self {
        Self { at: Mutex::new(None), reached: AtomicBool::new(false), go: Semaphore::new(0) }
    }
}

impl Stop {
    pub(crate) fn at(point: Point) -> Arc<Self> {
        Arc::new(Self { at: Mutex::new(Some(point)), ..Self::default() })
    }

    pub(crate) async fn pass(&self, here: Point) {
        let is_here = *self.at.lock() == Some(here);
        if is_here {
            self.reached.store(true, Ordering::SeqCst);
            drop(self.go.acquire().await);
        }
    }

    pub(crate) fn go_on(&self) {
        *self.at.lock() = None;
        self.go.add_permits(1);
    }

    pub(crate) async fn is_reached(&self) {
        until("the point is reached", || async { self.reached.load(Ordering::SeqCst) }).await;
    }

    pub(crate) fn wrap(self: &Arc<Self>, store: Store) -> Store {
        let objects =
            Disk { inner: Arc::clone(&store.objects), full: Fault::default(), stop: Arc::clone(self) };
        let catalog = Database::stopping(Arc::clone(&store.catalog), self);
        Store { objects: Arc::new(objects), catalog: Arc::new(catalog), ..store }
    }
}

/// Each batch becomes a segment.
pub(crate) fn eager(upkeep: Upkeep) -> Config {
    Config { seal_bytes: 1, upkeep, ..config() }
}

pub(crate) fn off() -> Upkeep {
    Upkeep { merge_bytes: 0, ..busy() }
}

/// Looks all the time and waits for nothing.
pub(crate) fn busy() -> Upkeep {
    Upkeep {
        merge_bytes: 64 << 20,
        keep: Keep::default(),
        delete_after: Duration::from_millis(30),
        abandoned_after: Duration::from_millis(200),
        look_every: Duration::from_millis(5),
    }
}

pub(crate) const BATCHES: u64 = 20;

pub(crate) async fn segments(server: &Server) -> Vec<SegmentMeta> {
    let tenant = TenantId::parse("t").unwrap();
    server.store.catalog.segments(&tenant, &TimeRange::ALL).await.unwrap()
}

/// Sends batches until each is a segment of its own.
async fn fill(folder: &Path) {
    fill_by(folder, eager(off())).await;
}

async fn fill_by(folder: &Path, config: Config) {
    fill_with(folder, config, |sequence| records("a", sequence * 10 - 10..sequence * 10)).await;
}

pub(crate) async fn fill_with(folder: &Path, config: Config, batch: impl Fn(u64) -> Vec<Record>) {
    let server = Server::start_with(folder, config, |store| store).await;
    for sequence in 1..=BATCHES {
        let batch = batch(sequence);
        assert_eq!(server.send("t", "p", sequence, &batch).await, 200);
        until("it is sealed", || async { server.figure("heliograph_indexer_hot_records") == 0.0 }).await;
    }
    assert_eq!(segments(&server).await.len() as u64, BATCHES);
    server.stop().await;
}

/// Waits until sixteen are one, and no object is left of what was.
async fn settled(server: &Server, folder: &Path) {
    until("merged and cleared", || async {
        let mut searched: Vec<String> =
            segments(server).await.iter().map(|segment| segment.id.simple().to_string()).collect();
        searched.sort();
        searched.len() == 5 && searched == server.segment_files(folder)
    })
    .await;
    until("nothing is retired", || async { server.store.catalog.retired(9).await.unwrap().is_empty() }).await;
    assert_eq!(server.everything("t").await, once(&records("a", 0..BATCHES * 10)));
}

#[tokio::test]
async fn segments_of_an_indexer_that_is_no_more_are_merged_by_one_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let shared = |upkeep| Config { advertise: Some(String::new()), ..eager(upkeep) };
    fill_by(folder.path(), shared(off())).await;
    let two = Server::start_with(folder.path(), shared(busy()), |store| store).await;
    let three = Server::start_with(folder.path(), shared(busy()), |store| store).await;
    until("it is no more", || async { two.store.catalog.indexers().await.unwrap().len() == 2 }).await;
    until("each answers only for itself", || async {
        answered(&two, "").await.len() + answered(&three, "").await.len() == 2
    })
    .await;
    settled(&two, folder.path()).await;
    assert_eq!(three.everything("t").await, once(&records("a", 0..BATCHES * 10)));
    two.stop().await;
    three.stop().await;
}

#[tokio::test]
async fn small_segments_become_one_and_their_objects_go() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    // However slow this machine is, nobody takes its objects for abandoned.
    let patient = Upkeep { abandoned_after: Duration::from_secs(600), ..busy() };
    let server = Server::start_with(folder.path(), eager(patient), |store| store).await;
    settled(&server, folder.path()).await;
    let figure = |what: &str| server.figure(&format!("heliograph_indexer_{what}"));
    assert_eq!((figure("merged_segments_total"), figure("deleted_segments_total")), (16.0, 16.0));
    assert!(figure("merge_read_bytes_total") > figure("merge_written_bytes_total"));
    assert_eq!((figure("merge_failures_total"), figure("abandoned_objects_total")), (0.0, 0.0));
    server.stop().await;
}

#[tokio::test]
async fn killed_at_any_point_nothing_is_lost_or_doubled_or_left() {
    for point in Point::ALL {
        println!("{point:?}");
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path()).await;
        let stop = Stop::at(point);
        let server = Server::start_with(folder.path(), eager(busy()), |store| stop.wrap(store)).await;
        stop.is_reached().await;
        assert_eq!(server.everything("t").await, once(&records("a", 0..BATCHES * 10)), "{point:?}");
        server.kill().await;
        let server = Server::start_with(folder.path(), eager(busy()), |store| store).await;
        settled(&server, folder.path()).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn a_writer_that_wakes_after_its_object_was_given_up_publishes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    let stop = Stop::at(Point::BeforeReplace);
    let server = Server::start_with(folder.path(), eager(busy()), |store| stop.wrap(store)).await;
    stop.is_reached().await;
    until("its object is taken for abandoned", || async {
        server.segment_files(folder.path()).len() as u64 == BATCHES
            && server.figure("heliograph_indexer_abandoned_objects_total") == 1.0
    })
    .await;
    assert_eq!(server.everything("t").await, once(&records("a", 0..BATCHES * 10)));
    stop.go_on();
    settled(&server, folder.path()).await;
    assert!(server.figure("heliograph_indexer_merge_failures_total") >= 1.0);
    server.stop().await;
}

#[tokio::test]
async fn a_sealer_that_wakes_after_its_object_was_given_up_seals_anew() {
    let folder = tempfile::tempdir().unwrap();
    let stop = Stop::at(Point::AfterPut);
    let server = Server::start_with(folder.path(), eager(busy()), |store| stop.wrap(store)).await;
    assert_eq!(server.send("t", "p", 1, &records("a", 0..10)).await, 200);
    stop.is_reached().await;
    until("its object is gone", || async { server.segment_files(folder.path()).is_empty() }).await;
    assert_eq!(server.everything("t").await, once(&records("a", 0..10)));
    stop.go_on();
    until("sealed nevertheless", || async { server.figure("heliograph_indexer_hot_records") == 0.0 }).await;
    assert_eq!(server.everything("t").await, once(&records("a", 0..10)));
    assert_eq!((segments(&server).await.len(), server.segment_files(folder.path()).len()), (1, 1));
    server.stop().await;
}

#[tokio::test]
async fn what_is_damaged_stays_and_takes_no_other_along() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    let files = std::fs::read_dir(folder.path().join("objects/t")).unwrap().next().unwrap().unwrap().path();
    let mut files: Vec<_> = std::fs::read_dir(files.join("s")).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let mut bytes = std::fs::read(&files[3]).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&files[3], &bytes).unwrap();
    let server = Server::start_with(folder.path(), eager(busy()), |store| store).await;
    until("the others are merged", || async { server.segment_files(folder.path()).len() == 5 }).await;
    assert_eq!(std::fs::read(&files[3]).unwrap(), bytes, "what was damaged is left as it is");
    assert_eq!(segments(&server).await.iter().map(|segment| segment.records).sum::<u64>(), BATCHES * 10);
    server.stop().await;
}

#[tokio::test]
async fn every_look_while_sealing_and_merging_finds_each_record_once() {
    let folder = tempfile::tempdir().unwrap();
    // A look may take as long as it likes.
    let upkeep = Upkeep { delete_after: Duration::from_secs(60), ..busy() };
    let server = Server::start_with(folder.path(), eager(upkeep), |store| store).await;
    let acknowledged = AtomicU64::new(0);
    let sending = async {
        for sequence in 1..=60_u64 {
            let batch = records("a", sequence * 10 - 10..sequence * 10);
            assert_eq!(server.send("t", "p", sequence, &batch).await, 200);
            acknowledged.store(sequence * 10, Ordering::SeqCst);
            // Its segment is not the next one's, too.
            until("sealed", || async { server.figure("heliograph_indexer_hot_records") == 0.0 }).await;
        }
    };
    let looking = async {
        let mut looks = 0;
        loop {
            let before = acknowledged.load(Ordering::SeqCst);
            let found = server.everything("t").await;
            let after = acknowledged.load(Ordering::SeqCst) + 10;
            looks += 1;
            assert!(found.values().all(|count| *count == 1), "look {looks}: something is doubled");
            let count = found.len() as u64;
            assert!(before <= count && count <= after, "look {looks}: {before} <= {count} <= {after}");
            if before == 600 && server.figure("heliograph_indexer_merged_segments_total") >= 48.0 {
                return looks;
            }
        }
    };
    let ((), looks) = tokio::join!(sending, looking);
    println!("{looks} looks");
    server.kill().await;
    let server = Server::start_with(folder.path(), eager(busy()), |store| store).await;
    assert_eq!(server.everything("t").await, once(&records("a", 0..600)));
    server.stop().await;
}

/// What is found of tenant `t`, once so many of its segments have expired for a reason.
async fn expired(server: &Server, folder: &Path, left: usize) {
    until("the oldest are gone, their objects, too", || async {
        let mut searched: Vec<String> =
            segments(server).await.iter().map(|segment| segment.id.simple().to_string()).collect();
        searched.sort();
        searched.len() == left && searched == server.segment_files(folder)
    })
    .await;
}

#[tokio::test]
async fn by_bytes_the_oldest_segments_go() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    let server = Server::start_with(folder.path(), eager(off()), |store| store).await;
    let all = segments(&server).await;
    let most: u64 = all.iter().take(7).map(|segment| segment.bytes).sum();
    assert_eq!(all.len() as u64, BATCHES);
    server.stop().await;
    let keep = Keep { bytes: Some(most + 100), ..Keep::default() };
    let server = Server::start_with(folder.path(), eager(Upkeep { keep, ..off() }), |store| store).await;
    expired(&server, folder.path(), 7).await;
    assert_eq!(server.everything("t").await, once(&records("a", BATCHES * 10 - 70..BATCHES * 10)));
    // A bound of its own wins, and holds at once.
    let own = OwnKeep { bytes: Own::Limit(all[0].bytes), ..OwnKeep::default() };
    server.store.catalog.set_retention(&TenantId::parse("t").unwrap(), &own).await.unwrap();
    expired(&server, folder.path(), 1).await;
    assert_eq!(server.everything("t").await.len(), 10);
    server.stop().await;
}

async fn noted_at(server: &Server) -> Timestamp {
    server.store.catalog.advance_retention_clock(None).await.unwrap().unwrap()
}

#[tokio::test]
async fn by_age_goes_what_is_older_and_a_clock_that_jumps_deletes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    let keep = Keep { age: Some(Duration::from_hours(1)), ..Keep::default() };
    let upkeep = Upkeep { keep, ..off() };
    // The server's own clock is at about the time of the records.
    let server = Server::start_with(folder.path(), eager(upkeep), |store| store).await;
    let noted = async || server.store.catalog.advance_retention_clock(None).await.unwrap();
    until("it has looked", || async { noted().await.is_some() }).await;
    server.clock.jump(Duration::from_hours(24));
    until("it sees the jump", || async {
        server.figure("heliograph_indexer_retention_clock_late_seconds") > 80_000.0
    })
    .await;
    // A bound of its own makes it look at the ages at once.
    let own = OwnKeep { age: Own::Limit(Duration::from_hours(2)), ..OwnKeep::default() };
    server.store.catalog.set_retention(&TenantId::parse("t").unwrap(), &own).await.unwrap();
    assert_eq!(server.everything("t").await, once(&records("a", 0..BATCHES * 10)));
    server.stop().await;
    let server = Server::start_later(folder.path(), eager(upkeep), Duration::from_hours(24)).await;
    until("it sees that it is late", || async {
        server.figure("heliograph_indexer_retention_clock_late_seconds") > 80_000.0
    })
    .await;
    assert_eq!(server.everything("t").await, once(&records("a", 0..BATCHES * 10)));
    // As if the day had passed while somebody looked on.
    let day = noted_at(&server).await.saturating_add_nanos(86_000_000_000_000);
    server.store.catalog.advance_retention_clock(Some(day)).await.unwrap();
    server.stop().await;
    let server = Server::start_later(folder.path(), eager(upkeep), Duration::from_hours(24)).await;
    expired(&server, folder.path(), 0).await;
    server.stop().await;
}
