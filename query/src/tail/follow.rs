//! Follows the fresh records of one tenant at one indexer, over breaks of the connection, without gap or repeat.
//!
//! The feed brings what is not sealed. Where the place from which to go on lies before what is sealed by now,
//! the records between are read from segments first, and the feed is opened again from there. An indexer whose
//! process died has no feed until another process answers for it; one that is no more is sealed as a whole.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use heliograph_model::record::{RecordId, RecordKey};
use heliograph_model::scan::{CommitId, FeedFrame};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;
use heliograph_store::catalog::LISTED_WITHIN;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use uuid::Uuid;

use super::position::{At, KeyHex};
use super::starts::Starts;
use crate::access::Scope;
use crate::error::Error;
use crate::hot::{self, Indexer, Lines, Opened, Silent};
use crate::search::{Gap, Question, Search};

/// Records read at a time from segments.
const PAGE_RECORDS: usize = 1_000;
/// An indexer says something each second; one that is silent for so long is asked anew.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// How long an indexer that is no more stays in cursors: no reader's list names it after that, so that nobody
/// takes it for a new one.
const FORGET_AFTER: Duration = LISTED_WITHIN.saturating_mul(3);
/// Memory of one tail's records on their way, in KiB; past it the indexer's own bounded queue fills, and skips.
pub(super) const BUDGET_KIB: usize = 8 << 10;
/// Stands for no commit in [`Floor`].
const NO_COMMIT: i64 = i64::MIN;

/// A record on its way to the client.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) key: RecordKey,
    pub(super) json: String,
}

/// What follows happened.
#[derive(Debug)]
pub(super) enum Happened {
    /// Records came.
    Records(Vec<Line>),
    /// Records were left out by the indexer, as this tail was slow.
    Skipped { count: u64, from: Timestamp, to: Timestamp },
    /// Nothing new up to here.
    Reached,
    /// All that there was of the indexer, which is no more, was delivered.
    Over,
}

/// Something happened at one feed; after it the feed's part is delivered up to `at`.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) tenant: TenantId,
    pub(super) indexer: Uuid,
    pub(super) at: At,
    pub(super) what: Happened,
    /// Its part of the tail's budget, until it is sent.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// From where an indexer counts that was not there when the tail began.
#[derive(Clone, Debug)]
pub(super) struct Floor(Arc<AtomicI64>);

impl Floor {
    pub(super) fn new(commit: Option<CommitId>) -> Self {
        Self(Arc::new(AtomicI64::new(commit.map_or(NO_COMMIT, |c| c.0))))
    }

