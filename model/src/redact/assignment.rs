//! Values that a name gives away: `password=…`, `"token": "…"`, as shells, Python, JSON and URLs write them.
//!
//! Logs are full of these names without a secret behind them: prose (`password: must be given`), code in tracebacks
//! (`password=conn.password`), stand-ins (`***`, `None`, `${VAR}`). So a value must look like one.

use std::ops::Range;

use super::rules::Text;

/// Longest value in quotes; a longer one is taken as if it had none.
const QUOTED_BYTES_MAX: usize = 200;
/// Bytes of a value without quotes by which it is judged: names can stand behind names without an end.
const JUDGED_BYTES_MAX: usize = 128;
/// Shortest random value.
const RANDOM_BYTES_MIN: usize = 16;
/// Most spaces around the sign between name and value.
const SPACES_MAX: usize = 8;

/// What the value must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Something that a person may have made up.
    Password,
    /// Something that a machine made up.
    Random {
        /// The name may go on with `_key` or `_access_key`.
        may_be_key: bool,
    },
}

/// A value behind a name.
struct Value<'a> {
    bytes: Range<usize>,
    text: &'a str,
    /// In quotes, or a whole attribute.
    is_quoted: bool,
    /// `=` without spaces.
    is_tight: bool,
    next: Option<u8>,
}

/// The secret behind the name that ends in an anchor.
pub(super) fn find(text: Text<'_>, anchor: Range<usize>, wanted: Wanted) -> Option<Range<usize>> {
    let may_be_key = wanted == Wanted::Random { may_be_key: true };
    let name_end = anchor.end + if may_be_key { key_suffix(text.text.get(anchor.end..)?) } else { 0 };
    if wanted != Wanted::Password && is_of_pages(text.text.get(..anchor.start)?) {
        return None;
    }
    let value = if name_end + 1 == text.value_at {
        let bytes = text.value_at..text.text.len();
        let value = text.text.get(bytes.clone())?;
        Value { bytes, text: value, is_quoted: true, is_tight: true, next: None }
    } else {
        value(text.text, name_end)?
    };
    // What was taken out behind it by another rule was part of the value, which was none then.
    let is_rest = !value.is_quoted && text.text.get(value.bytes.end..)?.starts_with(super::MARK);
    let is_secret = !is_rest
        && !is_stand_in(value.text)
        && match wanted {
            Wanted::Password => is_password(&value),
            Wanted::Random { .. } => is_random(value.text),
        };
    is_secret.then(|| {
        let Range { start, end } = value.bytes;
        start..if value.is_quoted { end } else { end_of(text.text, end) }
    })
}

/// How long `_key`, `-access-key` or the like at the begin of a text is.
fn key_suffix(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    for (word, is_needed) in [(&b"access"[..], false), (&b"key"[..], true)] {
        let from = at + usize::from(matches!(bytes.get(at), Some(b'_' | b'-')));
        if bytes.get(from..from + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word)) {
            at = from + word.len();
        } else if is_needed {
            return 0;
        }
    }
    at
}

/// Whether a name begins as those of tokens that only say where a list goes on.
fn is_of_pages(before: &str) -> bool {
    let name = before.as_bytes();
    let name = name.strip_suffix(b"_").or(name.strip_suffix(b"-")).unwrap_or(name);
    [&b"page"[..], b"next", b"continuation", b"continue", b"sync", b"resume", b"idempotency"].iter().any(
        |word| {
            name.len()
                .checked_sub(word.len())
                .and_then(|at| name.get(at..))
                .is_some_and(|end| end.eq_ignore_ascii_case(word))
        },
    )
}

/// The value behind a name that ends at `at`.
fn value(text: &str, at: usize) -> Option<Value<'_>> {
    let bytes = text.as_bytes();
    let skip = |at: usize, most: usize, is: fn(u8) -> bool| {
        at + bytes.iter().skip(at).take(most).take_while(|b| is(**b)).count()
    };
    let is_quote = |at: usize| matches!(bytes.get(at), Some(b'"' | b'\''));
    let backslash = |b: u8| b == b'\\';
    let space = |b: u8| matches!(b, b' ' | b'\t');
    let mut sign = skip(at, 4, backslash);
    sign += usize::from(is_quote(sign));
    let spaced = skip(sign, SPACES_MAX, space);
    let is_equals = match bytes.get(spaced)? {
        b'=' if bytes.get(spaced + 1) == Some(&b'=') => return None,
        b'=' => true,
        b':' => false,
        _ => return None,
    };
    let arrow = spaced + 1 + usize::from(bytes.get(spaced + 1) == Some(&b'>'));
    let mut start = skip(arrow, SPACES_MAX, space);
    let is_tight = is_equals && spaced == sign && start == spaced + 1;
    // Python's b'…' and the like.
    let is_prefixed = matches!(bytes.get(start), Some(b'b' | b'u' | b'r')) && is_quote(start + 1);
    start += usize::from(is_prefixed);
    let quote = skip(start, 4, backslash);
    if is_quote(quote) {
        let escapes = bytes.get(start..quote)?;
        let inner = quote + 1;
        if let Some(length) = quoted(bytes.get(inner..)?, *bytes.get(quote)?, !escapes.is_empty()) {
            let (bytes, next) = (inner..inner + length, None);
            return Some(Value { text: text.get(bytes.clone())?, bytes, is_quoted: true, is_tight, next });
        }
        start = inner;
    }
    let end = end_of(text.get(..text.floor_char_boundary(start + JUDGED_BYTES_MAX))?, start);
    let next = bytes.get(end).copied();
    // What ends a sentence is no part of a word.
    let judged = text.get(start..end)?.trim_end_matches(['.', ':', '!', '?']);
    Some(Value { text: judged, bytes: start..end, is_quoted: false, is_tight, next })
}

