//! A record as a line of text.

use std::fmt::Write as _;

use anyhow::Context;
use heliograph_model::hidden;
use heliograph_model::level::Level;
use heliograph_model::record::ApiRecord;
use serde_json::value::RawValue;

use crate::{config, console};

/// How records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// As the server gave them, one a line.
    Json,
    /// The same values on a terminal, with nothing in it that could steer the terminal.
    TerminalJson,
    /// Text as it is, in five columns: time, level, component, task, message; `-` where there is none.
    Plain,
    /// The same on a terminal: coloured, and with nothing in it that could steer the terminal.
    Colour,
    /// The same without colours.
    Terminal,
}

const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

impl Style {
    /// For where standard output goes.
    pub(super) fn new(json: bool) -> Self {
        match (json, console::output_is_terminal()) {
            (true, false) => Self::Json,
            (true, true) => Self::TerminalJson,
            (false, false) => Self::Plain,
            (false, true) if config::colour_wanted() => Self::Colour,
            (false, true) => Self::Terminal,
        }
    }

    /// Prints one record.
    pub(super) fn print(self, record: &RawValue) -> anyhow::Result<()> {
        match self {
            Self::Json => return console::line(record.get()),
            Self::TerminalJson => return console::line(&hidden::escaped_json(record.get())),
            Self::Plain | Self::Colour | Self::Terminal => {}
        }
        let record: ApiRecord<'_> =
            serde_json::from_str(record.get()).context("a record is not what a Heliograph server gives")?;
        console::line(&self.line(&record))
    }

    fn line(self, record: &ApiRecord<'_>) -> String {
        let time = millis(&record.timestamp.to_string());
        let level = record.level.map_or_else(|| "-".to_owned(), |level| level.as_str().to_uppercase());
        let component = record.component.as_ref().map_or("-", |c| c.as_str());
        let task = task(record);
        if self == Self::Plain {
            return format!("{time} {level} {component} {task} {}", record.message);
        }
        let (task, message) = (harmless(&task), harmless(&record.message));
        if self == Self::Terminal {
            return format!("{time} {level:<8} {component} {task} {message}");
        }
        let colour = level_colour(record.level);
        format!(
            "{DIM}{time}{RESET} {colour}{level:<8}{RESET} {DIM}{component}{RESET} \x1b[36m{task}{RESET} {message}"
        )
    }
}

fn level_colour(level: Option<Level>) -> &'static str {
    match level {
        Some(Level::Critical) => "\x1b[1;31m",
        Some(Level::Error) => "\x1b[31m",
        Some(Level::Warning) => "\x1b[33m",
        Some(Level::Info) => "\x1b[32m",
        Some(Level::Debug | Level::Trace) | None => DIM,
    }
}

/// `dag/task[map] #try`, without blanks in it.
fn task(record: &ApiRecord<'_>) -> String {
    let mut out = record.dag_id.as_deref().unwrap_or("-").to_owned();
    if let Some(task) = &record.task_id {
        // Writing to a String does not fail.
        _ = write!(out, "/{task}");
    }
    if let Some(map_index) = record.map_index.filter(|n| *n >= 0) {
        _ = write!(out, "[{map_index}]");
    }
    if let Some(try_number) = record.try_number {
        _ = write!(out, "#{try_number}");
    }
    out
}

/// Milliseconds are enough for reading.
fn millis(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, fraction)) => format!("{seconds}.{}Z", fraction.get(..3).unwrap_or(fraction)),
        None => time.to_owned(),
    }
}

/// Takes colours out and shows all else that could steer a terminal, turn the direction of text, or hide in it, as
/// escapes.
fn harmless(text: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain.push_str(before);
        rest = match skip_colour(after) {
            Some(behind) => behind,
            None => {
                plain.push('\x1b');
                after
            }
        };
    }
    plain.push_str(rest);
    hidden::escaped(&plain)
}

/// What follows a colour sequence whose escape character has been read.
fn skip_colour(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix('[')?;
    let end = parameters.find(|c: char| !(c.is_ascii_digit() || c == ';'))?;
    parameters.get(end..)?.strip_prefix('m')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(style: Style, json: &str, expected: &str) {
        assert_eq!(style.line(&serde_json::from_str(json).unwrap()), expected);
    }

    const TASK: &str = r#"{"id":"x","@timestamp":"2026-11-24T10:00:00.123456789Z","message":"it \u001b[31mfailed\u001b[0m\u001b[2J\nagain","level":"error","tenant":"a","component":"worker","dag_id":"etl","task_id":"load","map_index":3,"try_number":2}"#;

    #[test]
    fn plain_text_is_kept_as_it_is() {
        let expected =
            "2026-11-24T10:00:00.123Z ERROR worker etl/load[3]#2 it \x1b[31mfailed\x1b[0m\x1b[2J\nagain";
        check(Style::Plain, TASK, expected);
    }

    #[test]
    fn nothing_steers_the_terminal() {
        let expected = "2026-11-24T10:00:00.123Z ERROR    worker etl/load[3]#2 it failed\\u{1b}[2J\nagain";
        check(Style::Terminal, TASK, expected);
        assert_eq!(harmless("a\r\u{202e}b\u{9b}1m"), "a\\u{d}\\u{202e}b\\u{9b}1m");
        assert_eq!(harmless("\x1b[1;31ma\x1b[\x1b[mb\x1b"), "a\\u{1b}[b\\u{1b}");
        assert_eq!(
            harmless("a\x1b]8;;http://e\x07\x1b]52;c;eA==\x07"),
            "a\\u{1b}]8;;http://e\\u{7}\\u{1b}]52;c;eA==\\u{7}"
        );
        let forged = r#"{"id":"x","@timestamp":"2026-11-24T10:00:00Z","message":"m","tenant":"a","component":"c","dag_id":"d\u202e"}"#;
        check(Style::Terminal, forged, "2026-11-24T10:00:00.000Z -        c d\\u{202e} m");
    }

    #[test]
    fn what_is_absent_is_a_dash() {
        let json = r#"{"id":"x","@timestamp":"2026-11-24T10:00:00.5Z","message":"m","tenant":"a"}"#;
        check(Style::Plain, json, "2026-11-24T10:00:00.500Z - - - m");
    }
}
