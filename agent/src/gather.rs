//! Records to batches, one tenant each, by size or age.
//!
//! What a run lets go stays together with the positions that it moves: they reach the spool in one entry.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_model::record::Record;
use heliograph_model::source::SourceId;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::discover::wake::Wake;
use crate::tail::Step;

/// What is to be saved of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    /// Which source.
    pub source: SourceId,
    /// Its path.
    pub path: Arc<Path>,
    /// Time of its latest record.
    pub last: Timestamp,
    /// How far it is done; none to forget the source, which will not come back.
    pub step: Option<Step>,
}

/// Records of one tenant, with the positions that they move.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// Whose.
    pub tenant: TenantId,
    /// In order within each source, those of a source together.
    pub records: Vec<Record>,
    /// What to save with them.
    pub moves: Vec<Move>,
}

/// Most batches that are stuck, if reading goes on all the same.
const STUCK_MAX: usize = 64;

/// The spool takes nothing any more.
#[derive(Debug)]
pub(crate) struct Closed;

/// How long a record of a tenant waits whose batches pile up. It would wait for these anyway, and an hour's
/// outage is thousands of batches, not a hundred thousand small ones to be remembered and sent one by one.
const FLUSH_BEHIND_AFTER: Duration = Duration::from_secs(1);

/// Says whether a tenant's batches pile up.
pub(crate) type IsBehind = Box<dyn Fn(&TenantId) -> bool + Send>;

/// Collects until a batch is large or old enough.
pub(crate) struct Gather {
    open: BTreeMap<TenantId, Open>,
    out: mpsc::Sender<Gathered>,
    /// Batches that the spool has no time or room for at present.
    stuck: VecDeque<Gathered>,
    bytes_max: usize,
    is_behind: IsBehind,
}

#[derive(Debug, Default)]
struct Open {
    records: Vec<Record>,
    moves: BTreeMap<(SourceId, Option<u32>), Move>,
    bytes: usize,
    due: Option<Instant>,
}

impl Gather {
    /// Batches go to `out`.
    pub(crate) fn new(out: mpsc::Sender<Gathered>, bytes_max: usize) -> Self {
        let (open, stuck, is_behind) = (BTreeMap::new(), VecDeque::new(), Box::new(|_: &TenantId| false));
        Self { open, out, stuck, bytes_max, is_behind }
    }

    /// Larger batches for tenants that are behind.
    pub(crate) fn with_backlog(self, is_behind: IsBehind) -> Self {
        Self { is_behind, ..self }
    }

    /// Whether the spool is behind: nothing more should be read.
    pub(crate) fn is_stuck(&self) -> bool {
        !self.stuck.is_empty()
    }

    /// Passes on what is stuck; says whether all went. If not, `wake` rings once there is room.
    pub(crate) fn pass_on(&mut self, wake: &Wake) -> Result<bool, Closed> {
        if self.pass()? {
            return Ok(true);
        }
        wake.want_room();
        // There may have been room in between.
        self.pass()
    }

    fn pass(&mut self) -> Result<bool, Closed> {
        while let Some(batch) = self.stuck.pop_front() {
            match self.out.try_send(batch) {
                Ok(()) => {}
                Err(TrySendError::Full(batch)) => {
                    self.stuck.push_front(batch);
                    return Ok(false);
                }
                Err(TrySendError::Closed(_)) => return Err(Closed),
            }
        }
        Ok(true)
    }

    /// Adds what belongs together, to be sent at `due` at the latest. Waits only if very much is stuck.
    pub(crate) fn add(
        &mut self,
        tenant: &TenantId,
        records: Vec<Record>,
        moves: Vec<Move>,
        due: Instant,
    ) -> Result<(), Closed> {
        let bytes: usize = records.iter().map(|r| r.message.len()).sum();
        if self.open.get(tenant).is_some_and(|o| o.bytes > 0 && o.bytes + bytes > self.bytes_max) {
            self.flush(tenant)?;
        }
        let open = self.open.entry(tenant.clone()).or_default();
        if !records.is_empty() && open.due.is_none() {
            let is_behind = (self.is_behind)(tenant);
            open.due = Some(if is_behind { due + FLUSH_BEHIND_AFTER } else { due });
        }
        open.bytes += bytes;
        open.records.extend(records);
        for change in moves {
            let key = (change.source, change.step.map(|s| s.number));
            if change.step.is_none() {
                open.moves.retain(|(source, _), _| *source != change.source);
            }
            open.moves.insert(key, change);
        }
        if open.bytes >= self.bytes_max { self.flush(tenant) } else { Ok(()) }
    }

