//! Takes credentials out of rows: what has the shape of a secret becomes `[redacted:RULE]`, all else stays.
//!
//! Well-known shapes have rules of their own; an operator adds rules, for all tenants or for some. Messages and the
//! string values of attributes are looked at; who wrote a record, and its place, are never touched. One pass over the
//! texts of a whole batch finds the literals that a secret of a known shape begins with or has before it. Only rows
//! with one of them are looked at more closely, and rows without a secret are not copied.

mod assignment;
mod json;
mod own;
mod rules;
mod url;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use aho_corasick::{AhoCorasick, Input, MatchKind};

use crate::error::{Error, Result};
use crate::record::{Attributes, CUT_MARK, MESSAGE_BYTES_MAX, cut};
use crate::rows::{NewTexts, Rows};
use crate::tenant::TenantId;
use rules::{Rule, Text};

pub use own::{OwnRule, RULES_MAX};
pub use rules::names as default_names;

/// What stands before the rule's name in the place of a secret.
const MARK: &str = "[redacted:";

/// All rules, ready to be used; shared by all threads.
pub struct Redactor {
    rules: Vec<Rule>,
    own: Vec<OwnRule>,
    /// Literals that a rule needs.
    anchors: AhoCorasick,
    /// The rules that need each, in the order in which they are tried.
    of_anchor: Vec<Vec<usize>>,
    /// How JSON may write a character of an anchor otherwise: rows that have these are looked at, too.
    escapes: AhoCorasick,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// Rows from which secrets were taken.
#[derive(Debug)]
pub struct Redacted {
    /// The same records at the same places.
    pub rows: Rows,
    /// How many secrets, by rule, in the order of [`Redactor::names`].
    pub counts: Box<[u64]>,
}

/// A secret in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Secret {
    bytes: Range<usize>,
    /// Place in [`Redactor::names`].
    rule: usize,
}

impl Redactor {
    /// All rules but those that are disabled, and the operator's own. [`Error::Name`] for a name that is not that of
    /// a rule, or given twice; [`Error::Pattern`] for what cannot be compiled.
    pub fn new(disabled: &BTreeSet<String>, own: Vec<OwnRule>) -> Result<Self> {
        let mut known: BTreeSet<_> = default_names().collect();
        if let Some(unknown) = disabled.iter().find(|name| !known.contains(name.as_str())) {
            return Err(own::bad_name(unknown, "not the name of a default rule"));
        }
        if let Some(again) = own.iter().find(|rule| !known.insert(rule.name())) {
            return Err(own::bad_name(again.name(), "another rule has this name"));
        }
        let rules = rules::compile(|name| !disabled.contains(name))?;
        let mut anchors: Vec<&str> = Vec::new();
        let mut of_anchor: Vec<Vec<usize>> = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            for anchor in rule.anchors {
                match anchors.iter().zip(&mut of_anchor).find(|(known, _)| *known == anchor) {
                    Some((_, rules)) => rules.push(number),
                    None => {
                        anchors.push(anchor);
                        of_anchor.push(vec![number]);
                    }
                }
            }
        }
        let (anchors, escapes) = (automaton(&anchors)?, automaton(&json::ESCAPES)?);
        Ok(Self { rules, own, anchors, of_anchor, escapes })
    }

    /// Names of all rules in effect.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.name).chain(self.own.iter().map(OwnRule::name))
    }

    /// The rows of a tenant without secrets; nothing where there are none, which is nearly always so.
    pub fn redact(&self, tenant: &TenantId, rows: &Rows) -> Result<Option<Redacted>> {
        let mut look = Look {
            redactor: self,
            own: (self.rules.len()..).zip(&self.own).filter(|(_, rule)| rule.is_for(tenant)).collect(),
            counts: vec![0; self.rules.len() + self.own.len()].into(),
        };
        let suspects = if look.own.is_empty() { self.suspects(rows) } else { (0..rows.len()).collect() };
        let mut changes = Vec::new();
        for row in suspects {
            let Some(record) = rows.get(row) else { continue };
            let message = look.message(record.message);
            let attributes = look.attributes(record.attributes);
            if message.is_some() || attributes.is_some() {
                let message = message.map_or(Cow::Borrowed(record.message), Cow::Owned);
                let attributes = attributes.map_or(Cow::Borrowed(record.attributes), Cow::Owned);
                changes.push((row, NewTexts { message, attributes }));
            }
        }
        if changes.is_empty() {
            return Ok(None);
        }
        Ok(Some(Redacted { rows: rows.with_texts(&changes)?, counts: look.counts }))
    }

    /// The rows that may hold a secret of a known shape, rising: one pass over all texts for each kind of literal.
    fn suspects(&self, rows: &Rows) -> Vec<usize> {
        let (texts, mut found) = (rows.texts(), BTreeSet::new());
        for literals in [&self.anchors, &self.escapes] {
            let mut at = 0;
            // A hit over the edge of two rows is none, but the next row is looked at from its first byte.
            while let Some(hit) = literals.find(Input::new(texts).range(at..)) {
                let Some((row, end)) = rows.row_at(hit.start()) else { break };
                found.insert(row);
                at = end;
            }
        }
        found.into_iter().collect()
    }

    /// The secrets of known shapes in a text, in their order and apart from one another.
    fn find(&self, text: Text<'_>) -> Vec<Secret> {
        let (mut found, mut at) = (Vec::<Secret>::new(), 0);
        // One anchor may begin within another.
        while let Some(hit) = self.anchors.find(Input::new(text.text).range(at..)) {
            at = hit.start() + 1;
            if found.iter().rev().take(2).any(|secret| secret.bytes.contains(&hit.start())) {
                continue;
            }
            let rules = self.of_anchor.get(hit.pattern().as_usize()).map(Vec::as_slice).unwrap_or_default();
            let secret = rules.iter().find_map(|&number| {
                let bytes = self.rules.get(number)?.secret(text, hit.range())?;
                let is_new = !bytes.is_empty()
                    && !text.text.get(bytes.clone())?.contains(MARK)
                    && !is_in_mark(text.text, bytes.start);
                (is_new && bytes.start >= text.value_at).then_some(Secret { bytes, rule: number })
            });
            found.extend(secret);
        }
        found.sort_by_key(|secret| secret.bytes.start);
        let mut end = 0;
        found.retain(|secret| {
            let is_apart = secret.bytes.start >= end;
            end = end.max(secret.bytes.end);
            is_apart
        });
        found
    }
}

