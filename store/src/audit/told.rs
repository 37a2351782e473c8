//! A row as it is shown: its details in plain, where the tenant's key is still there.

use data_encoding::HEXLOWER;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Row;

/// A row and its details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// As it lies in the catalog.
    pub row: Row,
    /// Its details with what was sealed, if anything is; none where the stored ones are all there is to say.
    pub(super) opened: Option<Map<String, Value>>,
}

impl Told {
    /// The details in plain. A text where somebody else has put something that is no JSON object.
    pub fn details(&self) -> Value {
        match &self.opened {
            Some(opened) => Value::Object(opened.clone()),
            None => match serde_json::from_str(&self.row.details) {
                Ok(Value::Object(details)) => Value::Object(details),
                _ => Value::from(self.row.details.as_str()),
            },
        }
    }
}

impl Serialize for Told {
    /// Everything that is hashed, and the hash: an export can be checked without us. Where something was sealed, the
    /// details are in plain, and what is hashed is the text `stored`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = &self.row;
        let uid = row.tenant_uid.as_deref().and_then(|uid| Uuid::from_slice(uid).ok());
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("seq", &row.seq)?;
        map.serialize_entry("time", &row.at)?;
        map.serialize_entry("actor", &row.actor)?;
        map.serialize_entry("action", &row.action)?;
        map.serialize_entry("tenant", &row.tenant)?;
        map.serialize_entry("tenant_uid", &uid)?;
        map.serialize_entry("from", &row.source)?;
        map.serialize_entry("outcome", &row.outcome)?;
        match (&self.opened, serde_json::from_str::<&RawValue>(&row.details)) {
            (Some(opened), _) => {
                map.serialize_entry("details", opened)?;
                map.serialize_entry("stored", &row.details)?;
            }
            // As it is hashed, to the byte.
            (None, Ok(details)) => map.serialize_entry("details", details)?,
            (None, Err(_)) => map.serialize_entry("details", &row.details)?,
        }
        map.serialize_entry("hash", &HEXLOWER.encode(&row.hash))?;
        map.end()
    }
}
