//! What tests run against: an S3 server that keeps its data over a restart, proxies that make faults between any two that
//! talk over TCP or HTTP, and an authority for certificates. Only tests name this crate.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "what fails here fails a test, and says so")]

pub mod authority;
pub mod faults;
pub mod s3;
mod tasks;

pub use tasks::Tasks;
