//! What tests run against: an S3 server that keeps its data over a restart, identity providers that may lie, services that
//! answer as they are told, an authority for certificates, proxies that make faults between any two that talk over TCP or
//! HTTP, and one that looks for data on the wrong way. Only tests name this crate.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "what fails here fails a test, and says so")]

pub mod authority;
pub mod faults;
pub mod idp;
pub mod kubernetes;
pub mod s3;
pub mod service;
mod tasks;
pub mod watch;

pub use tasks::Tasks;
