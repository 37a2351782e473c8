//! What can be wrong with a value that enters from outside.

/// The result of making a checked value.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A value that was refused, with what would be right.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name (tenant, workspace, component, …) breaks its rule.
    #[error("invalid {what} name {value:?}: {rule}")]
    Name {
        /// Which kind of name.
        what: &'static str,
        /// The offending value, cut to 100 characters.
        value: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A time that cannot be read.
    #[error("invalid time {value:?}: give RFC 3339 like 2026-11-24T10:00:00Z, or now, now-15m, now-7d")]
    Time {
        /// The offending value, cut to 100 characters.
        value: String,
    },
    /// A filter that cannot be evaluated, such as a regular expression beyond its bound.
    #[error("invalid pattern {pattern:?}: {reason}")]
    Pattern {
        /// The offending pattern.
        pattern: String,
        /// Why it is refused.
        reason: String,
    },
    /// Bytes that are not what their content type says.
    #[error("cannot decode {what}: {reason}")]
    Decode {
        /// What was expected.
        what: &'static str,
        /// What was found.
        reason: String,
    },
    /// More than the stated bound.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The bound, in bytes.
        limit: usize,
    },
    /// Sealed bytes that do not open: the wrong key, the wrong place, or changed bytes.
    #[error("sealed bytes do not open: wrong key, wrong place or changed")]
    Sealed,
}

/// The first 100 characters of a value, for an error text.
pub(crate) fn excerpt(value: &str) -> String {
    value.chars().take(100).collect()
}
