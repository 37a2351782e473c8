//! The words that every part of Heliograph speaks: types and wire format.
//!
//! Nothing here does I/O, waits, or reads a clock. A value of one of these types has been checked where it
//! was made, so the rest of the system does not check it again.

pub mod airflow;
pub mod batch;
pub mod codec;
pub mod filter;
pub mod hidden;
pub mod level;
pub mod record;
pub mod redact;
pub mod rows;
pub mod source;
pub mod tenant;
pub mod time;
pub mod token;

pub mod cipher;
mod error;
pub mod scan;

pub use error::{Error, Result};
