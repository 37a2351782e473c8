//! One test program: the real binary, real files, real HTTP. Each promise has a file.

mod command;
mod commands;
mod crash;
mod flow;
mod roles;
mod seed;
mod server;
mod shutdown;
mod tenants;
mod tidy;
mod writer;
mod wrong_input;
