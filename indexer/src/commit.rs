//! Group commit: one write-ahead object and one catalog transaction for all batches that are there.
//!
//! A batch is answered after the transaction, never before; its records are hot by then. One task commits, one
//! commit after the other, so that whatever is said about a producer's place is true when it is said. A batch
//! that waits for its predecessor stays here a moment: senders have several in flight, and they overtake one
//! another.

mod company;
mod sequence;
mod write;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heliograph_model::batch::{BatchId, ProducerId};
use heliograph_model::rows::Rows;
use heliograph_model::tenant::TenantId;
use heliograph_store::catalog::NewCommit;
use heliograph_store::crash;
use heliograph_store::tenants::OpenTenant;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::budget::Room;
use crate::error::{Error, Result};
use company::Company;
use sequence::{Place, Verdict, judge};
pub(crate) use write::Writer;
use write::{Failure, Recorded};

/// Batches in one commit: bounds the size of the transaction.
const COMMIT_BATCHES_MAX: usize = 1024;
/// Compressed bytes in one commit, but for the last batch: bounds the memory and the time of one write.
const COMMIT_BYTES_MAX: usize = 32 << 20;
/// How long a batch that came too early waits for its predecessor before its sender is told.
const EARLY_FOR: Duration = Duration::from_millis(250);
/// How often it is asked what became of a commit in doubt.
const SETTLE_EVERY: Duration = Duration::from_millis(500);
/// Batches that wait for their predecessors.
const EARLY_MAX: usize = 256;
/// How often a commit is made anew because the catalog knew better about a producer.
const ATTEMPTS_MAX: usize = 4;
/// Producers whose place is remembered.
const PLACES_MAX: usize = 100_000;

/// A checked batch with its records.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Whose.
    pub(crate) tenant: Arc<OpenTenant>,
    /// Its name, if its producer numbers them.
    pub(crate) id: Option<BatchId>,
    /// What its producer was before its node stood in that: what is on record of it there is not stored again.
    pub(crate) former: Option<ProducerId>,
    /// What goes into the write-ahead object.
    pub(crate) payload: Bytes,
    /// The same as records.
    pub(crate) rows: Rows,
    /// Their room in memory.
    pub(crate) room: Room,
}

/// What became of a batch: either way it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// By this request.
    Stored,
    /// By an earlier one.
    Repeat,
}

/// A batch whose sender waits.
#[derive(Debug)]
pub(crate) struct Pending {
    batch: Batch,
    since: Instant,
    answer: oneshot::Sender<Result<Outcome>>,
}

impl Pending {
    /// A batch, and where to say what became of it.
    pub(crate) fn new(batch: Batch, answer: oneshot::Sender<Result<Outcome>>) -> Self {
        Self { batch, since: Instant::now(), answer }
    }

    /// Tells the sender, if it still listens.
    fn tell(self, outcome: Result<Outcome>) {
        drop(self.answer.send(outcome));
    }

    /// Of one producer in the order of its numbers, whatever the order of arrival.
    fn order(&self) -> (&TenantId, Option<(&ProducerId, u64, u64)>) {
        let id = self.batch.id.as_ref();
        (&self.batch.tenant.name, id.map(|id| (&id.producer, id.epoch, id.sequence)))
    }

    /// Whose batch it is: all of a tenant's that are not numbered are one's.
    fn sender(&self) -> Sender {
        (self.batch.tenant.name.clone(), self.batch.id.as_ref().map(|id| id.producer.clone()))
    }

    fn producer(&self) -> Option<(Producer, &BatchId)> {
        let id = self.batch.id.as_ref()?;
        Some(((self.batch.tenant.name.clone(), id.producer.clone()), id))
    }
}

type Producer = (TenantId, ProducerId);
type Sender = (TenantId, Option<ProducerId>);

/// Commits batches.
pub(crate) struct Committer {
    writer: Writer,
    company: Company,
    /// What is on record, of producers asked about lately.
    places: HashMap<Producer, Option<Place>>,
    early: Vec<Pending>,
    /// A commit of which it is not known whether the catalog has it: before it is, nothing else is done, for
    /// its records would be passed over by the next seal.
    uncertain: Option<Uncertain>,
}

