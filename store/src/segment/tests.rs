//! Segments as a whole: what goes in comes out, and every scan answers what looking at each record answers.

mod damage;
mod differential;
mod sample;

use std::sync::Arc;

use heliograph_model::filter::{Filter, Matcher};
use heliograph_model::record::Record;
use heliograph_model::scan::{Answer, Collector, Order, Scan, Want};
use heliograph_model::time::TimeRange;
use object_store::memory::InMemory;
use uuid::Uuid;

use super::*;
use crate::layout::new_object_id;
use heliograph_model::cipher::SecretKey;

pub(super) type Committed = (CommitId, Arc<Record>);

pub(super) fn tenant() -> Arc<OpenTenant> {
    let (name, key) = (TenantId::parse("team-a").unwrap(), SecretKey::generate().unwrap());
    Arc::new(OpenTenant { name, uid: Uuid::new_v4(), key })
}

pub(super) fn meta(
    tenant: &OpenTenant,
    id: ObjectId,
    built: &Built,
    commits_through: CommitId,
) -> SegmentMeta {
    built.meta(&tenant.name, id, Uuid::nil(), (CommitId(-1), commits_through), Timestamp::default())
}

pub(super) async fn open(tenant: &Arc<OpenTenant>, meta: SegmentMeta, bytes: Bytes) -> Result<Segment> {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    objects.put(&layout::segment(tenant.uid, meta.id), bytes.into()).await.unwrap();
    Segment::open(objects, Arc::clone(tenant), meta, PageCache::new(1 << 20)).await
}

/// Records of several commits as the parts that a segment is built from.
pub(super) fn parts(records: &[Committed]) -> Vec<(CommitId, Rows)> {
    let part = |of: &[Committed]| {
        let of: Vec<Record> = of.iter().map(|(_, record)| (**record).clone()).collect();
        Rows::try_from(of.as_slice()).unwrap()
    };
    records.chunk_by(|a, b| a.0 == b.0).map(|of| (of[0].0, part(of))).collect()
}

fn refs(parts: &[(CommitId, Rows)]) -> Vec<(CommitId, &Rows)> {
    parts.iter().map(|(commit, rows)| (*commit, rows)).collect()
}

/// The bytes of a segment with blocks of about `block_bytes`.
pub(super) fn built(tenant: &OpenTenant, id: ObjectId, records: &[Committed], block_bytes: usize) -> Built {
    let frequent = row_lists::Frequent { rows_min: 3, rows_a_block: 0 };
    let shape = writer::Shape { block_bytes, frequent, ..writer::Shape::SEALED };
    writer::build_as(tenant, id, &refs(&parts(records)), shape).unwrap()
}

/// Builds and opens a segment with blocks of about `block_bytes`.
pub(super) async fn sealed(records: &[Committed], block_bytes: usize) -> Segment {
    let (tenant, id) = (tenant(), new_object_id());
    let built = built(&tenant, id, records, block_bytes);
    let newest = records.iter().map(|(commit, _)| *commit).max().unwrap();
    open(&tenant, meta(&tenant, id, &built, newest), built.bytes.clone()).await.unwrap()
}

/// The same by way of several segments, which are merged.
pub(super) async fn merged(records: &[Committed], parts: usize, block_bytes: usize) -> Segment {
    let (tenant, id) = (tenant(), new_object_id());
    let mut contents = Vec::new();
    for part in records.chunks(records.len().div_ceil(parts)) {
        let input = new_object_id();
        let built = built(&tenant, input, part, block_bytes);
        let meta = meta(&tenant, input, &built, CommitId(i64::MAX));
        let opened = open(&tenant, meta, built.bytes.clone()).await.unwrap();
        contents.extend(opened.read_back().await.unwrap());
    }
    let frequent = row_lists::Frequent { rows_min: 3, rows_a_block: 0 };
    let shape = writer::Shape { block_bytes, frequent, ..writer::Shape::MERGED };
    let built = writer::merge(&tenant, id, &contents, shape).unwrap();
    let newest = records.iter().map(|(commit, _)| *commit).max().unwrap();
    open(&tenant, meta(&tenant, id, &built, newest), built.bytes.clone()).await.unwrap()
}

