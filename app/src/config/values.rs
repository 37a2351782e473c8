//! The kinds of value that settings take: how each is read, and how it is shown.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::duration_nanos;
use heliograph_store::catalog;
use secrecy::SecretString;

use crate::config::written::Written;

/// A value in effect, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Text(String),
    Integer(u64),
    Boolean(bool),
    List(Vec<String>),
    Redacted,
}

/// A kind of value.
pub(crate) trait Setting: Sized {
    /// Whether an environment variable holds it as a TOML list.
    const NESTED: bool = false;
    /// Reads it; the error says what was expected and what was found.
    fn read(written: &Written) -> Result<Self, String>;
    /// Shows it; secrets show nothing.
    fn show(&self) -> Shown;
}

fn text<'a>(written: &'a Written, expected: &str) -> Result<&'a str, String> {
    match written {
        Written::Text(text) => Ok(text),
        other => Err(format!("expected {expected}, found {}", other.kind())),
    }
}

impl Setting for String {
    fn read(written: &Written) -> Result<Self, String> {
        match text(written, "a text")? {
            "" => Err("is empty".to_owned()),
            text => Ok(text.to_owned()),
        }
    }
    fn show(&self) -> Shown {
        Shown::Text(self.clone())
    }
}

impl Setting for catalog::Url {
    fn read(written: &Written) -> Result<Self, String> {
        String::read(written).map(Self::from)
    }
    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

impl Setting for SecretString {
    fn read(written: &Written) -> Result<Self, String> {
        match text(written, "a text")? {
            "" => Err("is empty".to_owned()),
            text => Ok(Self::from(text)),
        }
    }
    fn show(&self) -> Shown {
        Shown::Redacted
    }
}

impl Setting for PathBuf {
    fn read(written: &Written) -> Result<Self, String> {
        match text(written, "a path")? {
            "" => Err("is empty".to_owned()),
            text => Ok(text.into()),
        }
    }
    fn show(&self) -> Shown {
        Shown::Text(self.display().to_string())
    }
}

impl Setting for SocketAddr {
    fn read(written: &Written) -> Result<Self, String> {
        let text = text(written, "an address like \"127.0.0.1:7700\"")?;
        text.parse().map_err(|_| format!("{text:?} is not an address like \"127.0.0.1:7700\""))
    }
    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

impl Setting for bool {
    fn read(written: &Written) -> Result<Self, String> {
        match written {
            Written::Boolean(yes) => Ok(*yes),
            Written::Text(text) if text == "true" => Ok(true),
            Written::Text(text) if text == "false" => Ok(false),
            Written::Text(text) => Err(format!("expected true or false, found {text:?}")),
            other => Err(format!("expected true or false, found {}", other.kind())),
        }
    }
    fn show(&self) -> Shown {
        Shown::Boolean(*self)
    }
}

/// How many of something; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) usize);

impl Setting for Count {
    fn read(written: &Written) -> Result<Self, String> {
        let bad = |found: &str| format!("expected a whole number of at least 1, found {found}");
        let number = match written {
            Written::Integer(n) => usize::try_from(*n).map_err(|_| bad(&n.to_string()))?,
            Written::Text(text) => text.parse().map_err(|_| bad(&format!("{text:?}")))?,
            other => return Err(bad(other.kind())),
        };
        if number == 0 { Err(bad("0")) } else { Ok(Self(number)) }
    }
    fn show(&self) -> Shown {
        Shown::Integer(self.0 as u64)
    }
}

/// A number of bytes: `1048576`, `"64 MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

const BYTE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Setting for Bytes {
    fn read(written: &Written) -> Result<Self, String> {
        let bad =
            |found: &str| format!("expected a size like \"64 MiB\" (B, KiB, MiB, GiB, TiB), found {found}");
        let bytes = match written {
            Written::Integer(n) => u64::try_from(*n).map_err(|_| bad(&n.to_string()))?,
            Written::Text(text) => parse_bytes(text).ok_or_else(|| bad(&format!("{text:?}")))?,
            other => return Err(bad(other.kind())),
        };
        if bytes == 0 { Err(bad("0")) } else { Ok(Self(bytes)) }
    }
    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

impl Bytes {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        parse_bytes(text).map(Self)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) =
            BYTE_UNITS.into_iter().find(|(_, size)| self.0.is_multiple_of(*size)).unwrap_or(("B", 1));
        write!(f, "{} {unit}", self.0 / size)
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let unit = unit.trim();
    let size = if unit.is_empty() { 1 } else { BYTE_UNITS.into_iter().find(|(name, _)| *name == unit)?.1 };
    number.checked_mul(size)
}

/// A length of time: `"250ms"`, `"30s"`, `"15m"`, `"12h"`, `"30d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl Span {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(millis) = text.strip_suffix("ms") {
            return millis.parse().ok().map(|n| Self(Duration::from_millis(n)));
        }
        let nanos = u64::try_from(duration_nanos(text)?).ok()?;
        Some(Self(Duration::from_nanos(nanos)))
    }
}