    /// Lets go of a source of which no more comes for this tenant: what another one's batches move must not be
    /// overtaken by a batch of this one's.
    pub(crate) fn leave(&mut self, tenant: &TenantId, source: SourceId) -> Result<(), Closed> {
        self.flush(tenant)?;
        if let Some(open) = self.open.get_mut(tenant) {
            open.moves.retain(|(moved, _), _| *moved != source);
        }
        Ok(())
    }

    /// Sends the batches that have waited long enough.
    pub(crate) fn flush_due(&mut self, now: Instant) -> Result<(), Closed> {
        let due = |o: &Open| o.due.is_some_and(|due| due <= now);
        let due: Vec<_> = self.open.iter().filter(|(_, o)| due(o)).map(|(t, _)| t.clone()).collect();
        due.iter().try_for_each(|tenant| self.flush(tenant))
    }

    /// Sends all batches, and waits until the spool has taken them.
    pub(crate) fn flush_all(&mut self) -> Result<(), Closed> {
        let tenants: Vec<_> = self.open.keys().cloned().collect();
        tenants.iter().try_for_each(|tenant| self.flush(tenant))?;
        self.stuck.drain(..).try_for_each(|batch| self.out.blocking_send(batch).map_err(|_| Closed))
    }

    /// When [`Self::flush_due`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.open.values().filter_map(|o| o.due).min()
    }

    /// A batch without records waits for some: its positions can be found again.
    fn flush(&mut self, tenant: &TenantId) -> Result<(), Closed> {
        let Some(open) = self.open.get_mut(tenant) else { return Ok(()) };
        if open.records.is_empty() {
            return Ok(());
        }
        let Open { mut records, moves, .. } = std::mem::take(open);
        // Stable: within a source the order stays.
        records.sort_by_key(|r| r.source.id);
        let moves = moves.into_values().collect();
        self.stuck.push_back(Gathered { tenant: tenant.clone(), records, moves });
        if !self.pass()?
            && self.stuck.len() > STUCK_MAX
            && let Some(batch) = self.stuck.pop_front()
        {
            self.out.blocking_send(batch).map_err(|_| Closed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use heliograph_model::source::{Position, Source};

    use super::*;

    fn record(source: u128, offset: u64, text: &str) -> Record {
        Record {
            time: Timestamp::MIN,
            observed: Timestamp::MIN,
            position: Position(offset),
            source: Arc::new(Source { id: SourceId(source), ..Source::default() }),
            level: None,
            stream: None,
            identity: heliograph_model::airflow::Identity::default(),
            message: text.into(),
            attributes: heliograph_model::record::Attributes::default(),
        }
    }

    #[test]
    fn a_batch_has_one_tenant_and_is_bounded_by_size_and_age() {
        let (out, mut batches) = mpsc::channel(10);
        let mut gather = Gather::new(out, 10);
        let (a, b) = (TenantId::parse("a").unwrap(), TenantId::parse("b").unwrap());
        let due = Instant::now() + Duration::from_millis(25);
        gather.add(&a, vec![record(2, 0, "12345")], vec![], due).unwrap();
        gather.add(&b, vec![record(9, 0, "x")], vec![], due).unwrap();
        gather.add(&a, vec![record(1, 0, "1"), record(2, 6, "2")], vec![], due).unwrap();
        gather.add(&a, vec![record(1, 2, "123456")], vec![], due).unwrap();
        let first = batches.try_recv().unwrap();
        assert_eq!(first.tenant, a);
        let order: Vec<_> = first.records.iter().map(|r| (r.source.id.0, r.position.0)).collect();
        assert_eq!(order, [(1, 0), (2, 0), (2, 6)]);
        assert!(batches.try_recv().is_err());
        assert_eq!(gather.deadline(), Some(due));
        gather.flush_due(due).unwrap();
        let tenants = [batches.try_recv().unwrap().tenant, batches.try_recv().unwrap().tenant];
        assert_eq!(tenants, [a, b]);
        assert_eq!(gather.deadline(), None);
    }

    #[test]
    fn a_tenant_that_is_behind_gets_larger_batches() {
        let (out, mut batches) = mpsc::channel(10);
        let gather = Gather::new(out, 10);
        let mut gather = gather.with_backlog(Box::new(|tenant| tenant.as_str() == "behind"));
        let (a, b) = (TenantId::parse("behind").unwrap(), TenantId::parse("live").unwrap());
        let due = Instant::now() + Duration::from_millis(25);
        gather.add(&a, vec![record(1, 0, "x")], vec![], due).unwrap();
        gather.add(&b, vec![record(2, 0, "x")], vec![], due).unwrap();
        gather.flush_due(due).unwrap();
        assert_eq!(batches.try_recv().unwrap().tenant, b);
        assert_eq!(gather.deadline(), Some(due + FLUSH_BEHIND_AFTER));
        gather.flush_due(due + FLUSH_BEHIND_AFTER).unwrap();
        assert_eq!(batches.try_recv().unwrap().tenant, a);
    }
}
