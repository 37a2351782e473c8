//! A corpus in memory, as an indexer gets it: for what is measured within one process.

use heliograph_model::tenant::TenantId;

use crate::corpus::{self, Form, Planted};
use crate::questions;

/// A corpus.
pub struct Sample {
    /// What agents send, in its order.
    pub batches: Vec<Batch>,
    /// How many records.
    pub documents: u64,
    /// Their bytes as NDJSON.
    pub document_bytes: u64,
    /// Their bytes that are message.
    pub message_bytes: u64,
    /// Stands in one message.
    pub needle: String,
    /// A word of about every twentieth message.
    pub common: &'static str,
}

/// A batch of one tenant.
pub struct Batch {
    /// Whose.
    pub tenant: TenantId,
    /// As it goes over the wire: compressed.
    pub body: Vec<u8>,
}

impl Sample {
    /// Makes a corpus of about so many bytes of NDJSON; the same seed makes the same bytes.
    pub fn make(seed: u64, document_bytes: u64, tenants: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = corpus::Options { seed, bytes: document_bytes, tenants, hours: 6 };
        let corpus = corpus::make(&options, folder.path())?;
        let batch = |parcel: &corpus::Parcel| {
            let body = corpus.parcels.body(parcel, Form::Binary)?;
            Ok(Batch { tenant: parcel.tenant.clone(), body })
        };
        Ok(Self {
            batches: corpus.parcels.all.iter().map(batch).collect::<anyhow::Result<_>>()?,
            documents: corpus.shape.documents,
            document_bytes: corpus.shape.document_bytes,
            message_bytes: corpus.shape.message_bytes,
            needle: Planted::new(seed).needle,
            common: questions::COMMON,
        })
    }
}
