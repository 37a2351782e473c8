//! What the spool knew when files of it were last freed: all read positions, and how far each tenant is.
//!
//! ```text
//!  0  6  "HGCKPT"
//!  6  1  version, 2
//!  7 16  random id: the key of the file is derived from the spool's key and it
//! 23  n  sealed body, one page: 8 entry number · 8 epoch · positions · 4 tenants, each: name · settled · 8 next ordinal
//! ```
//!
//! Replaced as a whole by renaming, so it is never torn. One that a disk has damaged is set aside, and the spool goes
//! by its other files ([`super::recovery`]).

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use heliograph_model::cipher::SecretKey;
use heliograph_model::tenant::TenantId;

use super::bytes::{Malformed, Reader, Writer};
use super::entry::{Settled, read_tenant};
use super::positions::Positions;
use crate::error::{Error, Result};
use crate::sealed::Form;

const FORM: Form = Form { magic: *b"HGCKPT", version: 2, key: "agent checkpoint v1" };

/// The state of the spool after an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Entries up to this number are in it.
    pub number: u64,
    /// The latest epoch that any tenant has.
    pub epoch: u64,
    /// The read positions.
    pub positions: Positions,
    /// How far each tenant is settled, and the ordinal of its next batch.
    pub tenants: BTreeMap<TenantId, (Settled, u64)>,
}

/// What the checkpoint's file holds.
#[derive(Debug)]
pub(crate) enum Found {
    /// There is none yet.
    Nothing,
    /// This.
    Whole(Checkpoint),
    /// Something that does not read back, and why.
    Damaged(String),
}

impl Checkpoint {
    /// Reads the checkpoint. One of another version is an error: it is not damaged.
    pub(crate) fn read(path: &Path, key: &SecretKey) -> Result<Found> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(e) => return Err(Error::disk(path)(e)),
        };
        if FORM.is_of_another_version(&bytes) {
            let reason = "it is of no known version".to_owned();
            return Err(Error::Corrupt { path: path.to_owned(), reason });
        }
        let read = FORM.open(&bytes, key).and_then(|body| {
            Self::from_bytes(&body).map_err(|Malformed| "its content is malformed".to_owned())
        });
        Ok(read.map_or_else(Found::Damaged, Found::Whole))
    }

    /// Replaces the checkpoint; it is on disk when this returns.
    pub(crate) fn write(&self, path: &Path, key: &SecretKey) -> Result<()> {
        FORM.replace(path, key, self.to_bytes())
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.number(self.number.to_le_bytes());
        out.number(self.epoch.to_le_bytes());
        self.positions.write(&mut out);
        out.number(u32::try_from(self.tenants.len()).unwrap_or(u32::MAX).to_le_bytes());
        for (tenant, (settled, next)) in &self.tenants {
            out.text(tenant.as_str().as_bytes());
            settled.write(&mut out);
            out.number(next.to_le_bytes());
        }
        out.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut bytes = Reader(bytes);
        let (number, epoch) = (bytes.u64()?, bytes.u64()?);
        let positions = Positions::read(&mut bytes)?;
        let mut tenants = BTreeMap::new();
        for _ in 0..bytes.u32()? {
            let tenant = read_tenant(&mut bytes)?;
            tenants.insert(tenant, (Settled::read(&mut bytes)?, bytes.u64()?));
        }
        Ok(Self { number, epoch, positions, tenants })
    }
}
