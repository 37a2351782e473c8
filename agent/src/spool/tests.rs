//! The spool over crashes, damage and a full disk budget.

mod damage;
mod machine;
mod overrun;
mod recovery;

use std::fs;

use heliograph_model::record::{Attributes, Record};
use heliograph_model::source::{Position, Source, SourceId};
use heliograph_model::time::Timestamp;
use prometheus::Registry;

use super::gap::Reason;
use super::state::segment_files;
use super::*;
use crate::gather::Move;
use crate::tail::identity::FileIdentity;
use crate::tail::{Known, Step};

/// The epoch of the first life: the clock stands still.
const EPOCH: u64 = 1_795_000_000_000;

/// A clock that stands still, so many milliseconds after [`EPOCH`].
struct Fixed(u64);

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(i64::try_from((EPOCH + self.0) * 1_000_000).unwrap())
    }
}

fn open(dir: &Path, bytes_max: u64) -> Result<Spool> {
    open_with(dir, bytes_max, WhenFull::Wait, &Metrics::new(&Registry::new()).unwrap())
}

fn open_with(dir: &Path, bytes_max: u64, when_full: WhenFull, metrics: &Metrics) -> Result<Spool> {
    open_at(0, dir, bytes_max, when_full, metrics)
}

fn open_at(millis: u64, dir: &Path, bytes_max: u64, when_full: WhenFull, metrics: &Metrics) -> Result<Spool> {
    let (key, limits) = (SecretKey::from_bytes([7; 32]), Limits { bytes_max, when_full });
    let own = Source { id: SourceId(u128::MAX), ..Source::default() };
    Spool::open(dir, key, limits, own, Arc::new(Fixed(millis)), metrics.clone())
}

/// In memory where possible: these tests sync thousands of times.
fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

/// A batch of one record, which moves its source to `offset`.
fn batch(name: &str, source: u128, offset: u64, text: &str) -> Gathered {
    let record = Record {
        time: Timestamp::from_nanos(1),
        observed: Timestamp::from_nanos(2),
        position: Position(offset),
        source: Arc::new(Source { id: SourceId(source), ..Source::default() }),
        level: None,
        stream: None,
        identity: heliograph_model::airflow::Identity::default(),
        message: text.into(),
        attributes: Attributes::default(),
    };
    let identity = FileIdentity { ino: 3, ..FileIdentity::default() };
    let known = Known { identity, offset, before: 7, ended: true };
    let step = Some(Step { number: 16, known });
    let path = Path::new("/var/log/geheim.log").into();
    let change = Move { source: SourceId(source), path, last: Timestamp::from_nanos(1), step };
    Gathered { tenant: tenant(name), records: vec![record], moves: vec![change] }
}

/// Sends the next batch: epoch, sequence and records.
fn send(spool: &Spool, name: &str) -> Option<(u64, u64, Vec<Record>)> {
    let pending = spool.next(&tenant(name), 0).unwrap()?;
    let payload = spool.load(&pending).unwrap();
    assert!(pending.body().is_none_or(|body| body == payload));
    let rows = codec::decode(&codec::decompress(&payload, 1 << 20).unwrap()).unwrap();
    Some((pending.epoch, pending.sequence, rows.to_records()))
}

/// The next batch is acknowledged.
fn acknowledge(spool: &Spool, name: &str) {
    let pending = spool.next(&tenant(name), 0).unwrap().unwrap();
    settle(spool, name, pending.ordinal);
}

/// The batches up to an ordinal are acknowledged.
fn settle(spool: &Spool, name: &str, through: u64) {
    if spool.acknowledge(&tenant(name), through) {
        spool.free().unwrap();
    }
}

/// The waiting batches of a tenant as (epoch, sequence, text), settling them; gaps as what they say.
fn drain(spool: &Spool, name: &str) -> Vec<(u64, u64, String)> {
    let mut out = vec![];
    while let Some((epoch, sequence, records)) = send(spool, name) {
        let text = records.first().map_or_else(String::new, |record| record.message.to_string());
        out.push((epoch, sequence, text));
        acknowledge(spool, name);
    }
    out
}

fn texts(spool: &Spool, name: &str) -> Vec<String> {
    drain(spool, name).into_iter().map(|(_, _, text)| text).collect()
}

