//! What the fuzz targets reach of the indexer.

pub use crate::receive::fuzz::{bulk, expand, otlp};
