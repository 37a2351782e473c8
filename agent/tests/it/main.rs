//! The whole agent against an indexer of a few lines: real files, real HTTP, real kills.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test program: what cannot be is a failed test")]

mod api_server;
mod flow;
mod indexer;
mod kill;
mod pods;
mod sidecar;