impl Setting for Span {
    fn read(written: &Written) -> Result<Self, String> {
        const EXPECTED: &str = "a length of time like \"250ms\", \"30s\", \"15m\", \"12h\" or \"30d\"";
        let text = text(written, EXPECTED)?;
        match Self::parse(text) {
            Some(span) if !span.0.is_zero() => Ok(span),
            _ => Err(format!("expected {EXPECTED}, found {text:?}")),
        }
    }
    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (millis, seconds) = (self.0.as_millis(), self.0.as_secs());
        match seconds {
            _ if !millis.is_multiple_of(1_000) => write!(f, "{millis}ms"),
            s if s > 0 && s.is_multiple_of(86_400) => write!(f, "{}d", s / 86_400),
            s if s > 0 && s.is_multiple_of(3_600) => write!(f, "{}h", s / 3_600),
            s if s > 0 && s.is_multiple_of(60) => write!(f, "{}m", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

macro_rules! named {
    ($type:ty) => {
        impl Setting for $type {
            fn read(written: &Written) -> Result<Self, String> {
                <$type>::parse(text(written, "a name")?).map_err(|e| e.to_string())
            }
            fn show(&self) -> Shown {
                Shown::Text(self.as_str().to_owned())
            }
        }
    };
}
named!(TenantId);
named!(Workspace);
named!(heliograph_model::source::Component);

/// An address in an error's text: a wrong one may hold a password, or a key, anywhere behind these characters.
pub(super) fn quoted(address: &str) -> String {
    if address.contains(['@', '?', '#']) {
        "what is written (not shown, since it may hold a credential)".to_owned()
    } else {
        format!("{address:?}")
    }
}

/// The base of a service's address: `http://host:port`, kept without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseUrl(pub(crate) String);

impl Setting for BaseUrl {
    fn read(written: &Written) -> Result<Self, String> {
        const EXPECTED: &str = "a URL like \"http://127.0.0.1:7710\"";
        let text = text(written, EXPECTED)?;
        let url =
            reqwest::Url::parse(text).map_err(|e| format!("{} is not {EXPECTED}: {e}", quoted(text)))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL must not hold a credential".to_owned());
        }
        if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
            return Err(format!("{} is not {EXPECTED}", quoted(text)));
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
    fn show(&self) -> Shown {
        Shown::Text(self.0.clone())
    }
}

impl<S: Setting> Setting for Vec<S> {
    const NESTED: bool = true;
    fn read(written: &Written) -> Result<Self, String> {
        match written {
            Written::List(items) => items.iter().map(|item| S::read(&item.value)).collect(),
            other => Err(format!("expected a list, found {}", other.kind())),
        }
    }
    fn show(&self) -> Shown {
        let text = |item: &S| match item.show() {
            Shown::Text(text) => text,
            Shown::Integer(n) => n.to_string(),
            Shown::Boolean(yes) => yes.to_string(),
            Shown::List(items) => items.join(" "),
            Shown::Redacted => "[redacted]".to_owned(),
        };
        Shown::List(self.iter().map(text).collect())
    }
}
