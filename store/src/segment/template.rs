//! A text as its template and its variables. `took 12 ms for ada on 10.0.0.7` in quotes, paths, names and numbers
//! differs from line to line, the rest does not: programs write few templates, and what a word of a template asks
//! is asked once, not once a line.
//!
//! A *variable* is a token that stands for one thing: a number, an id, a stamp, a name, a part of a path. Which
//! tokens of a text are variables is said by the token and its neighbours, and part of the format: a reader
//! counts on a template's variables. What it finds where, it learns from the segment's postings.

use std::ops::Range;

use heliograph_model::token::is_word_char;

use super::identifiers::SHORT_BYTES_MAX;

/// Stands for a variable in a template. No word character; a text that has it is kept whole.
pub(super) const MARK: char = '\u{11}';
/// A text of so many bytes, or more, is not split but kept whole.
pub(super) const SPLIT_BYTES_MAX: usize = 16 << 10;
/// Shortest run of hexadecimal letters that is taken for a part of an id: the groups of a uuid have four and more.
const HEX_BYTES_MIN: usize = 4;
/// Longest token of plain letters that is a word.
pub(super) const WORD_BYTES_MAX: usize = 40;

/// Whether a token is a variable wherever it stands: it has a digit, or it is long, or hexadecimal. Part of the
/// format.
pub(super) fn is_variable(token: &str) -> bool {
    let bytes = token.as_bytes();
    bytes.iter().any(u8::is_ascii_digit)
        || (bytes.len() > WORD_BYTES_MAX && token.is_ascii())
        || (bytes.len() >= HEX_BYTES_MIN && bytes.iter().all(u8::is_ascii_hexdigit))
}

/// Whether a token of letters is a variable by what is around it: within quotes, in a path, in a name with dots,
/// dashes or underscores, behind an `=`; but not a key. Part of the format.
fn is_variable_by_place(text: &[u8], start: usize, end: usize) -> bool {
    let at = |place: Option<usize>| place.and_then(|place| text.get(place)).copied().unwrap_or(b' ');
    let (next, after_next) = (at(Some(end)), at(end.checked_add(1)));
    if next == b'=' || (next == b'"' && after_next == b':') {
        return false;
    }
    let (previous, before_previous) = (at(start.checked_sub(1)), at(start.checked_sub(2)));
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
    let joins = |byte: u8| matches!(byte, b'.' | b'/' | b'@' | b'-');
    matches!(previous, b'=' | b'\'' | b'"' | b'`' | b'/' | b'@' | b'<')
        || text.get(start..end).is_some_and(|token| token.contains(&b'_'))
        || (joins(next) && is_word(after_next))
        || (joins(previous) && is_word(before_previous))
}

/// What kind of token a variable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A word of the vocabulary, with a letter in it.
    Word,
    /// A number of the vocabulary.
    Number,
    /// An identifier.
    Identifier,
    /// Not ASCII: the folded token tells.
    Other,
}

/// A variable's place in its text, and its class; small, as there are many of them while a segment is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    start: u16,
    /// Its length times four, and the class.
    rest: u16,
}

impl Variable {
    /// The place must lie within [`SPLIT_BYTES_MAX`].
    fn new(start: usize, end: usize, class: Class) -> Self {
        // Places and lengths below 2^14 fit.
        let small = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        Self { start: small(start), rest: small((end - start) << 2) | class as u16 }
    }

    pub(super) fn range(self) -> Range<usize> {
        let start = usize::from(self.start);
        start..start + usize::from(self.rest >> 2)
    }

    pub(super) fn class(self) -> Class {
        match self.rest & 3 {
            0 => Class::Word,
            1 => Class::Number,
            2 => Class::Identifier,
            _ => Class::Other,
        }
    }
}

/// What one bit a byte says of 64 bytes of a text.
#[derive(Clone, Copy, Default)]
struct Masks {
    /// Letters, digits and `_`.
    words: u64,
    digits: u64,
    /// Word characters that are no hexadecimal digits.
    plain: u64,
}

