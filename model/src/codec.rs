//! Records as OTLP logs (protobuf), and zstd around them.
//!
//! Our own producers write each source as one resource and each record with its position, so that the bytes
//! of a batch can lie in the spool, go over the wire and lie in a write-ahead object without being made anew.
//! What others send is read by [`foreign`]: it may say much about itself, but not whose it is.

pub mod foreign;
mod proto;
mod read;
mod write;

use std::cell::RefCell;
use std::io::Read;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use zstd::bulk::{Compressor, Decompressor};

use crate::airflow::Identity;
use crate::error::{Error, Result};

pub use read::decode;
pub use write::{encode, encode_rows};

/// Attribute keys, from the OpenTelemetry semantic conventions where those have one.
pub mod key {
    /// Resource: hex of the [`crate::source::SourceId`]. Ours only.
    pub const SOURCE: &str = "heliograph.source";
    /// Resource: the component.
    pub const COMPONENT: &str = "heliograph.component";
    /// Resource: namespace.
    pub const NAMESPACE: &str = "k8s.namespace.name";
    /// Resource: pod.
    pub const POD: &str = "k8s.pod.name";
    /// Resource: container.
    pub const CONTAINER: &str = "k8s.container.name";
    /// Resource: node.
    pub const NODE: &str = "k8s.node.name";
    /// Resource: the followed file.
    pub const PATH: &str = "log.file.path";
    /// Record: stdout or stderr.
    pub const STREAM: &str = "log.iostream";
    /// Record: the position, an integer. Ours only.
    pub const POSITION: &str = "heliograph.position";
    /// Record: all attributes as the text of one JSON object. Ours only.
    pub const ATTRIBUTES: &str = "heliograph.attributes";
    /// Record: the logger.
    pub const LOGGER: &str = "airflow.logger";
    /// Record: DAG.
    pub const DAG_ID: &str = "airflow.dag_id";
    /// Record: task.
    pub const TASK_ID: &str = "airflow.task_id";
    /// Record: DAG run.
    pub const RUN_ID: &str = "airflow.run_id";
    /// Record: map index.
    pub const MAP_INDEX: &str = "airflow.map_index";
    /// Record: try number.
    pub const TRY_NUMBER: &str = "airflow.try_number";
    /// Record: Airflow's key of the try's log.
    pub const LOG_ID: &str = "airflow.log_id";
}

/// Sets the identity field that `key` names; says whether there is one.
fn set_identity(identity: &mut Identity, key: &str, value: &Any) -> bool {
    let int = match value {
        Any::IntValue(n) => Some(*n),
        Any::StringValue(s) => s.parse().ok(),
        _ => None,
    };
    if let Any::StringValue(s) = value {
        let s = || Some(Arc::from(crate::record::cut(s, crate::record::FIELD_BYTES_MAX).as_ref()));
        match key {
            key::DAG_ID => identity.dag_id = s(),
            key::TASK_ID => identity.task_id = s(),
            key::RUN_ID => identity.run_id = s(),
            key::LOG_ID => identity.log_id = s(),
            key::LOGGER => identity.logger = s(),
            key::MAP_INDEX | key::TRY_NUMBER => {}
            _ => return false,
        }
    }
    match (key, int) {
        (key::MAP_INDEX, Some(n)) => identity.map_index = i32::try_from(n).ok(),
        (key::TRY_NUMBER, Some(n)) => identity.try_number = u32::try_from(n).ok(),
        (key::DAG_ID | key::TASK_ID | key::RUN_ID | key::LOG_ID | key::LOGGER, _) => {}
        _ => return false,
    }
    true
}

thread_local! {
    /// Making one clears more memory than a page has.
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses with zstd.
pub fn compress(bytes: &[u8], level: i32) -> Result<Vec<u8>> {
    let bad = |e: std::io::Error| Error::Decode { what: "bytes to compress", reason: e.to_string() };
    COMPRESSOR.with_borrow_mut(|kept| {
        let (_, compressor) = match kept {
            Some(kept) if kept.0 == level => kept,
            kept => kept.insert((level, Compressor::new(level).map_err(bad)?)),
        };
        compressor.compress(bytes).map_err(bad)
    })
}

/// Expands zstd to exactly `length` bytes: for what we compressed, and know the length of.
pub fn decompress_exactly(bytes: &[u8], length: usize) -> Result<Vec<u8>> {
    let bad = |e: std::io::Error| Error::Decode { what: "zstd", reason: e.to_string() };
    let plain = DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(kept) => kept,
            kept => kept.insert(Decompressor::new().map_err(bad)?),
        };
        decompressor.decompress(bytes, length).map_err(bad)
    })?;
    if plain.len() == length {
        Ok(plain)
    } else {
        Err(Error::Decode { what: "zstd", reason: "its length is wrong".to_owned() })
    }
}

/// Expands zstd to at most `limit` bytes, with a window of at most 128 MiB, however much the input claims.
pub fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>> {
    let bad = |e: std::io::Error| Error::Decode { what: "zstd", reason: e.to_string() };
    let mut decoder = zstd::stream::read::Decoder::new(bytes).map_err(bad)?;
    decoder.window_log_max(27).map_err(bad)?;
    let mut out = Vec::with_capacity(limit.min(bytes.len().saturating_mul(4)));
    decoder.take(limit as u64 + 1).read_to_end(&mut out).map_err(bad)?;
    if out.len() > limit { Err(Error::TooLarge { what: "expanded body", limit }) } else { Ok(out) }
}

#[cfg(test)]
mod tests;
