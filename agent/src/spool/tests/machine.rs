//! Random histories with crashes at any write, against a model of reader and indexer.
//!
//! A source's line n has time and place n and carries its number. The reader goes on where the spool says; the
//! indexer takes a tenant's batches in order, and each once.

use proptest::collection::vec;
use proptest::prelude::*;

use super::overrun::{AT_ONCE, numbered};
use super::*;
use crate::fault;

const BUDGET: u64 = 96 << 10;
/// The last one is quiet.
const TENANTS: [&str; 3] = ["loud", "louder", "quiet"];

#[derive(Clone, Debug)]
enum Op {
    /// Reads some lines of a tenant's source, of this size.
    Append { tenant: usize, source: u128, lines: u64, bytes: usize },
    /// Sends some batches; the answer to the last one may be lost.
    Send { tenant: usize, batches: usize, lost: bool },
    /// The indexer refuses the oldest batch.
    Reject { tenant: usize },
    /// An orderly stop and a start.
    Restart,
}

#[derive(Clone, Debug)]
struct Crash {
    steps: u32,
    part: u8,
    again_after: u32,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..2_usize, 0..2_u128, 1..12_u64, 1000..4000_usize)
            .prop_map(|(tenant, source, lines, bytes)| Op::Append { tenant, source, lines, bytes }),
        1 => (1..3_u64).prop_map(|lines| Op::Append { tenant: 2, source: 0, lines, bytes: 50 }),
        3 => (0..3_usize, 1..8_usize, any::<bool>())
            .prop_map(|(tenant, batches, lost)| Op::Send { tenant, batches, lost }),
        1 => (0..3_usize).prop_map(|tenant| Op::Reject { tenant }),
        1 => Just(Op::Restart),
    ]
}

fn crash() -> impl Strategy<Value = Option<Crash>> {
    let crash = (0..14_u32, any::<u8>(), 0..8_u32).prop_map(|(steps, part, again_after)| Crash {
        steps,
        part,
        again_after,
    });
    prop_oneof![6 => Just(None), 2 => crash.prop_map(Some)]
}

/// One tenant's records at the indexer.
#[derive(Default)]
struct Indexed {
    place: Option<(u64, u64)>,
    records: Vec<Record>,
}

struct World {
    dir: tempfile::TempDir,
    spool: Option<Spool>,
    metrics: Metrics,
    indexed: BTreeMap<&'static str, Indexed>,
    /// Sources from which a batch was sent without the spool knowing what became of it, when it ended.
    uncertain: bool,
    unanswered: bool,
}

