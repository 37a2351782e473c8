//! Gathers what a scan wants, one matching record at a time, in bounded memory.
//!
//! The hot part and the sealed parts use the same collector, so that both count and order alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::tally::Tally;
use super::{Histogram, Order, Pursuit, Scan, ValueCounts, Want};
use crate::filter::{self, View};
use crate::record::{Record, RecordKey};
use crate::tenant::TenantId;

/// What one part, or all parts merged, answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// For [`Want::Records`] in the wanted order; for [`Want::Around`] in file order.
    Records(Vec<Record>),
    /// For [`Want::Histogram`].
    Histogram(Histogram),
    /// For [`Want::Values`].
    Values(ValueCounts),
    /// For [`Want::Fields`]: attribute names.
    Fields(ValueCounts),
}

/// Takes matching records and keeps what the scan wants of them.
#[derive(Debug)]
pub struct Collector {
    want: Want,
    kept: BTreeMap<RecordKey, Record>,
    kept_after: BTreeMap<RecordKey, Record>,
    histogram: Tally,
    counts: ValueCounts,
    /// What it shares with the other parts of the question, and whose records it gathers.
    pursuit: Option<(Arc<Pursuit>, TenantId)>,
}

impl Collector {
    /// A collector for a scan's [`Want`].
    pub fn new(scan: &Scan) -> Self {
        Self::of(&scan.want)
    }

    /// A collector that works with those of the question's other parts: it leaves out what cannot be in the
    /// answer for what they found, and tells them of what it keeps.
    pub fn within(scan: &Scan, pursuit: &Arc<Pursuit>) -> Self {
        Self { pursuit: Some((Arc::clone(pursuit), scan.tenant.clone())), ..Self::new(scan) }
    }

    /// A collector for what is wanted.
    pub fn of(want: &Want) -> Self {
        Self {
            want: want.clone(),
            kept: BTreeMap::new(),
            kept_after: BTreeMap::new(),
            histogram: Tally::default(),
            counts: ValueCounts::default(),
            pursuit: None,
        }
    }

    /// Whether nobody waits for the answer any more: who reads for this collector stops soon, with anything.
    pub fn is_cancelled(&self) -> bool {
        self.pursuit.as_ref().is_some_and(|(pursuit, _)| pursuit.is_over())
    }

    /// Whether a record with this key could still enter: lets a reader skip what comes too late in the order.
    /// Always true for counts.
    pub fn could_take(&self, key: &RecordKey) -> bool {
        match &self.want {
            Want::Records { order, limit, after } => {
                after.is_none_or(|after| order.is_before(&after, key))
                    && self.pursuit.as_ref().is_none_or(|(pursuit, _)| !pursuit.is_behind(key.time))
                    && (self.kept.len() < *limit
                        || self.worst(*order).is_some_and(|worst| order.is_before(key, &worst)))
            }
            Want::Around { key: center, before, after } => {
                key.source == center.source
                    && if key <= center {
                        self.kept.len() < *before || self.kept.first_key_value().is_some_and(|(k, _)| key > k)
                    } else {
                        self.kept_after.len() < *after
                            || self.kept_after.last_key_value().is_some_and(|(k, _)| key < k)
                    }
            }
            Want::Histogram { .. } | Want::Values { .. } | Want::Fields => true,
        }
    }

    /// The last record that would be given, once `limit` are held: anything behind it is not wanted.
    fn worst(&self, order: Order) -> Option<RecordKey> {
        match order {
            Order::Desc => self.kept.first_key_value(),
            Order::Asc => self.kept.last_key_value(),
        }
        .map(|(key, _)| *key)
    }

    /// The place from which on nothing is wanted any more, for [`Want::Records`] whose limit is reached: by what is
    /// kept here, or by what all parts have found.
    pub fn full_at(&self) -> Option<RecordKey> {
        let Want::Records { order, limit, .. } = &self.want else { return None };
        let own = if self.kept.len() >= *limit { self.worst(*order) } else { None };
        let common = self.pursuit.as_ref().and_then(|(pursuit, _)| pursuit.full_at());
        match (own, common) {
            (Some(own), Some(common)) if order.is_before(&common, &own) => Some(common),
            (own, common) => own.or(common),
        }
    }

