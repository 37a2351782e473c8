//! Up to where a tail has been delivered: what its cursor holds.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use heliograph_model::record::RecordKey;
use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// How far one tenant's records of one indexer were delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct At {
    /// All records committed up to here.
    #[serde(rename = "c")]
    pub(super) commit: CommitId,
    /// And of those committed up to here, which are sealed, the ones with keys up to the place.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub(super) gap: Option<(CommitId, KeyHex)>,
}

/// A record's key as text in a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyHex(pub(super) RecordKey);

impl Serialize for KeyHex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&self.0.to_bytes()))
    }
}

impl<'de> Deserialize<'de> for KeyHex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = HEXLOWER
            .decode(String::deserialize(deserializer)?.as_bytes())
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let bytes = bytes.ok_or_else(|| serde::de::Error::custom("a record key has 32 bytes"))?;
        Ok(Self(RecordKey::from_bytes(&bytes)))
    }
}

impl At {
    /// Everything up to a commit.
    pub(super) fn commit(commit: CommitId) -> Self {
        Self { commit, gap: None }
    }

    /// From after which commit the feed is to go on: what is sealed before it is read from segments.
    pub(super) fn feed_after(&self) -> CommitId {
        self.gap.map_or(self.commit, |(through, _)| through.max(self.commit))
    }
}

/// How far all parts of a tail were delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Positions(BTreeMap<TenantId, BTreeMap<Uuid, At>>);

impl Positions {
    /// Those of one tenant.
    pub(super) fn of(&self, tenant: &TenantId) -> BTreeMap<Uuid, At> {
        self.0.get(tenant).cloned().unwrap_or_default()
    }

    /// Notes what was delivered.
    pub(super) fn set(&mut self, tenant: &TenantId, indexer: Uuid, at: At) {
        self.0.entry(tenant.clone()).or_default().insert(indexer, at);
    }

    /// Drops what is known of an indexer that is no more, when all of it was delivered.
    pub(super) fn forget(&mut self, tenant: &TenantId, indexer: Uuid) {
        if let Some(of) = self.0.get_mut(tenant) {
            of.remove(&indexer);
        }
    }

    /// The indexers of which something is known.
    pub(super) fn indexers(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.0.values().flat_map(BTreeMap::keys).copied()
    }

    /// The newest commit of all. Commits count over all indexers, so an indexer that is not among them has
    /// nothing older to bring.
    pub(super) fn newest(&self) -> Option<CommitId> {
        self.0.values().flat_map(BTreeMap::values).map(At::feed_after).max()
    }

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use heliograph_model::time::Timestamp;

    use super::*;

    #[test]
    fn positions_survive_the_cursor() {
        let tenant = TenantId::parse("team-a").unwrap();
        let mut positions = Positions::default();
        positions.set(&tenant, Uuid::from_u128(1), At::commit(CommitId(7)));
        let key = KeyHex(RecordKey::first_at(Timestamp::from_nanos(-5)));
        let at = At { commit: CommitId(2), gap: Some((CommitId(9), key)) };
        positions.set(&tenant, Uuid::from_u128(2), at);
        let text = serde_json::to_string(&positions).unwrap();
        assert_eq!(serde_json::from_str::<Positions>(&text).unwrap(), positions);
        assert_eq!(positions.newest(), Some(CommitId(9)));
        assert_eq!(positions.of(&tenant).len(), 2);
    }
}
