//! Airflow 3's console text: `TIME [level    ] event   [logger] key=value key=value`.
//!
//! The event is free text, so it may itself look like a logger with keys. A tail is believed only where it
//! reaches to the end of its line, its keys rise (structlog sorts them) and its values are well formed;
//! otherwise the text stays in the message and nothing is made of it.

use serde_json::Value;

use super::fields::Fields;
use super::{ParsedLine, exception, literal, stamp, trace_start};
use crate::level::Level;
use crate::time::Timestamp;

/// How deep brackets of one value may nest.
const DEPTH_MAX: usize = 32;

/// What stands before the event.
pub(super) struct Head<'a> {
    pub(super) time: Timestamp,
    pub(super) level: Level,
    /// All text behind it.
    pub(super) rest: &'a str,
}

/// Reads `TIME [level    ] ` at the start of a record.
pub(super) fn head(text: &str) -> Option<Head<'_>> {
    if !text.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let (time, len) = stamp::read(text.as_bytes())?;
    let (level, rest) = text.get(len..)?.strip_prefix(" [")?.split_once(']')?;
    let level = Level::parse(level.trim_end())?;
    Some(Head { time, level, rest: rest.strip_prefix(' ').unwrap_or(rest) })
}

/// Reads a record whose head was read.
pub(super) fn parse(head: &Head<'_>) -> ParsedLine {
    let mut line = ParsedLine { time: Some(head.time), level: Some(head.level), ..ParsedLine::default() };
    // The tail ends the event, and so stands before a traceback; an event may also hold one itself.
    let body_end = trace_start(head.rest).unwrap_or(head.rest.len());
    let (body, trace) = head.rest.split_at_checked(body_end).unwrap_or((head.rest, ""));
    let found = tail(body).map(|t| (body, t, trace)).or_else(|| Some((head.rest, tail(head.rest)?, "")));
    let Some((body, tail, trace)) = found else {
        line.message = Some(head.rest.trim_end().to_owned());
        return line;
    };
    let mut message = body.get(..tail.start).unwrap_or_default().trim_end().to_owned();
    let mut fields = Fields::default();
    fields.take("logger", tail.logger.into());
    for (key, text) in (Pairs { rest: tail.pairs }) {
        let value = value(text);
        if matches!(key, "error_detail" | "exception")
            && let Some(text) = exception::render(&value)
        {
            message.push('\n');
            message.push_str(&text);
        }
        fields.console_pair(key, value);
    }
    message.push_str(trace);
    line.message = Some(message);
    (line.identity, line.attributes) = fields.finish();
    line
}

/// Where the record's last line has its ` [logger] key=value …`.
pub(super) struct Tail<'a> {
    /// Where it begins.
    start: usize,
    logger: &'a str,
    /// The text of the keys and values.
    pairs: &'a str,
}

/// Finds the tail at the end of the last line of `text`.
pub(super) fn tail(text: &str) -> Option<Tail<'_>> {
    let text = text.trim_end_matches('\n');
    let line_start = memchr::memrchr(b'\n', text.as_bytes()).map_or(0, |i| i + 1);
    // Each try reads at most to the end: the budget keeps many openings from making that quadratic.
    let mut budget = 4 * (text.len() - line_start) + 64;
    for at in memchr::memchr_iter(b'[', text.as_bytes().get(line_start..)?).map(|i| i + line_start) {
        let before = at.checked_sub(1).and_then(|i| text.as_bytes().get(i));
        if !matches!(before, None | Some(b' ' | b'\n')) {
            continue;
        }
        let rest = text.get(at + 1..)?;
        let name = rest.bytes().take_while(|b| is_name(*b)).count();
        let Some(pairs) = rest.get(name..).and_then(|r| r.strip_prefix(']')) else { continue };
        if name > 0 && pairs_end_text(pairs.as_bytes(), &mut budget) {
            return Some(Tail { start: at, logger: rest.get(..name)?, pairs });
        }
        if budget == 0 {
            return None;
        }
    }
    None
}

fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(b, b'_' | b'.' | b'-' | b':' | b'/' | b'<' | b'>' | b'$')
        || b >= 0x80
}

fn is_key(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'@')
}

/// Whether `text` is ` key=value` again and again, with rising keys, up to its end.
fn pairs_end_text(text: &[u8], budget: &mut usize) -> bool {
    let mut rest = text.trim_ascii_end();
    let mut last: &[u8] = b"";
    while !rest.is_empty() {
        match pair(rest) {
            Ok((key, _, after)) if key > last && *budget > 0 => {
                last = key;
                *budget = budget.saturating_sub(rest.len() - after.len());
                rest = after;
            }
            Ok(_) => return false,
            Err(read) => {
                *budget = budget.saturating_sub(read);
                return false;
            }
        }
    }
    true
}

