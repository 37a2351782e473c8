//! The operator's own rules: a regular expression each, bounded in size, for all tenants or for some.

use std::collections::BTreeSet;
use std::ops::Range;

use regex::{Regex, RegexBuilder};

use super::MARK;
use crate::error::{Error, Result, excerpt};
use crate::tenant::TenantId;

/// Own rules of one configuration: each is a pass over all texts.
pub const RULES_MAX: usize = 100;
/// Longest name of a rule: it is a metric's label, and stands in the place of secrets.
const NAME_BYTES_MAX: usize = 40;
/// Longest pattern.
const PATTERN_BYTES_MAX: usize = 1000;
/// Memory of a compiled pattern: enough for a few hundred repetitions of a class of letters.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// The group that says which part of a match is the secret.
const GROUP: &str = "secret";

/// A rule of the operator's. Matching takes time that is linear in the text's length.
#[derive(Clone, Debug)]
pub struct OwnRule {
    name: Box<str>,
    pattern: Regex,
    /// All of them where there are none.
    tenants: BTreeSet<TenantId>,
}

impl OwnRule {
    /// Checks and compiles a rule for these tenants, or for all if there are none: [`Error::Name`] where the name is
    /// wrong, [`Error::Pattern`] where the pattern is.
    pub fn new(name: &str, pattern: &str, tenants: BTreeSet<TenantId>) -> Result<Self> {
        let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(is_name) {
            return Err(bad_name(name, "1 to 40 of a-z, 0-9 and '-'"));
        }
        let bad = |reason: String| Error::Pattern { pattern: excerpt(pattern), reason };
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(bad(format!("it is longer than {PATTERN_BYTES_MAX} bytes")));
        }
        let built = RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).build();
        let compiled = built.map_err(|e| match e {
            regex::Error::CompiledTooBig(_) => {
                bad("it is too large: use fewer or smaller repetitions".to_owned())
            }
            // It says where, on several lines.
            other => bad(other.to_string().lines().last().unwrap_or_default().trim().to_owned()),
        })?;
        let shape = regex_syntax::parse(pattern).map_err(|_| bad("it cannot be read".to_owned()))?;
        if shape.properties().minimum_len().is_none_or(|bytes| bytes == 0) {
            return Err(bad("it matches the empty text, or nothing at all".to_owned()));
        }
        Ok(Self { name: name.into(), pattern: compiled, tenants })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is for this tenant.
    pub(super) fn is_for(&self, tenant: &TenantId) -> bool {
        self.tenants.is_empty() || self.tenants.contains(tenant)
    }

    /// The secrets in a text, in their order; what was taken out already is none.
    pub(super) fn find(&self, text: &str) -> Vec<Range<usize>> {
        if !self.pattern.is_match(text) {
            return Vec::new();
        }
        let marks = marks(text);
        let secret = |found: regex::Captures<'_>| {
            let whole = found.get(0)?.range();
            let secret = found.name(GROUP).map_or(whole.clone(), |group| group.range());
            let next = marks.get(marks.partition_point(|mark| mark.end <= whole.start));
            let touches_mark = next.is_some_and(|mark| mark.start < whole.end);
            (!secret.is_empty() && !touches_mark).then_some(secret)
        };
        self.pattern.captures_iter(text).filter_map(secret).collect()
    }
}

/// Where secrets were before.
fn marks(text: &str) -> Vec<Range<usize>> {
    let end = |start: usize| text.get(start..)?.find(']').map(|length| start..start + length + 1);
    text.match_indices(MARK).filter_map(|(start, _)| end(start)).collect()
}

/// A name that no rule can have, or none has.
pub(super) fn bad_name(name: &str, rule: &'static str) -> Error {
    Error::Name { what: "redaction rule", value: excerpt(name), rule }
}
