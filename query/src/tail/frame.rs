//! The frames of a tail's WebSocket, both ways.

use heliograph_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::Error;
use crate::http::error::ErrorBody;

/// What a client may say.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Ask {
    /// Follow another query from here on.
    Query {
        /// Its text.
        q: String,
    },
    /// Send nothing, keep the place.
    Pause {},
    /// Go on from the place.
    Resume {},
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Frame<'a> {
    Records {
        records: Vec<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
    },
    Skipped {
        count: u64,
        from: Timestamp,
        to: Timestamp,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
    },
    Heartbeat {
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
    },
    Error {
        error: ErrorBody,
    },
}

fn text(frame: &Frame<'_>) -> String {
    // Nothing in a frame can fail to be written: keys are texts, and raw values are JSON.
    serde_json::to_string(frame).unwrap_or_default()
}

/// Records, each already JSON.
pub(super) fn records<'a>(jsons: impl Iterator<Item = &'a str>, cursor: Option<&str>) -> String {
    let records = jsons.filter_map(|json| serde_json::from_str(json).ok()).collect();
    text(&Frame::Records { records, cursor })
}

/// A gap.
pub(super) fn skipped(count: u64, from: Timestamp, to: Timestamp, cursor: Option<&str>) -> String {
    text(&Frame::Skipped { count, from, to, cursor })
}

/// A sign of life.
pub(super) fn heartbeat(cursor: Option<&str>) -> String {
    text(&Frame::Heartbeat { cursor })
}

/// What is wrong with what the client said.
pub(crate) fn error(error: &Error) -> String {
    text(&Frame::Error { error: ErrorBody::of(error) })
}