/// Finds variables; keeps its memory from text to text.
#[derive(Default)]
pub(super) struct Splitter {
    masks: Vec<Masks>,
}

impl Splitter {
    /// Calls `each` with every variable, in order; `false` if the text must be kept whole.
    pub(super) fn split(&mut self, text: &str, mut each: impl FnMut(Variable)) -> bool {
        let bytes = text.as_bytes();
        if bytes.len() >= SPLIT_BYTES_MAX {
            return false;
        }
        self.masks.clear();
        let mut is_plain = true;
        for chunk in bytes.chunks(64) {
            let (masks, is_ascii) = classify(chunk);
            self.masks.push(masks);
            is_plain &= is_ascii;
        }
        if !is_plain {
            return split_chars(text, each);
        }
        let mut from = 0;
        while let Some(start) = self.next(from, |m| m.words) {
            let end = self.next(start, |m| !m.words).unwrap_or(bytes.len()).min(bytes.len());
            let (is_variable, class) = self.kind(start, end);
            if is_variable || is_variable_by_place(bytes, start, end) {
                each(Variable::new(start, end, class));
            }
            from = end;
        }
        true
    }

    /// The first place from `from` on whose bit is set.
    fn next(&self, from: usize, bits: impl Fn(&Masks) -> u64) -> Option<usize> {
        let mut at = from / 64;
        let mut word = bits(self.masks.get(at)?) & (u64::MAX << (from % 64));
        while word == 0 {
            at += 1;
            word = bits(self.masks.get(at)?);
        }
        Some(at * 64 + word.trailing_zeros() as usize)
    }

    /// [`is_variable`] of an ASCII token, and its class.
    fn kind(&self, start: usize, end: usize) -> (bool, Class) {
        let has = |bits: fn(&Masks) -> u64| self.next(start, bits).is_some_and(|at| at < end);
        let length = end - start;
        let has_digits = has(|m| m.digits);
        let is_variable =
            has_digits || length > WORD_BYTES_MAX || (length >= HEX_BYTES_MIN && !has(|m| m.plain));
        let class = if is_variable && length > SHORT_BYTES_MAX {
            Class::Identifier
        } else if has_digits && !has(|m| m.words & !m.digits) {
            Class::Number
        } else {
            Class::Word
        };
        (is_variable, class)
    }
}

/// The masks of up to 64 bytes, and whether all are ASCII and none is the mark. Written so that the compiler
/// compares many bytes at once.
fn classify(chunk: &[u8]) -> (Masks, bool) {
    let mut bytes = [0_u8; 64];
    if let Some(head) = bytes.get_mut(..chunk.len()) {
        head.copy_from_slice(chunk);
    }
    let (mut words, mut digits, mut plain, mut odd) = ([0_u8; 64], [0_u8; 64], [0_u8; 64], 0_u8);
    for (((byte, word), digit), plain) in bytes.iter().zip(&mut words).zip(&mut digits).zip(&mut plain) {
        let letter = (byte | 0x20).wrapping_sub(b'a');
        *digit = u8::from(byte.wrapping_sub(b'0') < 10);
        *plain = u8::from((6..26).contains(&letter)) | u8::from(*byte == b'_');
        *word = *digit | *plain | u8::from(letter < 6);
        odd |= (byte >> 7) | u8::from(*byte == 0x11);
    }
    (Masks { words: bits(&words), digits: bits(&digits), plain: bits(&plain) }, odd == 0)
}

/// Bytes of 0 and 1 as bits, the first lowest.
fn bits(bytes: &[u8; 64]) -> u64 {
    let (eights, _) = bytes.as_chunks::<8>();
    eights.iter().rev().fold(0, |bits, eight| {
        // The product gathers the lowest bit of each byte in its uppermost byte.
        (bits << 8) | (u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56)
    })
}

