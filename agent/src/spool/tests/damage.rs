//! What a disk may do to files that were whole: it always opens, and what is lost is said.

use super::overrun::{noise, numbered};
use super::*;

/// A spool of some files: batch n of source n, line n.
fn many(dir: &Path, batches: u64) {
    let spool = open(dir, 128 << 10).unwrap();
    for number in 0..batches {
        spool.append(vec![numbered("a", u128::from(number), number, 1000)]).unwrap();
    }
}

/// The numbers of the lines that are sent, and how many batches gaps of unknown size say.
fn lines(spool: &Spool) -> (Vec<u64>, usize) {
    let (mut lines, mut gaps) = (vec![], 0);
    for (_, _, text) in drain(spool, "a") {
        match text.split_once(' ').map(|(number, _)| number.parse()) {
            Some(Ok(number)) => lines.push(number),
            _ => gaps += usize::from(text.contains("lines dropped")),
        }
    }
    (lines, gaps)
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = temporary();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.path().join(path.file_name().unwrap())).unwrap();
    }
    to
}

#[test]
fn any_flipped_bit_costs_one_batch_at_most_and_is_reported() {
    let dir = temporary();
    many(dir.path(), 12);
    let [file] = &files(dir.path())[..] else { panic!("one file") };
    let bytes = fs::read(file).unwrap();
    let mut random = u64::from(std::process::id());
    println!("seed {random}");
    for round in 0..1000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bit = usize::try_from(random >> 16).unwrap() % (bytes.len() * 8);
        let damaged = temporary();
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(damaged.path().join(file.file_name().unwrap()), flipped).unwrap();
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let spool = open_with(damaged.path(), 128 << 10, WhenFull::Wait, &metrics).unwrap();
        let (found, gaps) = lines(&spool);
        let lost: Vec<u64> = (0..12).filter(|n| !found.contains(n)).collect();
        assert!(found.is_sorted() && lost.len() <= 1, "round {round}, bit {bit}: {found:?}");
        // The last batch of a file cannot be told from one that was never written whole: its lines are read
        // again, for its positions are lost with it.
        let last = lost == [11];
        assert!(last || gaps == lost.len(), "round {round}, bit {bit}: {lost:?} lost, {gaps} gaps");
        assert!(last || metrics.spool_corrupt.get() == gaps as u64, "round {round}, bit {bit}");
        for number in lost {
            assert_eq!(offset(&spool, u128::from(number)), None);
        }
    }
}

#[test]
fn zeros_at_the_end_are_no_batches() {
    let dir = temporary();
    many(dir.path(), 5);
    for zeros in [1, 15, 16, 4096, 100_000] {
        let damaged = copy(dir.path());
        let [file] = &files(damaged.path())[..] else { panic!("one file") };
        let mut bytes = fs::read(file).unwrap();
        bytes.resize(bytes.len() + zeros, 0);
        fs::write(file, &bytes).unwrap();
        assert_eq!(lines(&open(damaged.path(), 128 << 10).unwrap()), ((0..5).collect(), 0), "{zeros} zeros");
        // As a file system may leave a tail that it had no time to write.
        let len = bytes.len() - zeros;
        bytes[len - 700..].fill(0);
        fs::write(file, &bytes).unwrap();
        let alone = copy_of(file);
        let spool = open(alone.path(), 128 << 10).unwrap();
        assert_eq!(lines(&spool), ((0..4).collect(), 0), "{zeros} zeros");
        assert_eq!(offset(&spool, 4), None);
    }
}

/// A directory with only this file.
fn copy_of(file: &Path) -> tempfile::TempDir {
    let to = temporary();
    fs::copy(file, to.path().join(file.file_name().unwrap())).unwrap();
    to
}

