//! What tests run against: an S3 server that keeps its data over a restart, proxies that make faults between any two that
//! talk over TCP or HTTP, an authority for certificates, and services that answer as they are told. Only tests name this crate.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "what fails here fails a test, and says so")]

pub mod authority;
pub mod faults;
pub mod kubernetes;
pub mod s3;
pub mod service;
mod tasks;

pub use tasks::Tasks;
