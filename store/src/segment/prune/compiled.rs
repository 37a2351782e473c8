//! Compiled conditions, kept from segment to segment: compiling one takes as long as a look at a segment.

use std::sync::{Arc, LazyLock};

use heliograph_model::filter::{Field, Filter, Matcher, Test};
use quick_cache::sync::Cache;
use regex::Regex;

use crate::error::Result;

/// Conditions kept of each kind: those of the scans that go on at a time, and some more.
const KEPT: usize = 64;

static MATCHERS: LazyLock<Cache<Test, Arc<Matcher>>> = LazyLock::new(|| Cache::new(KEPT));
static REGEXES: LazyLock<Cache<String, Arc<Regex>>> = LazyLock::new(|| Cache::new(KEPT));

/// A test of the message, alone.
pub(super) fn matcher(test: &Test) -> Result<Arc<Matcher>> {
    MATCHERS
        .get_or_insert_with(test, || Ok(Arc::new(Matcher::new(&Filter::Is(Field::Message, test.clone()))?)))
}

/// A pattern of ours; one that is too large to compile leaves the question open: everything has it.
pub(super) fn regex(pattern: &str) -> Option<Arc<Regex>> {
    let compile = || Regex::new(pattern).or_else(|_| Regex::new("")).map(Arc::new);
    REGEXES.get_or_insert_with(pattern, compile).ok()
}