fn split_chars(text: &str, mut each: impl FnMut(Variable)) -> bool {
    let mut start = None;
    let mut end_at = |start: &mut Option<usize>, end: usize| {
        if let Some(start) = start.take()
            && (text.get(start..end).is_some_and(is_variable)
                || is_variable_by_place(text.as_bytes(), start, end))
        {
            each(Variable::new(start, end, Class::Other));
        }
    };
    for (at, c) in text.char_indices() {
        if c == MARK {
            return false;
        }
        if is_word_char(c) {
            start = start.or(Some(at));
        } else {
            end_at(&mut start, at);
        }
    }
    end_at(&mut start, text.len());
    true
}

#[cfg(test)]
mod tests {
    use heliograph_model::token;
    use proptest::prelude::*;

    use super::*;

    fn variables(text: &str) -> Option<Vec<String>> {
        let mut out = Vec::new();
        let is_split =
            Splitter::default().split(text, |v| out.extend(text.get(v.range()).map(str::to_owned)));
        is_split.then_some(out)
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(variables(text).unwrap(), expected);
    }

    #[test]
    fn numbers_and_ids_are_variables_and_words_are_not() {
        check("took 12 ms on 10.0.0.7", &["12", "10", "0", "0", "7"]);
        check("Task task_1 FAILED at 2026-11-23T10:00", &["task_1", "2026", "11", "23T10", "00"]);
        check("550e8400-beef-41d4-a716-446655440000", &["550e8400", "beef", "41d4", "a716", "446655440000"]);
        check("Größe99 größe K9", &["Größe99", "K9"]);
        check(&"x".repeat(41), &[&"x".repeat(41)]);
        check(&"日".repeat(41), &[]);
        check("", &[]);
        assert_eq!(variables("a\u{11}1"), None);
        let longest = "7".repeat(SPLIT_BYTES_MAX - 1);
        check(&longest, &[&longest]);
        assert_eq!(variables(&"7".repeat(SPLIT_BYTES_MAX)), None);
    }

    #[test]
    fn names_paths_and_quoted_words_are_variables_and_keys_are_not() {
        check("user ada.lovelace of team core", &["ada", "lovelace"]);
        check("GET /dags/etl HTTP", &["dags", "etl"]);
        check("dag_id='sales' state=failed, next", &["sales", "failed"]);
        check("a state_name and 'quoted words'", &["state_name", "quoted"]);
        check(r#"{"file":"dag.py","ok":true}"#, &["dag", "py"]);
        check("größe-x: ä/ö", &["größe", "x", "ä", "ö"]);
    }

    #[test]
    fn a_class_says_where_a_variable_is_indexed() {
        let mut classes = Vec::new();
        Splitter::default().split("s3/200/2000/beef/x.y/bee-0_1", |v| classes.push(v.class()));
        use Class::{Identifier, Number, Word};
        assert_eq!(classes, [Word, Number, Identifier, Identifier, Word, Word, Word, Word]);
        Splitter::default().split("ä-7", |v| assert_eq!(v.class(), Class::Other));
    }

    proptest! {
        #[test]
        fn the_fast_way_finds_what_the_rule_says(
            text in "[a-gG_09 .:='\"/-]{0,200}|\\PC{0,80}|[a-f0-9]{30,50}( [a-z]{60,80}){2}",
        ) {
            let (mut expected, mut from) = (Vec::new(), 0);
            while let Some(start) = text.get(from..).and_then(|rest| rest.find(is_word_char)) {
                let start = from + start;
                let token: String = text.get(start..).unwrap().chars().take_while(|c| is_word_char(*c)).collect();
                from = start + token.len();
                if is_variable(&token) || is_variable_by_place(text.as_bytes(), start, from) {
                    expected.push(token);
                }
            }
            prop_assert_eq!(variables(&text).unwrap(), expected);
        }

        #[test]
        fn what_is_no_variable_keeps_its_kind_when_folded(token in "[a-zA-ZäÖKİſ0-9]{1,50}") {
            let folded = token::fold(&token);
            prop_assert!(!is_variable(&token) || is_variable(&folded) || !token.is_ascii());
        }
    }
}
