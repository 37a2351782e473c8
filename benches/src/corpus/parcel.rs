//! Parcels: a tenant's records as they go over the wire, once as `_bulk` bodies and once as our agents' batches,
//! prepared in files so that making them costs nothing while a server is measured.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Context;
use heliograph_model::codec;
use heliograph_model::record::Record;
use heliograph_model::tenant::TenantId;

use super::document;

/// A parcel is sent when its documents are so long.
const PARCEL_BYTES: usize = 2 << 20;
/// … or when its first line is so old, by the lines' own clock, as small tenants' are.
const PARCEL_NANOS: i64 = 30 * 60 * 1_000_000_000;
/// As the agent compresses.
const ZSTD_LEVEL: i32 = 1;
const ACTION: &[u8] = b"{\"create\":{}}\n";

/// In which form records are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub(crate) enum Form {
    /// Our agents' batches: `POST /v1/logs`.
    Binary,
    /// Elasticsearch's: `POST /_bulk`.
    Bulk,
}

/// Where the bytes of a parcel lie.
#[derive(Clone, Copy, Debug)]
struct Span {
    offset: u64,
    bytes: usize,
}

/// One request's worth of a tenant's records.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) tenant: TenantId,
    /// Which agent sends it; parcels of one lane and tenant go in order.
    pub(crate) lane: usize,
    /// From 1, by tenant and lane.
    pub(crate) sequence: u64,
    pub(crate) documents: u64,
    bulk: Span,
    binary: Span,
}

/// A file that grows.
struct Pile {
    file: BufWriter<File>,
    bytes: u64,
}

impl Pile {
    fn new(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let path = folder.join(name);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { file: BufWriter::with_capacity(1 << 20, file), bytes: 0 })
    }

    fn put(&mut self, bytes: &[u8]) -> anyhow::Result<Span> {
        self.file.write_all(bytes)?;
        let span = Span { offset: self.bytes, bytes: bytes.len() };
        self.bytes += bytes.len() as u64;
        Ok(span)
    }

    fn finish(self) -> anyhow::Result<File> {
        Ok(self.file.into_inner()?)
    }
}

/// Records of one tenant and lane that were not written yet.
#[derive(Default)]
struct Open {
    /// Records with where their documents lie in `documents`.
    records: Vec<(Record, std::ops::Range<usize>)>,
    documents: Vec<u8>,
    since: i64,
    sequence: u64,
}

/// Gathers records into parcels.
pub(crate) struct Packer {
    tenants: Vec<TenantId>,
    /// By tenant, then lane.
    open: Vec<[Open; super::fleet::LANES]>,
    bulk: Pile,
    binary: Pile,
    parcels: Vec<Parcel>,
}

/// All parcels, ready to be read.
pub(crate) struct Parcels {
    pub(crate) all: Vec<Parcel>,
    bulk: File,
    binary: File,
    pub(crate) bulk_bytes: u64,
    pub(crate) binary_bytes: u64,
}

impl Packer {
    pub(crate) fn new(tenants: Vec<TenantId>, folder: &Path) -> anyhow::Result<Self> {
        let open = tenants.iter().map(|_| <[Open; super::fleet::LANES]>::default()).collect();
        let (bulk, binary) = (Pile::new(folder, "bulk")?, Pile::new(folder, "binary")?);
        Ok(Self { tenants, open, bulk, binary, parcels: Vec::new() })
    }

    /// Takes a record in; how long its document is.
    pub(crate) fn add(&mut self, tenant: usize, lane: usize, record: Record) -> anyhow::Result<u64> {
        let now = record.time.as_nanos();
        let open = self.open.get_mut(tenant).and_then(|lanes| lanes.get_mut(lane));
        let open = open.context("no such tenant and lane")?;
        if open.records.is_empty() {
            open.since = now;
        }
        let start = open.documents.len();
        document::write(&record, &mut open.documents)?;
        let end = open.documents.len();
        open.records.push((record, start..end));
        if end >= PARCEL_BYTES || now - open.since > PARCEL_NANOS {
            self.close(tenant, lane)?;
        }
        Ok((end - start) as u64)
    }

    fn close(&mut self, tenant: usize, lane: usize) -> anyhow::Result<()> {
        let open = self.open.get_mut(tenant).and_then(|lanes| lanes.get_mut(lane));
        let (Some(open), Some(name)) = (open, self.tenants.get(tenant)) else { return Ok(()) };
        if open.records.is_empty() {
            return Ok(());
        }
        // An agent sends what it has read of one file together.
        open.records.sort_by_key(|(record, _)| record.source.id);
        let mut body = Vec::with_capacity(open.documents.len() + open.records.len() * ACTION.len());
        for (_, range) in &open.records {
            body.extend_from_slice(ACTION);
            body.extend_from_slice(open.documents.get(range.clone()).unwrap_or_default());
        }
        open.documents.clear();
        open.sequence += 1;
        let records: Vec<Record> = open.records.drain(..).map(|(record, _)| record).collect();
        self.parcels.push(Parcel {
            tenant: name.clone(),
            lane,
            sequence: open.sequence,
            documents: records.len() as u64,
            bulk: self.bulk.put(&body)?,
            binary: self.binary.put(&as_batch(&records)?)?,
        });
        Ok(())
    }

    pub(crate) fn finish(mut self) -> anyhow::Result<Parcels> {
        for tenant in 0..self.tenants.len() {
            for lane in 0..super::fleet::LANES {
                self.close(tenant, lane)?;
            }
        }
        let (bulk_bytes, binary_bytes) = (self.bulk.bytes, self.binary.bytes);
        let (bulk, binary) = (self.bulk.finish()?, self.binary.finish()?);
        Ok(Parcels { all: self.parcels, bulk, binary, bulk_bytes, binary_bytes })
    }
}

impl Parcels {
    /// Reads a parcel's body.
    pub(crate) fn body(&self, parcel: &Parcel, form: Form) -> anyhow::Result<Vec<u8>> {
        let (file, span) = match form {
            Form::Binary => (&self.binary, parcel.binary),
            Form::Bulk => (&self.bulk, parcel.bulk),
        };
        let mut body = vec![0; span.bytes];
        file.read_exact_at(&mut body, span.offset).context("cannot read a parcel")?;
        Ok(body)
    }

    pub(crate) fn documents(&self) -> u64 {
        self.all.iter().map(|parcel| parcel.documents).sum()
    }
}

/// Records as our agents send them. The one place that knows their encoding.
fn as_batch(records: &[Record]) -> anyhow::Result<Vec<u8>> {
    Ok(codec::compress(&codec::encode(records), ZSTD_LEVEL)?)
}
