//! A live tail: backlog, then what is fresh, without gap or repeat; what happens to a slow reader.
//!
//! ```text
//! indexer ═feed═▶ follow ─events─▶ tail ─frames─▶ WebSocket
//! ```
//! The feeds are opened first, then the backlog is searched; what a feed brings again of that is left out. A
//! reader that does not keep up holds `tail` at its socket; the events' budget fills, `follow` stops reading,
//! and the indexer's bounded queue says what it skipped: no memory of ours grows. Pausing ends the feeds and
//! keeps the place.

mod backlog;
mod follow;
mod follow_all;
mod frame;
mod position;
mod session;
mod starts;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use heliograph_model::time::{Clock, TimeRange, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::{Access, Caller, RECHECK, Scope, UNCHECKED_MAX};
use crate::audit::Recorder;
use crate::cursor::{Binding, Cursors};
use crate::error::Result;
use crate::http::Origin;
use crate::metrics::Metrics;
use crate::search::{Question, Search};
use crate::syntax;
pub(crate) use frame::error as error_frame;
pub(crate) use position::Positions;
use session::Tail;

/// Tenants that one tail follows at most: each costs a connection to each indexer.
pub(crate) const TENANTS_MAX: usize = 64;
/// Most records of the backlog; of more, the newest are sent, and how many were left out is said.
pub(crate) const BACKLOG_MAX: usize = 10_000;
/// Records of the backlog where the client asks for nothing else.
pub(crate) const BACKLOG_DEFAULT: usize = 100;
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Where a tail begins.
#[derive(Debug)]
pub(crate) enum Begin {
    /// With so many of the newest records.
    Last(usize),
    /// With everything since a moment.
    Since(Timestamp),
    /// Where another tail was left.
    Resume(Positions),
}

/// What all tails stand on.
pub(crate) struct Tails {
    pub(crate) search: Arc<Search>,
    pub(crate) access: Arc<Access>,
    pub(crate) cursors: Arc<Cursors>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) audit: Recorder,
    pub(crate) tracker: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// What a client asked to follow.
pub(crate) struct Asked {
    pub(crate) caller: Caller,
    pub(crate) scope: Scope,
    /// The tenants that the client named, if any.
    pub(crate) named: Vec<String>,
    pub(crate) text: String,
    pub(crate) question: Question,
    /// Who is recorded where the client asks for something else.
    pub(crate) origin: Origin,
}

/// What a tail's cursor is bound to.
pub(crate) fn binding(scope: &Scope, named: &[String], text: &str) -> Binding {
    Binding::new("tail", scope.principal()).with(text).with_all(named)
}

/// Why a tail ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The client left, or takes nothing.
    Gone,
    /// The right to read was taken away.
    Revoked,
    /// We stop.
    Stopped,
    /// We cannot go on.
    Failed,
}

/// Runs one tail on its socket to its end.
pub(crate) async fn run(tails: Arc<Tails>, asked: Asked, begin: Begin, mut socket: WebSocket) {
    tails.metrics.tail_clients.inc();
    let feeds_stop = tails.stop.child_token();
    let end = {
        let mut tail = Tail::new(&tails, &asked, &mut socket, feeds_stop.clone());
        tokio::select! {
            biased;
            () = tails.stop.cancelled() => End::Stopped,
            end = revoked(&tails.access, &asked) => end,
            end = Box::pin(tail.run(begin)) => end,
        }
    };
    feeds_stop.cancel();
    close(&mut socket, &end).await;
    tails.metrics.tail_clients.dec();
}

/// Sends an error to a client that could not be told before the upgrade, and closes.
pub(crate) async fn refuse(mut socket: WebSocket, error: String) {
    let sent = tokio::time::timeout(CLOSE_WAIT, socket.send(Message::text(error))).await;
    if matches!(sent, Ok(Ok(()))) {
        close(&mut socket, &End::Revoked).await;
    }
}

async fn close(socket: &mut WebSocket, end: &End) {
    let (code, reason) = match end {
        End::Gone => (close_code::NORMAL, ""),
        End::Revoked => (close_code::POLICY, "not allowed"),
        End::Stopped => (close_code::AWAY, "the server stops"),
        End::Failed => (close_code::AGAIN, "try again"),
    };
    let closing = async {
        let frame = CloseFrame { code, reason: reason.into() };
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            // The client's own close ends the connection cleanly.
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    if tokio::time::timeout(CLOSE_WAIT, closing).await.is_err() {
        tracing::debug!("a tail's client did not close in time");
    }
}

/// Returns when the caller may no longer read what it tails, or that could not be looked at for too long.
async fn revoked(access: &Access, asked: &Asked) -> End {
    let mut checked = Instant::now();
    loop {
        tokio::time::sleep(RECHECK).await;
        match access.still(&asked.caller, &asked.scope).await {
            Ok(true) => checked = Instant::now(),
            Ok(false) => return End::Revoked,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a tail's right could not be checked"
                );
                if checked.elapsed() > UNCHECKED_MAX {
                    return End::Failed;
                }
            }
        }
    }
}

/// A query text as a question.
pub(crate) fn question(text: &str, range: TimeRange, now: Timestamp) -> Result<Question> {
    Question::new(range, syntax::parse(text, now)?)
}

/// Reads what a client says, and the query in it, for the fuzz targets.
#[cfg(feature = "fuzz")]
pub(crate) fn read_message(bytes: &[u8]) {
    if let Ok(frame::Ask::Query { q }) = serde_json::from_slice(bytes) {
        drop(question(&q, TimeRange::ALL, Timestamp::from_nanos(0)));
    }
}

#[cfg(test)]
mod tests;
