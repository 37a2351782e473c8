//! What an indexer's answer means.

use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::Deserialize;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is durable.
    Acknowledged,
    /// The indexer expects another sequence, perhaps of a later epoch.
    Expected {
        /// The sequence.
        sequence: u64,
        /// The epoch, where it says.
        epoch: Option<u64>,
    },
    /// Later, after this if said: the tenant sends too much.
    Busy(Option<Duration>),
    /// Later, after this if said: this indexer cannot take anything at present, another one may.
    Unavailable(Option<Duration>),
    /// Never: the batch itself is refused, with this status.
    Rejected(u16),
    /// The credential is refused, with this status.
    Denied(u16),
    /// No answer.
    Unreachable,
}

#[derive(Deserialize)]
struct Conflict {
    expected: u64,
    epoch: Option<u64>,
}

impl Answer {
    /// Reads a response.
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        let status = response.status();
        match status {
            s if s.is_success() => Self::Acknowledged,
            StatusCode::CONFLICT => match response.json::<Conflict>().await {
                Ok(Conflict { expected, epoch }) => Self::Expected { sequence: expected, epoch },
                // A proxy between us may say anything: what is not understood is tried again.
                Err(_) => Self::Busy(None),
            },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Denied(status.as_u16()),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                Self::Rejected(status.as_u16())
            }
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Self::Unavailable(retry_after(&response))
            }
            _ => Self::Busy(retry_after(&response)),
        }
    }

    /// The metric's label.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Acknowledged => "acked",
            Self::Expected { .. } => "sequence",
            Self::Busy(_) => "busy",
            Self::Unavailable(_) => "unavailable",
            Self::Rejected(_) => "rejected",
            Self::Denied(_) => "denied",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The seconds of a `Retry-After`. Its other form, a date, is left to the back-off: our indexers do not send it.
fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}
