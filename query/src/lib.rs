//! Answers callers who may see the tenant.
mod config;
mod error;
mod metrics;
mod syntax;
pub use config::Config;
pub use error::{Error, Result};
