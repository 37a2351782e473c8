//! A batch of one tenant's records, and the number that makes sending it again harmless.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, excerpt};
use crate::record::Record;
use crate::tenant::TenantId;

/// Header that names the tenant of an agent's batch.
pub const TENANT_HEADER: &str = "x-heliograph-tenant";
/// Header that names the producer.
pub const PRODUCER_HEADER: &str = "x-heliograph-producer";
/// Header with the producer's epoch.
pub const EPOCH_HEADER: &str = "x-heliograph-epoch";
/// Header with the batch's sequence.
pub const SEQUENCE_HEADER: &str = "x-heliograph-sequence";

/// The stable name of a sender: 1 to 64 of `A-Z`, `a-z`, `0-9`, `-`, `_`, `.`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProducerId(Box<str>);

impl ProducerId {
    /// Checks a name.
    pub fn parse(value: &str) -> Result<Self> {
        let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if (1..=64).contains(&value.len()) && value.bytes().all(ok) {
            Ok(Self(value.into()))
        } else {
            Err(Error::Name {
                what: "producer",
                value: excerpt(value),
                rule: "1 to 64 letters, digits, '-', '_' or '.'",
            })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl TryFrom<String> for ProducerId {
    type Error = Error;
    fn try_from(value: String) -> Result<Self> {
        Self::parse(&value)
    }
}

impl From<ProducerId> for String {
    fn from(id: ProducerId) -> Self {
        id.0.into()
    }
}

/// The name of a batch: sequences count from 1, one by one, per tenant, producer and epoch.
///
/// A producer that lost its spool begins a higher epoch at sequence 1. A batch whose sequence is already
/// recorded is acknowledged and not stored again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchId {
    /// Who sent it.
    pub producer: ProducerId,
    /// The life of the producer's spool.
    pub epoch: u64,
    /// The number within the epoch.
    pub sequence: u64,
}

/// Records of one tenant that become durable together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Whose records.
    pub tenant: TenantId,
    /// Its name; without one it is stored each time it is sent.
    pub id: Option<BatchId>,
    /// The records, those of one source together and in file order.
    pub records: Vec<Record>,
}
