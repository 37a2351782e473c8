//! What each step of a record's way costs by itself: `cargo bench -p heliograph-benches`. Every step works on the
//! whole sample, so that its throughput is in bytes of messages and in bytes that they would be as NDJSON.

#[path = "micro/throughput.rs"]
mod throughput;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::Measurement;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};
use heliograph_benches::sample::Sample;
use heliograph_model::cipher::SecretKey;
use heliograph_model::codec;
use heliograph_model::filter::{Field, Filter, Matcher, Test};
use heliograph_model::redact::Redactor;
use heliograph_model::rows::Rows;
use heliograph_model::scan::{Answer, Collector, CommitId, Order, Scan, Want};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use heliograph_model::token::for_each_token;
use heliograph_store::catalog::SegmentMeta;
use heliograph_store::layout;
use heliograph_store::segment::{self, PageCache, ScanStats, Segment};
use heliograph_store::tenants::OpenTenant;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tokio::runtime::Runtime;
use uuid::Uuid;

use throughput::BothBytes;

/// One tenant's documents as NDJSON.
const SAMPLE_BYTES: u64 = 32 << 20;
/// The same where everything is only tried once.
const TRIED_BYTES: u64 = 1 << 20;
/// More than a batch ever is.
const EXPANDED_BYTES_MAX: usize = 64 << 20;
/// As agents compress.
const ZSTD_LEVEL: i32 = 1;
const FIVE_MINUTES: i64 = 5 * 60 * 1_000_000_000;
/// Longer than the sample's times, so that a histogram is a count.
const EVER: i64 = i64::MAX;

fn main() -> anyhow::Result<()> {
    // Only `cargo bench` says so; otherwise criterion tries each once and measures nothing.
    let is_measured = std::env::args().any(|arg| arg == "--bench");
    let bytes = if is_measured { SAMPLE_BYTES } else { TRIED_BYTES };
    let input = Input::new(Sample::make(1, bytes, 1)?)?;
    // A step takes milliseconds to seconds and varies little: ten times tell enough.
    let mut criterion = Criterion::default()
        .with_measurement(BothBytes)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .without_plots()
        .configure_from_args();
    wire(&mut criterion, &input)?;
    sealed(&mut criterion, &input)?;
    criterion.final_summary();
    Ok(())
}

/// The sample at each stage of its way.
struct Input {
    sample: Sample,
    /// Expanded batches.
    plain: Vec<Vec<u8>>,
    rows: Vec<Rows>,
    tenant: Arc<OpenTenant>,
}

impl Input {
    fn new(sample: Sample) -> anyhow::Result<Self> {
        let expand = |body: &[u8]| codec::decompress(body, EXPANDED_BYTES_MAX);
        let plain = sample.batches.iter().map(|b| expand(&b.body)).collect::<Result<Vec<_>, _>>()?;
        let rows = plain.iter().map(|plain| codec::decode(plain)).collect::<Result<Vec<_>, _>>()?;
        let (name, uid) = (TenantId::parse("bench")?, Uuid::new_v4());
        let tenant = Arc::new(OpenTenant { name, uid, key: SecretKey::generate()? });
        Ok(Self { sample, plain, rows, tenant })
    }

    fn parts(&self) -> Vec<(CommitId, &Rows)> {
        (1..).map(CommitId).zip(&self.rows).collect()
    }

    fn group<'a, M: Measurement>(
        &self,
        criterion: &'a mut Criterion<M>,
        name: &str,
    ) -> BenchmarkGroup<'a, M> {
        let (elements, bytes) = (self.sample.message_bytes, self.sample.document_bytes);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::ElementsAndBytes { elements, bytes });
        group.sampling_mode(SamplingMode::Flat);
        group
    }

    /// What is asked of rows in memory and of the segment.
    fn questions(&self) -> [(&'static str, Scan); 4] {
        let word = |text: &str| Filter::Is(Field::Message, Test::Text(text.to_owned()));
        let scan = |filter, want| {
            let tenant = self.tenant.name.clone();
            Scan {
                tenant,
                range: TimeRange::ALL,
                filter,
                committed_after: None,
                committed_through: None,
                want,
            }
        };
        let latest = || Want::Records { order: Order::Desc, limit: 100, after: None };
        let histogram = |interval_nanos| Want::Histogram { interval_nanos, by_level: false };
        let common = || word(self.sample.common);
        [
            ("needle", scan(word(&self.sample.needle), latest())),
            ("common word, latest 100", scan(common(), latest())),
            ("count of a common word", scan(common(), histogram(EVER))),
            ("histogram of all, 5 min", scan(Filter::All, histogram(FIVE_MINUTES))),
        ]
    }
}