pub(super) async fn scan(segment: &Segment, scan: &Scan) -> Result<(Answer, ScanStats)> {
    let matcher = Arc::new(Matcher::new(&scan.filter)?);
    let mut stats = ScanStats::default();
    let collector = segment.scan(scan, &matcher, Collector::new(scan), &mut stats).await?;
    Ok((collector.finish(), stats))
}

pub(super) fn all(want: Want) -> Scan {
    let tenant = TenantId::parse("team-a").unwrap();
    Scan {
        tenant,
        range: TimeRange::ALL,
        filter: Filter::All,
        committed_after: None,
        committed_through: None,
        want,
    }
}

pub(super) fn everything() -> Scan {
    all(Want::Records { order: Order::Asc, limit: usize::MAX, after: None })
}

async fn check_roundtrip(records: Vec<Committed>, block_bytes: usize) -> Segment {
    let segment = sealed(&records, block_bytes).await;
    let mut expected: Vec<Record> = records.iter().map(|(_, r)| (**r).clone()).collect();
    expected.sort_by_key(Record::key);
    let (answer, _) = scan(&segment, &everything()).await.unwrap();
    assert_eq!(answer, Answer::Records(expected));
    segment
}

#[tokio::test]
async fn what_goes_in_comes_out() {
    let seed = sample::seed();
    println!("seed {seed}");
    let mut random = sample::Random(seed);
    for round in 0..6 {
        let records = sample::records(&mut random, 3_000, 1 + round * 40);
        check_roundtrip(records, writer::BLOCK_BYTES >> (round * 2)).await;
    }
}

#[tokio::test]
async fn what_is_merged_comes_out_as_it_went_in() {
    let seed = sample::seed();
    println!("seed {seed}");
    let mut random = sample::Random(seed);
    for round in 1..5 {
        let mut records = sample::records(&mut random, 1_000, 1 + round * 40);
        records[0].1 = Arc::new(Record { time: Timestamp::MAX, ..(*records[0].1).clone() });
        let segment = merged(&records, round, writer::BLOCK_BYTES >> (round * 2)).await;
        let mut have: Vec<_> = Vec::new();
        for part in segment.read_back().await.unwrap() {
            have.extend(part.records().map(|(commit, record)| (commit, record.to_record())));
        }
        let mut expected: Vec<_> = records.iter().map(|(commit, r)| (*commit, (**r).clone())).collect();
        expected.sort_by_key(|(commit, r)| (r.source.id, r.position, r.time, *commit));
        assert_eq!(have, expected);
    }
}

#[tokio::test]
async fn one_record_and_one_of_a_megabyte_and_texts_at_their_bounds() {
    let mut random = sample::Random(7);
    check_roundtrip(sample::records(&mut random, 1, 1), writer::BLOCK_BYTES).await;
    let mut records = sample::records(&mut random, 50, 3);
    for (n, (_, record)) in records.iter_mut().enumerate() {
        let record = Arc::make_mut(record);
        match n % 10 {
            0 => record.message = "ä".repeat(heliograph_model::record::MESSAGE_BYTES_MAX / 2).into(),
            1 => record.message = "".into(),
            2 => record.identity.dag_id = Some("".into()),
            3 => record.identity.log_id = Some("x".repeat(heliograph_model::record::FIELD_BYTES_MAX).into()),
            4 => (record.time, record.observed) = (Timestamp::MIN, Timestamp::from_nanos(i64::MAX - 1)),
            5 => record.time = Timestamp::from_nanos(i64::MAX - 1),
            6 => (record.identity.map_index, record.identity.try_number) = (Some(i32::MIN), Some(u32::MAX)),
            _ => {}
        }
    }
    check_roundtrip(records, writer::BLOCK_BYTES).await;
}

#[tokio::test]
async fn a_hundred_thousand_sources_share_blocks() {
    let mut random = sample::Random(11);
    let records = sample::records(&mut random, 100_000, 100_000);
    let segment = check_roundtrip(records, writer::BLOCK_BYTES).await;
    assert!(segment.opened.index.blocks() < 400, "{} blocks", segment.opened.index.blocks());
}

