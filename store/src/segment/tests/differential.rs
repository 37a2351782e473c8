//! Random scans of random segments against looking at every record.

use heliograph_model::filter::Matcher;
use heliograph_model::scan::{Answer, Collector, Scan};

use super::{Committed, ScanStats, sample, scan, sealed};

/// Segments times scans: a few thousand cases.
const SEGMENTS: u64 = 40;
const SCANS: u64 = 100;

/// The answer without index or segment; `None` where the filter is refused.
fn by_looking(records: &[Committed], scan: &Scan) -> Option<Answer> {
    let matcher = Matcher::new(&scan.filter).ok()?;
    let mut collector = Collector::new(scan);
    for (commit, record) in records {
        let is_meant = scan.range.contains(record.time)
            && scan.committed_after.is_none_or(|after| *commit > after)
            && matcher.matches(&**record);
        if is_meant {
            collector.offer(record.key(), &**record, || (**record).clone());
        }
    }
    Some(collector.finish())
}

async fn compare(seed: u64) -> (u64, ScanStats) {
    let mut random = sample::Random(seed);
    let count = usize::try_from(1 + random.below(600)).unwrap();
    let sources = usize::try_from(1 + random.below(30)).unwrap().min(count);
    let records = sample::records(&mut random, count, sources);
    let block_bytes = random.pick(&[1, 1 << 10, 4 << 10, 256 << 10]);
    let segment = sealed(&records, block_bytes).await;
    let (mut compared, mut total) = (0, ScanStats::default());
    for n in 0..SCANS {
        let asked = sample::scan(&mut random, &records);
        let Some(expected) = by_looking(&records, &asked) else { continue };
        let (answer, stats) = scan(&segment, &asked).await.unwrap();
        assert!(
            answer == expected,
            "seed {seed}, scan {n}: {asked:?}\nexpected {expected:?}\nhave {answer:?}"
        );
        compared += 1;
        total.blocks += stats.blocks;
        total.segments += u64::from(segment.index.blocks());
    }
    (compared, total)
}

#[tokio::test]
async fn every_scan_answers_what_looking_at_each_record_answers() {
    let seed = sample::seed();
    println!("seed {seed}");
    let (mut compared, mut read, mut there) = (0, 0, 0);
    for n in 0..SEGMENTS {
        let (cases, stats) = compare(seed.wrapping_add(n)).await;
        compared += cases;
        (read, there) = (read + stats.blocks, there + stats.segments);
    }
    println!("{compared} scans, {read} of {there} blocks read");
    assert!(compared > SEGMENTS * SCANS / 2, "only {compared} scans were compared");
}