/// Words, and the wire's forms.
fn wire(criterion: &mut Criterion<BothBytes>, input: &Input) -> anyhow::Result<()> {
    let redactor = Redactor::new(&BTreeSet::new(), Vec::new())?;
    let redacted = |rows: &Rows| redactor.redact(&input.tenant.name, rows);
    for rows in &input.rows {
        anyhow::ensure!(redacted(rows)?.is_none(), "the sample has no secrets");
    }
    let mut group = input.group(criterion, "wire");
    group.bench_function("tokenise", |b| {
        b.iter(|| {
            let (mut scratch, mut letters) = (String::new(), 0);
            for record in input.rows.iter().flat_map(Rows::iter) {
                for_each_token(record.message, &mut scratch, |token| letters += token.len());
            }
            letters
        });
    });
    group.bench_function("zstd decompress", |b| {
        b.iter(|| {
            for batch in &input.sample.batches {
                drop(black_box(codec::decompress(&batch.body, EXPANDED_BYTES_MAX)));
            }
        });
    });
    group.bench_function("zstd compress", |b| {
        b.iter(|| {
            for plain in &input.plain {
                drop(black_box(codec::compress(plain, ZSTD_LEVEL)));
            }
        });
    });
    group.bench_function("decode", |b| {
        b.iter(|| {
            for plain in &input.plain {
                drop(black_box(codec::decode(plain)));
            }
        });
    });
    // By how much it lengthens the step before, which is what a batch of an agent costs otherwise.
    group.bench_function("redact", |b| {
        b.iter(|| {
            for rows in &input.rows {
                drop(black_box(redacted(rows)));
            }
        });
    });
    group.bench_function("encode_rows", |b| {
        b.iter(|| {
            for rows in &input.rows {
                drop(black_box(codec::encode_rows(rows)));
            }
        });
    });
    group.finish();
    Ok(())
}

/// Segments in an object store in memory, and beside them the same questions to rows as hot ones lie.
fn sealed(criterion: &mut Criterion<BothBytes>, input: &Input) -> anyhow::Result<()> {
    let (tenant, parts) = (&input.tenant, input.parts());
    let mut group = input.group(criterion, "segment");
    // Each has an id of its own, as keys are derived from it.
    group.bench_function("build", |b| {
        b.iter(|| segment::build(tenant, layout::new_object_id(), &parts));
    });
    let runtime = Runtime::new()?;
    let (objects, meta) = runtime.block_on(put(input))?;
    let open = || Segment::open(Arc::clone(&objects), Arc::clone(tenant), meta.clone(), PageCache::new(0));
    let segment = runtime.block_on(open())?;
    for (name, scan) in input.questions() {
        let matcher = Arc::new(Matcher::new(&scan.filter)?);
        let found = runtime.block_on(search(&segment, &scan, &matcher))?;
        anyhow::ensure!(found == look_at(&input.rows, &scan, &matcher), "{name} is answered wrongly");
        group.bench_function(name, |b| b.iter(|| runtime.block_on(search(&segment, &scan, &matcher))));
    }
    group.finish();
    // Reads the index's part only, so that there is no throughput to speak of.
    criterion.bench_function("segment/open", |b| b.iter(|| runtime.block_on(open())));

    let mut group = input.group(criterion, "hot");
    for (name, scan) in input.questions() {
        let matcher = Matcher::new(&scan.filter)?;
        group.bench_function(name, |b| b.iter(|| look_at(&input.rows, &scan, &matcher)));
    }
    group.finish();
    Ok(())
}

/// Builds the segment and puts it where it can be opened.
async fn put(input: &Input) -> anyhow::Result<(Arc<dyn ObjectStore>, SegmentMeta)> {
    let (id, parts) = (layout::new_object_id(), input.parts());
    let built = segment::build(&input.tenant, id, &parts)?;
    let through = parts.last().map_or(CommitId(0), |(commit, _)| *commit);
    let meta = built.meta(&input.tenant.name, id, Uuid::nil(), (CommitId(0), through), Timestamp::default());
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    objects.put(&layout::segment(input.tenant.uid, id), built.bytes.into()).await?;
    Ok((objects, meta))
}

/// As a query does, with one segment.
async fn search(
    segment: &Segment,
    scan: &Scan,
    matcher: &Arc<Matcher>,
) -> Result<Answer, heliograph_store::Error> {
    let collector = Collector::new(scan);
    Ok(segment.scan(scan, matcher, collector, &mut ScanStats::default()).await?.finish())
}

/// As the indexer looks through its hot records, on one thread.
fn look_at(rows: &[Rows], scan: &Scan, matcher: &Matcher) -> Answer {
    let mut collector = Collector::new(scan);
    for record in rows.iter().flat_map(Rows::iter) {
        let key = record.key();
        if scan.range.contains(record.time) && collector.could_take(&key) && matcher.matches(&record) {
            collector.offer(key, &record, || record.to_record());
        }
    }
    collector.finish()
}
