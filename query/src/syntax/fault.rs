//! What is wrong with a query text, and where.

use heliograph_model::Error as ModelError;
use winnow::error::{ErrMode, ParserError};
use winnow::stream::{Location, Stream};

/// A mistake in a query.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Fault {
    /// Where, in characters from 0.
    pub(crate) position: usize,
    /// What is wrong.
    pub(crate) message: String,
    /// What would be right.
    pub(crate) hint: Option<String>,
}

impl Fault {
    /// A mistake of the whole.
    pub(super) fn at_start(message: String, hint: String) -> Self {
        Self { position: 0, message, hint: Some(hint) }
    }
}

impl From<Fault> for crate::Error {
    fn from(fault: Fault) -> Self {
        Self::Invalid { message: fault.message, hint: fault.hint, position: Some(fault.position) }
    }
}

/// The result of a parser.
pub(super) type Parsed<T> = winnow::ModalResult<T, Raised>;

/// A mistake on its way out of the parser: its place is still in bytes.
#[derive(Clone, Debug)]
pub(super) struct Raised {
    at: usize,
    message: String,
    hint: Option<String>,
}

impl Raised {
    /// How to search for a parenthesis.
    pub(super) const QUOTE_PARENTHESIS: &'static str =
        "to search for a parenthesis, write \\( or \\), or put the text in quotes";

    /// Ends the parse with this mistake.
    pub(super) fn cut<T>(at: usize, message: impl Into<String>, hint: impl Into<String>) -> Parsed<T> {
        Err(ErrMode::Cut(Self { at, message: message.into(), hint: Some(hint.into()) }))
    }

    /// A condition that the matcher refuses.
    pub(super) fn refused(at: usize, error: &ModelError) -> ErrMode<Self> {
        let (message, hint) = match error {
            // The regex crate draws the expression over several lines; its last says what is wrong.
            ModelError::Pattern { pattern, reason } => match reason.rsplit_once("error: ") {
                Some((_, last)) => (
                    format!("the regular expression /{pattern}/ is not valid: {}", last.trim()),
                    "a backslash takes the meaning of a character away, as in /\\(/".to_owned(),
                ),
                None if reason.starts_with("not a level") => {
                    let (_, names) = reason.split_once(": ").unwrap_or(("", reason));
                    (format!("there is no level {pattern:?}"), format!("levels are {names}"))
                }
                None => (
                    format!("the regular expression /{pattern}/ is too large"),
                    "it may compile to 1 MiB: use smaller repetitions".to_owned(),
                ),
            },
            ModelError::Time { value } => (
                format!("{value:?} is not a time"),
                "times look like 2026-11-24T10:00:00Z, now, now-15m, now-7d".to_owned(),
            ),
            other => (other.to_string(), "change this condition".to_owned()),
        };
        ErrMode::Cut(Self { at, message, hint: Some(hint) })
    }

    /// The mistake in what a parser raised.
    pub(super) fn of(raised: ErrMode<Self>) -> Self {
        match raised {
            ErrMode::Backtrack(raised) | ErrMode::Cut(raised) => raised,
            // Never of a whole text.
            ErrMode::Incomplete(_) => Self::unexpected(0),
        }
    }

    fn unexpected(at: usize) -> Self {
        Self { at, message: "this cannot be read here".to_owned(), hint: None }
    }

    /// Counts the place in characters.
    pub(super) fn into_fault(self, text: &str) -> Fault {
        let position = text.char_indices().take_while(|(at, _)| *at < self.at).count();
        Fault { position, message: self.message, hint: self.hint }
    }
}

impl<I: Stream + Location> ParserError<I> for Raised {
    type Inner = Self;

    fn from_input(input: &I) -> Self {
        Self::unexpected(input.current_token_start())
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}
