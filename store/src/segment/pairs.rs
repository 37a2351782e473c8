//! Pairs of words that are joined, as in `ada.lovelace`, `etl-daily` or `dags/sales`: names, hosts and paths are
//! made of words that are everywhere by themselves, so the filters know each two neighbours as one.

use std::ops::Range;

use heliograph_model::token::{fold, is_word_char};

use super::identifiers::is_identifier;

/// Whether a character between two words joins them. Part of the format.
pub(super) fn is_joiner(c: char) -> bool {
    matches!(c, '.' | '-' | '/' | '@')
}

/// Writes a pair as the filters know it; `false` if they do not: identifiers are rare enough by themselves, and
/// numbers are not rarer in pairs. Part of the format.
pub(super) fn put_pair(first: &str, joiner: char, second: &str, out: &mut String) -> bool {
    let is_number = |token: &str| token.bytes().all(|b| b.is_ascii_digit());
    // Letters of other scripts may fold to fewer bytes, or to ASCII: such a token's kind is that of the folded one.
    let is_rare = |token: &str| token.is_ascii() && is_identifier(token);
    if (is_number(first) && is_number(second)) || is_rare(first) || is_rare(second) {
        return false;
    }
    let (first, second) = (fold(first), fold(second));
    out.push_str(&first);
    out.push(joiner);
    out.push_str(&second);
    !is_identifier(&first) && !is_identifier(&second)
}

/// The pairs of a text, each with the number of its first token in the text. With `is_open` the text's last token
/// may go on.
pub(super) fn pairs(text: &str, is_open: bool) -> Vec<(usize, String)> {
    let tokens = ranges(text);
    let closed = if is_open { tokens.len().saturating_sub(1) } else { tokens.len() };
    let mut out = Vec::new();
    for (number, pair) in tokens.get(..closed).unwrap_or_default().windows(2).enumerate() {
        let [first, second] = pair else { continue };
        let mut between = text.get(first.end..second.start).unwrap_or_default().chars();
        let (Some(joiner), None) = (between.next(), between.next()) else { continue };
        let of = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
        let mut pair = String::new();
        if is_joiner(joiner) && put_pair(of(first), joiner, of(second), &mut pair) {
            out.push((number, pair));
        }
    }
    out
}

/// The places of a text's tokens.
fn ranges(text: &str) -> Vec<Range<usize>> {
    let mut out: Vec<Range<usize>> = Vec::new();
    for (at, c) in text.char_indices().filter(|(_, c)| is_word_char(*c)) {
        match out.last_mut() {
            Some(last) if last.end == at => last.end = at + c.len_utf8(),
            _ => out.push(at..at + c.len_utf8()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, is_open: bool, expected: &[(usize, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(n, pair)| (*n, (*pair).to_owned())).collect();
        assert_eq!(pairs(text, is_open), expected, "{text}");
    }

    #[test]
    fn joined_words_are_pairs_and_numbers_and_ids_are_not() {
        check("by Ada.Lovelace@core now", false, &[(1, "ada.lovelace"), (2, "lovelace@core")]);
        check("/opt/dags/2026-11-23/x7", false, &[(0, "opt/dags"), (4, "23/x7")]);
        check("ip-10-0-4-185", false, &[(0, "ip-10")]);
        check("a b..c d-_ é.Ö", false, &[(3, "d-_"), (5, "é.ö")]);
        check("part-00077.parquet", false, &[]);
        check("", false, &[]);
    }

    #[test]
    fn a_token_that_may_go_on_is_in_no_pair() {
        check("a.b.c", true, &[(0, "a.b")]);
        check("a.b.", false, &[(0, "a.b")]);
    }
}
