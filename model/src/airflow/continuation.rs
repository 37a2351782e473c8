//! Which lines belong together: the pure rules by which one stream's lines become records.
//!
//! Bounds on size and on waiting are the caller's. What is joined here is joined by what the lines say alone,
//! so that the same file gives the same records whenever it is read.

use super::{TRACEBACK, console, text};
use crate::level::Level;

/// How a group of exceptions begins.
const GROUP_TRACEBACK: &str = "  + Exception Group Traceback";
/// What stands between the tracebacks of one chain.
const LINKS: [&str; 2] = [
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
];
/// How the further lines of a database's error begin, behind the exception's first.
const DETAILS: [&str; 8] = [
    "(Background on this error at: ",
    "[SQL: ",
    "[parameters: ",
    "DETAIL: ",
    "HINT: ",
    "LINE ",
    "CONTEXT: ",
    "Caused by: ",
];

/// How a record of Go's runtime begins.
const GO_STARTS: [&str; 2] = ["panic: ", "fatal error: "];
/// How a program's own formats name a level at which an exception may follow, between time and text.
const FAILED: [&str; 4] = [" ERROR ", " FATAL ", " SEVERE ", " CRITICAL "];
/// How far into a line its level stands.
const LEVEL_BYTES_MAX: usize = 80;

/// What a line is to the record before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It begins a record.
    Starts,
    /// It belongs to the record before it.
    Continues,
}

/// Reads one stream's lines, in order.
#[derive(Clone, Debug, Default)]
pub struct Continuation {
    context: Context,
}

/// What was read of the present record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Context {
    /// It is complete: nothing continues it.
    #[default]
    Complete,
    /// Airflow 2 text or gunicorn: all up to the next head belongs to it.
    Headed { likely: bool },
    /// Airflow 3 text whose ` [logger] key=value` is still to come.
    Untailed { level: Level },
    /// Airflow 3 text with its tail: only a traceback can follow.
    Tailed { likely: bool },
    /// A line of another program.
    Plain { fails: bool },
    /// Behind a Java exception, or among its frames.
    Java,
    /// Go's runtime says why it ends: its goroutines, with blank lines between. `apart`: behind such a line.
    Go { apart: bool },
    /// Airflow's name in letters of letters.
    Banner,
    /// Among a traceback's frames.
    Trace { headed: bool },
    /// Behind a traceback's exception.
    Raised { headed: bool },
    /// Behind the line that links two exceptions.
    Linked { headed: bool },
}

impl Continuation {
    /// Before the first line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next line, without its line end.
    pub fn feed(&mut self, line: &str) -> Decision {
        let line = line.trim_end_matches(['\r', '\n']);
        if let Some(context) = start(line) {
            self.context = context;
            return Decision::Starts;
        }
        if let Some(context) = self.context.with(line) {
            self.context = context;
            return Decision::Continues;
        }
        self.context = unheaded(line);
        Decision::Starts
    }

    /// Whether the present record is likely to go on: only then is it worth holding back.
    pub fn expects_more(&self) -> bool {
        match self.context {
            Context::Headed { likely } | Context::Tailed { likely } => likely,
            Context::Plain { fails } => fails,
            Context::Untailed { .. }
            | Context::Java
            | Context::Go { .. }
            | Context::Trace { .. }
            | Context::Raised { .. }
            | Context::Linked { .. } => true,
            Context::Complete | Context::Banner => false,
        }
    }
}

/// Whether the line itself says that it begins a record, whatever stands before it.
pub fn starts_record(line: &str) -> bool {
    start(line.trim_end_matches(['\r', '\n'])).is_some()
}

/// Whether `line` continues a record whose only line so far is `previous_first_line`.
pub fn continues(previous_first_line: &str, line: &str) -> bool {
    let mut lines = Continuation::new();
    lines.feed(previous_first_line);
    lines.feed(line) == Decision::Continues
}

/// The context that a line opens which surely begins a record.
fn start(line: &str) -> Option<Context> {
    match line.as_bytes().first()? {
        b'{' if line.starts_with("{\"") && line.ends_with('}') => return Some(Context::Complete),
        b'[' | b'0'..=b'9' | 0x1b => {
            let plain = super::without_colours(line);
            if let Some(head) = console::head(&plain) {
                return Some(match console::tail(head.rest) {
                    Some(_) => Context::Tailed { likely: head.level >= Level::Error },
                    None => Context::Untailed { level: head.level },
                });
            }
            if let Some(head) = text::head(&plain) {
                let open = head.rest.is_empty() || head.rest.ends_with(':');
                return Some(Context::Headed { likely: open || head.level >= Some(Level::Error) });
            }
        }
        b' ' | b'\t' => return None,
        _ => {}
    }
    text::access(line).map(|_| Context::Complete)
}

