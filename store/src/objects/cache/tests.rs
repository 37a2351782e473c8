//! The cache answers as the store behind it does, whatever happens to its disk, and stays within its room.

mod bench;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use object_store::memory::InMemory;
use proptest::prelude::*;
use tokio::runtime::Builder;
use uuid::Uuid;

use super::*;
use bench::{Bench, PIECE, ROOM, content, one, place};

#[derive(Clone, Debug)]
enum Step {
    Put(u128, u64),
    Delete(u128),
    Read(u128, Vec<(u64, u64)>, u8),
    Reopen,
    /// From now on so many of a thousand.
    Faults(u64),
    Cut(usize, u64),
    Flip(usize, u64),
    Remove(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let object = || 0_u128..4;
    let ranges = proptest::collection::vec((0_u64..9_000, 0_u64..4_000), 1..4);
    let step = prop_oneof![
        3 => (object(), 1_u64..9_000).prop_map(|(n, length)| Step::Put(n, length)),
        1 => object().prop_map(Step::Delete),
        12 => (object(), ranges, 0_u8..4).prop_map(|(n, ranges, kind)| Step::Read(n, ranges, kind)),
        1 => Just(Step::Reopen),
        2 => prop_oneof![Just(0), Just(100), Just(500), Just(1_000)].prop_map(Step::Faults),
        2 => (any::<usize>(), 0_u64..1_100).prop_map(|(file, at)| Step::Cut(file, at)),
        2 => (any::<usize>(), 0_u64..8_000).prop_map(|(file, bit)| Step::Flip(file, bit)),
        1 => any::<usize>().prop_map(Step::Remove),
    ];
    proptest::collection::vec(step, 1..60)
}

impl Bench {
    async fn take(&mut self, step: Step) {
        let files = self.files();
        let errors = self.cache().counts().disk_errors;
        let is_change = matches!(step, Step::Put(..) | Step::Delete(_));
        let file = |at: usize| Some(&files[at % files.len()]).filter(|file| !file.ends_with("lock"));
        match step {
            Step::Put(n, length) => self.put(n, length).await,
            Step::Delete(n) => self.cache().delete(&place(n)).await.unwrap(),
            Step::Reopen if self.has_leftovers => {}
            Step::Reopen => self.reopen(),
            Step::Faults(faults) => self.disk.faults.store(faults, Ordering::Relaxed),
            Step::Read(n, ranges, kind) => {
                let ranges: Vec<Range<u64>> = ranges.iter().map(|(at, length)| *at..at + length).collect();
                let asked = match kind {
                    0 => GetRange::Offset(ranges[0].start),
                    1 => GetRange::Suffix(ranges[0].start),
                    _ => GetRange::Bounded(ranges[0].clone()),
                };
                self.compare(n, &ranges, asked).await;
            }
            Step::Cut(at, length) => {
                file(at).into_iter().for_each(|file| {
                    let mut bytes = std::fs::read(file).unwrap();
                    bytes.truncate(usize::try_from(length).unwrap());
                    std::fs::write(file, bytes).unwrap();
                });
            }
            Step::Flip(at, bit) => {
                file(at).into_iter().for_each(|file| {
                    let mut bytes = std::fs::read(file).unwrap();
                    let length = bytes.len().max(1);
                    if let Some(byte) = bytes.get_mut(usize::try_from(bit / 8).unwrap() % length) {
                        *byte ^= 1 << (bit % 8);
                    }
                    std::fs::write(file, bytes).unwrap();
                });
            }
            Step::Remove(at) => file(at).into_iter().for_each(|file| std::fs::remove_file(file).unwrap()),
        }
        self.has_leftovers |= is_change && self.cache().counts().disk_errors > errors;
    }
}

proptest! {
    #[test]
    fn it_answers_as_the_store_does_and_stays_within_its_room(steps in steps()) {
        let mut bench = Bench::new();
        Builder::new_current_thread().build().unwrap().block_on(async {
            for step in steps {
                bench.take(step.clone()).await;
                assert!(bench.room() <= ROOM, "{} bytes on disk after {step:?}", bench.room());
                assert!(bench.cache().counts().bytes <= ROOM);
            }
        });
    }
}

#[tokio::test]
async fn what_was_read_is_not_read_again_nor_after_a_restart() {
    let mut bench = Bench::new();
    bench.put(1, 5_500).await;
    let expected = content(1, 5_500);
    for range in [0..5_500, 10..20, 999..3_001, 5_400..5_500] {
        let slice =
            expected.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap());
        assert_eq!(bench.cache().get_range(&place(1), range).await.unwrap(), slice);
    }
    assert_eq!(bench.reads(), 1, "of neighbours together");
    bench.reopen();
    assert_eq!(bench.cache().get_ranges(&place(1), &[0..10, 5_490..5_500]).await.unwrap().len(), 2);
    assert_eq!(bench.reads(), 1);
    assert_eq!(bench.cache().counts(), CacheCounts { bytes: 6 * 4096, hits: 2, ..CacheCounts::default() });
}

