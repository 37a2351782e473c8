//! Calls to services that an operator names: the address is checked, the answer bounded, nothing followed.
//!
//! Whoever can change a name's address, or what a service answers, must not make us call something else, wait without
//! end, or hold what does not fit.

mod client;
pub mod guard;
mod service;
pub mod tries;
pub mod webhook;

pub use client::{Answer, Bounds, Client, Error, Failure};
pub use guard::Guard;
pub use service::{Service, Target};
