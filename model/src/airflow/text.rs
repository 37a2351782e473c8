//! Plain text lines: Airflow 2, gunicorn, access logs, and what other programs write.

use serde_json::Value;

use super::fields::Fields;
use super::{ParsedLine, stamp};
use crate::level::Level;
use crate::time::Timestamp;

/// How far an access line's time may stand from its start: an address, two names.
const ACCESS_TIME_BYTES_MAX: usize = 512;
/// How far a Python warning's class may stand from its start: a path.
const WARNING_BYTES_MAX: usize = 1024;

/// What stands before a plain record's message.
#[derive(Debug, PartialEq)]
pub(super) struct Head<'a> {
    pub(super) time: Timestamp,
    pub(super) level: Option<Level>,
    /// File and line of Airflow 2.
    location: Option<(&'a str, &'a str)>,
    /// Process of gunicorn.
    process: Option<&'a str>,
    /// All text behind it.
    pub(super) rest: &'a str,
}

/// Reads `[TIME] {file.py:435} LEVEL - `, `[TIME] [3544] [LEVEL] `, `TIME LEVEL - ` at the start of a record.
pub(super) fn head(text: &str) -> Option<Head<'_>> {
    let Some(text) = text.strip_prefix('[') else { return bare_head(text) };
    let (time, len) = stamp::read(text.as_bytes())?;
    let rest = text.get(len..)?.strip_prefix("] ")?;
    if let Some(rest) = rest.strip_prefix('{') {
        let (location, rest) = rest.split_once("} ")?;
        let location =
            location.rsplit_once(':').filter(|(_, line)| line.bytes().all(|b| b.is_ascii_digit()))?;
        let (level, rest) = named_level(rest)?;
        return Some(Head { time, level, location: Some(location), process: None, rest });
    }
    if let Some(rest) = rest.strip_prefix('[') {
        let (process, rest) = rest.split_once("] [")?;
        let (level, rest) = rest.split_once(']')?;
        if process.is_empty() || !process.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        return Some(Head {
            time,
            level: Some(Level::parse(level)?),
            location: None,
            process: Some(process),
            rest,
        });
    }
    let (level, rest) = named_level(rest)?;
    Some(Head { time, level, location: None, process: None, rest })
}

/// Reads `TIME LEVEL - `, Airflow 2's simple format.
fn bare_head(text: &str) -> Option<Head<'_>> {
    if !text.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let (time, len) = stamp::read(text.as_bytes())?;
    let (level, rest) = named_level(text.get(len..)?.strip_prefix(' ')?)?;
    Some(Head { time, level, location: None, process: None, rest })
}

/// Reads `LEVEL - `, where the level may be one we do not know, as in `Level None - end_of_log`.
fn named_level(text: &str) -> Option<(Option<Level>, &str)> {
    let end =
        text.bytes().take(24).take_while(|b| b.is_ascii_alphanumeric() || *b == b' ' || *b == b'_').count();
    let (name, rest) = text.split_at_checked(end)?;
    // An empty message leaves `LEVEL -` where the line's end was trimmed.
    let rest = rest.strip_prefix("- ").or_else(|| rest.strip_prefix('-').filter(|r| r.is_empty()))?;
    let name = name.strip_suffix(' ')?.trim_end();
    let level = Level::parse(name);
    (level.is_some() || name.starts_with("Level ")).then_some((level, rest))
}

/// Reads a record whose head was read.
pub(super) fn parse(head: &Head<'_>) -> ParsedLine {
    let mut fields = Fields::default();
    if let Some((file, line)) = head.location {
        fields.attribute("filename".to_owned(), file.into());
        fields.attribute("lineno".to_owned(), number(line));
    }
    if let Some(process) = head.process {
        fields.attribute("process".to_owned(), number(process));
    }
    // The DAG processor wraps what a DAG file logs: the inner line knows how grave it is.
    let inner = super::text::head(head.rest).and_then(|inner| inner.level);
    let (identity, attributes) = fields.finish();
    ParsedLine {
        time: Some(head.time),
        level: head.level.max(inner),
        message: Some(head.rest.trim_end_matches('\n').to_owned()),
        identity,
        attributes,
    }
}

/// An access log's line, in the common or the combined format.
pub(super) struct Access<'a> {
    time: Timestamp,
    client: &'a str,
    user: &'a str,
    method: &'a str,
    path: &'a str,
    status: u16,
    bytes: Option<u64>,
}

