//! What a word is: the one rule that the index, the filters and the query language share.
//!
//! A token is a longest run of word characters: ASCII letters, digits and `_`, and every non-ASCII letter or
//! digit; lower-cased character by character. Everything else parts tokens.

use std::collections::HashMap;
use std::sync::LazyLock;

use memchr::memchr2_iter;

/// Whether a character belongs to a token.
pub fn is_word_char(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() || c == '_' } else { c.is_alphanumeric() }
}

fn is_word_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// The one character that stands for a character in any case. `İ` alone has a lower case of two (`i` and a
/// combining dot, which is no word character and would part the token): its first stands for it.
fn fold_char(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// The characters of other scripts that fold to ASCII letters: the Kelvin sign and the dotted capital I.
const FOLDS_TO_ASCII: [char; 2] = ['\u{212a}', '\u{130}'];

/// Lower case, character by character: unlike `str::to_lowercase` without regard to a character's neighbours,
/// so that a part of a text folds as the whole does.
pub fn fold(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { text.chars().map(fold_char).collect() }
}

/// Behind the last character that is not its own lower case.
const CASED_END: u32 = 0x2_0000;

/// For each character that others fold to: all that do, and itself.
static CASES: LazyLock<HashMap<char, Vec<char>>> = LazyLock::new(|| {
    let mut cases: HashMap<char, Vec<char>> = HashMap::new();
    for c in (0..CASED_END).filter_map(char::from_u32) {
        let folded = fold_char(c);
        if folded != c {
            cases.entry(folded).or_insert_with(|| vec![folded]).push(c);
        }
    }
    cases
});

/// A regular expression for the texts that fold as this one does. The `(?i)` of regular expressions takes more
/// letters for one another (`s` and `ſ`), which are different ones in tokens.
pub fn pattern_in_any_case(text: &str) -> String {
    let mut pattern = String::with_capacity(4 * text.len());
    for c in text.chars() {
        if let Some(cases) = CASES.get(&fold_char(c)) {
            pattern.push('[');
            pattern.extend(cases);
            pattern.push(']');
        } else {
            pattern.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
        }
    }
    pattern
}

/// Calls `each` with every token of the text, lower-cased, in order, repeats included.
///
/// `scratch` is a buffer to fold into, reused over calls.
pub fn for_each_token(text: &str, scratch: &mut String, mut each: impl FnMut(&str)) {
    scratch.clear();
    if text.is_ascii() {
        let words = text.split(|c: char| !is_word_byte(c as u8)).filter(|word| !word.is_empty());
        words.for_each(|word| {
            scratch.clear();
            scratch.push_str(word);
            scratch.make_ascii_lowercase();
            each(scratch);
        });
        return;
    }
    for c in text.chars() {
        if is_word_char(c) {
            if c.is_ascii() {
                scratch.push(c.to_ascii_lowercase());
            } else {
                scratch.push(fold_char(c));
            }
        } else if !scratch.is_empty() {
            each(scratch);
            scratch.clear();
        }
    }
    if !scratch.is_empty() {
        each(scratch);
        scratch.clear();
    }
}

/// All tokens of a text, lower-cased, in order.
pub fn tokens(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for_each_token(text, &mut String::new(), |t| out.push(t.to_owned()));
    out
}

/// A word or phrase to look for: it matches where its text stands, without regard to case, with no word
/// character touching an end of it that is itself a word character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    folded: String,
    starts_in_word: bool,
    ends_in_word: bool,
    open_end: bool,
}

impl Run {
    /// A run that must end at a token's edge.
    pub fn whole(text: &str) -> Self {
        Self {
            folded: fold(text),
            starts_in_word: text.chars().next().is_some_and(is_word_char),
            ends_in_word: text.chars().next_back().is_some_and(is_word_char),
            open_end: false,
        }
    }

    /// A run that may go on within the token: `pre*`.
    pub fn prefix(text: &str) -> Self {
        Self { open_end: true, ..Self::whole(text) }
    }

    /// The folded text.
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// Whether the run stands in the text.
    pub fn is_in(&self, text: &str) -> bool {
        if self.folded.is_empty() {
            return true;
        }
        if self.folded.is_ascii() {
            let is_in = self.is_in_bytes(text);
            if is_in || text.is_ascii() || !text.contains(FOLDS_TO_ASCII) {
                return is_in;
            }
        }
        // Folding first is right here because the fold has no context.
        let folded = fold(text);
        folded.match_indices(&self.folded).any(|(at, m)| self.edges_are_free(&folded, at, at + m.len()))
    }

    fn is_in_bytes(&self, text: &str) -> bool {
        let (needle, hay) = (self.folded.as_bytes(), text.as_bytes());
        let Some(&first) = needle.first() else { return true };
        let Some(last_start) = hay.len().checked_sub(needle.len()) else { return false };
        memchr2_iter(first, first.to_ascii_uppercase(), hay.get(..=last_start).unwrap_or_default()).any(
            |at| {
                let end = at + needle.len();
                hay.get(at..end).is_some_and(|part| part.eq_ignore_ascii_case(needle))
                    && self.edges_are_free(text, at, end)
            },
        )
    }

