//! The first records of several tenants, in one order.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::Order;
use crate::record::{Record, RecordKey};
use crate::tenant::TenantId;

/// A record's place among those of all tenants. Keys of several tenants may be equal: then their names decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    order: Order,
    pub(super) key: RecordKey,
    tenant: TenantId,
}

impl Spot {
    pub(super) fn new(order: Order, key: RecordKey, tenant: &TenantId) -> Self {
        Self { order, key, tenant: tenant.clone() }
    }
}

impl Ord for Spot {
    fn cmp(&self, other: &Self) -> Ordering {
        let keys = match self.order {
            Order::Desc => other.key.cmp(&self.key),
            Order::Asc => self.key.cmp(&other.key),
        };
        keys.then_with(|| self.tenant.cmp(&other.tenant))
    }
}

impl PartialOrd for Spot {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Keeps the first `limit` records in `order` of what it is given, each once.
#[derive(Debug)]
pub struct Foremost {
    order: Order,
    limit: usize,
    kept: BTreeMap<Spot, Record>,
}

impl Foremost {
    /// Nothing kept yet.
    pub fn new(order: Order, limit: usize) -> Self {
        Self { order, limit, kept: BTreeMap::new() }
    }

    /// Takes a tenant's record, if it is one of the first so far.
    pub fn add(&mut self, tenant: &TenantId, record: Record) {
        let spot = Spot::new(self.order, record.key(), tenant);
        if self.kept.len() < self.limit {
            self.kept.insert(spot, record);
        } else if self.kept.last_key_value().is_some_and(|(last, _)| spot < *last)
            && self.kept.insert(spot, record).is_none()
        {
            self.kept.pop_last();
        }
    }

    /// Takes a tenant's records.
    pub fn extend(&mut self, tenant: &TenantId, records: impl IntoIterator<Item = Record>) {
        records.into_iter().for_each(|record| self.add(tenant, record));
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The records with their tenants, in the order.
    pub fn into_records(self) -> Vec<(TenantId, Record)> {
        self.kept.into_iter().map(|(spot, record)| (spot.tenant, record)).collect()
    }
}
