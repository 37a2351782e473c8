//! A tenant's own bounds as columns: NULL as for all tenants, 0 without end.

use super::{damaged, stored};
use crate::error::Result;
use crate::retention::OwnKeep;

/// Age in nanoseconds, and bytes.
pub(super) fn columns(own: &OwnKeep) -> Result<(Option<i64>, Option<i64>)> {
    let [age, bytes] = own.numbers();
    let column = |what, number: Option<u64>| number.map(|number| stored(what, number)).transpose();
    Ok((column("age of records", age)?, column("stored bytes of a tenant", bytes)?))
}

/// What [`columns`] gave.
pub(super) fn read(age: Option<i64>, bytes: Option<i64>) -> Result<OwnKeep> {
    let number = |column, value: Option<i64>| {
        value.map(u64::try_from).transpose().map_err(|e| damaged(column, e.to_string()))
    };
    Ok(OwnKeep::of_numbers([number("retention.age", age)?, number("retention.bytes", bytes)?]))
}
