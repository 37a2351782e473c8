//! The object store's promises: the same on a folder, in memory and on S3, and through faults.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what a test calls may end it")]

mod conformance;
mod faults;
mod restart;

use std::time::Duration;

use heliograph_store::objects::{Config, Patience};
use heliograph_testbed::s3;

/// S3's of the testbed, reached by this URL.
fn on_s3(endpoint: String) -> Config {
    let environment = [("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY)];
    Config {
        endpoint: Some(endpoint),
        environment: environment.map(|(name, value)| (name.to_owned(), value.into())).into(),
        patience: Patience {
            answer: Duration::from_secs(1),
            pause: Duration::from_secs(2),
            retries: Duration::from_secs(20),
        },
        ..Config::at(format!("s3://{}/some/prefix", s3::BUCKET))
    }
}
