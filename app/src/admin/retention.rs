//! How long tenants' records are kept.

use std::collections::HashMap;
use std::time::Duration;

use heliograph_model::tenant::TenantId;
use heliograph_store::audit::Action;
use heliograph_store::retention::{Own, OwnKeep};

use super::open;
use super::record::Change;
use crate::cli::Place;
use crate::config::{Bytes, Span};
use crate::console;
use crate::exit::Outcome;

/// Sets those bounds of a tenant that are given, and shows all.
pub(super) async fn retention(
    name: TenantId,
    age: Option<Own<Duration>>,
    bytes: Option<Own<u64>>,
    place: &Place,
) -> Outcome {
    let store = open(place).await?;
    let catalog = &store.catalog;
    let all: HashMap<TenantId, OwnKeep> = catalog.retentions().await?.into_iter().collect();
    let before = all.get(&name).copied().unwrap_or_default();
    let own = OwnKeep { age: age.unwrap_or(before.age), bytes: bytes.unwrap_or(before.bytes) };
    // Also where nothing changes: an unknown tenant is an error.
    let change = Change::new(&store, Action::RetentionSet).about(&name).await?;
    let change = change.with("age", of_age(own.age)).with("bytes", of_bytes(own.bytes));
    change.make(async { Ok(catalog.set_retention(&name, &own).await?) }).await?;
    Ok(console::table(
        ["tenant", "age", "bytes"],
        &[[name.to_string(), of_age(own.age), of_bytes(own.bytes)]],
    )?)
}

pub(super) fn of_age(own: Own<Duration>) -> String {
    of(own, |age| Span(age).to_string())
}

pub(super) fn of_bytes(own: Own<u64>) -> String {
    of(own, |bytes| Bytes(bytes).to_string())
}

fn of<T>(own: Own<T>, text: impl FnOnce(T) -> String) -> String {
    match own {
        Own::Default => "default".to_owned(),
        Own::Unlimited => "unlimited".to_owned(),
        Own::Limit(limit) => text(limit),
    }
}