    pub(super) fn set(&self, commit: CommitId) {
        self.0.store(commit.0, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Option<CommitId> {
        Some(self.0.load(Ordering::Relaxed)).filter(|c| *c != NO_COMMIT).map(CommitId)
    }
}

/// Keys of the records that came since the feed's commit last rose. A large commit comes in several frames, all
/// but the last of which name the commit before; a feed that breaks off between them brings the first ones again.
#[derive(Debug, Default)]
pub(super) struct Recent {
    commit: CommitId,
    keys: HashSet<RecordKey>,
}

impl Recent {
    /// The lines that did not come before.
    fn fresh(&mut self, commit: CommitId, mut lines: Vec<Line>) -> Vec<Line> {
        lines.retain(|line| !self.keys.contains(&line.key));
        self.rise(commit);
        self.keys.extend(lines.iter().map(|line| line.key));
        lines
    }

    fn rise(&mut self, commit: CommitId) {
        if commit > self.commit {
            self.commit = commit;
            self.keys.clear();
        }
    }
}

/// Follows one tenant at one indexer.
pub(super) struct Follow {
    pub(super) search: Arc<Search>,
    pub(super) scope: Scope,
    pub(super) tenant: TenantId,
    /// Which indexer; none where there is only one.
    pub(super) indexer: Option<Uuid>,
    pub(super) question: Question,
    /// What was delivered, by indexer: the one behind the URL may have changed.
    pub(super) delivered: BTreeMap<Uuid, At>,
    pub(super) recent: Recent,
    pub(super) floor: Floor,
    pub(super) starts: Starts,
    pub(super) room: Arc<Semaphore>,
    pub(super) out: mpsc::Sender<Event>,
}

/// Why a feed ended.
enum End {
    /// The tail is gone, or the indexer.
    Left,
    /// The indexer broke off.
    Broken(Silent),
    /// A sealed stretch was read; the feed goes on behind it.
    Again,
    /// A sealed stretch could not be read.
    Unread(Error),
}

impl Follow {
    /// Goes on until the tail is gone; safe to drop at any point.
    pub(super) async fn run(mut self) {
        let mut backoff = BACKOFF_FIRST;
        loop {
            match self.once().await {
                End::Left => return,
                End::Again => {
                    backoff = BACKOFF_FIRST;
                    continue;
                }
                End::Broken(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a feed broke off");
                }
                End::Unread(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a tail cannot read what is sealed"
                    );
                }
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    async fn once(&mut self) -> End {
        let search = Arc::clone(&self.search);
        let listed = match search.indexers().all().await {
            Ok(listed) => listed,
            Err(error) => return End::Broken(error),
        };
        let Some(indexer) = listed.iter().find(|indexer| indexer.registered() == self.indexer) else {
            return self.read_rest().await;
        };
        let asked = self.after(indexer.id());
        let (opened, lines) = match self.open(&search, indexer, asked).await {
            Ok(feed) => feed,
            Err(error) => return End::Broken(error),
        };
        if self.after(Some(opened.indexer)) != asked || !self.begin(opened.indexer, asked) {
            // Another indexer than the place was meant for, now its id is known; or another place.
            return End::Again;
        }
        let start = At::commit(asked.unwrap_or(opened.committed));
        let at = *self.delivered.entry(opened.indexer).or_insert(start);
        if asked.is_some() && (at.gap.is_some() || at.commit < opened.sealed_through) {
            drop(lines);
            return self.read_sealed(&opened, at).await;
        }
        match self.send(opened.indexer, at, Happened::Reached).await {
            Ok(()) => self.listen(opened.indexer, lines).await,
            Err(end) => end,
        }
    }

    fn after(&self, indexer: Option<Uuid>) -> Option<CommitId> {
        let delivered = indexer.and_then(|id| self.delivered.get(&id)).map(At::feed_after);
        let told = || indexer.and_then(|id| self.starts.after(&(self.tenant.clone(), id)));
        delivered.or_else(told).or_else(|| self.floor.get())
    }

    fn begin(&self, indexer: Uuid, after: Option<CommitId>) -> bool {
        self.delivered.contains_key(&indexer) || self.starts.open((self.tenant.clone(), indexer), after)
    }

    async fn open(
        &self,
        search: &Search,
        indexer: &Indexer,
        after: Option<CommitId>,
    ) -> Result<(Opened, Lines), Silent> {
        let feed = search.indexers().feed(indexer, &self.tenant, &self.question.filter, after);
        tokio::time::timeout(SILENCE_MAX, feed)
            .await
            .unwrap_or_else(|_| Err(Silent::Answer("no answer in time".to_owned())))
    }

    /// Reads what is left of an indexer that is no more.
    async fn read_rest(&mut self) -> End {
        let Some(indexer) = self.indexer else { return End::Left };
        let after = self.after(Some(indexer));
        if !self.begin(indexer, after) {
            return End::Again;
        }
        let from = self.delivered.get(&indexer).copied().or_else(|| after.map(At::commit));
        let Some(at) = from else { return End::Left };
        let through = match self.search.sealed_through(&self.scope, &self.tenant, indexer).await {
            Ok(through) => through,
            Err(error) => return End::Unread(error),
        };
        if at.gap.is_some() || at.commit < through {
            let opened = Opened { indexer, committed: through, sealed_through: through };
            return self.read_sealed(&opened, at).await;
        }
        tokio::time::sleep(FORGET_AFTER).await;
        match self.send(indexer, at, Happened::Over).await {
            Ok(()) => End::Left,
            Err(end) => end,
        }
    }

    async fn listen(&mut self, indexer: Uuid, mut lines: Lines) -> End {
        loop {
            let line = match tokio::time::timeout(SILENCE_MAX, lines.next()).await {
                Ok(Some(Ok(line))) => line,
                Ok(Some(Err(error))) => return End::Broken(error),
                Ok(None) => return End::Broken(Silent::Answer("the feed ended".to_owned())),
                Err(_) => return End::Broken(Silent::Answer("the feed is silent".to_owned())),
            };
            let (commit, what) = match self.read(&line) {
                Ok(Some((commit, Happened::Records(lines)))) => {
                    (commit, Happened::Records(self.recent.fresh(commit, lines)))
                }
                Ok(Some((commit, what))) => {
                    self.recent.rise(commit);
                    (commit, what)
                }
                Ok(None) => continue,
                Err(error) => return End::Broken(error),
            };
            if let Err(end) = self.send(indexer, At::commit(commit), what).await {
                return end;
            }
        }
    }

    fn read(&self, line: &str) -> Result<Option<(CommitId, Happened)>, Silent> {
        Ok(Some(match hot::frame(line)? {
            FeedFrame::Open { .. } => return Ok(None),
            FeedFrame::Heartbeat { commit } => (commit, Happened::Reached),
            FeedFrame::Skipped { count, from, to, commit } => (commit, Happened::Skipped { count, from, to }),
            FeedFrame::Records { commit, records } => {
                let line = |record: &heliograph_model::record::ApiRecord<'_>| {
                    if record.tenant != self.tenant {
                        return Err(Silent::Answer("a record of another tenant".to_owned()));
                    }
                    let bad = |e: String| Silent::Answer(e);
                    let id = RecordId::parse(&record.id).map_err(|e| bad(e.to_string()))?;
                    let json = serde_json::to_string(record).map_err(|e| bad(e.to_string()))?;
                    Ok(Line { key: id.key, json })
                };
                (commit, Happened::Records(records.iter().map(line).collect::<Result<_, _>>()?))
            }
        }))
    }

    /// Reads the sealed records that the feed does not bring any more.
    async fn read_sealed(&mut self, opened: &Opened, mut at: At) -> End {
        let (through, mut read_to) = match at.gap {
            Some((through, key)) => (through, Some(key.0)),
            None => (opened.sealed_through, None),
        };
        loop {
            let gap = Gap {
                tenant: self.tenant.clone(),
                indexer: opened.indexer,
                after: at.commit,
                through,
                read_to,
            };
            let work = self.search.sealed_between(&self.scope, &self.question, &gap, PAGE_RECORDS);
            let page = match self.search.in_turn_patiently(&self.scope, work).await {
                Ok(page) => page,
                Err(error) => return End::Unread(error),
            };
            let is_last = page.len() < PAGE_RECORDS;
            let lines: Result<Vec<Line>, _> = page
                .iter()
                .map(|r| Ok(Line { key: r.key(), json: serde_json::to_string(&r.to_api(&self.tenant))? }))
                .collect();
            let lines = match lines {
                Ok(lines) => lines,
                Err(error) => {
                    return End::Unread(Error::server(
                        "writing a record",
                        Box::<serde_json::Error>::new(error),
                    ));
                }
            };
            read_to = lines.last().map(|l| l.key).or(read_to);
            at.gap = read_to.filter(|_| !is_last).map(|key| (through, KeyHex(key)));
            if is_last {
                at.commit = through.max(at.commit);
            }
            let what = if lines.is_empty() { Happened::Reached } else { Happened::Records(lines) };
            if let Err(end) = self.send(opened.indexer, at, what).await {
                return end;
            }
            if is_last {
                return End::Again;
            }
        }
    }

    async fn send(&mut self, indexer: Uuid, at: At, what: Happened) -> Result<(), End> {
        let room = match &what {
            Happened::Records(lines) => {
                let kib = lines.iter().map(|l| l.json.len()).sum::<usize>() / 1024 + 1;
                let kib = u32::try_from(kib.min(BUDGET_KIB)).unwrap_or(u32::MAX);
                Some(Arc::clone(&self.room).acquire_many_owned(kib).await.map_err(|_| End::Left)?)
            }
            _ => None,
        };
        self.delivered.insert(indexer, at);
        let event = Event { tenant: self.tenant.clone(), indexer, at, what, room };
        self.out.send(event).await.map_err(|_| End::Left)
    }
}