#[test]
fn a_missing_file_is_a_gap_and_its_neighbours_are_whole() {
    let dir = temporary();
    many(dir.path(), 60);
    let all = files(dir.path());
    assert!(all.len() >= 3);
    for (n, file) in all.iter().enumerate() {
        let damaged = copy(dir.path());
        fs::remove_file(damaged.path().join(file.file_name().unwrap())).unwrap();
        let spool = open(damaged.path(), 128 << 10).unwrap();
        spool.append(vec![numbered("a", 99, 99, 10)]).unwrap();
        let sent = drain(&spool, "a");
        let newest = n + 1 == all.len();
        // Of the newest nothing tells that it was there; its lines are read again, and take no old numbers.
        let gaps = sent.iter().filter(|(_, _, text)| text.starts_with("an unknown number of lines")).count();
        assert_eq!(gaps, usize::from(!newest), "without {}", file.display());
        assert_eq!(sent.last().map(|(epoch, sequence, _)| (*epoch, *sequence)), Some((EPOCH + 1, 1)));
        let of_first_life = sent.iter().filter(|(epoch, ..)| *epoch == EPOCH);
        let sequences: Vec<_> = of_first_life.map(|(_, sequence, _)| *sequence).collect();
        assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
        assert!(newest || sequences.len() == 60, "numbers stay: {sequences:?}");
    }
}

#[test]
fn a_stale_checkpoint_opens_and_no_number_is_used_twice() {
    let dir = temporary();
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let open_after = |millis| open_at(millis, dir.path(), 128 << 10, WhenFull::Wait, &metrics).unwrap();
    let spool = open_after(0);
    spool.append(vec![batch("a", 1, 1, "one"), batch("a", 1, 2, "two")]).unwrap();
    let first = drain(&spool, "a");
    spool.save().unwrap();
    drop(spool);
    let stale = fs::read(dir.path().join("checkpoint")).unwrap();
    let spool = open_after(5);
    spool.append(vec![batch("a", 1, 3, "three"), batch("a", 1, 4, &noise(1, 100))]).unwrap();
    let second = drain(&spool, "a");
    spool.save().unwrap();
    drop(spool);
    fs::write(dir.path().join("checkpoint"), stale).unwrap();
    let spool = open_after(10);
    // What is not known any more is read again, and is another batch.
    assert_eq!(offset(&spool, 1), Some(2));
    spool.append(vec![batch("a", 1, 3, "three")]).unwrap();
    let third = drain(&spool, "a");
    let epochs: Vec<_> = [first, second, third].iter().map(|sent| sent[0].0 - EPOCH).collect();
    assert_eq!(epochs, [0, 5, 10]);
    // And one that is gone altogether: what is settled is sent again under its numbers, as far as it is there.
    drop(spool);
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    let spool = open_after(15);
    let sent: Vec<_> = drain(&spool, "a").into_iter().map(|(epoch, _, _)| epoch - EPOCH).collect();
    assert!(sent.iter().all(|epoch| *epoch <= 10), "{sent:?}");
}

#[test]
fn a_batch_that_rots_while_it_waits_is_a_gap_of_known_size() {
    let dir = temporary();
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let spool = open_with(dir.path(), 128 << 10, WhenFull::Wait, &metrics).unwrap();
    for number in 0..3 {
        spool.append(vec![numbered("a", 1, number, 1000)]).unwrap();
    }
    let [file] = &files(dir.path())[..] else { panic!("one file") };
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
    acknowledge(&spool, "a");
    let pending = spool.next(&tenant("a"), 0).unwrap().unwrap();
    assert!(matches!(spool.load(&pending), Err(Error::Corrupt { .. })));
    spool.give_up(&tenant("a"), pending.ordinal, Reason::Corrupt).unwrap();
    let (_, sequence, records) = send(&spool, "a").unwrap();
    assert_eq!((sequence, gap_lines(&records)), (2, 1));
    assert_eq!(records.first().unwrap().source.id, SourceId(u128::MAX), "in the agent's own source");
    acknowledge(&spool, "a");
    assert_eq!(lines(&spool), (vec![2], 0));
    assert_eq!((metrics.spool_corrupt.get(), metrics.dropped.with_label_values(&["corrupt"]).get()), (1, 1));
}
