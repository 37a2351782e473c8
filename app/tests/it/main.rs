//! One test program: the real binary, real files, real HTTP. Each promise has a file.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that finds something wrong says so and ends"
)]

mod audit;
mod backup;
mod certificates;
mod claims;
mod clock_jumps;
mod cluster;
mod command;
mod commands;
mod crash;
#[cfg(debug_assertions)]
mod crash_points;
mod direct;
mod drain;
mod erase;
mod flow;
mod full_disk;
mod keys;
mod nodes;
#[expect(dead_code, reason = "the store's tests need more of it")]
#[path = "../../../store/tests/support/postgres.rs"]
mod postgres_server;
mod providers;
mod recovery;
mod requests;
mod roles;
mod secrets;
mod seed;
mod server;
mod shutdown;
mod sidecar;
mod strace;
mod tenants;
mod tickets;
mod tidy;
mod tls;
mod upgrade;
mod writer;
mod wrong_input;
