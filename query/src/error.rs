//! What can go wrong with a call, by what its caller can do. Which HTTP status that is stands in `http/error.rs`.

use std::time::Duration;

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No credential, or one that proves nothing.
    #[error("sign in, or send a token")]
    Unauthenticated,
    /// An upgrade by cookie without a ticket, or with one that was used, is too old, or is not this session's: the same
    /// answer.
    #[error("this needs a ticket that was not used before: POST /api/v1/tail/ticket")]
    Ticket,
    /// The credential does not carry this right, or what it is asked for does not exist: the same answer.
    #[error("you may not do this, or it does not exist")]
    Forbidden,
    /// There is no such thing, or the caller may not know of it.
    #[error("there is no such {what}")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
    },
    /// The route exists, but not for this method.
    #[error("this route has no such method")]
    Method,
    /// The body is not JSON.
    #[error("the body must have content-type application/json")]
    ContentType,
    /// The body is larger than any of ours.
    #[error("the body has over {limit} bytes")]
    TooLarge {
        /// The bound, in bytes.
        limit: usize,
    },
    /// The body did not come to its end in time.
    #[error("the body took longer than {} s", .limit.as_secs())]
    Slow {
        /// The bound.
        limit: Duration,
    },
    /// The request cannot be understood.
    #[error("{message}")]
    Invalid {
        /// What is wrong, with the offending value.
        message: String,
        /// What would be right.
        hint: Option<String>,
        /// Where in the query text, in characters from 0.
        position: Option<usize>,
    },
    /// A cursor that this caller did not get for this question, that is damaged, or too old: the same answer.
    #[error("this cursor is not one of this question")]
    Cursor,
    /// It exists already.
    #[error("{what} {name:?} exists already")]
    Exists {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Too many sign-ins that failed.
    #[error("too many sign-ins failed: wait before the next")]
    Throttled {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Too many of what costs much were begun in the last minute.
    #[error("too many {what} in a minute: wait before the next")]
    TooOften {
        /// What there was too much of.
        what: &'static str,
        /// How long to wait.
        retry_after: Duration,
    },
    /// Who might know the credential does not answer: nobody is proved.
    #[error("the credential cannot be checked now")]
    Unanswered,
    /// As much is under way as may be.
    #[error("too many {what} at the same time")]
    Busy {
        /// What there is too much of.
        what: &'static str,
    },
    /// It cannot be recorded in the audit log now, and so is not done; of a change, or done and not recorded yet.
    #[error("the audit log cannot be written now, and nothing is answered that is not recorded")]
    Unrecorded,
    /// It took longer than a call may take.
    #[error("the search took longer than {} s", .limit.as_secs())]
    Timeout {
        /// The bound.
        limit: Duration,
    },
    /// Something that we stand on did not answer, or what it holds is damaged.
    #[error("the store is unavailable")]
    Store(#[source] heliograph_store::Error),
    /// The server itself cannot go on: its key material, its metrics, its listener.
    #[error("{what} failed")]
    Server {
        /// What failed.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// A request that cannot be understood, without a place in the query.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), hint: None, position: None }
    }

    /// The same with what would be right.
    pub(crate) fn invalid_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), hint: Some(hint.into()), position: None }
    }

    /// A failure of the server itself.
    pub(crate) fn server(
        what: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Server { what, source: source.into() }
    }
}

impl From<heliograph_store::Error> for Error {
    fn from(error: heliograph_store::Error) -> Self {
        use heliograph_store::Error as Store;
        match error {
            Store::Exists { what, name } => Self::Exists { what, name },
            Store::BeingErased { tenant } => {
                Self::Exists { what: "tenant that is being erased", name: tenant.to_string() }
            }
            Store::Missing { what, .. } => Self::NotFound { what },
            Store::Erased { .. } => Self::NotFound { what: "tenant" },
            Store::Invalid(e) => Self::invalid(e.to_string()),
            other => Self::Store(other),
        }
    }
}
