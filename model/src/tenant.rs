//! Names of tenants and workspaces, checked once where they enter.
//!
//! A tenant is one Airflow deployment; a workspace groups tenants of one customer. A name is never used as a
//! path or an object key: `store` gives each tenant a random prefix.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, excerpt};

/// The rule of RFC 1123 labels, as Kubernetes namespaces obey it.
const RULE: &str =
    "1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit (as in \"team-a\")";

fn is_label(value: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// One Airflow deployment whose logs are a partition of their own.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(Arc<str>);

/// A group of tenants that belong together.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Workspace(Arc<str>);

impl TenantId {
    /// Checks a name against RFC 1123.
    pub fn parse(value: &str) -> Result<Self> {
        if is_label(value) {
            Ok(Self(value.into()))
        } else {
            Err(Error::Name { what: "tenant", value: excerpt(value), rule: RULE })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Workspace {
    /// Checks a name against RFC 1123.
    pub fn parse(value: &str) -> Result<Self> {
        if is_label(value) {
            Ok(Self(value.into()))
        } else {
            Err(Error::Name { what: "workspace", value: excerpt(value), rule: RULE })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_conversions {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(value: String) -> Result<Self> {
                Self::parse(&value)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }
        impl std::str::FromStr for $name {
            type Err = Error;
            fn from_str(value: &str) -> Result<Self> {
                Self::parse(value)
            }
        }
    };
}
text_conversions!(TenantId);
text_conversions!(Workspace);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, accepted: bool) {
        assert_eq!(TenantId::parse(value).is_ok(), accepted, "{value:?}");
    }

    #[test]
    fn names_of_rfc_1123_are_accepted() {
        check("a", true);
        check("team-a", true);
        check("0x", true);
        check(&"a".repeat(63), true);
    }

    #[test]
    fn all_else_is_refused() {
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "../etc", "a/b", "%2e", "ä", "a\0", "_all", "*", "C:"]
        {
            check(bad, false);
        }
        check(&"a".repeat(64), false);
    }

    #[test]
    fn the_error_names_value_and_rule() {
        let text = TenantId::parse("../etc").unwrap_err().to_string();
        assert!(text.starts_with("invalid tenant name \"../etc\": 1 to 63"), "{text}");
    }
}
