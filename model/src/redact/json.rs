//! The string values of a JSON object, changed where they lie: all other bytes stay.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use crate::airflow::without_lone_surrogates;

/// How a printable character of ASCII can be written otherwise, beside `\"` and `\\`, which no anchor holds.
pub(super) const ESCAPES: [&str; 7] = ["\\/", "\\u002", "\\u003", "\\u004", "\\u005", "\\u006", "\\u007"];

/// Gives each string value to `change`, with the key that it or the list around it has. The object with the new ones;
/// nothing where none is new. `object` is known to be JSON, or empty.
pub(super) fn rewrite(object: &str, mut change: impl FnMut(&str, &str) -> Option<String>) -> Option<String> {
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    let mut key = Cow::Borrowed("");
    while let Some((begin, end)) = next_string(object, at) {
        at = end;
        let text = unescape(object.get(begin..end)?);
        if object.get(end..)?.trim_start().starts_with(':') {
            key = text;
        } else if let Some(new) = change(&key, &text) {
            out.push_str(object.get(copied..begin)?);
            out.push_str(&serde_json::Value::from(new).to_string());
            copied = end;
        }
    }
    if copied == 0 {
        return None;
    }
    out.push_str(object.get(copied..)?);
    Some(out)
}

/// Where the next string begins and ends, with its quotes.
fn next_string(object: &str, at: usize) -> Option<(usize, usize)> {
    let bytes = object.as_bytes();
    let begin = at + memchr(b'"', bytes.get(at..)?)?;
    let mut end = begin + 1;
    loop {
        end += memchr2(b'"', b'\\', bytes.get(end..)?)?;
        match bytes.get(end)? {
            b'"' => return Some((begin, end + 1)),
            _ => end += 2,
        }
    }
}

fn unescape(literal: &str) -> Cow<'_, str> {
    let inner = literal.get(1..literal.len() - 1).unwrap_or_default();
    if memchr(b'\\', inner.as_bytes()).is_none() {
        return Cow::Borrowed(inner);
    }
    let read = |literal: &str| serde_json::from_str::<String>(literal).ok();
    let text = read(literal).or_else(|| read(&without_lone_surrogates(literal)?));
    text.map_or(Cow::Borrowed(inner), Cow::Owned)
}
