//! A live tail: backlog, then what is fresh, without gap or repeat; what happens to a slow reader.
//!
//! ```text
//! indexer ═feed═▶ follow ─events─▶ tail ─frames─▶ WebSocket
//! ```
//! The feeds are opened first, then the backlog is searched; what a feed brings again of that is left out. A
//! reader that does not keep up holds `tail` at its socket; the events' budget fills, `follow` stops reading,
//! and the indexer's bounded queue says what it skipped: no memory of ours grows. Pausing ends the feeds and
//! keeps the place.

mod follow;
mod frame;
mod position;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use heliograph_model::record::RecordKey;
use heliograph_model::scan::{CommitId, Order};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{Clock, TimeRange, Timestamp};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::access::{Access, Caller, Scope};
use crate::cursor::{Binding, Cursors};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::search::{Question, Search};
use crate::syntax;
use follow::{BUDGET_KIB, Event, Floor, Follow, Happened, Line, Recent};
use frame::Ask;
pub(crate) use frame::error as error_frame;
pub(crate) use position::Positions;

/// Tenants that one tail follows at most: each costs a connection to each indexer.
pub(crate) const TENANTS_MAX: usize = 64;
/// Most records of the backlog; of more, the newest are sent, and how many were left out is said.
pub(crate) const BACKLOG_MAX: usize = 10_000;
/// Records of the backlog where the client asks for nothing else.
pub(crate) const BACKLOG_DEFAULT: usize = 100;
/// How often a client hears something.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How often the right to read is looked at again; the promise is 5 s.
const RECHECK: Duration = Duration::from_secs(3);
/// How long one frame may take to leave: a client that takes longer is gone.
const SEND_MAX: Duration = Duration::from_secs(60);
/// How long the feeds may take to open before the tail begins without the late ones.
const OPEN_WAIT: Duration = Duration::from_secs(3);
/// How long the backlog may take before the tail begins without it: fresh lines are what a tail is for.
const BACKLOG_WAIT: Duration = Duration::from_secs(5);
/// Events on their way; their bytes have a bound of their own.
const EVENTS_MAX: usize = 256;
/// Records put into one frame, unless one commit alone has more.
const FRAME_RECORDS: usize = 1_000;
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
            () = revoked(&tails.access, &asked) => End::Revoked,
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

/// Returns when the caller may no longer read what it tails.
async fn revoked(access: &Access, asked: &Asked) {
    loop {
        tokio::time::sleep(RECHECK).await;
        let still = async {
            let scope = access.again(&asked.caller).await?.scope(&asked.named)?;
            Ok::<_, Error>(asked.scope.tenants().iter().all(|t| scope.tenants().contains(t)))
        };
        match still.await {
            Ok(true) => {}
            Ok(false) | Err(Error::Unauthenticated | Error::Forbidden) => return,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a tail's right could not be checked"
                );
            }
        }
    }
}

/// Records of the backlog that a feed of this part may bring again, up to a commit.
struct Joining {
    through: CommitId,
    sent: Arc<HashSet<RecordKey>>,
}

/// What was taken from the feeds for one frame.
#[derive(Default)]
struct Batch {
    lines: Vec<Line>,
    rooms: Vec<tokio::sync::OwnedSemaphorePermit>,
}

enum Turn {
    Heard(Option<Result<Message, axum::Error>>),
    Event(Event),
    Tick,
}

/// One tail while it runs.
struct Tail<'a> {
    tails: &'a Tails,
    asked: &'a Asked,
    socket: &'a mut WebSocket,
    question: Question,
    binding: Binding,
    positions: Positions,
    floor: Floor,
    joining: BTreeMap<(TenantId, Uuid), Joining>,
    /// None while paused.
    events: Option<mpsc::Receiver<Event>>,
    stop: CancellationToken,
    feeds_stop: CancellationToken,
}

type Step<T = ()> = Result<T, End>;

impl<'a> Tail<'a> {
    fn new(tails: &'a Tails, asked: &'a Asked, socket: &'a mut WebSocket, stop: CancellationToken) -> Self {
        Self {
            tails,
            asked,
            socket,
            question: asked.question.clone(),
            binding: binding(&asked.scope, &asked.named, &asked.text),
            positions: Positions::default(),
            floor: Floor::new(None),
            joining: BTreeMap::new(),
            events: None,
            feeds_stop: stop.child_token(),
            stop,
        }
    }

    async fn run(&mut self, begin: Begin) -> End {
        match self.serve(begin).await {
            Ok(never) => never,
            Err(end) => end,
        }
    }

