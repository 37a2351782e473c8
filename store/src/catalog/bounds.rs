//! A tenant's own bounds as columns: NULL as for all tenants, 0 without end.

use std::time::Duration;

use super::{damaged, stored};
use crate::error::Result;
use crate::retention::{Own, OwnKeep};

/// Age in nanoseconds, and bytes.
pub(super) fn columns(own: &OwnKeep) -> Result<(Option<i64>, Option<i64>)> {
    let nanos = |age: Duration| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
    let age = match own.age {
        Own::Default => None,
        Own::Unlimited => Some(0),
        Own::Limit(age) => Some(stored("age of records", nanos(age))?),
    };
    let bytes = match own.bytes {
        Own::Default => None,
        Own::Unlimited => Some(0),
        Own::Limit(bytes) => Some(stored("stored bytes of a tenant", bytes)?),
    };
    Ok((age, bytes))
}

/// What [`columns`] gave.
pub(super) fn read(age: Option<i64>, bytes: Option<i64>) -> Result<OwnKeep> {
    let age = match own("retention.age", age)? {
        Own::Limit(nanos) => Own::Limit(Duration::from_nanos(nanos)),
        Own::Unlimited => Own::Unlimited,
        Own::Default => Own::Default,
    };
    Ok(OwnKeep { age, bytes: own("retention.bytes", bytes)? })
}

fn own(column: &'static str, value: Option<i64>) -> Result<Own<u64>> {
    Ok(match value {
        None => Own::Default,
        Some(0) => Own::Unlimited,
        Some(limit) => Own::Limit(u64::try_from(limit).map_err(|e| damaged(column, e.to_string()))?),
    })
}
