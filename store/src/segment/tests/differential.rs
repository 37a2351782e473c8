//! Random scans of random segments, sealed and merged, against looking at every record.

use heliograph_model::filter::Matcher;
use heliograph_model::scan::{Answer, Collector, Scan};
use tokio::task::JoinSet;

use super::{Committed, ScanStats, merged, sample, scan, sealed};

/// The seed of a run to repeat, as a failure prints it; with `None` each run has a new one.
const SEED: Option<u64> = None;
/// Segments, and the scans of each: over twenty thousand cases.
const SEGMENTS: u64 = 104;
const SCANS: u64 = 240;

/// The answer without index or segment; `None` where the filter is refused.
fn by_looking(records: &[Committed], scan: &Scan) -> Option<Answer> {
    let matcher = Matcher::new(&scan.filter).ok()?;
    let mut collector = Collector::new(scan);
    for (commit, record) in records {
        let is_meant =
            scan.range.contains(record.time) && scan.has_commit(*commit) && matcher.matches(&**record);
        if is_meant {
            collector.offer(record.key(), &**record, || (**record).clone());
        }
    }
    Some(collector.finish())
}

/// Compares scans of one segment, which has the seed of its own.
async fn compare(seed: u64) -> (u64, ScanStats) {
    let mut random = sample::Random(seed);
    let most = random.pick(&[20, 60, 60, 150, 500]);
    let count = usize::try_from(1 + random.below(most)).unwrap();
    let sources = usize::try_from(1 + random.below(30)).unwrap().min(count);
    let records = sample::records(&mut random, count, sources);
    // A record a block is dear where there are many.
    let least = if count > 100 { 512 } else { 1 };
    let block_bytes = random.pick(&[least, 1 << 10, 4 << 10, 256 << 10]);
    let segment = match random.below(3) {
        0 => merged(&records, 1 + usize::try_from(random.below(5)).unwrap(), block_bytes).await,
        _ => sealed(&records, block_bytes).await,
    };
    let (mut compared, mut total) = (0, ScanStats::default());
    for n in 0..SCANS {
        let asked = sample::scan(&mut random, &records);
        let Some(expected) = by_looking(&records, &asked) else { continue };
        let (answer, stats) = scan(&segment, &asked).await.unwrap();
        assert!(
            answer == expected,
            "SEED = Some({seed}), scan {n} of {count} records: {asked:?}\n{}",
            first_difference(&answer, &expected)
        );
        compared += 1;
        total.blocks += stats.blocks;
        total.segments += u64::from(segment.opened.index.blocks());
    }
    (compared, total)
}

/// The place at which two answers part.
fn first_difference(answer: &Answer, expected: &Answer) -> String {
    let (Answer::Records(have), Answer::Records(wanted)) = (answer, expected) else {
        return format!("expected {expected:?}\nhave     {answer:?}");
    };
    let at = have.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    let lengths = format!("{} records instead of {}", have.len(), wanted.len());
    format!("{lengths}; record {at}:\nexpected {:?}\nhave     {:?}", wanted.get(at), have.get(at))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scan_answers_what_looking_at_each_record_answers() {
    let seed = SEED.unwrap_or_else(sample::seed);
    println!("seed {seed}");
    let mut running = JoinSet::new();
    for n in 0..SEGMENTS {
        running.spawn(compare(seed.wrapping_add(n)));
    }
    let (mut compared, mut read, mut there) = (0, 0, 0);
    while let Some(done) = running.join_next().await {
        let (cases, stats) = done.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
        compared += cases;
        (read, there) = (read + stats.blocks, there + stats.segments);
    }
    println!("{compared} scans, {read} of {there} blocks read");
    assert!(compared > SEGMENTS * SCANS * 3 / 4, "only {compared} scans were compared");
}
