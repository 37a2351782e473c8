//! The spool over its budget.

use super::*;

/// Text that does not compress, so that sizes are what they seem.
pub(super) fn noise(seed: u64, bytes: usize) -> String {
    let mut seed = seed + 1;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'!' + u8::try_from((seed >> 33) % 90).unwrap())
    };
    (0..bytes).map(|_| next()).collect()
}

pub(super) const AT_ONCE: WhenFull = WhenFull::DropOldest { patience: Duration::ZERO };

/// A batch of one record, whose time and place are its number.
pub(super) fn numbered(name: &str, source: u128, number: u64, bytes: usize) -> Gathered {
    let mut made = batch(name, source, number + 1, &format!("{number} {}", noise(number, bytes)));
    for record in &mut made.records {
        record.time = Timestamp::from_nanos(i64::try_from(number).unwrap());
        record.position = Position(number);
    }
    made
}

/// What a tenant's indexer gets.
#[derive(Default)]
struct Received {
    /// By source: the numbers of lines, in order.
    lines: BTreeMap<u128, Vec<u64>>,
    /// By source: how many lines gaps say, from where to where.
    gaps: BTreeMap<u128, Vec<(u64, i64, i64)>>,
}

fn receive(spool: &Spool, name: &str) -> Received {
    let mut received = Received::default();
    while let Some((_, _, records)) = send(spool, name) {
        for record in records {
            let source = record.source.id.0;
            let attributes: serde_json::Value =
                serde_json::from_str(record.attributes.as_json()).unwrap_or_default();
            match attributes.get(gap::ATTRIBUTE) {
                None => {
                    let number = record.message.split(' ').next().unwrap().parse().unwrap();
                    received.lines.entry(source).or_default().push(number);
                }
                Some(figures) => {
                    let figures: gap::Figures = serde_json::from_value(figures.clone()).unwrap();
                    let gap = (figures.lines, figures.from.as_nanos(), figures.to.as_nanos());
                    received.gaps.entry(source).or_default().push(gap);
                }
            }
        }
        acknowledge(spool, name);
    }
    received
}

fn size(dir: &Path) -> u64 {
    files(dir).iter().map(|file| fs::metadata(file).unwrap().len()).sum()
}

#[test]
fn the_noisy_tenants_oldest_lines_go_counted_and_the_quiet_one_stays_whole() {
    const BUDGET: u64 = 512 << 10;
    const LINES: u64 = 1500;
    let dir = temporary();
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let mut spool = open_with(dir.path(), BUDGET, AT_ONCE, &metrics).unwrap();
    for number in 0..LINES {
        // Eight times the budget, with a restart in the middle.
        spool.append(vec![numbered("noisy", u128::from(number % 3), number, 3000)]).unwrap();
        if number % 50 == 0 {
            spool.append(vec![numbered("quiet", 9, number, 100)]).unwrap();
        }
        if number == LINES / 2 {
            drop(spool);
            spool = open_with(dir.path(), BUDGET, AT_ONCE, &metrics).unwrap();
        }
        assert!(size(dir.path()) <= BUDGET, "{} bytes at {number}", size(dir.path()));
    }
    let quiet = receive(&spool, "quiet");
    assert_eq!(quiet.lines[&9], (0..LINES).step_by(50).collect::<Vec<_>>());
    assert!(quiet.gaps.is_empty());
    let noisy = receive(&spool, "noisy");
    let mut dropped = 0;
    for source in 0..3 {
        let (lines, gaps) = (&noisy.lines[&source], &noisy.gaps[&source]);
        let whole: Vec<u64> = (0..LINES).filter(|n| u128::from(n % 3) == source).collect();
        // What is there is the newest, and the gap is exactly the rest.
        let (missing, kept) = whole.split_at(whole.len() - lines.len());
        assert_eq!(lines, kept);
        // One for each life: what was spooled in one is sent in its epoch.
        let [(before, from, _), (after, _, to)] = gaps.as_slice() else { panic!("two gaps, not {gaps:?}") };
        let (first, last) = (*missing.first().unwrap(), *missing.last().unwrap());
        assert_eq!((before + after, *from), (missing.len() as u64, first.cast_signed()));
        assert_eq!(*to, last.cast_signed());
        dropped += before + after;
    }
    assert!(dropped > LINES / 2 && dropped < LINES, "{dropped}");
    assert_eq!(metrics.dropped.with_label_values(&["spool_full"]).get(), dropped);
    assert_eq!(offset(&spool, 2), Some(LINES));
}

