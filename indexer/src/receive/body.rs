//! Reads a request's body into memory: bounded in bytes, in time, and over all requests together.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::budget::{Budget, Room};
use crate::error::{Error, Result};

/// Longest silence within a body.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Longest time of a whole body: the largest allowed one comes in this time at 140 KB/s.
const WHOLE_MAX: Duration = Duration::from_secs(120);

/// The whole body, within each of the budgets; its rooms are held as long as the bytes are.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: &mut Body,
    limit: usize,
    budgets: &[&Arc<Budget>],
) -> Result<(Bytes, Vec<Room>)> {
    let too_large = || Error::TooLarge { what: "the body, in bytes,", limit };
    if announced(headers).is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let full = || Error::Full { what: "memory for requests" };
    let rooms: Option<Vec<_>> = budgets.iter().map(|budget| budget.reserve(0)).collect();
    let mut rooms = rooms.ok_or_else(full)?;
    let mut bytes = BytesMut::new();
    let whole = Instant::now() + WHOLE_MAX;
    loop {
        let deadline = whole.min(Instant::now() + SILENCE_MAX);
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(Error::Slow),
            Ok(None) => return Ok((bytes.freeze(), rooms)),
            // The client went away, or broke the transfer's framing.
            Ok(Some(Err(_))) => return Err(Error::invalid("the body broke off")),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(too_large());
        }
        if !rooms.iter_mut().all(|room| room.grow(data.len())) {
            return Err(full());
        }
        bytes.extend_from_slice(&data);
    }
}

/// The body's size, if the request says it beforehand.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