/// A commit that may or may not be recorded. Its senders were told to come again.
struct Uncertain {
    commit: NewCommit,
    batches: Vec<Batch>,
    attempts: usize,
}

/// The batches of one turn that are not answered yet.
#[derive(Default)]
struct Turn {
    /// To be stored.
    accepted: Vec<Pending>,
    /// The same batch again as one of those: shares its outcome.
    followers: Vec<Pending>,
    /// Not the next, as far as we remember, and too long here to wait for its predecessor.
    doubtful: Vec<(Pending, Error)>,
}

impl Committer {
    /// A committer that waits `linger` for company, or a part of a commit's time if that is more.
    pub(crate) fn new(writer: Writer, linger: Duration) -> Self {
        Self {
            writer,
            company: Company::new(linger),
            places: HashMap::new(),
            early: Vec::new(),
            uncertain: None,
        }
    }

    /// Commits until the last sender of `queue` is gone and all batches are answered.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Pending>) {
        loop {
            let (batches, is_open) = self.gather(&mut queue).await;
            if batches.is_empty() {
                Box::pin(self.settle()).await;
            } else {
                let begun = Instant::now();
                self.company.went(batches.iter().map(Pending::sender));
                Box::pin(self.commit(batches)).await;
                self.company.took(begun.elapsed());
            }
            if !is_open {
                break;
            }
        }
        refuse(std::mem::take(&mut self.early), "the indexer is stopping");
    }

    /// The batches of the next commit: what has gathered during the last one, and what comes while it is worth
    /// waiting for. Second: whether more may come.
    async fn gather(&mut self, queue: &mut mpsc::Receiver<Pending>) -> (Vec<Pending>, bool) {
        let early = self.early.iter().map(|p| p.since + EARLY_FOR).min();
        // Its senders may have gone elsewhere, so that no further batch comes.
        let settling = self.uncertain.as_ref().map(|_| Instant::now() + SETTLE_EVERY);
        let first = match early.into_iter().chain(settling).min() {
            None => queue.recv().await,
            Some(deadline) => match timeout_at(deadline, queue.recv()).await {
                Ok(first) => first,
                Err(_) => return (std::mem::take(&mut self.early), true),
            },
        };
        let mut batches = std::mem::take(&mut self.early);
        let Some(first) = first else { return (batches, false) };
        let mut expected = self.company.expected();
        batches.iter().chain([&first]).for_each(|batch| expected.came(&batch.sender()));
        let mut bytes = first.batch.payload.len();
        batches.push(first);
        while batches.len() < COMMIT_BATCHES_MAX && bytes < COMMIT_BYTES_MAX {
            // What is there already is taken even when the time is over.
            let next = match queue.try_recv() {
                Ok(next) => next,
                Err(_) if expected.all_came() => break,
                Err(_) => match timeout_at(expected.until(), queue.recv()).await {
                    Ok(Some(next)) => next,
                    Ok(None) => return (batches, false),
                    Err(_) => break,
                },
            };
            expected.came(&next.sender());
            bytes += next.batch.payload.len();
            batches.push(next);
        }
        (batches, true)
    }

    async fn commit(&mut self, mut batches: Vec<Pending>) {
        if !self.writer.held.may_commit() {
            return refuse(batches, NO_LEASE);
        }
        if !self.settle().await {
            return refuse(batches, STORAGE);
        }
        for _ in 0..ATTEMPTS_MAX {
            batches.sort_by(|a, b| a.order().cmp(&b.order()));
            if let Err(error) = self.look_up(&batches).await {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot read producers' places");
                return refuse(batches, STORAGE);
            }
            let Turn { accepted, followers, doubtful } = self.judge_all(batches);
            self.look_again(doubtful).await;
            if accepted.is_empty() {
                return;
            }
            match self.writer.write(accepted.iter().map(|p| &p.batch)).await {
                Ok(recorded) => return self.acknowledge(&recorded, accepted, followers),
                Err(Failure::Sequence { tenant }) => {
                    // Somebody else moved a producer of this tenant on: judge anew by what is on record.
                    self.places.retain(|(of, _), _| *of != tenant);
                    batches = accepted.into_iter().chain(followers).collect();
                }
                Err(Failure::Erased { tenant }) => {
                    let all = accepted.into_iter().chain(followers);
                    let (gone, others) = all.partition(|pending| pending.batch.tenant.name == tenant);
                    self.places.retain(|(of, _), _| *of != tenant);
                    // Who sends again is told what became of it, or has the new tenant of this name.
                    self.writer.store.tenants.forget_named(&tenant);
                    refuse(gone, ERASED);
                    batches = others;
                }
                Err(Failure::Fenced) => {
                    return refuse(accepted.into_iter().chain(followers).collect(), NO_LEASE);
                }
                Err(Failure::NotDone) => {
                    return refuse(accepted.into_iter().chain(followers).collect(), STORAGE);
                }
                Err(Failure::Unknown { commit }) => {
                    self.forget(&accepted);
                    let (batches, answers): (Vec<_>, Vec<_>) =
                        accepted.into_iter().map(|p| (p.batch, p.answer)).unzip();
                    self.uncertain = Some(Uncertain { commit: *commit, batches, attempts: 1 });
                    refuse(followers, STORAGE);
                    answers.into_iter().for_each(|answer| drop(answer.send(Err(unavailable(STORAGE)))));
                    return;
                }
            }
        }
        refuse(batches, "another indexer commits the same producers' batches");
    }

    /// The batches are durable: first hot, then answered, so that one who has the answer finds the records.
    fn acknowledge(&mut self, recorded: &Recorded, accepted: Vec<Pending>, followers: Vec<Pending>) {
        for (producer, id) in accepted.iter().filter_map(Pending::producer) {
            self.places.insert(producer, Some((id.epoch, id.sequence)));
        }
        let (batches, answers): (Vec<_>, Vec<_>) = accepted.into_iter().map(|p| (p.batch, p.answer)).unzip();
        self.writer.make_hot(recorded, batches);
        crash::point("commit.answer.before");
        answers.into_iter().for_each(|answer| drop(answer.send(Ok(Outcome::Stored))));
        followers.into_iter().for_each(|p| p.tell(Ok(Outcome::Repeat)));
        crash::point("commit.answer.after");
    }

    /// Brings the commit whose outcome is not known to an end, if there is one; `false` if that is not possible
    /// now.
    async fn settle(&mut self) -> bool {
        let Some(Uncertain { commit, batches, attempts }) = self.uncertain.take() else { return true };
        let object = commit.object;
        match self.writer.record(commit).await {
            Ok(recorded) => self.writer.make_hot(&recorded, batches),
            Err(Failure::Sequence { .. } | Failure::Erased { .. } | Failure::NotDone) => {}
            Err(Failure::Unknown { commit }) => {
                // A commit that the catalog refuses for ever must not stand in the way of all others.
                if attempts < ATTEMPTS_MAX || !matches!(self.writer.has(object).await, Ok(false)) {
                    self.uncertain = Some(Uncertain { commit: *commit, batches, attempts: attempts + 1 });
                    return false;
                }
                tracing::error!(%object, "gave up a commit that the catalog does not take");
                self.writer.held.commit_ends();
                self.writer.discard(object).await;
            }
            Err(Failure::Fenced) => return false,
        }
        true
    }

    fn forget(&mut self, batches: &[Pending]) {
        for (producer, _) in batches.iter().filter_map(Pending::producer) {
            self.places.remove(&producer);
        }
    }

    /// Reads the places that are not remembered.
    async fn look_up(&mut self, batches: &[Pending]) -> heliograph_store::Result<()> {
        if self.places.len() > PLACES_MAX {
            self.places.clear();
        }
        for (producer, _) in batches.iter().filter_map(Pending::producer) {
            self.look_up_one(producer).await?;
        }
        for batch in batches.iter().map(|pending| &pending.batch) {
            let Some(former) = &batch.former else { continue };
            let tenant = || batch.tenant.name.clone();
            let own = batch.id.as_ref().map(|id| (tenant(), id.producer.clone()));
            if own.is_some_and(|own| self.places.get(&own) == Some(&None)) {
                self.look_up_one((tenant(), former.clone())).await?;
            }
        }
        Ok(())
    }

    async fn look_up_one(&mut self, producer: Producer) -> heliograph_store::Result<()> {
        if !self.places.contains_key(&producer) {
            let place = self.writer.place(&producer.0, &producer.1).await?;
            self.places.insert(producer, place);
        }
        Ok(())
    }

    /// Whether a batch of a producer that is new was stored when it went by its former name.
    fn is_former(&self, pending: &Pending, id: &BatchId) -> bool {
        let former = pending.batch.former.as_ref();
        let place = former.and_then(|former| {
            self.places.get(&(pending.batch.tenant.name.clone(), former.clone())).copied().flatten()
        });
        place.is_some() && judge(place, id) == Verdict::Repeat
    }

    /// Asks the catalog before a sender is told that its batch is not the next: another indexer may have taken
    /// those before it. Then it is judged anew in the next turn.
    async fn look_again(&mut self, doubtful: Vec<(Pending, Error)>) {
        let mut moved: HashSet<Producer> = HashSet::new();
        for (pending, gap) in doubtful {
            let Some((producer, _)) = pending.producer() else { continue };
            if moved.contains(&producer) {
                self.early.push(pending);
                continue;
            }
            match self.writer.place(&producer.0, &producer.1).await {
                Ok(place) if self.places.insert(producer.clone(), place) == Some(place) => {
                    pending.tell(Err(gap));
                }
                Ok(_) => {
                    moved.insert(producer);
                    self.early.push(pending);
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "cannot read producers' places"
                    );
                    pending.tell(Err(unavailable(STORAGE)));
                }
            }
        }
    }

    /// Answers what can be answered by the places on record, and keeps what came too early.
    fn judge_all(&mut self, batches: Vec<Pending>) -> Turn {
        let mut turn = Turn::default();
        // Where the producers will be after this turn.
        let mut ahead: HashMap<Producer, Place> = HashMap::new();
        for pending in batches {
            let Some((producer, id)) = pending.producer() else {
                turn.accepted.push(pending);
                continue;
            };
            let on_record = self.places.get(&producer).copied().flatten();
            if on_record.is_none() && self.is_former(&pending, id) {
                pending.tell(Ok(Outcome::Repeat));
                continue;
            }
            match judge(ahead.get(&producer).copied().or(on_record), id) {
                Verdict::Next => {
                    ahead.insert(producer, (id.epoch, id.sequence));
                    turn.accepted.push(pending);
                }
                Verdict::Repeat if judge(on_record, id) == Verdict::Repeat => {
                    pending.tell(Ok(Outcome::Repeat));
                }
                Verdict::Repeat => turn.followers.push(pending),
                Verdict::Gap { expected, epoch } => {
                    let may_follow = epoch == id.epoch && expected < id.sequence;
                    let may_wait = pending.since.elapsed() < EARLY_FOR && self.early.len() < EARLY_MAX;
                    if may_follow && may_wait {
                        self.early.push(pending);
                    } else {
                        turn.doubtful.push((pending, Error::Gap { expected, epoch }));
                    }
                }
            }
        }
        turn
    }
}

/// What senders are told while this process cannot be sure that it is the one that writes for its indexer.
const NO_LEASE: &str = "this indexer is joining, or cut off from the catalog";
/// What senders are told when the catalog or the object store fails.
const STORAGE: &str = "storage is unavailable";
/// What senders are told whose tenant was erased after their request was looked at; the next answer is the last.
const ERASED: &str = "the tenant is being erased";

fn unavailable(reason: &'static str) -> Error {
    Error::Unavailable { reason }
}

fn refuse(batches: Vec<Pending>, reason: &'static str) {
    batches.into_iter().for_each(|p| p.tell(Err(unavailable(reason))));
}
