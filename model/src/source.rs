//! Where a record comes from: the stream of lines of one container, task or file, and the place in it.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Error, Result, excerpt};

/// The part of Airflow (or of the machine) that wrote a line, as in `scheduler`, `worker`, `triggerer`,
/// `dag-processor`, `webserver`, `api-server`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Component(Box<str>);

impl Component {
    /// 1 to 63 of `a-z`, `0-9`, `-`, `_` and `.`, beginning with a letter or digit.
    pub fn parse(value: &str) -> Result<Self> {
        let ok = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
        let bytes = value.as_bytes();
        if bytes.len() <= 63 && bytes.first().is_some_and(u8::is_ascii_alphanumeric) && bytes.iter().all(ok) {
            Ok(Self(value.into()))
        } else {
            Err(Error::Name {
                what: "component",
                value: excerpt(value),
                rule: "1 to 63 of a-z, 0-9, '-', '_' and '.', beginning with a letter or digit (as in \"scheduler\")",
            })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl TryFrom<String> for Component {
    type Error = Error;
    fn try_from(value: String) -> Result<Self> {
        Self::parse(&value)
    }
}

impl From<Component> for String {
    fn from(c: Component) -> Self {
        c.0.into()
    }
}

/// The output of a process that a line was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The stream's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// Reads a stream's name.
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            "stdout" => Some(Self::Stdout),
            "stderr" => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// The stable 128-bit name of a source; sources of one tenant are ordered by it where times are equal.
///
/// A followed path keeps its id over rotation; [`Position`] tells the generations apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SourceId(pub u128);

impl SourceId {
    /// The id of what `producer` reads at `name` (a path, a container, a client's resource).
    pub fn of(producer: &str, name: &str) -> Self {
        let mut bytes = Vec::with_capacity(8 + producer.len() + name.len());
        bytes.extend_from_slice(&(producer.len() as u64).to_le_bytes());
        bytes.extend_from_slice(producer.as_bytes());
        bytes.extend_from_slice(name.as_bytes());
        Self(xxh3_128(&bytes))
    }
}

impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The place of a record in its source: strictly rising in the order in which the source was written.
///
/// For a file: the rotation's ordinal in the upper 24 bits, the byte offset of the record's first byte in the
/// lower 40. For other producers: a number that the indexer gives out, rising.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct Position(pub u64);

impl Position {
    /// Bits that hold the byte offset: files up to 1 TiB.
    const OFFSET_BITS: u32 = 40;

    /// The position of a byte of the `generation`th file at a path.
    pub const fn in_file(generation: u32, offset: u64) -> Self {
        Self(((generation as u64) << Self::OFFSET_BITS) | (offset & ((1 << Self::OFFSET_BITS) - 1)))
    }
}

/// What all records of one source have in common. Comes from the agent's own knowledge (the path, the pod),
/// never from the content of a line.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Source {
    /// The stable name.
    pub id: SourceId,
    /// Which part of Airflow.
    pub component: Option<Component>,
    /// Kubernetes namespace.
    pub namespace: Option<Box<str>>,
    /// Kubernetes pod.
    pub pod: Option<Box<str>>,
    /// Container within the pod.
    pub container: Option<Box<str>>,
    /// Kubernetes node, or host name.
    pub node: Option<Box<str>>,
    /// The followed file.
    pub path: Option<Box<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_rise_over_rotations() {
        assert!(Position::in_file(0, 1 << 39) < Position::in_file(1, 0));
        assert!(Position::in_file(1, 5) < Position::in_file(1, 6));
    }

    #[test]
    fn source_ids_do_not_confuse_their_parts() {
        assert_ne!(SourceId::of("a", "bc"), SourceId::of("ab", "c"));
    }
}