    fn edges_are_free(&self, text: &str, start: usize, end: usize) -> bool {
        let before = || {
            let b = *text.as_bytes().get(start.wrapping_sub(1))?;
            if b.is_ascii() {
                Some(is_word_byte(b))
            } else {
                text.get(..start)?.chars().next_back().map(is_word_char)
            }
        };
        let after = || {
            let b = *text.as_bytes().get(end)?;
            if b.is_ascii() {
                Some(is_word_byte(b))
            } else {
                text.get(end..)?.chars().next().map(is_word_char)
            }
        };
        (!self.starts_in_word || !before().unwrap_or(false))
            && (self.open_end || !self.ends_in_word || !after().unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(run: &str, text: &str, expected: bool) {
        assert_eq!(Run::whole(run).is_in(text), expected, "{run:?} in {text:?}");
    }

    #[test]
    fn words_match_whole_and_in_any_case() {
        check("failed", "Task FAILED with exception", true);
        check("fail", "Task failed", false);
        check("task_1", "my task_1.", true);
        check("task", "my task_1.", false);
        check("größe", "Die GRÖSSE der Größe", true);
        check("öß", "Größe", false);
        check("e", "né", false);
    }

    #[test]
    fn runs_with_punctuation_match_as_that_run() {
        check("10.0.0.7", "from 10.0.0.7:80", true);
        check("10.0.0.7", "from 110.0.0.7", false);
        check("10.0.0.7", "from 10.0.0.70", false);
        check("my_dag.task-1", "run my_dag.task-1 now", true);
        check("\"tenant\":", "{\"tenant\": 1}", true);
        check("{\"tenant\":\"b", "{\"tenant\":\"bc\"}", false);
        check("ValueError: could not", "ValueError: could not divide", true);
    }

    #[test]
    fn prefixes_are_open_at_the_end() {
        assert!(Run::prefix("excep").is_in("an Exception"));
        assert!(!Run::prefix("xcep").is_in("an Exception"));
    }

    #[test]
    fn folding_keeps_characters_and_their_kind() {
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            assert_eq!(is_word_char(c), is_word_char(fold_char(c)), "{c:?}");
            assert!(c.to_lowercase().count() == 1 || c == 'İ', "{c:?}");
            assert!(c.is_ascii() || !fold_char(c).is_ascii() || FOLDS_TO_ASCII.contains(&c), "{c:?}");
        }
    }

    #[test]
    fn what_folds_alike_matches_in_any_case_and_nothing_else_does() {
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            assert!(u32::from(c) < CASED_END || fold_char(c) == c, "{c:?}");
        }
        let is_match =
            |part: &str, text: &str| regex::Regex::new(&pattern_in_any_case(part)).unwrap().is_match(text);
        for (part, text, expected) in [
            ("Small: [9", "a sMALL: [9", true),
            ("small", "ſmall", false),
            ("5K", "5\u{212a}", true),
            ("éxİ", "ÉXi", true),
            ("ς", "Σ", false),
            ("a.c", "abc", false),
            ("ГЛАВА", "глава", true),
        ] {
            assert_eq!(is_match(part, text), expected, "{part} in {text}");
        }
    }

    #[test]
    fn a_dotted_capital_i_does_not_part_a_token() {
        // Found as "éxi" in the folded text, so that must be the token.
        check("éxi", "éxİ", true);
        check("İstanbul", "in İstanbul", true);
        check("5k", "at 5\u{212a} or less", true);
        assert_eq!(tokens("éxİ"), ["éxi"]);
    }

    proptest! {
        #[test]
        fn a_match_implies_that_its_tokens_are_tokens_of_the_text(run in "\\PC{1,12}", text in "\\PC{0,60}") {
            let whole = format!("{text}{run} {text}");
            for hay in [text.as_str(), whole.as_str()] {
                if Run::whole(&run).is_in(hay) {
                    let have = tokens(hay);
                    for token in tokens(&run) {
                        prop_assert!(have.contains(&token), "{token:?} of {run:?} not in {hay:?}");
                    }
                }
            }
        }

        #[test]
        fn a_part_matches_in_any_case_where_the_folded_one_is(part in "\\PC{1,3}|[sſkKiİ]{1,2}", text in "\\PC{0,20}|[sſKkiıİ]{9}") {
            let pattern = regex::Regex::new(&pattern_in_any_case(&part)).unwrap();
            for text in [text.clone(), format!("{text}{}", part.to_uppercase()), format!("{part}{text}")] {
                prop_assert_eq!(pattern.is_match(&text), fold(&text).contains(&fold(&part)), "{:?}", text);
            }
        }

        #[test]
        fn every_token_is_found_as_a_word(text in "\\PC{0,60}") {
            for token in tokens(&text) {
                prop_assert!(Run::whole(&token).is_in(&text), "{token:?}");
            }
        }
    }
}
