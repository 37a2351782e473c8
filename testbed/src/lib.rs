//! What tests run against: an S3 server that keeps its data over a restart, identity providers that may lie, proxies that
//! make faults between any two that talk over TCP or HTTP, and one that looks for data on the wrong way. Only tests name
//! this crate.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "what fails here fails a test, and says so")]

pub mod faults;
pub mod idp;
pub mod s3;
mod tasks;
pub mod watch;

pub use tasks::Tasks;
