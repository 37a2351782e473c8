//! What can go wrong, and the HTTP status that says so: the only file that chooses one.

use std::time::Duration;

use axum::http::StatusCode;

/// The result of the indexer's work.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No credential, or one that proves nothing.
    #[error("give a valid credential: a token as Bearer, or tenant and token as Basic")]
    Unauthenticated,
    /// The credential is good, but not for this.
    #[error("{reason}")]
    Forbidden {
        /// What is not allowed.
        reason: &'static str,
    },
    /// Too many credentials that proved nothing came from there.
    #[error("too many credentials proved nothing: wait before the next")]
    Throttled {
        /// How long to wait.
        after: Duration,
    },
    /// A service that the configuration names cannot be called.
    #[error("[indexer.{section}]")]
    Service {
        /// Which part of the configuration.
        section: &'static str,
        /// Why not.
        source: heliograph_egress::Error,
    },
    /// A request that is wrong and stays so.
    #[error("{reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// A content type or encoding that is not understood.
    #[error("{what} {value:?} is not supported: {supported}")]
    Unsupported {
        /// Which header.
        what: &'static str,
        /// What it says.
        value: String,
        /// What would be understood.
        supported: &'static str,
    },
    /// More than a request may hold: send smaller ones.
    #[error("{what} is larger than {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The body did not come, or not fast enough.
    #[error("the body did not come in time")]
    Slow,
    /// Not the producer's next batch.
    #[error("the producer's next batch is sequence {expected} of epoch {epoch}")]
    Gap {
        /// The sequence that would be accepted.
        expected: u64,
        /// In which epoch.
        epoch: u64,
    },
    /// A bound on memory is reached: wait, then send again.
    #[error("{what} is full: send again later")]
    Full {
        /// Which memory.
        what: &'static str,
    },
    /// The tenant uses as much as it may: wait, then send again.
    #[error("the tenant has reached its limit {limit} = {bound}: send again later")]
    Limit {
        /// Which one.
        limit: &'static str,
        /// What it is set to, in bytes.
        bound: u64,
        /// When sending again makes sense.
        after: Duration,
    },
    /// Not now: wait, then send again.
    #[error("{reason}: send again later")]
    Unavailable {
        /// Why not.
        reason: &'static str,
    },
    /// The tenant was erased, and nobody has made a new one of its name: what is sent for it is to be thrown away.
    #[error("tenant {tenant} was erased: nothing more is taken for it")]
    Erased {
        /// Who.
        tenant: heliograph_model::tenant::TenantId,
    },
    /// Another process writes for our indexer: what we have not acknowledged is its business now.
    #[error(
        "another process has taken over indexer {indexer}, as this one was stopped or cut off from the catalog for \
         longer than its lease: it has to be started again"
    )]
    Fenced {
        /// Which was ours.
        indexer: uuid::Uuid,
    },
    /// What lies at rest cannot be read or written.
    #[error(transparent)]
    Store(#[from] heliograph_store::Error),
    /// The object store cannot be read or written.
    #[error("the object store is unavailable")]
    Objects(#[from] object_store::Error),
    /// The disk has no room for anything new.
    #[error(transparent)]
    NearlyFull(#[from] heliograph_store::objects::NearlyFull),
    /// A metric that is registered already.
    #[error("metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    /// Work on a thread of ours came to no end.
    #[error("a worker thread ended early")]
    Worker(#[from] tokio::task::JoinError),
}

impl From<heliograph_model::Error> for Error {
    fn from(error: heliograph_model::Error) -> Self {
        match error {
            heliograph_model::Error::TooLarge { what, limit } => Self::TooLarge { what, limit },
            other => Self::Invalid { reason: other.to_string() },
        }
    }
}

impl Error {
    /// A request that is wrong, and how.
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into() }
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::Invalid { .. } | Self::Store(heliograph_store::Error::Invalid(_)) => {
                StatusCode::BAD_REQUEST
            }
            Self::Erased { .. } => StatusCode::GONE,
            Self::Unsupported { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Gap { .. } => StatusCode::CONFLICT,
            Self::Full { .. } | Self::Limit { .. } | Self::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. }
            | Self::Fenced { .. }
            | Self::Store(_)
            | Self::Objects(_)
            | Self::NearlyFull(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Metrics(_) | Self::Worker(_) | Self::Service { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The code of `google.rpc.Status`.
    pub(crate) fn rpc_code(&self) -> i32 {
        match self.status() {
            StatusCode::UNAUTHORIZED => 16,
            StatusCode::FORBIDDEN => 7,
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => 8,
            StatusCode::REQUEST_TIMEOUT => 4,
            StatusCode::CONFLICT | StatusCode::GONE => 9,
            StatusCode::SERVICE_UNAVAILABLE => 14,
            StatusCode::INTERNAL_SERVER_ERROR => 13,
            _ => 3,
        }
    }

    /// After how many seconds sending again makes sense; `None` where it never does.
    pub(crate) fn retry_after_seconds(&self) -> Option<u32> {
        if let Self::Limit { after, .. } | Self::Throttled { after } = self {
            return u32::try_from(after.as_millis().div_ceil(1_000).max(1)).ok();
        }
        match self.status() {
            StatusCode::SERVICE_UNAVAILABLE => Some(1),
            // What is full empties by sealing, which takes a moment.
            StatusCode::TOO_MANY_REQUESTS => Some(2),
            _ => None,
        }
    }

    /// What the outside is told: nothing about our insides.
    pub(crate) fn public_text(&self) -> String {
        match self {
            Self::Store(heliograph_store::Error::Invalid(_)) => self.to_string(),
            Self::Store(_) | Self::Objects(_) | Self::NearlyFull(_) | Self::Fenced { .. } => {
                "storage is unavailable: send again later".to_owned()
            }
            Self::Metrics(_) | Self::Worker(_) | Self::Service { .. } => "internal error".to_owned(),
            told => told.to_string(),
        }
    }
}
