//! A damaged checkpoint: nothing that waits is lost, nothing false is said, and what may be doubled is.

use super::overrun::numbered;
use super::*;

fn opened(dir: &Path) -> (Spool, Metrics) {
    let metrics = Metrics::new(&Registry::new()).unwrap();
    // Later than what was written before.
    (open_at(10, dir, 128 << 10, WhenFull::Wait, &metrics).unwrap(), metrics)
}

/// A spool that has freed files in the middle. Of the tenant "a" the last of 60 batches wait in the newest file, of
/// "slow" its only one in the oldest. Of four of "b" the last waits in an old file; the oldest holds the first still,
/// and that three are settled is nowhere but in the checkpoint. So is the position of source 3.
fn worn(dir: &Path) {
    let spool = open(dir, 128 << 10).unwrap();
    spool.append(vec![batch("slow", 2, 5, "waits"), numbered("b", 4, 0, 10)]).unwrap();
    for number in 0..60 {
        spool.append(vec![numbered("a", 1, number, 3000)]).unwrap();
        if number < 55 {
            acknowledge(&spool, "a");
        }
        if [8, 16, 24].contains(&number) {
            spool.append(vec![numbered("b", 4, number, 10)]).unwrap();
        }
        if number == 30 {
            spool.append(vec![batch("done", 3, 7, "done")]).unwrap();
            acknowledge(&spool, "done");
            (0..3).for_each(|_| acknowledge(&spool, "b"));
        }
    }
    assert_eq!(offset(&spool, 3), Some(7));
    let serials: Vec<_> = segment_files(dir).unwrap().into_keys().collect();
    assert!(serials.first() == Some(&0) && serials.last() > Some(&(serials.len() as u64)), "{serials:?}");
}

fn damage(dir: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let path = dir.join("checkpoint");
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    bytes
}

fn numbers(sent: &[(u64, u64, String)]) -> Vec<u64> {
    sent.iter().map(|(_, _, text)| text.split_once(' ').unwrap().0.parse().unwrap()).collect()
}

#[test]
fn a_spool_with_a_damaged_checkpoint_goes_on_and_says_so() {
    let changes: [fn(&mut Vec<u8>); 5] = [
        |bytes| *bytes.last_mut().unwrap() ^= 1,
        |bytes| bytes[0] ^= 1,
        |bytes| bytes.truncate(40),
        |bytes| bytes.clear(),
        |bytes| bytes.fill(0),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let dir = temporary();
        worn(dir.path());
        let damaged = damage(dir.path(), change);
        let (spool, metrics) = opened(dir.path());
        assert_eq!(metrics.checkpoints_damaged.get(), 1, "change {n}");
        assert_eq!(fs::read(dir.path().join("checkpoint.damaged")).unwrap(), damaged);
        // What only the checkpoint knew is read anew.
        assert_eq!((offset(&spool, 1), offset(&spool, 2), offset(&spool, 3)), (Some(60), Some(5), None));
        assert_eq!(texts(&spool, "slow"), ["waits"], "change {n}");
        // How far "a" is settled was noted behind it: its numbers stay, and what was sent is recognised.
        let sent = drain(&spool, "a");
        let sequences: Vec<_> = sent.iter().map(|(epoch, sequence, _)| (*epoch, *sequence)).collect();
        assert_eq!(sequences, [56, 57, 58, 59, 60].map(|sequence| (EPOCH, sequence)), "change {n}");
        assert_eq!(numbers(&sent), [55, 56, 57, 58, 59]);
        // Of "b" it follows from what is missing, and no indexer has seen the epoch in which it goes on.
        let sent = drain(&spool, "b");
        assert_eq!((numbers(&sent), sent[0].0, sent[0].1), (vec![24], EPOCH + 10, 1), "change {n}");
        assert_eq!(metrics.dropped_batches.with_label_values(&["corrupt"]).get(), 0, "no false gap");
        spool.append(vec![numbered("a", 1, 60, 100)]).unwrap();
        drop(spool);
        // Once is enough.
        let (spool, metrics) = opened(dir.path());
        assert_eq!(metrics.checkpoints_damaged.get(), 0, "change {n}");
        assert_eq!((offset(&spool, 1), numbers(&drain(&spool, "a"))), (Some(61), vec![60]));
    }
}

#[test]
fn a_crash_while_a_damaged_checkpoint_is_replaced_changes_nothing() {
    let dir = temporary();
    worn(dir.path());
    let damaged = damage(dir.path(), |bytes| *bytes.last_mut().unwrap() ^= 1);
    let (spool, _) = opened(dir.path());
    drop(spool);
    // As if the new one had not come to the disk, but what was set aside had.
    fs::write(dir.path().join("checkpoint"), damaged).unwrap();
    let (spool, metrics) = opened(dir.path());
    assert_eq!(metrics.checkpoints_damaged.get(), 1);
    assert!(numbers(&drain(&spool, "a")).ends_with(&[55, 56, 57, 58, 59]));
    assert_eq!(metrics.dropped_batches.with_label_values(&["corrupt"]).get(), 0);
}

#[test]
fn where_other_files_are_damaged_too_what_is_missing_is_a_gap() {
    let dir = temporary();
    worn(dir.path());
    damage(dir.path(), |bytes| bytes.clear());
    let newest = files(dir.path()).last().unwrap().clone();
    let mut bytes = fs::read(&newest).unwrap();
    bytes[200] ^= 1;
    fs::write(&newest, bytes).unwrap();
    let (spool, metrics) = opened(dir.path());
    assert_eq!((metrics.checkpoints_damaged.get(), metrics.spool_corrupt.get()), (1, 1));
    assert!(metrics.dropped_batches.with_label_values(&["corrupt"]).get() > 0);
    let sent = texts(&spool, "b");
    assert!(sent.first().unwrap().starts_with("0 ") && sent.last().unwrap().starts_with("24 "), "{sent:?}");
    assert!(sent.iter().any(|text| text.starts_with("an unknown number of lines dropped")), "{sent:?}");
}

#[test]
fn a_checkpoint_of_another_version_is_not_damaged() {
    let dir = temporary();
    worn(dir.path());
    let newer = damage(dir.path(), |bytes| bytes[6] += 1);
    let error = open(dir.path(), 128 << 10).map(|_| ()).unwrap_err().to_string();
    assert!(error.ends_with("checkpoint is corrupt: it is of no known version"), "{error}");
    assert_eq!(fs::read(dir.path().join("checkpoint")).unwrap(), newer);
}

#[test]
fn with_another_key_the_spool_does_not_open_and_stays_as_it_is() {
    let dir = temporary();
    worn(dir.path());
    let content = || -> Vec<_> {
        files(dir.path())
            .iter()
            .chain([&dir.path().join("checkpoint")])
            .map(|p| fs::read(p).unwrap())
            .collect()
    };
    let before = content();
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let limits = Limits { bytes_max: 128 << 10, when_full: WhenFull::Wait };
    let (key, clock) = (SecretKey::from_bytes([8; 32]), Arc::new(Fixed(0)));
    let opened = Spool::open(dir.path(), key, limits, Source::default(), clock, metrics);
    let error = opened.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("opens with this spool.key"), "{error}");
    assert_eq!(content(), before);
    assert_eq!(texts(&open(dir.path(), 128 << 10).unwrap(), "slow"), ["waits"]);
}