fn offset(spool: &Spool, source: u128) -> Option<u64> {
    let positions = spool.positions();
    positions.0.get(&SourceId(source)).and_then(|s| s.generations.get(&16)).map(|k| k.offset)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    segment_files(dir).unwrap().into_values().collect()
}

#[test]
fn batches_and_positions_survive_a_crash_and_sequences_go_on() {
    let dir = temporary();
    let spool = open(dir.path(), 1 << 20).unwrap();
    assert!(spool.append(vec![batch("a", 1, 10, "one"), batch("b", 2, 5, "other")]).unwrap());
    assert!(spool.append(vec![batch("a", 1, 20, "two")]).unwrap());
    drop(spool);
    let spool = open(dir.path(), 1 << 20).unwrap();
    assert_eq!((offset(&spool, 1), offset(&spool, 2)), (Some(20), Some(5)));
    assert!(spool.append(vec![batch("a", 1, 30, "three")]).unwrap());
    // Each life spools in an epoch of its own, and sends what it found in the one in which it was spooled.
    let expected = [(EPOCH, 1, "one"), (EPOCH, 2, "two"), (EPOCH + 1, 1, "three")];
    assert_eq!(drain(&spool, "a"), expected.map(|(e, s, t)| (e, s, t.to_owned())));
    assert_eq!(texts(&spool, "b"), ["other"]);
    spool.save().unwrap();
    assert_eq!(files(dir.path()), Vec::<PathBuf>::new());
    drop(spool);
    let spool = open(dir.path(), 1 << 20).unwrap();
    assert_eq!(offset(&spool, 1), Some(30));
    assert!(spool.append(vec![batch("a", 1, 40, "four")]).unwrap());
    assert_eq!(drain(&spool, "a"), [(EPOCH + 2, 1, "four".to_owned())]);
}

#[test]
fn a_lost_note_of_what_is_settled_only_means_a_repeat() {
    let dir = temporary();
    let spool = open(dir.path(), 1 << 20).unwrap();
    spool.append(vec![batch("a", 1, 1, "one")]).unwrap();
    let first = drain(&spool, "a");
    drop(spool);
    let spool = open(dir.path(), 1 << 20).unwrap();
    assert_eq!(drain(&spool, "a"), first);
    // Noted with the next batch, and before a new epoch begins in any case.
    spool.append(vec![batch("a", 1, 2, "two")]).unwrap();
    drop(spool);
    let spool = open(dir.path(), 1 << 20).unwrap();
    assert_eq!(send(&spool, "a").map(|(epoch, sequence, _)| (epoch, sequence)), Some((EPOCH + 1, 1)));
    drop(spool);
    let spool = open(dir.path(), 1 << 20).unwrap();
    assert_eq!(drain(&spool, "a"), [(EPOCH + 1, 1, "two".to_owned())]);
}

#[test]
fn a_later_epoch_begins_when_the_earlier_one_is_noted_as_settled() {
    let dir = temporary();
    open(dir.path(), 1 << 20).unwrap().append(vec![batch("a", 1, 1, "one")]).unwrap();
    let spool = open(dir.path(), 1 << 20).unwrap();
    spool.append(vec![batch("a", 1, 2, "two")]).unwrap();
    let first = spool.next(&tenant("a"), 0).unwrap().unwrap();
    assert!(spool.next(&tenant("a"), first.ordinal).unwrap().is_none());
    settle(&spool, "a", first.ordinal);
    assert_eq!(send(&spool, "a").map(|(epoch, sequence, _)| (epoch, sequence)), Some((EPOCH + 1, 1)));
    drop(spool);
    assert_eq!(texts(&open(dir.path(), 1 << 20).unwrap(), "a"), ["two"]);
}

