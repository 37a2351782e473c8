//! One test program: the real binary, real files, real HTTP. Each promise has a file.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that finds something wrong says so and ends"
)]

mod backup;
mod command;
mod commands;
mod crash;
mod erase;
mod flow;
mod roles;
mod seed;
mod server;
mod shutdown;
mod sidecar;
mod tenants;
mod tidy;
mod writer;
mod wrong_input;