/// Reads `127.0.0.1 - admin [23/Nov/2026:22:00:12 +0000] "GET /health HTTP/1.1" 200 980 "-" "curl/8"`.
pub(super) fn access(text: &str) -> Option<Access<'_>> {
    let near = text.as_bytes().get(..text.len().min(ACCESS_TIME_BYTES_MAX))?;
    let at = memchr::memchr_iter(b'[', near).find(|&at| text.as_bytes().get(at + 3) == Some(&b'/'))?;
    let (time, len) = stamp::access(text.as_bytes().get(at + 1..)?)?;
    let mut names = text.get(..at)?.split(' ');
    let (client, _, user) = (names.next()?, names.next()?, names.next()?);
    let request = text.get(at + 1 + len..)?.strip_prefix("] \"")?;
    let (request, rest) = request.split_once("\" ")?;
    let mut request = request.split(' ');
    let (method, path) = (request.next()?, request.next().unwrap_or_default());
    let mut numbers = rest.split(' ');
    let status = numbers.next()?.parse().ok().filter(|s| (100..=599).contains(s))?;
    let bytes = numbers.next().and_then(|n| n.parse().ok());
    (!client.is_empty()).then_some(Access { time, client, user, method, path, status, bytes })
}

/// What an access line says; the line itself stays the message.
pub(super) fn parse_access(access: &Access<'_>) -> ParsedLine {
    let mut fields = Fields::default();
    fields.attribute("client_addr".to_owned(), access.client.into());
    if !matches!(access.user, "" | "-") {
        fields.attribute("user".to_owned(), access.user.into());
    }
    fields.attribute("method".to_owned(), access.method.into());
    fields.attribute("path".to_owned(), access.path.into());
    fields.attribute("status_code".to_owned(), access.status.into());
    if let Some(bytes) = access.bytes {
        fields.attribute("bytes".to_owned(), bytes.into());
    }
    let (identity, attributes) = fields.finish();
    // A client's mistake (4xx) is the normal course of a server.
    let level = if access.status >= 500 { Level::Error } else { Level::Info };
    ParsedLine { time: Some(access.time), level: Some(level), message: None, identity, attributes }
}

/// The level of a line of another program, where it is certain.
pub(super) fn guess_level(text: &str) -> Option<Level> {
    if text.starts_with(super::TRACEBACK) || text.starts_with("  + Exception Group Traceback") {
        return Some(Level::Error);
    }
    let (text, bracket) = match text.strip_prefix('[') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let len = text.bytes().take(9).take_while(u8::is_ascii_uppercase).count();
    let (word, rest) = text.split_at_checked(len)?;
    let ends = if bracket { rest.starts_with(']') } else { rest.starts_with(':') || rest.starts_with(" - ") };
    if ends {
        return Level::parse(word);
    }
    is_python_warning(text).then_some(Level::Warning)
}

/// `/path/file.py:22 RemovedInAirflow3Warning: …` or `/path/file.py:22: UserWarning: …`.
pub(super) fn is_python_warning(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let near = first.get(..WARNING_BYTES_MAX).unwrap_or(first);
    let Some((before, _)) = near.split_once("Warning: ") else { return false };
    let Some((place, class)) = before.rsplit_once(' ') else { return false };
    let place = place.strip_suffix(':').unwrap_or(place);
    let line = place.rsplit_once(".py:").map_or("", |(_, line)| line);
    !line.is_empty()
        && line.bytes().all(|b| b.is_ascii_digit())
        && class.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn number(digits: &str) -> Value {
    digits.parse::<u64>().map_or_else(|_| digits.into(), Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_other_programs() {
        let check = |text: &str, expected: Option<Level>| assert_eq!(guess_level(text), expected, "{text}");
        check("ERROR:root:it broke", Some(Level::Error));
        check("WARNING: soon", Some(Level::Warning));
        check("INFO:     127.0.0.1:57100 - \"GET / HTTP/1.1\" 200 OK", Some(Level::Info));
        check("[CRITICAL] out", Some(Level::Critical));
        check("WARN - x", Some(Level::Warning));
        check("Traceback (most recent call last):\n  File", Some(Level::Error));
        check("/a b/base.py:22 RemovedInAirflow3Warning: gone", Some(Level::Warning));
        check("/a/base.py:22: UserWarning: gone", Some(Level::Warning));
        for unclear in
            ["ERROR rate is 0", "Errors: 0", "no ERROR: here", "Warning: x", "INFORMATION: x", "", "["]
        {
            check(unclear, None);
        }
    }

    #[test]
    fn heads_need_all_their_parts() {
        for other in [
            "[2026-11-23T22:00:14.229+0000] text",
            "[2026-11-23T22:00:14.229+0000] {x} INFO - a",
            "[2026-11-23T22:00:14.229+0000] {x.py:1} LOUD - a",
            "[2026-11-23 22:00:11 +0000] [x] [INFO] a",
            "2026-11-23 22:00:11 LOG: a",
            "[x]",
            "",
        ] {
            assert_eq!(head(other), None, "{other}");
        }
    }
}
