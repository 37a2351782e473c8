//! Pairs of words that are joined, as in `ada.lovelace`, `etl-daily` or `dags/sales`: names, hosts and paths are
//! made of words that are everywhere by themselves, so the index knows each two neighbours as one.

use std::ops::Range;

use heliograph_model::token::{self, fold, is_word_char};

use super::identifiers::is_identifier;

/// Whether a character between two words joins them. Part of the format.
pub(super) fn is_joiner(c: char) -> bool {
    matches!(c, '.' | '-' | '/' | '@')
}

/// Writes a pair as the index knows it; `false` if it does not: identifiers are rare enough by themselves, and
/// numbers are not rarer in pairs. Part of the format.
pub(super) fn put_pair(first: &str, joiner: char, second: &str, out: &mut String) -> bool {
    let is_number = |token: &str| token.bytes().all(|b| b.is_ascii_digit());
    // Letters of other scripts may fold to fewer bytes, or to ASCII: such a token's kind is that of the folded one.
    let is_rare = |token: &str| token.is_ascii() && is_identifier(token);
    if (is_number(first) && is_number(second)) || is_rare(first) || is_rare(second) {
        return false;
    }
    if first.is_ascii() && second.is_ascii() {
        let start = out.len();
        out.push_str(first);
        out.push(joiner);
        out.push_str(second);
        out.get_mut(start..).into_iter().for_each(str::make_ascii_lowercase);
        return true;
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
    let mut out = Vec::new();
    // Tokens up to a place, so that a long text is gone through once.
    let (mut number, mut counted) = (0, 0);
    for_each_joined(text, |first, joiner, second| {
        let of = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
        number += token::tokens(of(&(counted..first.start))).len();
        counted = first.start;
        let mut pair = String::new();
        if !(is_open && second.end == text.len()) && put_pair(of(&first), joiner, of(&second), &mut pair) {
            out.push((number, pair));
        }
    });
    out
}

/// Calls `each` with the places of every two joined tokens, and what joins them.
pub(super) fn for_each_joined(text: &str, mut each: impl FnMut(Range<usize>, char, Range<usize>)) {
    for (at, joiner) in
        text.bytes().enumerate().map(|(at, b)| (at, char::from(b))).filter(|(_, c)| is_joiner(*c))
    {
        let (before, after) = (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
        if !before.ends_with(is_word_char) || !after.starts_with(is_word_char) {
            continue;
        }
        let first = before.trim_end_matches(is_word_char).len();
        let second = after.len() - after.trim_start_matches(is_word_char).len();
        each(first..at, joiner, at + 1..at + 1 + second);
    }
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
