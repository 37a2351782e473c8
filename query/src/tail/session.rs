//! One tail while it runs: joins the backlog with the feeds, hears its client, sends frames.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use heliograph_model::record::RecordKey;
use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use heliograph_store::audit::{Action, Details, Outcome};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::backlog::{self, Backlog, Late};
use super::follow::{BUDGET_KIB, Event, Floor, Happened, Line};
use super::follow_all::FollowAll;
use super::frame::{self, Ask};
use super::position::{At, Positions};
use super::starts::Starts;
use super::{Asked, BACKLOG_MAX, Begin, End, Tails};
use crate::audit;
use crate::cursor::Binding;
use crate::error::{Error, Result};
use crate::search::Question;

/// How often a client hears something.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long one frame may take to leave: a client that takes longer is gone.
const SEND_MAX: Duration = Duration::from_secs(60);
/// How long the feeds may take to open before the tail begins without the late ones.
const OPEN_WAIT: Duration = Duration::from_secs(3);
/// Events on their way; their bytes have a bound of their own.
const EVENTS_MAX: usize = 256;
/// Records put into one frame, unless one commit alone has more.
const FRAME_RECORDS: usize = 1_000;

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
pub(super) struct Tail<'a> {
    tails: &'a Tails,
    asked: &'a Asked,
    socket: &'a mut WebSocket,
    question: Question,
    binding: Binding,
    positions: Positions,
    floor: Floor,
    starts: Starts,
    joining: BTreeMap<(TenantId, Uuid), Joining>,
    /// What came while the backlog was read; it comes before what is in `events`.
    held: VecDeque<Event>,
    /// None while paused.
    events: Option<mpsc::Receiver<Event>>,
    stop: CancellationToken,
    feeds_stop: CancellationToken,
}

type Step<T = ()> = Result<T, End>;

impl<'a> Tail<'a> {
    pub(super) fn new(
        tails: &'a Tails,
        asked: &'a Asked,
        socket: &'a mut WebSocket,
        stop: CancellationToken,
    ) -> Self {
        Self {
            tails,
            asked,
            socket,
            question: asked.question.clone(),
            binding: super::binding(&asked.scope, &asked.named, &asked.text),
            positions: Positions::default(),
            floor: Floor::new(None),
            starts: Starts::default(),
            joining: BTreeMap::new(),
            held: VecDeque::new(),
            events: None,
            feeds_stop: stop.child_token(),
            stop,
        }
    }

    /// Runs to the client's leaving, or to a failure.
    pub(super) async fn run(&mut self, begin: Begin) -> End {
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
                self.held = held.into();
                while let Some(event) = self.held.pop_front() {
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
        self.starts = Starts::default();
        let all = FollowAll {
            search: Arc::clone(&self.tails.search),
            scope: self.asked.scope.clone(),
            question: self.question.clone(),
            delivered: self.positions.clone(),
            floor: self.floor.clone(),
            starts: self.starts.clone(),
            room,
            out,
            tracker: self.tails.tracker.clone(),
            stop: self.feeds_stop.clone(),
        };
        self.tails.tracker.spawn(all.run());
        self.events = Some(events);
    }

    /// Waits until every feed is open, or the late ones are late; what the first ones bring is held.
    async fn opened(&mut self) -> Vec<Event> {
        let deadline = Instant::now() + OPEN_WAIT;
        let listed = tokio::time::timeout_at(deadline, self.tails.search.indexers().all()).await;
        let indexers = listed.ok().and_then(Result::ok).map_or(0, |listed| listed.len());
        let feeds = self.asked.scope.tenants().len() * indexers;
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
        let read = backlog::read(self.tails, &self.asked.scope, &question, limit, &self.starts).await?;
        let Some(Backlog { page, late }) = read else { return Ok(()) };
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
        for (part, Late { after, through }) in late {
            self.positions.set(&part.0, part.1, At::commit(after));
            if let Some(sent) = sent.get(&part.0).filter(|_| after < through) {
                self.joining.insert(part, Joining { through, sent: Arc::clone(sent) });
            }
        }
        self.send_lines(lines).await
    }

    /// Says how much of the backlog was left out.
    async fn left_out(&mut self, question: &Question, to: Timestamp, sent: usize) -> Step {
        let search = &self.tails.search;
        let total =
            search.in_turn_patiently(&self.asked.scope, search.total(&self.asked.scope, question)).await;
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
            Ok(Ask::Query { q }) => match asked_anew(self.tails, self.asked, &q).await {
                Ok(question) => {
                    self.question = question;
                    self.binding = super::binding(&self.asked.scope, &self.asked.named, &q);
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
                Happened::Over => {
                    self.joining.remove(&(tenant.clone(), indexer));
                    self.positions.forget(&tenant, indexer);
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
            next = if is_full { None } else { self.ready() };
        }
        // Feeds side by side bring their commits as they come: within a frame, time order reads better.
        batch.lines.sort_by_key(|line| line.key);
        self.send_lines(batch.lines).await
    }

    /// What is there already, in the order in which it came.
    fn ready(&mut self) -> Option<Event> {
        self.held.pop_front().or_else(|| self.events.as_mut()?.try_recv().ok())
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

/// Another question, recorded as the first one was.
async fn asked_anew(tails: &Tails, asked: &Asked, q: &str) -> Result<Question> {
    let question = super::question(q, TimeRange::ALL, tails.clock.now())?;
    let slot = tails.audit.slot().await?;
    slot.record(audit::Happened {
        at: tails.clock.now(),
        actor: asked.origin.actor.clone(),
        action: Action::Tail,
        subjects: Arc::clone(&asked.origin.subjects),
        from: asked.origin.from,
        outcome: Outcome::Done,
        details: Details::new([("q".to_owned(), q.into())].into_iter().collect()),
    });
    Ok(question)
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
