//! Moments with nanoseconds, ranges of them, and the clock that is passed in.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, excerpt};

/// A moment: nanoseconds since 1970-01-01T00:00:00Z, from the year 1677 to 2262.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest moment.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest moment.
    pub const MAX: Self = Self(i64::MAX);

    /// From nanoseconds since the epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the epoch, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment moved by a signed number of nanoseconds, kept within bounds.
    pub const fn saturating_add_nanos(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Nanoseconds from `earlier` to this moment; negative where `earlier` is later.
    pub const fn nanos_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads RFC 3339 (`2026-11-24T10:00:00.5Z`, `…+02:00`; a space for the `T` is accepted).
    pub fn parse(value: &str) -> Result<Self> {
        value
            .parse::<jiff::Timestamp>()
            .ok()
            .and_then(|t| i64::try_from(t.as_nanosecond()).ok())
            .map(Self)
            .ok_or_else(|| Error::Time { value: excerpt(value) })
    }

    /// Reads RFC 3339, or a time relative to `now`: `now`, `now-15m`, `now+1h`; units s, m, h, d, w.
    pub fn parse_relative(value: &str, now: Self) -> Result<Self> {
        let bad = || Error::Time { value: excerpt(value) };
        let value_trimmed = value.trim();
        let Some(rest) = value_trimmed.strip_prefix("now") else { return Self::parse(value_trimmed) };
        if rest.is_empty() {
            return Ok(now);
        }
        let (sign, amount) = match rest.split_at_checked(1) {
            Some(("-", amount)) => (-1, amount),
            Some(("+", amount)) => (1, amount),
            _ => return Err(bad()),
        };
        let nanos = duration_nanos(amount).ok_or_else(bad)?;
        Ok(now.saturating_add_nanos(sign * nanos))
    }
}

/// Reads `90s`, `15m`, `6h`, `7d`, `2w` as nanoseconds.
pub fn duration_nanos(value: &str) -> Option<i64> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at_checked(digits)?;
    let unit_seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit_seconds)?.checked_mul(1_000_000_000)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every i64 of nanoseconds lies within jiff's range (years -9999 to 9999).
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(t) => write!(f, "{t:.9}"),
            Err(_) => write!(f, "{}ns", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Timestamp {
    type Error = Error;
    fn try_from(value: String) -> Result<Self> {
        Self::parse(&value)
    }
}

impl From<Timestamp> for String {
    fn from(t: Timestamp) -> Self {
        t.to_string()
    }
}

/// The moments from `start` up to, but without, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    /// The first moment inside.
    pub start: Timestamp,
    /// The first moment after it.
    pub end: Timestamp,
}

impl TimeRange {
    /// All time.
    pub const ALL: Self = Self { start: Timestamp::MIN, end: Timestamp::MAX };

    /// Whether a moment lies inside.
    pub fn contains(&self, t: Timestamp) -> bool {
        self.start <= t && t < self.end
    }

    /// Whether the closed interval from `first` to `last` has a moment inside.
    pub fn touches(&self, first: Timestamp, last: Timestamp) -> bool {
        first < self.end && self.start <= last
    }

    /// The moments inside both.
    pub fn intersect(&self, other: &Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }

    /// Whether no moment is inside.
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }
}

/// Where the present comes from; `app` has the real one.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_survive_text() {
        let t = Timestamp::from_nanos(1_795_471_396_012_523_008);
        assert_eq!(t.to_string(), "2026-11-23T22:03:16.012523008Z");
        assert_eq!(Timestamp::parse(&t.to_string()).unwrap(), t);
        for t in [Timestamp::MIN, Timestamp::MAX] {
            assert_eq!(Timestamp::parse(&t.to_string()).unwrap(), t);
        }
    }

    #[test]
    fn relative_times() {
        let now = Timestamp::parse("2026-11-24T10:00:00Z").unwrap();
        let check = |text: &str, expected: &str| {
            assert_eq!(
                Timestamp::parse_relative(text, now).unwrap(),
                Timestamp::parse(expected).unwrap(),
                "{text}"
            );
        };
        check("now", "2026-11-24T10:00:00Z");
        check("now-15m", "2026-11-24T09:45:00Z");
        check("now+1h", "2026-11-24T11:00:00Z");
        check("now-7d", "2026-11-17T10:00:00Z");
        check("2026-11-23 22:03:15.059328+00:00", "2026-11-23T22:03:15.059328Z");
        for bad in ["now-", "now-1", "now*1h", "yesterday", "", "now-1y", "now-99999999999999999h"] {
            assert!(Timestamp::parse_relative(bad, now).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_are_half_open() {
        let t = Timestamp::from_nanos;
        let range = TimeRange { start: t(10), end: t(20) };
        assert!(range.contains(t(10)) && !range.contains(t(20)));
        assert!(range.touches(t(0), t(10)) && !range.touches(t(20), t(30)));
    }
}