#[test]
fn no_records_make_no_segment() {
    assert!(matches!(build(&tenant(), new_object_id(), &[]), Err(Error::Invalid(_))));
}

#[tokio::test]
async fn the_directory_answers_alone_and_limits_stop_early() {
    let mut random = sample::Random(3);
    let segment = sealed(&sample::records(&mut random, 20_000, 30), 16 << 10).await;
    let blocks = u64::from(segment.opened.index.blocks());
    assert!(blocks > 50, "{blocks}");
    for want in [
        Want::Histogram { interval_nanos: i64::MAX, by_level: true },
        Want::Values { field: heliograph_model::filter::Field::Level },
        Want::Fields,
    ] {
        let (_, stats) = scan(&segment, &all(want)).await.unwrap();
        assert_eq!(stats, ScanStats { segments: 1, blocks: 0, bytes: 0 });
    }
    let newest = all(Want::Records { order: Order::Desc, limit: 3, after: None });
    let (_, few) = scan(&segment, &newest).await.unwrap();
    let (_, whole) = scan(&segment, &everything()).await.unwrap();
    assert!(few.blocks < blocks / 2 && whole.blocks == blocks, "{few:?} {whole:?}");
    let absent = Filter::Is(
        heliograph_model::filter::Field::Message,
        heliograph_model::filter::Test::Text("nowhere".into()),
    );
    let (_, none) = scan(&segment, &Scan { filter: absent, ..everything() }).await.unwrap();
    assert_eq!(none.blocks, 0);
    // Counting by time reads no text: a small part of the segment's bytes.
    let (_, counted) =
        scan(&segment, &all(Want::Histogram { interval_nanos: 1, by_level: true })).await.unwrap();
    assert!(counted.blocks == blocks && counted.bytes * 3 < whole.bytes, "{counted:?} {whole:?}");
}

#[tokio::test]
async fn a_count_of_a_frequent_word_reads_its_list_and_no_message() {
    use heliograph_model::filter::{Field, Test};
    let mut random = sample::Random(13);
    let mut records = sample::records(&mut random, 2_000, 20);
    for (n, (_, record)) in records.iter_mut().enumerate() {
        // A variable of a template, a part of one, and a word of a message that is kept whole.
        let message = match n % 5 {
            0 => format!("user=blue took {n} ms"),
            1 => format!("user=red took {n} ms"),
            2 => format!("blue user={n}"),
            3 => format!("said\u{11} {n} blue or not"),
            _ => format!("nothing of {n}"),
        };
        Arc::make_mut(record).message = message.into();
    }
    let segment = sealed(&records, 4 << 10).await;
    let word = |want| Scan { filter: Filter::Is(Field::Message, Test::Text("Blue".into())), ..all(want) };
    let count = word(Want::Histogram { interval_nanos: i64::MAX, by_level: false });
    // What is not in memory is not waited for.
    assert_eq!(segment.glance(&count).unwrap(), None);
    let page = segment.opened.index.row_list(0).unwrap().stored;
    let blocks = u64::from(segment.opened.index.blocks());
    let counted = |answer: Answer| match answer {
        Answer::Histogram(histogram) => histogram.buckets.values().flatten().sum::<u64>(),
        other => panic!("{other:?}"),
    };
    for bytes in [page.into(), 0] {
        let (answer, stats) = scan(&segment, &count).await.unwrap();
        assert_eq!((counted(answer), stats.blocks), (1_200, 0));
        assert!(stats.bytes <= bytes, "{stats:?}");
    }
    assert_eq!(segment.glance(&count).unwrap().map(counted), Some(1_200));
    // By time the columns are read, too.
    let fine = word(Want::Histogram { interval_nanos: 1, by_level: true });
    let (answer, stats) = scan(&segment, &fine).await.unwrap();
    let explained = segment.explain(&fine).await.unwrap();
    assert_eq!((counted(answer), stats.blocks), (1_200, blocks));
    let entries = segment.opened.index.entries();
    let columns = entries.iter().map(|e| u64::from(e.page(directory::Group::Columns).stored)).sum::<u64>();
    assert_eq!((explained.read, explained.bytes), (blocks, columns));
}
