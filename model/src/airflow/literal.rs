//! Python literals, as `repr` writes them into console lines, read as JSON values.

use serde_json::{Map, Number, Value};

/// How deep literals may nest; a deeper one stays text.
const DEPTH_MAX: usize = 20;

/// Reads one literal that is the whole text: a list, tuple, dict, string, number, `None`, `True` or `False`.
pub(super) fn read(text: &str) -> Option<Value> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    (reader.at == text.len()).then_some(value)
}

/// Reads a quoted string at the start of `text`; gives its value and the length of the literal.
pub(super) fn quoted(text: &str) -> Option<(String, usize)> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.string()?;
    Some((value, reader.at))
}

/// The length of the quoted string at the start of `text`, without reading it.
pub(super) fn quoted_len(text: &[u8]) -> Option<usize> {
    let quote = *text.first().filter(|b| matches!(b, b'\'' | b'"'))?;
    let mut at = 1;
    loop {
        match *text.get(at)? {
            b if b == quote => return Some(at + 1),
            b'\\' => at += 2,
            b'\n' => return None,
            _ => at += 1,
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn spaces(&mut self) {
        while self.take(b' ') {}
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH_MAX {
            return None;
        }
        match self.peek()? {
            b'[' => self.list(b']', depth),
            b'(' => self.list(b')', depth),
            b'{' => self.dict(depth),
            b'\'' | b'"' => self.string().map(Value::String),
            _ => self.word(),
        }
    }

    fn list(&mut self, close: u8, depth: usize) -> Option<Value> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.spaces();
            if self.take(close) {
                return Some(Value::Array(items));
            }
            items.push(self.value(depth + 1)?);
            self.spaces();
            if !self.take(b',') && self.peek() != Some(close) {
                return None;
            }
        }
    }

    fn dict(&mut self, depth: usize) -> Option<Value> {
        self.at += 1;
        let mut map = Map::new();
        loop {
            self.spaces();
            if self.take(b'}') {
                return Some(Value::Object(map));
            }
            let key = self.string()?;
            self.spaces();
            if !self.take(b':') {
                return None;
            }
            self.spaces();
            let value = self.value(depth + 1)?;
            map.insert(key, value);
            self.spaces();
            if !self.take(b',') && self.peek() != Some(b'}') {
                return None;
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let rest = self.text.get(self.at..)?;
        let len = quoted_len(rest.as_bytes())?;
        let inner = rest.get(1..len - 1)?;
        self.at += len;
        if inner.contains('\\') { unescape(inner) } else { Some(inner.to_owned()) }
    }

    fn word(&mut self) -> Option<Value> {
        let rest = self.text.get(self.at..)?;
        let end = rest.find([',', ']', ')', '}', ' ', ':']).unwrap_or(rest.len());
        let word = rest.get(..end)?;
        self.at += end;
        scalar(word)
    }
}

/// The value of a bare word: a constant or a number, whose text would be the same again.
pub(super) fn scalar(word: &str) -> Option<Value> {
    match word {
        "None" => return Some(Value::Null),
        "True" => return Some(Value::Bool(true)),
        "False" => return Some(Value::Bool(false)),
        _ => {}
    }
    if !word.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        return None;
    }
    if let Ok(n) = word.parse::<i64>() {
        return (n.to_string() == word).then(|| n.into());
    }
    let number = Number::from_f64(word.parse().ok()?)?;
    (number.to_string() == word).then_some(Value::Number(number))
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut chars = escape.chars();
        let hex = |digits: usize| {
            let code = u32::from_str_radix(escape.get(1..=digits)?, 16).ok()?;
            Some((char::from_u32(code)?, digits + 1))
        };
        let first = chars.next()?;
        let (c, len) = match first {
            'n' => ('\n', 1),
            'r' => ('\r', 1),
            't' => ('\t', 1),
            '\\' | '\'' | '"' => (first, 1),
            'x' => hex(2)?,
            'u' => hex(4)?,
            'U' => hex(8)?,
            _ => return None,
        };
        out.push(c);
        rest = escape.get(len..)?;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn literals() {
        let check = |text: &str, expected: Value| assert_eq!(read(text), Some(expected), "{text}");
        check("['EnvironmentVariablesBackend', \"it's\"]", json!(["EnvironmentVariablesBackend", "it's"]));
        check("{'a': None, 'b': (1, -2.5), 'c': {}}", json!({"a": null, "b": [1, -2.5], "c": {}}));
        check(r"'line\n\x41\u65e5\'q'", json!("line\nA日'q"));
        for not in ["DateTime(2026, 11)", "[1", "{'a' 1}", "007", "1e5x", "['a' 'b']", "", "[1]]"] {
            assert_eq!(read(not), None, "{not}");
        }
    }

    #[test]
    fn deep_ones_stay_text() {
        assert_eq!(read(&"[".repeat(100_000)), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in r#"[\[\](){}'"\\a0,: äx]{0,40}"#) {
            let _ = (read(&text), quoted(&text));
        }
    }
}