#[test]
fn what_was_handed_out_is_not_dropped() {
    let dir = temporary();
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let spool = open_with(dir.path(), 128 << 10, AT_ONCE, &metrics).unwrap();
    spool.append(vec![numbered("a", 1, 0, 3000)]).unwrap();
    let pending = spool.next(&tenant("a"), 0).unwrap().unwrap();
    for number in 1..200 {
        spool.append(vec![numbered("a", 1, number, 3000)]).unwrap();
    }
    assert_eq!(spool.load(&pending).unwrap().len() as u64 / 1000, 2);
    let received = receive(&spool, "a");
    assert_eq!(received.lines[&1].first(), Some(&0));
    let gaps: u64 = received.gaps[&1].iter().map(|(lines, ..)| lines).sum();
    assert_eq!(gaps + received.lines[&1].len() as u64, 200);
}

#[test]
fn equal_tenants_lose_equally() {
    let dir = temporary();
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let spool = open_with(dir.path(), 1 << 20, AT_ONCE, &metrics).unwrap();
    let names: Vec<_> = (0..5).map(|n| format!("t{n}")).collect();
    for number in 0..300 {
        for name in &names {
            spool.append(vec![numbered(name, 1, number, 2000)]).unwrap();
        }
    }
    for name in &names {
        let received = receive(&spool, name);
        let (kept, gaps) = (received.lines[&1].len() as u64, &received.gaps[&1]);
        assert_eq!(kept + gaps.iter().map(|(lines, ..)| lines).sum::<u64>(), 300);
        assert!((40..110).contains(&kept), "{name} has {kept}");
    }
}

#[test]
fn a_spool_that_waits_drops_nothing_and_one_that_is_patient_waits_first() {
    let dir = temporary();
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let patient = WhenFull::DropOldest { patience: Duration::from_secs(3600) };
    let spool = Arc::new(open_with(dir.path(), 64 << 10, patient, &metrics).unwrap());
    let writer = Arc::clone(&spool);
    let written = std::thread::spawn(move || {
        (0..100).all(|number| writer.append(vec![numbered("a", 1, number, 3000)]).unwrap())
    });
    let mut lines: Vec<u64> = vec![];
    while lines.len() < 100 {
        let received = receive(&spool, "a");
        assert!(received.gaps.is_empty());
        lines.extend(received.lines.get(&1).into_iter().flatten());
        std::thread::yield_now();
    }
    assert!(written.join().unwrap());
    assert_eq!(lines, (0..100).collect::<Vec<_>>());
}

#[test]
fn room_held_by_a_tenant_that_stands_still_is_used_again() {
    let dir = temporary();
    // "still" has a batch in every file; "busy" is acknowledged at once.
    let spool = open(dir.path(), 256 << 10).unwrap();
    for number in 0..400 {
        spool.append(vec![numbered("busy", 1, number, 3000)]).unwrap();
        acknowledge(&spool, "busy");
        if number % 4 == 0 {
            spool.append(vec![numbered("still", 2, number, 200)]).unwrap();
        }
    }
    drop(spool);
    let spool = open(dir.path(), 256 << 10).unwrap();
    assert_eq!(offset(&spool, 1), Some(400));
    assert_eq!(receive(&spool, "still").lines[&2], (0..400).step_by(4).collect::<Vec<_>>());
    assert!(receive(&spool, "busy").lines.len() <= 1);
}
