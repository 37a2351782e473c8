//! The whole agent against an indexer of a few lines: real files, real HTTP, real kills.
//!
//! Runs at full scale, where the ordinary ones are small:
//!
//! ```sh
//! # FAULTS.md R1: 500 kills.
//! HELIOGRAPH_TEST_KILLS=500 cargo test --release -p heliograph-agent --test it kill
//! # R10: 10,000 files, 200 of them hot.
//! HELIOGRAPH_TEST_FILES=10000 cargo test --release -p heliograph-agent --test it many
//! # R11: 1 GiB without a line end.
//! HELIOGRAPH_TEST_ENDLESS_BYTES=1073741824 cargo test --release -p heliograph-agent --lib odd
//! # R19: 20,000 histories of a tailed path.
//! PROPTEST_CASES=20000 cargo test --release -p heliograph-agent --lib history
//! # A rotation storm of 1,000,000 lines over files of 10 MB; 500 pods that live 200 ms.
//! HELIOGRAPH_TEST_STORM_LINES=1000000 HELIOGRAPH_TEST_STORM_FILE_BYTES=10000000 HELIOGRAPH_TEST_PODS=500 \
//!     cargo test --release -p heliograph-agent --lib storm
//! ```
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test program: what cannot be is a failed test")]

mod answers;
mod api_server;
mod authority;
mod ends;
mod flow;
mod indexer;
mod kill;
mod log;
mod many;
mod network;
mod outage;
mod places;
mod pods;
mod sidecar;
mod tls;
mod volumes;

/// A number from the environment: how large a run is.
fn parameter(name: &str, ordinary: usize) -> usize {
    #[expect(clippy::disallowed_methods, reason = "how large a run is, is said to the test program")]
    std::env::var(name).map_or(ordinary, |text| text.parse().unwrap())
}