#[test]
fn a_gap_takes_the_place_and_the_number_of_a_refused_batch() {
    let dir = temporary();
    let spool = open(dir.path(), 1 << 20).unwrap();
    spool.append(vec![batch("a", 1, 1, "poison"), batch("a", 1, 2, "two")]).unwrap();
    let ordinal = spool.next(&tenant("a"), 0).unwrap().unwrap().ordinal;
    spool.give_up(&tenant("a"), ordinal, Reason::Rejected).unwrap();
    drop(spool);
    let spool = open(dir.path(), 1 << 20).unwrap();
    let (epoch, sequence, records) = send(&spool, "a").unwrap();
    assert_eq!((epoch, sequence, gap_lines(&records)), (EPOCH, 1, 1));
    assert_eq!(records.first().unwrap().source.id, SourceId(1));
    // A gap that is refused too is passed over, under new numbers.
    let ordinal = spool.next(&tenant("a"), 0).unwrap().unwrap().ordinal;
    spool.give_up(&tenant("a"), ordinal, Reason::Rejected).unwrap();
    let expected = [(EPOCH + 2, 1, "two".to_owned())];
    drop(spool);
    let spool = open(dir.path(), 1 << 20).unwrap();
    assert_eq!(drain(&spool, "a"), expected.map(|(_, s, t)| (EPOCH + 1, s, t)));
}

/// Lines that gap records say were dropped.
fn gap_lines(records: &[Record]) -> u64 {
    let figures = records.iter().filter_map(|record| {
        let attributes: serde_json::Value = serde_json::from_str(record.attributes.as_json()).ok()?;
        attributes.get(gap::ATTRIBUTE)?.get("lines")?.as_u64()
    });
    figures.sum()
}

#[test]
fn a_renewed_tenant_begins_at_one_in_a_higher_epoch_and_stays_there() {
    let dir = temporary();
    let spool = open(dir.path(), 1 << 20).unwrap();
    spool.append(vec![batch("a", 1, 1, "one"), batch("a", 1, 2, "two")]).unwrap();
    acknowledge(&spool, "a");
    spool.renew(&tenant("a"), 0).unwrap();
    drop(spool);
    let spool = open(dir.path(), 1 << 20).unwrap();
    assert_eq!(drain(&spool, "a"), [(1_795_000_000_001, 1, "two".to_owned())]);
}

#[test]
fn nothing_readable_lies_on_the_disk() {
    let dir = temporary();
    let spool = open(dir.path(), 1 << 20).unwrap();
    spool.append(vec![batch("tenant-x", 1, 1, "ein geheimes Wort")]).unwrap();
    spool.renew(&tenant("tenant-x"), 0).unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        for word in ["geheim", "tenant-x", "/var/log"] {
            assert_eq!(memchr::memmem::find(&bytes, word.as_bytes()), None, "{word}");
        }
    }
}

#[test]
fn wherever_the_end_is_torn_the_rest_is_there() {
    let dir = temporary();
    let spool = open(dir.path(), 1 << 20).unwrap();
    let sizes: Vec<u64> = (1..=4)
        .map(|n| {
            spool.append(vec![batch("a", 1, n, &format!("text {n}"))]).unwrap();
            fs::metadata(files(dir.path()).first().unwrap()).unwrap().len()
        })
        .collect();
    drop(spool);
    let whole = fs::read(files(dir.path()).first().unwrap()).unwrap();
    let name = files(dir.path()).first().unwrap().file_name().unwrap().to_owned();
    let from = usize::try_from(sizes[1]).unwrap();
    for end in (from..whole.len()).chain([0, 5, 35, 36, 71, 72]) {
        let torn = temporary();
        fs::write(torn.path().join(&name), &whole[..end]).unwrap();
        let spool = open(torn.path(), 1 << 20).unwrap();
        let kept = sizes.iter().filter(|size| **size <= end as u64).count();
        assert_eq!(offset(&spool, 1), (kept > 0).then_some(kept as u64), "cut at {end}");
        spool.append(vec![batch("a", 1, 9, "new")]).unwrap();
        drop(spool);
        let spool = open(torn.path(), 1 << 20).unwrap();
        let mut expected: Vec<_> = (1..=kept).map(|n| format!("text {n}")).collect();
        expected.push("new".to_owned());
        assert_eq!(texts(&spool, "a"), expected, "cut at {end}");
    }
}

