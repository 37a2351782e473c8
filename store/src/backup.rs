//! Backups: the catalog with the wrapped keys, or one tenant with all its records; and the way back.
//!
//! ```text
//! DIR/manifest.json    line 1: what it is, and each file's size and SHA-256; line 2: SHA-256 of line 1
//! DIR/catalog.ndjson   of a catalog: its rows, whatever engine they come from
//! DIR/audit-*          of a catalog: its audit log, in files of so many rows, and the log's head
//! DIR/master.key       of a catalog, only if asked for
//! DIR/tenant.json      of a tenant: its name, id, wrapped key, limits and segments
//! DIR/segments/ID      of a tenant: its segments as they lie in the object store; what was not sealed yet is one, too
//! ```
//! The manifest is written last: a folder without it is a backup that was not finished. Nothing is restored before
//! every file was held against the manifest.

mod audit;
mod catalog;
mod folder;
mod tenant;

pub use catalog::{back_up_catalog, restore_catalog};
pub use tenant::{TenantSummary, back_up_tenant, restore_tenant};

use std::path::Path;

use crate::error::Result;

/// What a backup is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The whole catalog.
    Catalog,
    /// One tenant.
    Tenant,
}

/// What the backup in a folder is of; refuses one that is torn or altered.
pub fn kind(folder: &Path) -> Result<Kind> {
    Ok(folder::Reader::open(folder)?.kind())
}