#[tokio::test]
async fn the_longest_not_asked_go_first() {
    let bench = Bench::new();
    let (cache, pieces) = (bench.cache(), 20);
    bench.put(1, pieces * PIECE).await;
    for piece in 0..pieces {
        for asked in [piece, 0] {
            cache.get_ranges(&place(1), &one(asked * PIECE..asked * PIECE + 1)).await.unwrap();
        }
    }
    assert_eq!(bench.reads(), pieces, "the first stays");
    for piece in [0, pieces - 1, pieces - 11] {
        cache.get_ranges(&place(1), &one(piece * PIECE..piece * PIECE + 1)).await.unwrap();
    }
    assert_eq!(bench.reads(), pieces, "twelve are there");
}

#[tokio::test]
async fn many_who_want_the_same_read_it_once_also_if_the_first_leaves() {
    let bench = Bench::new();
    bench.put(1, 3_000).await;
    bench.distant.gate.forget_permits(1 << 20);
    let cache = bench.cache();
    let read = || {
        let cache = cache.clone();
        async move { cache.get_ranges(&place(1), &one(500..2_500)).await.unwrap() }.boxed()
    };
    let mut first = read();
    assert_eq!(futures::poll!(&mut first), Poll::Pending);
    let mut others: Vec<_> = (0..50).map(|_| read()).collect();
    for other in &mut others {
        assert_eq!(futures::poll!(other), Poll::Pending);
    }
    drop(first);
    bench.distant.gate.add_permits(1);
    for read in join_all(others).await {
        assert_eq!(read, [content(1, 3_000).slice(500..2_500)]);
    }
    assert_eq!(bench.reads(), 1);

    let (nothing, ranges) = (place(2), one(0..1));
    let mut alone = cache.get_ranges(&nothing, &ranges);
    assert!(futures::poll!(&mut alone).is_pending());
    drop(alone);
    bench.distant.gate.add_permits(9);
    cache.get_ranges(&place(2), &one(0..1)).await.unwrap_err();
}

#[tokio::test]
async fn what_is_deleted_or_written_anew_is_not_kept() {
    let bench = Bench::new();
    let cache = bench.cache();
    bench.put(1, 2_000).await;
    cache.get_range(&place(1), 0..2_000).await.unwrap();
    assert!(bench.room() > 0);
    cache.delete(&place(1)).await.unwrap();
    assert_eq!(bench.room(), 0);
    let gone = cache.get_range(&place(1), 0..2_000).await.unwrap_err();
    assert!(matches!(gone, object_store::Error::NotFound { .. }));

    // On its way while it is deleted: given to who asked before, but not kept.
    bench.put(2, 2_000).await;
    bench.distant.gate.forget_permits(1 << 20);
    let (second, ranges) = (place(2), one(0..2_000));
    let mut read = cache.get_ranges(&second, &ranges);
    assert!(futures::poll!(&mut read).is_pending());
    cache.put(&place(2), content(3, 2_000).into()).await.unwrap();
    bench.distant.gate.add_permits(9);
    read.await.unwrap();
    assert_eq!(cache.get_ranges(&place(2), &one(0..2_000)).await.unwrap(), [content(3, 2_000)]);
}

#[tokio::test]
async fn a_disk_that_refuses_costs_reads_and_no_answer() {
    let bench = Bench::new();
    let read = || async { bench.cache().get_ranges(&place(1), &one(0..10)).await.unwrap() };
    bench.put(1, 2_000).await;
    bench.disk.faults.store(1_000, Ordering::Relaxed);
    assert_eq!(read().await, read().await);
    assert_eq!((bench.reads(), bench.cache().counts().hits), (2, 0));
    assert!(bench.cache().counts().disk_errors >= 2);
    bench.disk.faults.store(0, Ordering::Relaxed);
    assert_eq!(read().await, read().await);
    assert_eq!((bench.reads(), bench.cache().counts().hits), (3, 1));
    // A folder that others took away is made again.
    std::fs::remove_dir_all(bench.folder.path().join("cache")).unwrap();
    assert_eq!(read().await, [content(1, 2_000).slice(..10)]);
}

#[tokio::test]
async fn only_ranges_of_segments_are_kept() {
    let bench = Bench::new();
    let (cache, wal) = (bench.cache(), layout::wal(Uuid::nil(), Uuid::nil()));
    bench.put(1, 2_000).await;
    cache.put(&wal, content(1, 50).into()).await.unwrap();
    assert_eq!(cache.get_ranges(&wal, &one(1..9)).await.unwrap(), [content(1, 50).slice(1..9)]);
    assert_eq!(cache.get(&place(1)).await.unwrap().bytes().await.unwrap(), content(1, 2_000));
    let options =
        GetOptions { if_match: Some("other".to_owned()), range: Some((0..9).into()), ..Default::default() };
    cache.get_opts(&place(1), options).await.unwrap_err();
    assert_eq!((bench.room(), cache.counts()), (0, CacheCounts::default()));
}

#[test]
fn a_folder_is_for_one_process() {
    let bench = Bench::new();
    assert_eq!(bench.try_open().unwrap_err().to_string(), "it is in use by another process");
    let config = CacheConfig { folder: "/dev/null/cache".into(), bytes_max: ROOM };
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let opened =
        Builder::new_current_thread().build().unwrap().block_on(super::super::cached(&store, &config));
    assert!(opened.is_none(), "it goes without");
}
