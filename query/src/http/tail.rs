//! The live tail's route: what is checked before the upgrade.

use std::sync::Arc;

use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::extract::{Extension, State};
use axum::response::Response;
use heliograph_model::time::{TimeRange, Timestamp};
use http::{HeaderMap, Uri, header};

use super::params::Params;
use super::ticket::PROTOCOL;
use super::{Origin, Shared};
use crate::access::Caller;
use crate::error::{Error, Result};
use crate::tail::{self, BACKLOG_DEFAULT, BACKLOG_MAX, Begin, TENANTS_MAX};

/// Largest frame of a client: a query of 10 KiB and its escapes.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Bytes that a socket takes before it makes us wait.
const WRITE_BYTES: usize = 128 << 10;
/// Bytes that a socket holds at most beside: one frame with the largest commit.
const WRITE_BYTES_MAX: usize = 128 << 20;

/// `GET /tail`.
pub(super) async fn tail(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(origin): Extension<Origin>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response> {
    let mut params = Params::of(&uri)?;
    let named = params.all("tenant");
    let scope = caller.scope(&named)?;
    let text = params.one("q")?.unwrap_or_default();
    let (since, resume) = (params.one("since")?, params.one("resume")?);
    let last = params.count("last", BACKLOG_DEFAULT, 0, BACKLOG_MAX)?;
    params.finish()?;
    let upgrade = upgrade
        .map_err(|e| Error::invalid_hint(e.to_string(), "this route speaks WebSocket"))?
        .protocols([PROTOCOL])
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .write_buffer_size(WRITE_BYTES)
        .max_write_buffer_size(WRITE_BYTES_MAX);
    if scope.tenants().len() > TENANTS_MAX {
        return Err(Error::invalid_hint(
            format!("{} tenants are too many for one tail", scope.tenants().len()),
            format!("name at most {TENANTS_MAX} with tenant="),
        ));
    }
    let turn = api.tail_turns.take(&scope)?;

    let now = api.clock.now();
    let understood = tail::question(&text, TimeRange::ALL, now).and_then(|question| {
        let begin = match (resume.filter(|r| !r.is_empty()), since) {
            (Some(cursor), _) => {
                let binding = tail::binding(&scope, &named, &text);
                Begin::Resume(api.cursors.open(&binding, &cursor, now)?)
            }
            (None, Some(since)) => {
                let since =
                    Timestamp::parse_relative(&since, now).map_err(|e| Error::invalid(e.to_string()))?;
                Begin::Since(since)
            }
            (None, None) => Begin::Last(last),
        };
        Ok((question, begin))
    });
    let tails = Arc::clone(&api.tails);
    match understood {
        Ok((question, begin)) => {
            let asked = tail::Asked { caller, scope, named, text, question, origin };
            Ok(upgrade.on_upgrade(move |socket| {
                let tracker = tails.tracker.clone();
                tracker.track_future(async move {
                    tail::run(tails, asked, begin, socket).await;
                    drop(turn);
                })
            }))
        }
        // A page cannot read the answer to an upgrade that was refused: it is told on the socket.
        Err(error) if headers.contains_key(header::ORIGIN) => {
            let text = tail::error_frame(&error);
            Ok(upgrade
                .on_upgrade(move |socket| tails.tracker.clone().track_future(tail::refuse(socket, text))))
        }
        Err(error) => Err(error),
    }
}
