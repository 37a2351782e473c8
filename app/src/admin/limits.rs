//! What tenants may use, and what they use.

use std::collections::HashMap;

use heliograph_model::tenant::TenantId;
use heliograph_store::audit::Action;
use heliograph_store::catalog::{Bound, TenantUsage};
use heliograph_store::retention::OwnKeep;
use heliograph_store::{Error, Store};

use super::record::Change;
use super::retention;
use crate::cli::LimitWords;
use crate::console;
use crate::exit::Outcome;

/// Sets the limits that are named, and shows all.
pub(super) async fn set(name: &TenantId, words: &LimitWords, store: &Store) -> Outcome {
    let mut limits = of(name, store).await?.limits;
    let changes = [
        (&mut limits.ingest_per_second, words.ingest),
        (&mut limits.ingest_burst, words.burst),
        (&mut limits.hot, words.hot),
        (&mut limits.stored, words.stored),
    ];
    let mut is_changed = false;
    for (limit, word) in changes {
        if let Some(word) = word {
            *limit = word.0;
            is_changed = true;
        }
    }
    if is_changed {
        let mut change = Change::new(store, Action::LimitsSet).about(name).await?;
        for (name, limit) in [
            ("ingest", limits.ingest_per_second),
            ("burst", limits.ingest_burst),
            ("hot", limits.hot),
            ("stored", limits.stored),
        ] {
            change = change.with(name, text(limit));
        }
        change.make(async { Ok(store.catalog.set_limits(name, &limits).await?) }).await?;
    }
    let shown = [limits.ingest_per_second, limits.ingest_burst, limits.hot, limits.stored].map(text);
    Ok(console::table(["ingest/s", "burst", "hot", "stored"], &[shown])?)
}

/// Shows what one tenant or all have stored.
pub(super) async fn usage(tenant: Option<TenantId>, store: &Store) -> Outcome {
    let usage = match tenant {
        Some(name) => vec![of(&name, store).await?],
        None => store.catalog.usage().await?,
    };
    let kept: HashMap<_, _> = store.catalog.retentions().await?.into_iter().collect();
    let row = |usage| row(usage, kept.get(&usage.tenant).copied().unwrap_or_default());
    let rows: Vec<_> = usage.iter().map(row).collect();
    let heading = [
        "tenant",
        "records",
        "raw bytes",
        "stored bytes",
        "limit",
        "kept for",
        "kept bytes",
        "segments",
        "ingest/s",
        "burst",
        "hot",
    ];
    Ok(console::table(heading, &rows)?)
}

fn row(usage: &TenantUsage, kept: OwnKeep) -> [String; 11] {
    let limits = &usage.limits;
    [
        usage.tenant.to_string(),
        usage.records.to_string(),
        usage.raw_bytes.to_string(),
        usage.stored_bytes.to_string(),
        text(limits.stored),
        retention::of_age(kept.age),
        retention::of_bytes(kept.bytes),
        usage.segments.to_string(),
        text(limits.ingest_per_second),
        text(limits.ingest_burst),
        text(limits.hot),
    ]
}

fn text(bound: Option<Bound>) -> String {
    match bound {
        None => "default".to_owned(),
        Some(Bound::Unbounded) => "none".to_owned(),
        Some(Bound::AtMost(bytes)) => bytes.to_string(),
    }
}

async fn of(name: &TenantId, store: &Store) -> Outcome<TenantUsage> {
    let missing = || Error::Missing { what: "tenant", name: name.to_string() };
    Ok(store.catalog.usage_of(name).await?.ok_or_else(missing)?)
}
