//! What the fuzz targets reach of the indexer.

pub use crate::credential::fuzz::authorization;
pub use crate::receive::fuzz::{bulk, expand, otlp};
