//! Requests to remove records, and their receipts. The indexers do the work.

use axum::Json;
use axum::extract::{Extension, Path, State};
use heliograph_model::filter::Filter;
use heliograph_store::catalog::{Erasure, NewErasure, NewTenantErasure};
use heliograph_store::erasure::{self, Receipt};
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Shared;
use super::body::JsonBody;
use super::params::{Params, RangeText};
use super::record::Note;
use crate::access::Caller;
use crate::error::{Error, Result};

/// `GET /admin/erasures`: of one tenant or of all that the caller may erase of, newest first, without their objects.
pub(super) async fn list(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<Value>> {
    let mut params = Params::of(&uri)?;
    let tenant = params.one("tenant")?;
    params.finish()?;
    let tenant = tenant.map(|name| caller.operated(&name)).transpose()?;
    if tenant.is_none() && !caller.tenants().keys().any(|name| caller.operates(name)) && !caller.is_admin() {
        return Err(Error::Forbidden);
    }
    let is_asked = |of: &Erasure| match &tenant {
        Some(tenant) => of.tenant == *tenant,
        None => caller.operates(&of.tenant),
    };
    let all = api.store.catalog.erasures().await?.into_iter().filter(is_asked);
    let receipts: Vec<Receipt> = all.map(|erasure| Receipt::new(erasure, Vec::new())).collect();
    let mut shown = json!({ "erasures": receipts });
    // Without its objects a receipt does not know how many records went.
    for of in shown["erasures"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        ["objects", "records_removed", "not_reached"].iter().for_each(|key| drop(of.remove(*key)));
    }
    Ok(Json(shown))
}

/// `GET /admin/erasures/{id}`: the receipt, as far as it is.
pub(super) async fn show(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Receipt>> {
    let unknown = || Error::NotFound { what: "erasure" };
    let id = Uuid::try_parse(&id).map_err(|_| unknown())?;
    let receipt = erasure::receipt(&api.store, id).await?;
    if caller.operates(&receipt.tenant) { Ok(Json(receipt)) } else { Err(unknown()) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    tenant: String,
    query: Option<String>,
    start: Option<String>,
    end: Option<String>,
    /// The whole tenant, with its key.
    #[serde(default)]
    everything: bool,
    /// With `everything`, the tenant's name once more.
    confirm: Option<String>,
}

/// `POST /admin/erasures`: notes the request, to be done by the indexers.
pub(super) async fn ask(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(note): Extension<Note>,
    JsonBody(asked): JsonBody<Asked>,
) -> Result<(StatusCode, Json<Receipt>)> {
    let tenant = caller.operated(&asked.tenant)?;
    let now = api.clock.now();
    let (id, by) = (Uuid::new_v4(), caller.principal().name());
    // Not the query: it may hold what is to be erased, and the receipt has its hash.
    note.about(caller.subject(&tenant));
    note.detail("erasure", id.to_string());
    note.detail("everything", asked.everything);
    let query = match (asked.query, asked.everything) {
        (Some(query), false) => query,
        (None, true) if asked.start.is_none() && asked.end.is_none() => {
            if !caller.is_admin() {
                return Err(Error::Forbidden);
            }
            if asked.confirm.as_deref() != Some(tenant.as_str()) {
                let hint = "give the tenant's name in confirm, too: nothing brings its records back";
                return Err(Error::invalid_hint("everything is not confirmed", hint));
            }
            let new = NewTenantErasure { id, tenant, by, at: now };
            let made = api.store.catalog.erase_tenant(&new).await?;
            tracing::info!(by = new.by, tenant = %new.tenant, %id, "a tenant is erased");
            return Ok((StatusCode::ACCEPTED, Json(Receipt::new(made, Vec::new()))));
        }
        _ => {
            let hint = "give query, with start and end if need be, or everything: true with confirm";
            return Err(Error::invalid_hint("it must be either some records or everything", hint));
        }
    };
    let filter = crate::parse_query(&query, now)?;
    if filter == Filter::All {
        return Err(Error::invalid_hint("this query means every record", "name what is to be erased"));
    }
    let range = RangeText { start: asked.start, end: asked.end }.resolve(now)?;
    let new = NewErasure { id, tenant, query, filter, range, by, at: now };
    let made = api.store.catalog.request_erasure(&new).await?;
    tracing::info!(by = new.by, tenant = %new.tenant, %id, "records are to be erased");
    Ok((StatusCode::ACCEPTED, Json(Receipt::new(made, Vec::new()))))
}
