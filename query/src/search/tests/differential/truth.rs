//! What looking at every record answers.

use std::collections::BTreeMap;

use heliograph_model::filter::{self, Field, Matcher};
use heliograph_model::record::RecordKey;
use heliograph_model::scan::{Answer, Collector, Histogram, Order, ValueCounts, Want};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{Asked, Committed};
use crate::search::slot_name;

/// A record that is there.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) tenant: TenantId,
    pub(super) committed: Committed,
}

/// The answers to one question.
pub(super) struct Truth<'a> {
    asked: &'a Asked,
    matcher: Matcher,
    /// All records of its tenants.
    known: Vec<Known>,
}

/// A question that is refused.
pub(super) struct Refused;

impl<'a> Truth<'a> {
    pub(super) fn new(known: &[Known], asked: &'a Asked) -> Result<Self, Refused> {
        let matcher = Matcher::new(&asked.scan.filter).map_err(|_| Refused)?;
        let has_times = !matches!(asked.scan.want, Want::Around { .. });
        if has_times && asked.scan.range.start > asked.scan.range.end {
            return Err(Refused);
        }
        let is_meant = |known: &&Known| asked.tenants.is_empty() || asked.tenants.contains(&known.tenant);
        Ok(Self { asked, matcher, known: known.iter().filter(is_meant).cloned().collect() })
    }

    /// The records that are meant.
    fn meant(&self, range: TimeRange) -> impl Iterator<Item = &Known> {
        self.known.iter().filter(move |known| {
            let record = &*known.committed.1;
            range.contains(record.time) && self.matcher.matches(record)
        })
    }

    pub(super) fn records(&self, order: Order) -> Vec<Value> {
        let mut meant: Vec<&Known> = self.meant(self.asked.scan.range).collect();
        meant.sort_by(|a, b| {
            let keys = a.committed.1.key().cmp(&b.committed.1.key());
            let keys = if order == Order::Desc { keys.reverse() } else { keys };
            keys.then_with(|| a.tenant.cmp(&b.tenant))
        });
        meant.into_iter().map(as_json).collect()
    }

    /// None where there is no such record.
    pub(super) fn around(
        &self,
        tenant: &TenantId,
        key: RecordKey,
        before: usize,
        after: usize,
    ) -> Option<Vec<Value>> {
        if !self.asked.tenants.is_empty() && !self.asked.tenants.contains(tenant) {
            return None;
        }
        let mut collector = Collector::of(&Want::Around { key, before: before + 1, after });
        for known in self.meant(TimeRange::ALL).filter(|known| known.tenant == *tenant) {
            let record = &*known.committed.1;
            collector.offer(record.key(), record, || record.clone());
        }
        let Answer::Records(records) = collector.finish() else { return None };
        // A filter may leave out the record itself.
        let is_found = !self.matcher.is_all() || records.iter().any(|record| record.key() == key);
        is_found.then(|| records.iter().map(|r| serde_json::to_value(r.to_api(tenant)).unwrap()).collect())
    }

    pub(super) fn check_histogram(&self, body: &Value, by_level: bool) {
        let name = &self.asked.name;
        assert_eq!(body["complete"], true, "{name}: {body}");
        let interval = body["interval_ms"].as_i64().unwrap() * 1_000_000;
        let (mut expected, mut previous) = (Histogram::default(), None);
        for known in self.meant(self.asked.scan.range) {
            expected.add(interval, known.committed.1.time, known.committed.1.level, 1);
        }
        for bucket in body["buckets"].as_array().unwrap() {
            let start = Timestamp::parse(bucket["start"].as_str().unwrap()).unwrap().as_nanos();
            assert_eq!(start % interval, 0, "{name}: {bucket}");
            assert!(previous.is_none_or(|p| p + interval == start), "{name}: {bucket} follows {previous:?}");
            previous = Some(start);
            let counts = expected.buckets.remove(&(start / interval)).unwrap_or_default();
            assert_eq!(bucket["total"], counts.iter().sum::<u64>(), "{name}: {bucket}");
            let by = (0..).zip(counts).filter(|(_, count)| *count > 0);
            let by: Map<String, Value> =
                by.map(|(slot, count)| (slot_name(slot).to_owned(), json!(count))).collect();
            assert_eq!(bucket["by"], if by_level { Value::Object(by) } else { Value::Null }, "{name}");
        }
        assert!(expected.buckets.is_empty(), "{name}: {:?} are missing", expected.buckets);
    }

    pub(super) fn check_values(&self, body: &Value, field: &Field) {
        let mut counts = ValueCounts::default();
        for known in self.meant(self.asked.scan.range) {
            filter::values(&*known.committed.1, field, |value| counts.add(value, 1));
        }
        let top = counts.top(10);
        let top: Vec<Value> = top.iter().map(|(value, n)| json!({ "value": value, "count": n })).collect();
        same_list(&self.asked.name, body["values"].as_array(), Some(&top));
        assert_eq!(body["complete"], true, "{}", self.asked.name);
    }

    pub(super) fn check_fields(&self, body: &Value) {
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        for known in self.meant(self.asked.scan.range) {
            let json = known.committed.1.attributes.as_json();
            let map: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
            map.keys().for_each(|name| *expected.entry(name.clone()).or_default() += 1);
        }
        let fields = body["fields"].as_array().unwrap().iter();
        let counted = |f: &Value| Some((f["name"].as_str()?.to_owned(), f["count"].as_u64()?));
        let fields: BTreeMap<String, u64> = fields.filter_map(counted).collect();
        assert_eq!(fields, expected, "{}", self.asked.name);
    }
}

/// Whether the values of a field are counted.
pub(super) fn has_values(field: &Field) -> bool {
    !matches!(field, Field::Message | Field::Timestamp) && !field.name().is_empty()
}

fn as_json(known: &Known) -> Value {
    serde_json::to_value(known.committed.1.to_api(&known.tenant)).unwrap()
}

#[track_caller]
pub(super) fn same_status(asked: &Asked, status: StatusCode, is_answered: bool) {
    let expected = if is_answered { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    assert_eq!(status, expected, "{}", asked.name);
}

/// Says the first place at which two lists part.
#[track_caller]
pub(super) fn same_list(name: &str, have: Option<&Vec<Value>>, expected: Option<&Vec<Value>>) {
    let (Some(have), Some(expected)) = (have, expected) else {
        assert!(have.is_none() && expected.is_none(), "{name}\nexpected {expected:?}\nhave     {have:?}");
        return;
    };
    let at = have.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let lengths = format!("{} instead of {}", have.len(), expected.len());
    let (have, expected) = (have.get(at), expected.get(at));
    assert!(
        have.is_none() && expected.is_none(),
        "{name}\n{lengths}, at {at}\nexpected {expected:?}\nhave     {have:?}"
    );
}