/// A key, its value and what follows.
type Pair<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Splits ` key=value` off the start of `text`, or says how many bytes were read in vain.
fn pair(text: &[u8]) -> Result<Pair<'_>, usize> {
    let text = text.strip_prefix(b" ").ok_or(1_usize)?;
    let key_len = text.iter().take_while(|b| is_key(**b)).count();
    let (key, rest) = text.split_at_checked(key_len).unwrap_or((text, b""));
    let rest = rest.strip_prefix(b"=").filter(|_| key_len > 0).ok_or(key_len + 1)?;
    let mut read = 0;
    let len = value_len(rest, &mut read).ok_or(key_len + 1 + read)?;
    let (value, after) = rest.split_at_checked(len).unwrap_or((rest, b""));
    Ok((key, value, after))
}

/// The length of the value at the start of `text`: a quoted string, or anything up to a space outside
/// brackets, where the brackets match. Says in `read` how far it looked.
fn value_len(text: &[u8], read: &mut usize) -> Option<usize> {
    *read = text.len();
    let quote_at = usize::from(matches!(text, [b'b', b'\'' | b'"', ..]));
    if matches!(text.get(quote_at), Some(b'\'' | b'"')) {
        let len = quote_at + literal::quoted_len(text.get(quote_at..)?)?;
        *read = len;
        return matches!(text.get(len), None | Some(b' ')).then_some(len);
    }
    let mut open = Vec::new();
    let mut at = 0;
    while let Some(&b) = text.get(at) {
        match b {
            b' ' if open.is_empty() => break,
            b'\n' => return None,
            b'(' | b'[' | b'{' | b'<' => {
                if open.len() == DEPTH_MAX {
                    return None;
                }
                open.push(b);
            }
            b')' | b']' | b'}' | b'>' => {
                let matching = match b {
                    b')' => b'(',
                    b']' => b'[',
                    b'}' => b'{',
                    _ => b'<',
                };
                if open.pop() != Some(matching) {
                    *read = at;
                    return None;
                }
            }
            b'\'' | b'"' => {
                if open.is_empty() {
                    *read = at;
                    return None;
                }
                at += literal::quoted_len(text.get(at..)?)? - 1;
            }
            _ => {}
        }
        at += 1;
    }
    open.is_empty().then_some(at)
}

/// The pairs of a tail that was checked.
struct Pairs<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, value, _) = pair(self.rest.as_bytes()).ok()?;
        let start = 1 + key.len() + 1;
        let found = (self.rest.get(1..=key.len())?, self.rest.get(start..start + value.len())?);
        self.rest = self.rest.get(start + value.len()..)?;
        Some(found)
    }
}

/// What `repr` wrote, as JSON where it is a literal, else the text.
fn value(text: &str) -> Value {
    let read = match text.as_bytes().first() {
        Some(b'\'' | b'"') => literal::quoted(text).map(|(s, _)| Value::String(s)),
        Some(b'[' | b'(' | b'{') => literal::read(text),
        _ => literal::scalar(text),
    };
    read.unwrap_or_else(|| text.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, &str)>) {
        let tail = tail(text);
        assert_eq!(tail.map(|t| (t.logger, t.pairs)), expected, "{text}");
    }

    #[test]
    fn a_tail_is_believed_only_where_it_is_certain() {
        check("started [uvicorn.error] loc=server.py:103", Some(("uvicorn.error", " loc=server.py:103")));
        check("x [task.stdout]", Some(("task.stdout", "")));
        check("a [b] c=d e [real] loc=x.py:1", Some(("real", " loc=x.py:1")));
        check("x [a] query='m=1&t=[x] b=c' z=1", Some(("a", " query='m=1&t=[x] b=c' z=1")));
        check("x [a] query= status=200", Some(("a", " query= status=200")));
        check("[<T: a.b m [scheduled] ti_id=01a>] for x [y.z] loc=f:1", Some(("y.z", " loc=f:1")));
        check("x [a] b=T(t='a) b', u=<X [y]>) c=1", Some(("a", " b=T(t='a) b', u=<X [y]>) c=1")));
        for doubtful in
            ["done [ok] all", "x [a] z=1 a=2", "x [a] b=(1", "x [a] b=1)", "x[a] b=1", "x [a] b='1", "x []"]
        {
            check(doubtful, None);
        }
    }

    #[test]
    fn many_openings_do_not_make_it_slow() {
        let text = " [a] k=(".repeat(200_000);
        assert!(tail(&text).is_none());
    }

    proptest! {
        #[test]
        fn never_panics(text in r#"[\[\](){}'"=\\a0 :äx\n<>]{0,60}"#) {
            if let Some(tail) = tail(&text) {
                let pairs: Vec<_> = Pairs { rest: tail.pairs }.collect();
                let len: usize = pairs.iter().map(|(k, v)| k.len() + v.len() + 2).sum();
                prop_assert_eq!(len, tail.pairs.trim_end_matches(' ').len());
            }
        }
    }
}
