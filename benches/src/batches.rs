//! Batches of about one size, as agents send them.

use bytes::Bytes;
use heliograph_model::codec;

use crate::sample::Sample;

/// As the agent compresses.
const ZSTD_LEVEL: i32 = 1;
/// More than a batch ever is.
const EXPANDED_BYTES_MAX: usize = 64 << 20;

/// Batches of about one size.
pub(crate) struct Batches {
    /// As they go over the wire.
    pub(crate) bodies: Vec<Bytes>,
    /// The mean length before compression, and after.
    pub(crate) bytes: u64,
    pub(crate) wire_bytes: u64,
}

impl Batches {
    /// Cuts a corpus into batches of so many bytes before compression.
    pub(crate) fn cut(sample: &Sample, bytes: u64) -> anyhow::Result<Self> {
        let (mut bodies, mut plain, mut wire) = (Vec::new(), 0, 0);
        for batch in &sample.batches {
            let body = codec::decompress(&batch.body, EXPANDED_BYTES_MAX)?;
            let rows = codec::decode(&body)?;
            let records = rows.to_records();
            let each = records.len() as u64 * bytes / (body.len() as u64).max(1);
            let parts = records.chunks_exact(usize::try_from(each)?.clamp(1, records.len().max(1)));
            for part in parts {
                let encoded = codec::encode(part);
                plain += encoded.len() as u64;
                let body = codec::compress(&encoded, ZSTD_LEVEL)?;
                wire += body.len() as u64;
                bodies.push(Bytes::from(body));
            }
        }
        let number = (bodies.len() as u64).max(1);
        Ok(Self { bodies, bytes: plain / number, wire_bytes: wire / number })
    }
}
