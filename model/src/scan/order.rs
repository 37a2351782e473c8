//! Which way the total order of records is read.

use serde::{Deserialize, Serialize};

use crate::record::RecordKey;

/// Which end of the total order comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Newest first.
    Desc,
    /// Oldest first.
    Asc,
}

impl Order {
    /// Whether `a` comes strictly before `b`.
    pub fn is_before(self, a: &RecordKey, b: &RecordKey) -> bool {
        match self {
            Self::Desc => a > b,
            Self::Asc => a < b,
        }
    }

    /// The place that comes next after a key; the last of all stays.
    pub fn next(self, key: RecordKey) -> RecordKey {
        match self {
            Self::Desc => step(key, |byte| byte.overflowing_sub(1)),
            Self::Asc => step(key, |byte| byte.overflowing_add(1)),
        }
    }

    /// The place that comes last before a key; the first of all stays.
    pub fn previous(self, key: RecordKey) -> RecordKey {
        match self {
            Self::Desc => Self::Asc.next(key),
            Self::Asc => Self::Desc.next(key),
        }
    }
}

/// Adds or subtracts one from the key's bytes, from the last on while there is a carry.
fn step(key: RecordKey, one: impl Fn(u8) -> (u8, bool)) -> RecordKey {
    let mut bytes = key.to_bytes();
    for byte in bytes.iter_mut().rev() {
        let (value, carries) = one(*byte);
        *byte = value;
        if !carries {
            return RecordKey::from_bytes(&bytes);
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Position, SourceId};
    use crate::time::Timestamp;

    #[test]
    fn keys_step_by_one() {
        let key =
            RecordKey { time: Timestamp::from_nanos(5), source: SourceId(7), position: Position(u64::MAX) };
        let above = Order::Asc.next(key);
        assert!(key < above);
        assert_eq!(above.source, SourceId(8));
        assert_eq!(Order::Desc.next(above), key);
        assert_eq!(Order::Desc.previous(key), above);
        assert_eq!(Order::Asc.previous(above), key);
        let lowest = RecordKey::first_at(Timestamp::MIN);
        assert_eq!(Order::Desc.next(lowest), lowest);
        let highest =
            RecordKey { time: Timestamp::MAX, source: SourceId(u128::MAX), position: Position(u64::MAX) };
        assert_eq!(Order::Asc.next(highest), highest);
    }
}