#[test]
fn a_flipped_bit_costs_its_entry_and_no_other() {
    let dir = temporary();
    let spool = open(dir.path(), 1 << 20).unwrap();
    let mut sizes = vec![72];
    for n in 1..=3 {
        spool.append(vec![batch("a", u128::from(n), n, &format!("text {n}"))]).unwrap();
        sizes.push(usize::try_from(fs::metadata(files(dir.path()).first().unwrap()).unwrap().len()).unwrap());
    }
    drop(spool);
    let path = files(dir.path()).first().unwrap().clone();
    let whole = fs::read(&path).unwrap();
    for bit in (sizes[1] * 8..sizes[2] * 8).step_by(13) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        drop(fs::remove_file(dir.path().join("checkpoint")));
        drop(fs::remove_file(dir.path().join("0000000000000001.spool")));
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let spool = open_with(dir.path(), 1 << 20, WhenFull::Wait, &metrics).unwrap();
        assert_eq!(metrics.spool_corrupt.get(), 1, "bit {bit}");
        assert_eq!(offset(&spool, 2), None, "bit {bit} of {sizes:?}");
        let found = drain(&spool, "a");
        // The neighbours keep their numbers: what was sent of them is recognised.
        let [(EPOCH, 1, first), (EPOCH, 2, gap), (EPOCH, 3, third)] = found.as_slice() else {
            panic!("bit {bit}: {found:?}")
        };
        assert!(gap.starts_with("an unknown number of lines dropped"), "bit {bit}: {gap}");
        assert_eq!((first.as_str(), third.as_str()), ("text 1", "text 3"), "bit {bit}");
        assert_eq!(metrics.dropped_batches.with_label_values(&["corrupt"]).get(), 1);
    }
}

#[test]
fn a_full_spool_waits_for_room_and_goes_on() {
    let dir = temporary();
    let spool = Arc::new(open(dir.path(), 64 << 10).unwrap());
    // Not compressible, so that sizes are what they seem.
    let text = |n: u64| {
        let mut seed = n + 1;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'!' + u8::try_from((seed >> 33) % 90).unwrap())
        };
        (0..4000).map(|_| next()).collect::<String>()
    };
    let writer = Arc::clone(&spool);
    let written = std::thread::spawn(move || {
        for n in 0..100 {
            assert!(writer.append(vec![batch("a", 1, n, &text(n))]).unwrap());
        }
    });
    let mut taken = 0;
    while taken < 100 {
        let size: u64 = files(dir.path()).iter().filter_map(|f| fs::metadata(f).ok()).map(|m| m.len()).sum();
        assert!(size <= 64 << 10, "{size} bytes");
        if let Some(pending) = spool.next(&tenant("a"), 0).unwrap() {
            settle(&spool, "a", pending.ordinal);
            taken += 1;
        } else {
            std::thread::yield_now();
        }
    }
    written.join().unwrap();
}

#[test]
fn a_waiting_append_gives_up_when_the_spool_closes() {
    let dir = temporary();
    let spool = Arc::new(open(dir.path(), 1 << 10).unwrap());
    assert!(spool.append(vec![batch("a", 1, 1, "one")]).unwrap());
    let writer = Arc::clone(&spool);
    let waiting = std::thread::spawn(move || {
        let mut appended = true;
        while appended {
            appended = writer.append(vec![batch("a", 1, 2, "two")]).unwrap();
        }
    });
    spool.close();
    waiting.join().unwrap();
}

#[test]
fn positions_do_not_go_back_when_an_older_file_outlives_a_newer() {
    let dir = temporary();
    // Files of 16 KiB at least: a slow tenant's batch keeps the first, the fast one's go.
    let spool = open(dir.path(), 128 << 10).unwrap();
    spool.append(vec![batch("slow", 9, 1, "waits"), batch("fast", 1, 1, "x")]).unwrap();
    for n in 2..200 {
        let text = format!("{n}").repeat(100) + &"y".repeat(usize::try_from(n).unwrap());
        spool.append(vec![batch("fast", 1, n, &text)]).unwrap();
        acknowledge(&spool, "fast");
    }
    assert!(files(dir.path()).len() >= 2);
    spool.save().unwrap();
    drop(spool);
    let spool = open(dir.path(), 128 << 10).unwrap();
    assert_eq!(offset(&spool, 1), Some(199));
    assert_eq!(texts(&spool, "slow"), ["waits"]);
}
