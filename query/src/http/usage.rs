//! What tenants have stored, and what they may use.

use axum::Json;
use axum::extract::{Extension, State};
use heliograph_store::catalog::{Bound, TenantUsage};
use http::Uri;
use serde_json::{Value, json};

use super::Shared;
use super::params::Params;
use crate::access::Caller;
use crate::error::{Error, Result};

/// `GET /admin/usage`: of one tenant or of all that the caller may know it of. An operator knows that of the
/// own tenants, a platform administrator that of all.
pub(super) async fn usage(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<Value>> {
    let mut params = Params::of(&uri)?;
    let tenant = params.one("tenant")?;
    params.finish()?;
    let usage = match tenant {
        Some(name) => vec![one(&api, &caller, &name).await?],
        None if caller.is_admin() => api.store.catalog.usage().await?,
        None => own(&api, &caller).await?,
    };
    Ok(Json(json!({ "usage": usage.iter().map(to_json).collect::<Vec<_>>() })))
}

async fn one(api: &Shared, caller: &Caller, name: &str) -> Result<TenantUsage> {
    let name = caller.operated(name)?;
    api.store.catalog.usage_of(&name).await?.ok_or(Error::NotFound { what: "tenant" })
}

async fn own(api: &Shared, caller: &Caller) -> Result<Vec<TenantUsage>> {
    let mut usage = Vec::new();
    for tenant in caller.tenants().keys().filter(|tenant| caller.operates(tenant)) {
        usage.extend(api.store.catalog.usage_of(tenant).await?);
    }
    if usage.is_empty() { Err(Error::Forbidden) } else { Ok(usage) }
}

/// A limit that is not the tenant's own is left out: then the indexers' configuration holds. `null`: none.
fn to_json(usage: &TenantUsage) -> Value {
    let limits = [
        ("ingest_bytes_per_second", usage.limits.ingest_per_second),
        ("ingest_burst_bytes", usage.limits.ingest_burst),
        ("hot_bytes", usage.limits.hot),
        ("stored_bytes", usage.limits.stored),
    ];
    let bytes = |bound| match bound {
        Bound::Unbounded => Value::Null,
        Bound::AtMost(bytes) => json!(bytes),
    };
    let limits: serde_json::Map<_, _> =
        limits.into_iter().filter_map(|(name, bound)| Some((name.to_owned(), bytes(bound?)))).collect();
    json!({
        "tenant": usage.tenant,
        "stored_bytes": usage.stored_bytes,
        "raw_bytes": usage.raw_bytes,
        "segments": usage.segments,
        "records": usage.records,
        "limits": limits,
    })
}