/// Whether a place is within what stands for a secret.
fn is_in_mark(text: &str, at: usize) -> bool {
    let near = text.get(text.floor_char_boundary(at.saturating_sub(64))..at).unwrap_or_default();
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    near.trim_end_matches(is_name).ends_with(MARK)
}

/// Finds the leftmost of the literals. The few there are let it use vector instructions.
fn automaton(literals: &[&str]) -> Result<AhoCorasick> {
    let built = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(literals);
    built.map_err(|e| Error::Pattern { pattern: "the default rules".to_owned(), reason: e.to_string() })
}

/// One look through a batch.
struct Look<'r> {
    redactor: &'r Redactor,
    /// The tenant's, with their places among all names.
    own: Vec<(usize, &'r OwnRule)>,
    counts: Box<[u64]>,
}

impl Look<'_> {
    /// The message without secrets, if it has any. It may be longer, but not beyond the bound on messages.
    fn message(&mut self, message: &str) -> Option<String> {
        let text = self.text("", message)?;
        let limit = message.len().max(MESSAGE_BYTES_MAX + CUT_MARK.len());
        Some(if text.len() > limit { cut(&text, MESSAGE_BYTES_MAX).into_owned() } else { text })
    }

    /// The same of a JSON object, which stays one.
    fn attributes(&mut self, object: &str) -> Option<String> {
        let object = json::rewrite(object, |key, value| self.text(key, value))?;
        // It may have grown beyond the bounds, within which a write-ahead object is read again.
        Some(Attributes::check_json(&object).map_or_else(|_| Attributes::cut_json(), Cow::into_owned))
    }

    /// A text without secrets, if it has any. What a value is called may tell that it is one.
    fn text(&mut self, key: &str, value: &str) -> Option<String> {
        let secrets = if key.is_empty() {
            self.redactor.find(Text { text: value, value_at: 0 })
        } else {
            let value_at = key.len() + 1;
            let mut found = self.redactor.find(Text { text: &format!("{key}={value}"), value_at });
            for Secret { bytes, .. } in &mut found {
                *bytes = bytes.start - value_at..bytes.end - value_at;
            }
            found
        };
        let mut text = self.replace(value, &secrets);
        for at in 0..self.own.len() {
            let Some((number, rule)) = self.own.get(at).copied() else { continue };
            let present = text.as_deref().unwrap_or(value);
            let secrets: Vec<_> =
                rule.find(present).into_iter().map(|bytes| Secret { bytes, rule: number }).collect();
            if let Some(new) = self.replace(present, &secrets) {
                text = Some(new);
            }
        }
        text
    }

    fn replace(&mut self, text: &str, secrets: &[Secret]) -> Option<String> {
        if secrets.is_empty() {
            return None;
        }
        let (mut out, mut copied) = (String::with_capacity(text.len()), 0);
        for Secret { bytes, rule } in secrets {
            out.push_str(text.get(copied..bytes.start).unwrap_or_default());
            out.push_str(MARK);
            out.push_str(self.redactor.names().nth(*rule).unwrap_or_default());
            out.push(']');
            copied = bytes.end;
            if let Some(count) = self.counts.get_mut(*rule) {
                *count += 1;
            }
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        Some(out)
    }
}

#[cfg(test)]
mod tests;
