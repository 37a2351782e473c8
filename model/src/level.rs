//! Severity of a record, in Airflow's words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How grave a record is, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Finer than debug.
    Trace,
    /// For developers.
    Debug,
    /// The normal course.
    Info,
    /// Odd, but it went on.
    Warning,
    /// Something failed.
    Error,
    /// The process cannot go on.
    Critical,
}

impl Level {
    /// All levels, lowest first; a level's index here is its code in formats.
    pub const ALL: [Self; 6] =
        [Self::Trace, Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical];

    /// The level's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }

    /// The level's code in formats: its index in [`Self::ALL`].
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The level with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Reads a level as loggers write it, in any case: `WARN`, `warning`, `ERR`, `fatal`, ….
    pub fn parse(value: &str) -> Option<Self> {
        let is = |names: &[&str]| names.iter().any(|n| value.eq_ignore_ascii_case(n));
        Some(match value.len() {
            3 if is(&["err"]) => Self::Error,
            4 if is(&["info"]) => Self::Info,
            4 if is(&["warn"]) => Self::Warning,
            4 if is(&["crit"]) => Self::Critical,
            5 if is(&["debug"]) => Self::Debug,
            5 if is(&["error"]) => Self::Error,
            5 if is(&["trace"]) => Self::Trace,
            5 if is(&["fatal", "panic", "alert", "emerg"]) => Self::Critical,
            6 if is(&["notice"]) => Self::Info,
            7 if is(&["warning"]) => Self::Warning,
            8 if is(&["critical"]) => Self::Critical,
            9 if is(&["exception"]) => Self::Error,
            9 if is(&["emergency"]) => Self::Critical,
            _ => return None,
        })
    }

    /// The lowest severity number of OpenTelemetry's range for this level (logs data model, "Severity Fields").
    pub const fn otlp_number(self) -> i32 {
        match self {
            Self::Trace => 1,
            Self::Debug => 5,
            Self::Info => 9,
            Self::Warning => 13,
            Self::Error => 17,
            Self::Critical => 21,
        }
    }

    /// The level of an OpenTelemetry severity number, 1 to 24.
    pub fn from_otlp_number(number: i32) -> Option<Self> {
        Some(match number {
            1..=4 => Self::Trace,
            5..=8 => Self::Debug,
            9..=12 => Self::Info,
            13..=16 => Self::Warning,
            17..=20 => Self::Error,
            21..=24 => Self::Critical,
            _ => return None,
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_codes_and_numbers_lead_back() {
        for level in Level::ALL {
            assert_eq!(Level::parse(level.as_str()), Some(level));
            assert_eq!(Level::parse(&level.as_str().to_uppercase()), Some(level));
            assert_eq!(Level::from_code(level.code()), Some(level));
            assert_eq!(Level::from_otlp_number(level.otlp_number()), Some(level));
        }
        assert_eq!(Level::parse("Level None"), None);
        assert_eq!(Level::parse("WARN"), Some(Level::Warning));
    }
}