    /// Takes a record that passes range, commit and filter; `make` is called only if it is kept.
    pub fn offer(&mut self, key: RecordKey, view: &(impl View + ?Sized), make: impl FnOnce() -> Record) {
        match &self.want {
            Want::Records { .. } | Want::Around { .. } => {
                if self.keep(key, make)
                    && let Some((pursuit, tenant)) = &self.pursuit
                {
                    pursuit.note(tenant, key);
                }
            }
            Want::Histogram { interval_nanos, by_level } => {
                let level = if *by_level { view.level() } else { None };
                self.histogram.add(*interval_nanos, key.time, level);
            }
            Want::Values { field } => filter::values(view, field, |v| self.counts.add(v, 1)),
            Want::Fields => attribute_names(view.attributes(), |name| self.counts.add(name, 1)),
        }
    }

    /// Keeps a record if it is wanted, and lets go of the one that it displaces; whether it did.
    fn keep(&mut self, key: RecordKey, make: impl FnOnce() -> Record) -> bool {
        if !self.could_take(&key) {
            return false;
        }
        // What is furthest from where the answer begins goes first.
        let (side, most, first_goes) = match &self.want {
            Want::Records { limit: 0, .. } => return false,
            Want::Records { order, limit, .. } => (&mut self.kept, *limit, *order == Order::Desc),
            Want::Around { key: center, before, .. } if key <= *center => (&mut self.kept, *before, true),
            Want::Around { after, .. } => (&mut self.kept_after, *after, false),
            Want::Histogram { .. } | Want::Values { .. } | Want::Fields => return false,
        };
        side.insert(key, make());
        if side.len() > most {
            if first_goes {
                side.pop_first()
            } else {
                side.pop_last()
            };
        }
        true
    }

    /// Adds counts that a part knows without looking at records.
    pub fn add_histogram(&mut self, part: &Histogram) {
        self.histogram.merge(part);
    }

    /// Adds counts that a part knows without looking at records.
    pub fn add_counts(&mut self, part: ValueCounts) {
        self.counts.merge(part);
    }

    /// Adds what another part answered to the same scan. The pursuit knows of its records already.
    pub fn merge(&mut self, part: Answer) {
        match part {
            Answer::Records(records) => {
                for record in records {
                    self.keep(record.key(), || record);
                }
            }
            Answer::Histogram(histogram) => self.histogram.merge(&histogram),
            Answer::Values(counts) | Answer::Fields(counts) => self.counts.merge(counts),
        }
    }

    /// What was gathered.
    pub fn finish(self) -> Answer {
        match self.want {
            Want::Records { order: Order::Asc, .. } => Answer::Records(self.kept.into_values().collect()),
            Want::Records { order: Order::Desc, .. } => {
                Answer::Records(self.kept.into_values().rev().collect())
            }
            Want::Around { .. } => {
                Answer::Records(self.kept.into_values().chain(self.kept_after.into_values()).collect())
            }
            Want::Histogram { .. } => Answer::Histogram(self.histogram.finish()),
            Want::Values { .. } => Answer::Values(self.counts),
            Want::Fields => Answer::Fields(self.counts),
        }
    }
}