    async fn serve(&mut self, begin: Begin) -> Step<End> {
        match begin {
            Begin::Resume(positions) => {
                self.positions = positions;
                self.follow();
            }
            Begin::Last(_) | Begin::Since(_) => {
                self.follow();
                let held = self.opened().await;
                self.backlog(&begin).await?;
                for event in held {
                    self.deliver(event).await?;
                }
            }
        }
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let turn = tokio::select! {
                heard = self.socket.recv() => Turn::Heard(heard),
                event = next(&mut self.events) => Turn::Event(event),
                _ = heartbeat.tick() => Turn::Tick,
            };
            match turn {
                Turn::Heard(Some(Ok(message))) => self.heard(message).await?,
                Turn::Heard(_) => return Err(End::Gone),
                Turn::Event(event) => self.deliver(event).await?,
                Turn::Tick => {
                    let text = frame::heartbeat(self.cursor()?.as_deref());
                    self.send(text).await?;
                }
            }
        }
    }

    /// Starts to follow all parts from where each was delivered.
    fn follow(&mut self) {
        self.feeds_stop.cancel();
        self.feeds_stop = self.stop.child_token();
        if let Some(newest) = self.positions.newest() {
            self.floor.set(newest);
        }
        let (out, events) = mpsc::channel(EVENTS_MAX);
        let room = Arc::new(Semaphore::new(BUDGET_KIB));
        for tenant in self.asked.scope.tenants() {
            for indexer in 0..self.tails.search.indexers().all().len() {
                let follow = Follow {
                    search: Arc::clone(&self.tails.search),
                    scope: self.asked.scope.narrowed(|t| t == tenant),
                    tenant: tenant.clone(),
                    indexer,
                    question: self.question.clone(),
                    delivered: self.positions.of(tenant),
                    recent: Recent::default(),
                    floor: self.floor.clone(),
                    room: Arc::clone(&room),
                    out: out.clone(),
                };
                let stop = self.feeds_stop.clone();
                self.tails.tracker.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = follow.run() => {}
                    }
                });
            }
        }
        self.events = Some(events);
    }

    /// Waits until every feed is open, or the late ones are late; what the first ones bring is held.
    async fn opened(&mut self) -> Vec<Event> {
        let feeds = self.asked.scope.tenants().len() * self.tails.search.indexers().all().len();
        let deadline = Instant::now() + OPEN_WAIT;
        let (mut held, mut open) = (Vec::new(), HashSet::new());
        while open.len() < feeds {
            let Ok(event) = tokio::time::timeout_at(deadline, next(&mut self.events)).await else { break };
            // The first event of a feed says from which commit on it brings all.
            if open.insert((event.tenant.clone(), event.indexer)) {
                self.positions.set(&event.tenant, event.indexer, event.at);
            }
            held.push(event);
        }
        if let Some(newest) = self.positions.newest() {
            self.floor.set(newest);
        }
        held
    }

    async fn backlog(&mut self, begin: &Begin) -> Step {
        let (limit, start) = match begin {
            Begin::Since(start) => (BACKLOG_MAX, *start),
            Begin::Last(limit) => (*limit, Timestamp::MIN),
            Begin::Resume(_) => return Ok(()),
        };
        let mut question = self.question.clone();
        question.range = TimeRange { start, end: Timestamp::MAX };
        let search = &self.tails.search;
        let work = search.records(&self.asked.scope, &question, Order::Desc, limit, None);
        let page = match tokio::time::timeout(BACKLOG_WAIT, search.in_turn_patiently(work)).await {
            Ok(Ok(page)) => page,
            Ok(Err(Error::Timeout { .. })) | Err(_) => return Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a tail's backlog cannot be read");
                return Err(End::Failed);
            }
        };
        let mut sent: BTreeMap<TenantId, HashSet<RecordKey>> = BTreeMap::new();
        let mut lines = Vec::with_capacity(page.records.len());
        for (tenant, record) in page.records.iter().rev() {
            sent.entry(tenant.clone()).or_default().insert(record.key());
            let json = serde_json::to_string(&record.to_api(tenant)).map_err(|_| End::Failed)?;
            lines.push(Line { key: record.key(), json });
        }
        let left_out = page.next.as_ref().filter(|_| matches!(begin, Begin::Since(_)));
        if let Some(first) = left_out {
            self.left_out(&question, first.key.time, page.records.len()).await?;
        }
        let sent: BTreeMap<_, _> = sent.into_iter().map(|(t, keys)| (t, Arc::new(keys))).collect();
        for ((tenant, indexer), through) in page.outcome.seen {
            if let Some(sent) = sent.get(&tenant)
                && self.positions.of(&tenant).get(&indexer).is_some_and(|at| at.commit < through)
            {
                self.joining.insert((tenant, indexer), Joining { through, sent: Arc::clone(sent) });
            }
        }
        self.send_lines(lines).await
    }

    /// Says how much of the backlog was left out.
    async fn left_out(&mut self, question: &Question, to: Timestamp, sent: usize) -> Step {
        let search = &self.tails.search;
        let total = search.in_turn_patiently(search.total(&self.asked.scope, question)).await;
        let Ok(total) = total else { return Ok(()) };
        let count = total.saturating_sub(u64::try_from(sent).unwrap_or(u64::MAX));
        self.tails.metrics.tail_skipped.inc_by(count);
        self.send(frame::skipped(count, question.range.start, to, None)).await
    }

    async fn heard(&mut self, message: Message) -> Step {
        let ask = match &message {
            Message::Close(_) => return Err(End::Gone),
            Message::Text(text) => serde_json::from_str::<Ask>(text.as_str()),
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) => return Ok(()),
        };
        match ask {
            Ok(Ask::Pause {}) => {
                self.events = None;
                self.feeds_stop.cancel();
                Ok(())
            }
            Ok(Ask::Resume {}) => {
                if self.events.is_none() {
                    self.follow();
                }
                Ok(())
            }
            Ok(Ask::Query { q }) => match question(&q, TimeRange::ALL, self.tails.clock.now()) {
                Ok(question) => {
                    self.question = question;
                    self.binding = binding(&self.asked.scope, &self.asked.named, &q);
                    if self.events.is_some() {
                        self.follow();
                    }
                    Ok(())
                }
                Err(error) => self.send(frame::error(&error)).await,
            },
            Err(error) => {
                let error = Error::invalid_hint(
                    format!("this frame cannot be read: {error}"),
                    r#"say {"type":"query","q":"…"}, {"type":"pause"} or {"type":"resume"}"#,
                );
                self.send(frame::error(&error)).await
            }
        }
    }

    /// Sends what an event brought, together with what else is there already.
    async fn deliver(&mut self, first: Event) -> Step {
        let mut batch = Batch::default();
        let mut next = Some(first);
        while let Some(event) = next {
            let Event { tenant, indexer, at, what, room } = event;
            batch.rooms.extend(room);
            match what {
                Happened::Records(lines) => {
                    let lines = self.without_sent(&tenant, indexer, at.commit, lines);
                    self.positions.set(&tenant, indexer, at);
                    batch.lines.extend(lines);
                }
                Happened::Reached => {
                    self.without_sent(&tenant, indexer, at.commit, Vec::new());
                    self.positions.set(&tenant, indexer, at);
                }
                Happened::Skipped { count, from, to } => {
                    self.send_lines(std::mem::take(&mut batch.lines)).await?;
                    self.positions.set(&tenant, indexer, at);
                    self.tails.metrics.tail_skipped.inc_by(count);
                    let text = frame::skipped(count, from, to, self.cursor()?.as_deref());
                    self.send(text).await?;
                }
            }
            let is_full = batch.lines.len() >= FRAME_RECORDS;
            next = if is_full { None } else { self.events.as_mut().and_then(|e| e.try_recv().ok()) };
        }
        // Feeds side by side bring their commits as they come: within a frame, time order reads better.
        batch.lines.sort_by_key(|line| line.key);
        self.send_lines(batch.lines).await
    }

    /// The lines that were not in the backlog.
    fn without_sent(
        &mut self,
        tenant: &TenantId,
        indexer: Uuid,
        commit: CommitId,
        mut lines: Vec<Line>,
    ) -> Vec<Line> {
        let part = (tenant.clone(), indexer);
        if let Some(joining) = self.joining.get(&part) {
            if commit <= joining.through {
                lines.retain(|line| !joining.sent.contains(&line.key));
            }
            if commit >= joining.through {
                self.joining.remove(&part);
            }
        }
        lines
    }

    async fn send_lines(&mut self, lines: Vec<Line>) -> Step {
        if lines.is_empty() {
            return Ok(());
        }
        self.tails.metrics.tail_records.inc_by(u64::try_from(lines.len()).unwrap_or(0));
        let cursor = self.cursor()?;
        let text = frame::records(lines.iter().map(|l| l.json.as_str()), cursor.as_deref());
        drop(lines);
        self.send(text).await
    }

    /// The place after what was sent. None while a feed may still bring records of the backlog: the place
    /// between them has no name.
    fn cursor(&self) -> Step<Option<String>> {
        if self.positions.is_empty() || !self.joining.is_empty() {
            return Ok(None);
        }
        let sealed = self.tails.cursors.seal(&self.binding, &self.positions, self.tails.clock.now());
        sealed.map(Some).map_err(|_| End::Failed)
    }

    async fn send(&mut self, text: String) -> Step {
        match tokio::time::timeout(SEND_MAX, self.socket.send(Message::text(text))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}

/// The next event; never, while paused.
async fn next(events: &mut Option<mpsc::Receiver<Event>>) -> Event {
    if let Some(open) = events {
        if let Some(event) = open.recv().await {
            return event;
        }
        *events = None;
    }
    std::future::pending().await
}

/// A query text as a question.
pub(crate) fn question(text: &str, range: TimeRange, now: Timestamp) -> Result<Question> {
    Question::new(range, syntax::parse(text, now)?)
}

#[cfg(test)]
mod tests;