fn source_of(tenant: usize, source: u128) -> u128 {
    tenant as u128 * 10 + source
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            dir: temporary(),
            spool: None,
            metrics: Metrics::new(&Registry::new()).unwrap(),
            indexed: TENANTS.iter().map(|name| (*name, Indexed::default())).collect(),
            uncertain: false,
            unanswered: false,
        };
        world.open();
        world
    }

    fn spool(&self) -> &Spool {
        self.spool.as_ref().unwrap()
    }

    fn open(&mut self) {
        self.spool = Some(open_with(self.dir.path(), BUDGET, AT_ONCE, &self.metrics).unwrap());
    }

    fn run(&mut self, op: &Op, crash: Option<&Crash>) {
        if let Some(Crash { steps, part, .. }) = crash {
            // So that it does not wait for a disk that will not come back.
            self.spool().close();
            fault::crash_after(Some((*steps, *part)));
        }
        match op {
            Op::Append { tenant, source, lines, bytes } => self.append(*tenant, *source, *lines, *bytes),
            Op::Send { tenant, batches, lost } => self.send(TENANTS[*tenant], *batches, *lost),
            Op::Reject { tenant } => self.reject(TENANTS[*tenant]),
            Op::Restart => drop(self.spool().save()),
        }
        if let Some(Crash { again_after, part, .. }) = crash {
            self.spool = None;
            // A crash while it starts, too.
            fault::crash_after(Some((*again_after, *part)));
            drop(open_with(self.dir.path(), BUDGET, AT_ONCE, &self.metrics));
            fault::crash_after(None);
        }
        if crash.is_some() || matches!(op, Op::Restart) {
            self.uncertain |= self.unanswered;
            self.unanswered = false;
            self.spool = None;
            self.open();
        }
        let bytes: u64 = files(self.dir.path()).iter().map(|f| fs::metadata(f).unwrap().len()).sum();
        assert!(bytes <= BUDGET, "{bytes} bytes after {op:?}");
    }

    fn append(&self, tenant: usize, source: u128, lines: u64, bytes: usize) {
        let from = offset(self.spool(), source_of(tenant, source)).unwrap_or(0);
        for number in from..from + lines {
            let batch = numbered(TENANTS[tenant], source_of(tenant, source), number, bytes);
            if !self.spool().append(vec![batch]).unwrap() {
                break;
            }
        }
    }

    /// As a sender does, but that answers come at once and in order.
    fn send(&mut self, name: &'static str, batches: usize, lost: bool) {
        let of = tenant(name);
        let mut after = 0;
        for n in 0..batches {
            let Ok(Some(pending)) = self.spool().next(&of, after) else { return };
            let Ok(payload) = self.spool().load(&pending) else { panic!("does not read back") };
            let rows = codec::decode(&codec::decompress(&payload, 1 << 20).unwrap()).unwrap();
            let indexed = self.indexed.get_mut(name).unwrap();
            let id = (pending.epoch, pending.sequence);
            match indexed.place {
                Some((epoch, last)) if id.0 == epoch && id.1 <= last => {}
                Some((epoch, last)) if id.0 == epoch && id.1 == last + 1 => {
                    indexed.place = Some(id);
                    indexed.records.extend(rows.to_records());
                }
                place if id.1 == 1 && place.is_none_or(|(epoch, _)| id.0 > epoch) => {
                    indexed.place = Some(id);
                    indexed.records.extend(rows.to_records());
                }
                place => panic!("{id:?} is sent to an indexer at {place:?}"),
            }
            after = pending.ordinal;
            if lost && n + 1 == batches {
                self.unanswered = true;
            } else {
                if self.spool().acknowledge(&of, pending.ordinal) {
                    drop(self.spool().free());
                }
                // An acknowledgement may be lost with the spool, for it is noted with the next append only.
                self.unanswered = true;
            }
        }
    }

    fn reject(&mut self, name: &'static str) {
        let of = tenant(name);
        let Ok(Some(pending)) = self.spool().next(&of, 0) else { return };
        // A gap that is refused as well is gone: what it says is in the log and the metrics only.
        let Ok(payload) = self.spool().load(&pending) else { panic!("does not read back") };
        let rows = codec::decode(&codec::decompress(&payload, 1 << 20).unwrap()).unwrap();
        if rows.to_records().iter().any(|record| !record.attributes.is_empty()) {
            return;
        }
        let place = self.indexed[name].place;
        if place.is_some_and(|(epoch, last)| pending.epoch == epoch && pending.sequence <= last) {
            return;
        }
        drop(self.spool().give_up(&of, pending.ordinal, Reason::Rejected));
    }

    /// All is sent; what is at the indexer and what gaps say is all that was read.
    fn check(&mut self) {
        for name in TENANTS {
            self.send(name, usize::MAX, false);
            assert!(self.spool().front(&tenant(name)).is_none(), "{name} has batches left");
        }
        for (tenant, name) in TENANTS.iter().enumerate() {
            for source in 0..2 {
                self.check_source(name, source_of(tenant, source));
            }
        }
    }

    fn check_source(&self, name: &str, source: u128) {
        let read = offset(self.spool(), source).unwrap_or(0);
        let of_source = self.indexed[name].records.iter().filter(|r| r.source.id.0 == source);
        let (gaps, lines): (Vec<_>, Vec<_>) = of_source.partition(|r| !r.attributes.is_empty());
        let lines: Vec<u64> = lines.iter().map(|r| r.position.0).collect();
        assert!(lines.is_sorted_by(|a, b| a < b), "{name}: {lines:?} are not each once and in order");
        let figures: Vec<gap::Figures> = gaps
            .iter()
            .map(|record| {
                let mut all: BTreeMap<String, gap::Figures> =
                    serde_json::from_str(record.attributes.as_json()).unwrap();
                all.remove(gap::ATTRIBUTE).unwrap()
            })
            .collect();
        let missing: Vec<u64> = (0..read).filter(|n| lines.binary_search(n).is_err()).collect();
        for number in &missing {
            let at = number.cast_signed();
            let said = figures.iter().any(|f| f.from.as_nanos() <= at && at <= f.to.as_nanos());
            assert!(said, "{name}: nobody says that {number} of {read} is missing: {figures:?}");
        }
        let said: u64 = figures.iter().map(|f| f.lines).sum();
        let exact = said == missing.len() as u64;
        // What an earlier life may have sent and this one dropped is counted, though it may be there.
        let more = self.uncertain && said > missing.len() as u64;
        assert!(exact || more, "{name}: {} of {read} are missing, {said} are said to be", missing.len());
        let lost = figures.iter().any(|f| f.reasons.contains(&Reason::SpoolFull));
        assert!(name != "quiet" || !lost, "the quiet one lost {figures:?}");
    }
}

proptest! {
    #[test]
    fn every_line_once_or_counted_over_any_history(history in vec((op(), crash()), 1..40)) {
        let mut world = World::new();
        for (op, crash) in &history {
            world.run(op, crash.as_ref());
        }
        world.check();
    }
}