fn attribute_names(json: &str, mut each: impl FnMut(&str)) {
    if json.is_empty() {
        return;
    }
    if let Ok(map) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json) {
        map.keys().for_each(|name| each(name));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::airflow::Identity;
    use crate::filter::Filter;
    use crate::record::Attributes;
    use crate::scan::Foremost;
    use crate::source::{Position, Source, SourceId};
    use crate::time::{TimeRange, Timestamp};

    fn record(time: i64, source: u128, position: u64) -> Record {
        Record {
            time: Timestamp::from_nanos(time),
            observed: Timestamp::from_nanos(time),
            position: Position(position),
            source: Arc::new(Source { id: SourceId(source), ..Source::default() }),
            level: None,
            stream: None,
            identity: Identity::default(),
            message: "".into(),
            attributes: Attributes::default(),
        }
    }

    fn collect(want: Want, parts: &[&[Record]]) -> Vec<RecordKey> {
        let tenant = TenantId::parse("t").unwrap();
        let scan = Scan {
            tenant,
            range: TimeRange::ALL,
            filter: Filter::All,
            committed_after: None,
            committed_through: None,
            want,
        };
        let mut all = Collector::new(&scan);
        for part in parts {
            let mut collector = Collector::new(&scan);
            part.iter().for_each(|r| collector.offer(r.key(), r, || r.clone()));
            all.merge(collector.finish());
        }
        let Answer::Records(records) = all.finish() else { panic!("records") };
        records.iter().map(Record::key).collect()
    }

    proptest! {
        /// Parts of several tenants that share a pursuit: however far each got when the others found something.
        #[test]
        fn a_shared_bound_leaves_out_nothing_that_is_wanted(
            seeds in proptest::collection::btree_set((0_i64..12, 0_u64..12, 0_usize..3), 0..60),
            parts in proptest::collection::vec(0_usize..4, 60), limit in 1_usize..20,
        ) {
            let tenants = ["a", "b", "c"].map(|name| TenantId::parse(name).unwrap());
            for order in [Order::Asc, Order::Desc] {
                let want = Want::Records { order, limit, after: None };
                let pursuit = Pursuit::new(&want);
                let scan = |tenant: &TenantId| Scan {
                    tenant: tenant.clone(), range: TimeRange::ALL, filter: Filter::All, committed_after: None,
                    committed_through: None, want: want.clone(),
                };
                let mut collectors: Vec<_> = (0..12)
                    .map(|n| (&tenants[n % 3], Collector::within(&scan(&tenants[n % 3]), &pursuit))).collect();
                // In another order than that of time, as threads would come.
                let mut all: Vec<_> = seeds.iter().zip(&parts).collect();
                all.sort_by_key(|((time, position, _), part)| (position.wrapping_mul(7) % 12, **part, *time));
                for ((time, position, tenant), part) in &all {
                    let (_, collector) = &mut collectors[*part * 3 + *tenant];
                    let record = record(*time, 0, *position);
                    if collector.full_at().is_none_or(|full| order.is_before(&record.key(), &full)) {
                        collector.offer(record.key(), &record, || record.clone());
                    }
                }
                let mut first = Foremost::new(order, limit);
                for (tenant, collector) in collectors {
                    let Answer::Records(records) = collector.finish() else { panic!("records") };
                    first.extend(tenant, records);
                }
                let got: Vec<_> = first.into_records().into_iter().map(|(t, r)| (r.key(), t)).collect();
                let mut expected: Vec<_> =
                    seeds.iter().map(|(t, p, n)| (record(*t, 0, *p).key(), tenants[*n].clone())).collect();
                expected.sort_by(|(k1, t1), (k2, t2)| {
                    let keys = if order == Order::Desc { k2.cmp(k1) } else { k1.cmp(k2) };
                    keys.then_with(|| t1.cmp(t2))
                });
                expected.truncate(limit);
                prop_assert_eq!(got, expected);
            }
        }

        #[test]
        fn parts_merge_to_what_sorting_all_gives(
            seeds in proptest::collection::btree_set((0_i64..20, 0_u128..3, 0_u64..20), 0..60),
            split in 0_usize..60, limit in 0_usize..20, after in proptest::option::of(0_usize..60),
        ) {
            let records: Vec<_> = seeds.iter().map(|(t, s, p)| record(*t, *s, *p)).collect();
            let split = split.min(records.len());
            let parts = [&records[..split], &records[split..]];
            for order in [Order::Asc, Order::Desc] {
                let mut keys: Vec<_> = records.iter().map(Record::key).collect();
                keys.sort();
                if order == Order::Desc { keys.reverse(); }
                let after = after.and_then(|i| keys.get(i).copied());
                let expected: Vec<_> = keys.iter()
                    .filter(|k| after.is_none_or(|a| order.is_before(&a, k))).take(limit).copied().collect();
                prop_assert_eq!(collect(Want::Records { order, limit, after }, &parts), expected);
            }
            if let Some(center) = records.get(split.saturating_sub(1)).map(Record::key) {
                let mut same: Vec<_> = records.iter().map(Record::key).filter(|k| k.source == center.source).collect();
                same.sort();
                let at = same.iter().position(|k| *k == center).unwrap();
                let (before, after) = (limit.min(3) + 1, 2);
                let expected = same[(at + 1).saturating_sub(before)..(at + 1 + after).min(same.len())].to_vec();
                prop_assert_eq!(collect(Want::Around { key: center, before, after }, &parts), expected);
            }
        }
    }
}
