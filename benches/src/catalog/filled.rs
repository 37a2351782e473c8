//! A catalog with many tenants and segments, made in moments: one of each is made as always, and its rows are copied
//! in the form in which backups keep them.

use anyhow::{Context, ensure};
use heliograph_model::scan::CommitId;
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::Timestamp;
use heliograph_store::catalog::{self, Catalog, Dump, Lease, NewCommit, SegmentMeta, Tenant};
use heliograph_store::layout::new_object_id;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::size::float;

/// From a tenant's segment to its next: as many minutes as a small tenant's records wait to be sealed.
pub(super) const STEP_NANOS: i64 = 10 * 60 * 1_000_000_000;
/// When the first begins: 2026-11-02T06:00:00Z.
pub(super) const BEGIN: i64 = 1_793_599_200_000_000_000;

/// The nth tenant's name.
pub(super) fn tenant(number: usize) -> anyhow::Result<TenantId> {
    Ok(TenantId::parse(&format!("tenant-{number}"))?)
}

/// Rows of so many tenants with so many segments each.
pub(super) async fn dump(tenants: usize, segments: usize) -> anyhow::Result<Dump> {
    let folder = tempfile::tempdir()?;
    let url = catalog::Url::from(format!("sqlite:{}", folder.path().join("one.db").display()));
    let one = catalog::open(&url, None).await?;
    make_one(&*one).await?;
    let lines = one.dump().await?.to_lines();
    Ok(Dump::from_lines(&multiply(&lines, tenants, segments)?)?)
}

/// One tenant with one segment.
async fn make_one(catalog: &dyn Catalog) -> anyhow::Result<()> {
    let tenant = Tenant {
        name: tenant(0)?,
        workspace: Workspace::parse("w")?,
        uid: Uuid::new_v4(),
        wrapped_key: vec![0; 60],
        created: Timestamp::from_nanos(BEGIN),
    };
    catalog.create_tenant(&tenant).await?;
    let lease = Lease::embedded(Uuid::new_v4());
    let object = new_object_id();
    let commit =
        NewCommit { lease, object, bytes: 1_000, at: Timestamp::from_nanos(BEGIN), batches: Vec::new() };
    let through = catalog.commit(&commit).await?;
    let segment = SegmentMeta {
        id: new_object_id(),
        tenant: tenant.name,
        bytes: 100_000,
        index_offset: 80_000,
        records: 2_000,
        raw_bytes: 1_000_000,
        first: Timestamp::from_nanos(BEGIN),
        last: Timestamp::from_nanos(BEGIN + STEP_NANOS),
        indexer: lease.indexer,
        commits_after: CommitId(0),
        commits_through: through,
        created: Timestamp::from_nanos(BEGIN),
    };
    Ok(catalog.publish(&lease, &segment, &[object]).await?)
}

/// Copies the one tenant, its segment and its mark.
fn multiply(lines: &str, tenants: usize, segments: usize) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut lines = lines.lines();
    while let Some(line) = lines.next() {
        let mut head: Value = serde_json::from_str(line)?;
        let number = head["rows"].as_u64().context("no number of rows")?;
        let mut rows: Vec<Value> = lines
            .by_ref()
            .take(usize::try_from(number)?)
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        let columns: Vec<String> = serde_json::from_value(head["columns"].clone())?;
        let each = match head["table"].as_str() {
            Some("tenants" | "seal_marks") => 1,
            Some("segments") => segments,
            _ => 0,
        };
        if each > 0 {
            ensure!(rows.len() == 1, "one row was made of {head}");
            let one = rows.pop().context("no row")?;
            // As time goes: names of segments rise with it.
            let all = (0..each).flat_map(|nth| (0..tenants).map(move |tenant| (tenant, nth)));
            rows =
                all.map(|(tenant, nth)| copy(&one, &columns, tenant, nth)).collect::<anyhow::Result<_>>()?;
            head["drawn"] = json!(tenants);
        }
        head["rows"] = json!(rows.len());
        out.push_str(&format!("{head}\n"));
        rows.iter().for_each(|row| out.push_str(&format!("{row}\n")));
    }
    Ok(out)
}

/// The row of another tenant, or of its nth segment.
fn copy(one: &Value, columns: &[String], tenant: usize, nth: usize) -> anyhow::Result<Value> {
    let mut row = one.clone();
    let (is_tenant, step) = (columns.iter().any(|c| c == "wrapped_key"), i64::try_from(nth)?);
    for (at, column) in columns.iter().enumerate() {
        let value = match column.as_str() {
            "id" if is_tenant => json!(tenant + 1),
            "tenant" => json!(tenant + 1),
            "uid" => written(Uuid::new_v4()),
            "id" => written(new_object_id()),
            "name" => json!(format!("tenant-{tenant}")),
            "first" => json!(BEGIN + step * STEP_NANOS),
            "last" => json!(BEGIN + (step + 1) * STEP_NANOS),
            "commits_after" => json!(step),
            "commits_through" | "through" => json!(step + 1),
            _ => continue,
        };
        *row.get_mut(at).context("a short row")? = value;
    }
    Ok(row)
}

/// As backups write it.
fn written(id: Uuid) -> Value {
    json!(data_encoding::BASE64.encode(id.as_bytes()))
}

/// Bytes of a catalog for each of its segments.
pub(super) fn per_segment(bytes: u64, tenants: usize, segments: usize) -> f64 {
    float(bytes) / float((tenants * segments).max(1) as u64)
}