/// The context of a record that begins with a line without a head.
fn unheaded(line: &str) -> Context {
    if line.starts_with(TRACEBACK) || line.starts_with(GROUP_TRACEBACK) {
        return Context::Trace { headed: false };
    }
    if is_banner(line) {
        return Context::Banner;
    }
    if GO_STARTS.iter().any(|start| line.starts_with(start)) || is_goroutine(line) {
        return Context::Go { apart: false };
    }
    if is_throwable(line) {
        return Context::Java;
    }
    let near = line.char_indices().nth(LEVEL_BYTES_MAX).and_then(|(at, _)| line.get(..at)).unwrap_or(line);
    let failed = FAILED.iter().any(|word| near.contains(word));
    Context::Plain { fails: failed || text::guess_level(line) >= Some(Level::Error) }
}

impl Context {
    /// The context with `line` joined to the record; none where the line is not part of it.
    fn with(self, line: &str) -> Option<Self> {
        let traceback = line.starts_with(TRACEBACK) || line.starts_with(GROUP_TRACEBACK);
        let indented = line.starts_with([' ', '\t']);
        let banner = is_banner(line);
        if banner || text::is_python_warning(line) {
            return (banner && self == Self::Banner).then_some(self);
        }
        let blank = line.trim_ascii().is_empty();
        match self {
            Self::Complete | Self::Banner => None,
            Self::Headed { .. } if traceback => Some(Self::Trace { headed: true }),
            Self::Headed { .. } => Some(Self::Headed { likely: false }),
            Self::Untailed { .. } if traceback => Some(Self::Trace { headed: true }),
            Self::Untailed { level } if console::tail(line).is_some() => {
                Some(Self::Tailed { likely: level >= Level::Error })
            }
            Self::Untailed { .. } => Some(self),
            Self::Tailed { .. } | Self::Plain { fails: true } if traceback => {
                Some(Self::Trace { headed: false })
            }
            Self::Plain { fails: true } if is_throwable(line) => Some(Self::Java),
            Self::Java => (indented && !blank || line.starts_with("Caused by: ")).then_some(self),
            Self::Go { .. } if blank => Some(Self::Go { apart: true }),
            Self::Go { apart: true } => {
                let goes_on = is_goroutine(line) || line.starts_with("[signal ") || line == "runtime stack:";
                goes_on.then_some(Self::Go { apart: false })
            }
            Self::Go { .. } => (indented || is_go_frame(line)).then_some(self),
            Self::Tailed { .. } | Self::Plain { .. } => {
                (indented && !blank || line.starts_with("Caused by: ")).then_some(self)
            }
            Self::Trace { .. } if blank || indented => Some(self),
            Self::Trace { headed } | Self::Raised { headed } if LINKS.contains(&line) => {
                Some(Self::Linked { headed })
            }
            Self::Linked { headed } if traceback || indented && !blank => Some(Self::Trace { headed }),
            Self::Linked { .. } if blank => Some(self),
            Self::Trace { headed } | Self::Linked { headed } => {
                (headed || is_exception(line)).then_some(Self::Raised { headed })
            }
            Self::Raised { headed: true } if traceback => Some(Self::Trace { headed: true }),
            Self::Raised { headed } => {
                let part = headed || blank || indented || DETAILS.iter().any(|d| line.starts_with(d));
                part.then_some(self)
            }
        }
    }
}

/// Whether the line is how Python names what was raised: `ValueError: text` or `KeyboardInterrupt`.
fn is_exception(line: &str) -> bool {
    let name = line.split_once(':').map_or(line, |(name, _)| name);
    name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '<' | '>'))
}

/// Whether the line is how Java names what was thrown: `java.lang.IllegalStateException: text`, `Exception in thread
/// "main" …`.
fn is_throwable(line: &str) -> bool {
    if line.starts_with("Exception in thread \"") {
        return true;
    }
    let class = line.split_once(": ").map_or(line, |(class, _)| class);
    let mut names = class.rsplit('.');
    let last = names.next().unwrap_or_default();
    let name = |n: &str| {
        n.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && n.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$'))
    };
    let ends = ["Exception", "Error", "Throwable"].iter().any(|end| last.ends_with(end));
    ends && name(last) && class.contains('.') && names.all(name)
}

/// `goroutine 1 [running]:`
fn is_goroutine(line: &str) -> bool {
    let state = line.strip_prefix("goroutine ").and_then(|rest| rest.split_once(" ["));
    state.is_some_and(|(number, rest)| number.bytes().all(|b| b.is_ascii_digit()) && rest.ends_with("]:"))
}

/// What stands among the frames of Go's runtime at the beginning of a line: `main.run(0xc000012345, 0x1)`.
fn is_go_frame(line: &str) -> bool {
    let frame = || {
        let (name, _) = line.split_once('(')?;
        Some(line.ends_with(')') && name.contains('.') && !name.contains(' '))
    };
    line.starts_with("created by ")
        || line.starts_with("[signal ")
        || line.starts_with("...")
        || is_goroutine(line)
        || frame().unwrap_or_default()
}

/// Whether the line is of the letters that Airflow greets with.
fn is_banner(line: &str) -> bool {
    line.trim_start().starts_with('_')
        && line.contains("__")
        && line.len() >= 16
        && line.bytes().all(|b| matches!(b, b' ' | b'_' | b'/' | b'\\' | b'|' | b'(' | b')'))
}
