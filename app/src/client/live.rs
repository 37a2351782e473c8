//! `heliograph tail`: follows for ever, over reconnects, without gap or repeat.

use std::time::Duration;

use anyhow::{Context, anyhow};
use futures::{SinkExt, StreamExt};
use reqwest::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use reqwest::{StatusCode, Upgraded};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::api::{Api, Refused};
use super::line::Style;
use super::{push_time, selection};
use crate::cli::Tail;
use crate::console;
use crate::exit::{Failure, Outcome};

/// The server's heartbeats come more often; a connection that stays silent so long is dead.
const SILENT_MAX: Duration = Duration::from_secs(60);
/// How long a first and a last attempt to reconnect are apart.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// A frame of the server. Not an enum tagged by `type`, since such a one cannot keep records as they came.
#[derive(Deserialize)]
struct Frame {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    records: Vec<Box<RawValue>>,
    cursor: Option<String>,
    #[serde(default)]
    count: u64,
    from: Option<String>,
    to: Option<String>,
    message: Option<String>,
    error: Option<ErrorWords>,
}

#[derive(Deserialize)]
struct ErrorWords {
    message: String,
}

/// How a connection ended.
enum Ended {
    /// It may be taken up again.
    Lost(String),
    /// The server will not go on.
    Refused(Failure),
}

/// Follows until the reader of our output leaves or the server refuses.
pub(crate) async fn tail(options: Tail) -> Outcome {
    let api = Api::new(&options.server)?;
    let style = Style::new(options.json);
    let mut follow = Follow { api, options, style, cursor: None };
    let mut pause = PAUSE_MIN;
    let mut socket = follow.connect().await?;
    loop {
        match follow.read(&mut socket).await? {
            Ended::Refused(failure) => return Err(failure),
            Ended::Lost(reason) => console::say(&format!("note: {reason}; reconnecting")),
        }
        socket = loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            match follow.connect().await {
                Ok(socket) => break socket,
                Err(failure @ Failure::Usage(_)) => return Err(failure),
                Err(Failure::Failed(e)) if e.downcast_ref::<Refused>().is_some_and(|r| r.is_lasting) => {
                    return Err(Failure::Failed(e));
                }
                Err(Failure::Failed(_)) => {}
            }
        };
        pause = PAUSE_MIN;
        console::say("note: connected again");
    }
}

struct Follow {
    api: Api,
    options: Tail,
    style: Style,
    /// Up to where records have been shown.
    cursor: Option<String>,
}

impl Follow {
    async fn connect(&self) -> Outcome<WebSocketStream<Upgraded>> {
        let query = &self.options.selection.query;
        let mut parameters = selection(query, &self.options.selection.tenant);
        match &self.cursor {
            Some(cursor) => parameters.push(("resume", cursor.clone())),
            None => push_time(&mut parameters, "since", self.options.since.as_deref()),
        }
        let key = generate_key();
        let request = self
            .api
            .request("tail", &parameters)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key);
        let answer = self.api.send(request, query).await?;
        let accepted = answer.headers().get(SEC_WEBSOCKET_ACCEPT).map(|value| value.as_bytes().to_vec());
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS
            || accepted.as_deref() != Some(derive_accept_key(key.as_bytes()).as_bytes())
        {
            return Err(Failure::Failed(anyhow!(
                "the server does not speak WebSocket here; is there a proxy?"
            )));
        }
        let upgraded = answer.upgrade().await.context("the connection could not become a WebSocket")?;
        Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await)
    }

    /// Shows what comes until the connection ends.
    async fn read(&mut self, socket: &mut WebSocketStream<Upgraded>) -> anyhow::Result<Ended> {
        loop {
            let message = match tokio::time::timeout(SILENT_MAX, socket.next()).await {
                Err(_) => return Ok(Ended::Lost("the server has been silent for too long".to_owned())),
                Ok(None) => return Ok(Ended::Lost("the connection ended".to_owned())),
                Ok(Some(Err(Error::ConnectionClosed | Error::AlreadyClosed))) => {
                    return Ok(Ended::Lost("the connection ended".to_owned()));
                }
                Ok(Some(Err(e))) => return Ok(Ended::Lost(format!("the connection broke: {e}"))),
                Ok(Some(Ok(message))) => message,
            };
            match message {
                Message::Text(text) => {
                    if let Some(ended) = self.take(&text)? {
                        return Ok(ended);
                    }
                }
                Message::Ping(bytes) => {
                    if let Err(e) = socket.send(Message::Pong(bytes)).await {
                        return Ok(Ended::Lost(format!("the connection broke: {e}")));
                    }
                }
                Message::Close(frame) => {
                    let (code, reason) =
                        frame.map_or((CloseCode::Normal, String::new()), |f| (f.code, f.reason.to_string()));
                    return Ok(match code {
                        CloseCode::Policy => Ended::Refused(Failure::Failed(anyhow!(
                            "the server ended the tail: {}",
                            if reason.is_empty() { "not allowed any more" } else { &reason }
                        ))),
                        CloseCode::Away => Ended::Lost("the server is going away".to_owned()),
                        other => Ended::Lost(format!("the server closed the tail ({other} {reason})")),
                    });
                }
                Message::Binary(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    fn take(&mut self, text: &str) -> anyhow::Result<Option<Ended>> {
        let frame: Frame =
            serde_json::from_str(text).context("a frame is not what a Heliograph server gives")?;
        match frame.kind.as_str() {
            "records" => frame.records.iter().try_for_each(|record| self.style.print(record))?,
            "skipped" => {
                let span = match (frame.from, frame.to) {
                    (Some(from), Some(to)) => format!(" from {from} to {to}"),
                    _ => String::new(),
                };
                console::say(&format!(
                    "note: {} records skipped{span}: this reader was too slow",
                    frame.count
                ));
            }
            "error" => {
                let words = frame.error.map(|e| e.message).or(frame.message).unwrap_or_default();
                let words = anyhow!("the server ended the tail: {words}");
                return Ok(Some(Ended::Refused(Failure::Failed(words))));
            }
            // Heartbeats carry a cursor only; later kinds may be passed over.
            _ => {}
        }
        // Only what has been shown may be left out after a reconnect.
        self.cursor = frame.cursor.or(self.cursor.take());
        Ok(None)
    }
}