/// Where the value without quotes ends that `at` lies in.
fn end_of(text: &str, at: usize) -> usize {
    let is_end = |c: char| c.is_whitespace() || "\"'`<>,;&(){}[]|\\".contains(c);
    text.get(at..).and_then(|rest| rest.find(is_end)).map_or(text.len(), |length| at + length)
}

/// How long the value before the closing quote is; nothing where there is none near.
fn quoted(rest: &[u8], quote: u8, is_escaped: bool) -> Option<usize> {
    let mut at = 0;
    while at <= QUOTED_BYTES_MAX {
        match rest.get(at)? {
            b'\n' => return None,
            b'\\' if is_escaped => return (rest.get(at + 1) == Some(&quote)).then_some(at),
            b'\\' => at += 2,
            b if *b == quote => return (!is_escaped).then_some(at),
            _ => at += 1,
        }
    }
    None
}

/// What is written where no secret is: nothing, a mask, a place for a variable, a path, another URL.
fn is_stand_in(value: &str) -> bool {
    const WORDS: [&str; 22] = [
        "none",
        "null",
        "nil",
        "true",
        "false",
        "undefined",
        "redacted",
        "hidden",
        "masked",
        "required",
        "optional",
        "missing",
        "invalid",
        "incorrect",
        "wrong",
        "expired",
        "empty",
        "string",
        "changed",
        "disabled",
        "enabled",
        "unset",
    ];
    let is_mask = |c: char| matches!(c, '*' | 'x' | 'X' | '.' | '-' | '_' | '#' | '•' | '…' | '?');
    let is_variable = |text: &str| {
        text.starts_with(['{', '(']) || text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    };
    value.chars().all(is_mask)
        || WORDS.iter().any(|word| value.eq_ignore_ascii_case(word))
        || value.starts_with(['<', '{', '%', '[', '/', '~'])
        || value.starts_with("***")
        || value.starts_with("./")
        || value.strip_prefix('$').is_some_and(is_variable)
        || value.contains("://")
}

fn is_password(value: &Value<'_>) -> bool {
    let text = value.text;
    if value.is_quoted {
        // A sentence is about a password.
        return text.len() >= 3 && !(text.contains(' ') && text.ends_with(['.', ':', '!', '?']));
    }
    let is_plain = text.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'.' | b'-'));
    if is_code(value, is_plain) {
        return false;
    }
    if value.is_tight {
        return text.len() >= 4;
    }
    let has_letter = text.chars().any(char::is_alphabetic);
    text.len() >= 6 && has_letter && !is_plain
}

/// Whether a value is an expression of a program: a call, a subscript, an attribute, or the name of a secret.
fn is_code(value: &Value<'_>, is_plain: bool) -> bool {
    let lower = value.text.to_ascii_lowercase();
    matches!(value.next, Some(b'(' | b'['))
        || is_path_of_names(value.text)
        || is_plain
            && ["pass", "pw", "secret", "token", "key", "cred"].iter().any(|word| lower.contains(word))
}

/// As in `conn.password` or `settings.API_KEY_V2`.
fn is_path_of_names(text: &str) -> bool {
    let is_name = |name: &str| {
        name.len() < 24
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    text.contains('.') && text.split('.').all(is_name)
}

/// Whether a text looks as if a machine had made it up: letters and digits in turns.
fn is_random(text: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"_-.~+/=%:".contains(&b);
    if text.len() < RANDOM_BYTES_MIN || !text.bytes().all(is_letter) || is_path_of_names(text) {
        return false;
    }
    let (digit, letter) = (|b: u8| b.is_ascii_digit(), |b: u8| b.is_ascii_alphabetic());
    text.bytes().any(digit) && text.bytes().any(letter) && 4 * changes(text) >= text.len()
}

/// Whether a text is more than a word.
pub(super) fn is_mixed(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit()) || changes(text) >= 2
}

/// How often a letter of one kind (small, large, digit) follows one of another.
fn changes(text: &str) -> usize {
    let kind = |b: u8| match b {
        b'a'..=b'z' => Some(0),
        b'A'..=b'Z' => Some(1),
        b'0'..=b'9' => Some(2),
        _ => None,
    };
    let kinds: Vec<u8> = text.bytes().filter_map(kind).collect();
    kinds.windows(2).filter(|pair| pair.first() != pair.last()).count()
}
