//! One question to one part about several tenants at once: what differs between them, and what is shared.

use serde::{Deserialize, Serialize};

use super::{CommitId, HotHead, Scan, Want};
use crate::filter::Filter;
use crate::tenant::TenantId;
use crate::time::TimeRange;

/// What is asked of several tenants' records. Records are limited over all of them together, counts are added up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scans {
    /// Whose records.
    pub tenants: Vec<TenantId>,
    /// Event times.
    pub range: TimeRange,
    /// Which of them.
    pub filter: Filter,
    /// Only records committed after this, for a tail that resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_after: Option<CommitId>,
    /// What to make of them.
    pub want: Want,
    /// Whose record the place is after which records are wanted, where there is one. Keys of several tenants may
    /// be equal, and then the tenants' names decide: a tenant behind this one has its record of that key to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_tenant: Option<TenantId>,
}

impl Scans {
    /// What is asked of one of the tenants.
    pub fn of(&self, tenant: &TenantId) -> Scan {
        let mut want = self.want.clone();
        if let Want::Records { order, after: Some(after), .. } = &mut want
            && self.after_tenant.as_ref().is_some_and(|named| tenant > named)
        {
            *after = order.previous(*after);
        }
        Scan {
            tenant: tenant.clone(),
            range: self.range,
            filter: self.filter.clone(),
            committed_after: self.committed_after,
            committed_through: None,
            want,
        }
    }
}

impl From<Scan> for Scans {
    /// Without an upper bound on commits, which is of segments only.
    fn from(scan: Scan) -> Self {
        let Scan { tenant, range, filter, committed_after, committed_through: _, want } = scan;
        Self { tenants: vec![tenant], range, filter, committed_after, want, after_tenant: None }
    }
}

/// The first line of an indexer's answer: what the answer stands on. Taken at one moment for all tenants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HotHeads {
    /// Which indexer.
    pub indexer: String,
    /// The newest commit of this indexer.
    pub committed: CommitId,
    /// As in [`HotHead`], for each tenant that was asked for, in that order.
    pub sealed_through: Vec<CommitId>,
}

impl HotHeads {
    /// The head of the tenant that was asked for at this place.
    pub fn of(&self, place: usize) -> Option<HotHead> {
        let sealed_through = *self.sealed_through.get(place)?;
        Some(HotHead { indexer: self.indexer.clone(), sealed_through, committed: self.committed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RecordKey;
    use crate::scan::Order;
    use crate::source::{Position, SourceId};
    use crate::time::Timestamp;

    #[test]
    fn at_equal_keys_the_names_decide() {
        let tenant = |name| TenantId::parse(name).unwrap();
        let key = RecordKey { time: Timestamp::from_nanos(5), source: SourceId(7), position: Position(3) };
        for order in [Order::Asc, Order::Desc] {
            let scans = Scans {
                tenants: ["a", "b", "c"].map(tenant).to_vec(),
                range: TimeRange::ALL,
                filter: Filter::All,
                committed_after: None,
                want: Want::Records { order, limit: 1, after: Some(key) },
                after_tenant: Some(tenant("b")),
            };
            let takes = |name| {
                let Want::Records { after, .. } = scans.of(&tenant(name)).want else { panic!("records") };
                order.is_before(&after.unwrap(), &key)
            };
            assert_eq!([takes("a"), takes("b"), takes("c")], [false, false, true]);
        }
    }
}
