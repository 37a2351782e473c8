//! One-time tickets: what a browser shows beside its cookie when it asks for a WebSocket.
//!
//! A browser sends the cookie along with an upgrade that any page asks for, and no page can set a header of its own
//! there. So who comes by cookie first asks for a ticket, by a call that only our own page can make, and shows it with
//! the upgrade. It is sealed, so that any query node takes one that another gave; it is good for half a minute, for the
//! session that asked, and once: that it is used is noted in the catalog, which all nodes share.
//!
//! It travels as a value of `Sec-WebSocket-Protocol`, the one header that a page can fill: an address would lie in the
//! logs of every proxy on the way, and in ours.

use std::time::Duration;

use aws_lc_rs::digest;
use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use heliograph_model::time::Timestamp;
use http::{HeaderMap, Method, header};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::body::JsonBody;
use super::{Api, Shared};
use crate::access::Caller;
use crate::cursor::Binding;
use crate::error::{Error, Result};

/// What an upgrade is asked for and answered as: a browser wants to be answered one of the values that it sends, and the
/// ticket shall not come back.
pub(super) const PROTOCOL: &str = "heliograph.v1";
/// What the value that is a ticket begins with.
const PREFIX: &str = "ticket.";
/// How long a ticket is good: from the call to the upgrade, with a slow network between them.
const TTL: Duration = Duration::from_secs(30);
/// How long a used one is remembered: longer than it is good, by as much as nodes' clocks may differ.
const REMEMBERED: Duration = Duration::from_mins(10);

/// Nothing is asked; but a body that says so is JSON, which a foreign page cannot send without asking first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {}

/// `POST /tail/ticket`.
pub(super) async fn give(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    JsonBody(Wish {}): JsonBody<Wish>,
) -> Result<Json<Value>> {
    let ticket = api.cursors.seal_for(&binding(&caller), &Uuid::new_v4(), api.clock.now(), TTL)?;
    Ok(Json(json!({ "ticket": ticket, "expires_in_seconds": TTL.as_secs() })))
}

/// Lets an upgrade through that no foreign page can have asked for.
pub(super) async fn require(State(api): State<Shared>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().filter(|caller| caller.is_ambient());
    let spent = match caller {
        Some(caller) if is_upgrade(&request) => spend(&api, caller, request.headers()).await,
        _ => Ok(()),
    };
    match spent {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Whether a request wants the connection for itself.
pub(super) fn is_upgrade(request: &Request) -> bool {
    request.headers().contains_key(header::UPGRADE) || request.method() == Method::CONNECT
}

async fn spend(api: &Api, caller: &Caller, headers: &HeaderMap) -> Result<()> {
    let now = api.clock.now();
    let nonce: Uuid = api.cursors.open(&binding(caller), shown(headers)?, now).map_err(|_| Error::Ticket)?;
    let kept = i64::try_from(REMEMBERED.as_nanos()).unwrap_or(i64::MAX);
    let until: Timestamp = now.saturating_add_nanos(kept);
    match api.store.catalog.spend(&hash(nonce), until, now).await? {
        true => Ok(()),
        false => Err(Error::Ticket),
    }
}

/// Under which the catalog knows a ticket that was used.
fn hash(nonce: Uuid) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(
        digest::digest(&digest::SHA256, &[b"ticket", nonce.as_bytes().as_slice()].concat()).as_ref(),
    );
    bytes
}

/// The one ticket among the protocols that are offered.
fn shown(headers: &HeaderMap) -> Result<&str> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut tickets = offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|value| value.trim().strip_prefix(PREFIX));
    match (tickets.next(), tickets.next()) {
        (Some(ticket), None) => Ok(ticket),
        _ => Err(Error::Ticket),
    }
}

fn binding(caller: &Caller) -> Binding {
    Binding::new("ticket", caller.principal()).with(&caller.proved_by())
}
