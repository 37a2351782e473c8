//! The indexer as its neighbours see it: real HTTP, real files, faults where they hurt.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod audit;
mod bench;
mod bodies;
mod bulk;
mod durable;
mod erasing;
mod far_store;
mod faults;
mod feeds;
mod ingest;
mod limits;
mod nodes;
mod platform;
mod redaction;
mod review;
mod sealing;
mod shredding;
mod takeover;
mod torn;
mod upkeep;
