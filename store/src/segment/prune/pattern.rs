//! What a pattern needs, so that not every text must be tried.

use std::sync::Arc;

use heliograph_model::token::{fold, is_word_char, pattern_in_any_case};
use regex::Regex;
use regex_syntax::hir::{Hir, HirKind};

use super::compiled;

/// A text that every match has as it stands; the longest that is plain to see.
pub(super) fn needed(pattern: &str) -> Option<String> {
    let hir = regex_syntax::Parser::new().parse(pattern).ok()?;
    let mut found = Found::default();
    found.look(&hir);
    found.end();
    found.longest
}

#[derive(Default)]
struct Found {
    present: String,
    longest: Option<String>,
}

impl Found {
    fn look(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
                Ok(text) => self.present.push_str(text),
                Err(_) => self.end(),
            },
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.look(part)),
            HirKind::Capture(capture) => self.look(&capture.sub),
            // Takes no room, so what stands on both sides of it stands together.
            HirKind::Look(_) | HirKind::Empty => {}
            HirKind::Repetition(repetition) if repetition.min > 0 => {
                self.end();
                self.look(&repetition.sub);
                self.end();
            }
            HirKind::Class(_) | HirKind::Alternation(_) | HirKind::Repetition(_) => self.end(),
        }
    }

    fn end(&mut self) {
        let text = std::mem::take(&mut self.present);
        if text.len() > self.longest.as_ref().map_or(0, String::len) {
            self.longest = Some(text);
        }
    }
}

/// The longest token whose beginning a text shows, and whether it shows its end, too; folded.
pub(super) fn begun_token(text: &str) -> Option<(String, bool)> {
    let (start, _) = text.char_indices().find(|(_, c)| !is_word_char(*c))?;
    let rest = text.get(start..)?;
    let ends_open = rest.ends_with(is_word_char);
    let mut runs = rest.split(|c| !is_word_char(c)).filter(|run| !run.is_empty()).peekable();
    let mut longest: Option<(&str, bool)> = None;
    while let Some(run) = runs.next() {
        let is_whole = runs.peek().is_some() || !ends_open;
        if longest.is_none_or(|(longest, _)| run.len() > longest.len()) {
            longest = Some((run, is_whole));
        }
    }
    longest.map(|(run, is_whole)| (fold(run), is_whole))
}

/// What variables must have if one of these texts is to touch them: one of their runs of word characters. None
/// where they have no such run, and so touch no variable.
pub(super) fn of_variables(texts: &[&str], in_any_case: bool) -> Option<Arc<Regex>> {
    let runs = texts.iter().flat_map(|text| text.split(|c| !is_word_char(c))).filter(|run| !run.is_empty());
    let run = if in_any_case { pattern_in_any_case } else { regex::escape };
    let pattern = runs.map(run).collect::<Vec<_>>().join("|");
    if pattern.is_empty() {
        return None;
    }
    compiled::regex(&pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, expected: Option<&str>) {
        assert_eq!(needed(pattern).as_deref(), expected, "{pattern}");
    }

    #[test]
    fn what_a_pattern_needs_is_plain_to_see() {
        check(r"took \d{4,}ms", Some("took "));
        check(r"^Task (failed|ended) within", Some(" within"));
        check("(abc)+d", Some("abc"));
        check("(abc)*d", Some("d"));
        check("(?i)abc", None);
        check("a|b", None);
        check(r"\bGET\b", Some("GET"));
        check("[ab]", None);
    }

    #[test]
    fn a_token_begins_behind_what_is_no_word() {
        for (text, expected) in [
            (".parquet", Some(("parquet", false))),
            ("x.Parquet file", Some(("parquet", true))),
            ("a bc: def", Some(("def", false))),
            ("took ", None),
            ("took", None),
            ("--", None),
        ] {
            assert_eq!(begun_token(text), expected.map(|(t, whole)| (t.to_owned(), whole)), "{text}");
        }
    }

    #[test]
    fn variables_are_touched_by_words_only() {
        assert!(of_variables(&["->", " "], true).is_none());
        let needle = of_variables(&["took ", "a.b"], true).unwrap();
        assert!(needle.is_match("xTOOKx") && needle.is_match("b") && !needle.is_match("toc"));
    }
}
