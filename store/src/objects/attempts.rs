//! One request on the wire, below the retries of `object_store`: how long it may take, and whether it makes sense
//! to try again.
//!
//! `object_store` waits ever longer between attempts, with jitter, and bounds their number and their time. What it
//! lacks is here:
//! - A server that does not answer costs seconds and not half a minute: small requests have little time.
//! - Whatever fails is tried again, creations too, which it would give up, as they may have been done: whoever
//!   creates objects here compares contents then (see `objects::create`).
//! - `Retry-After` is kept.
//! - Retries have a budget that all requests share, so that many callers of a store in trouble do not multiply its
//!   load: when it is used up, each request is tried once.
//! - Answers that are not as long as they say are failures. Answers other than objects are read whole here, so
//!   that one cut off half-way is asked for again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::metrics::ObjectMetrics;
use super::place::Patience;

/// Failures in a row after which nothing is tried again.
const BUDGET: u32 = 100;
/// What a failure costs and a success gives back: up to a third of all requests may fail for as long as it likes.
const FAILURE: u32 = 2;
const SUCCESS: u32 = 1;
/// Longest wait that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);
/// A second more for each so many bytes that are sent.
const BYTES_PER_SECOND: usize = 1 << 20;

/// Makes clients whose requests are watched.
#[derive(Debug)]
pub(super) struct Connector {
    patience: Patience,
    metrics: ObjectMetrics,
    budget: Arc<Budget>,
}

impl Connector {
    pub(super) fn new(patience: Patience, metrics: ObjectMetrics) -> Self {
        Self { patience, metrics, budget: Arc::default() }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        let (metrics, budget) = (self.metrics.clone(), Arc::clone(&self.budget));
        Ok(HttpClient::new(Attempts { client, patience: self.patience, metrics, budget }))
    }
}

/// What is left for retries.
#[derive(Debug)]
struct Budget(Mutex<u32>);

impl Default for Budget {
    fn default() -> Self {
        Self(Mutex::new(BUDGET * FAILURE))
    }
}

impl Budget {
    fn succeeded(&self) {
        let mut left = self.0.lock();
        *left = left.saturating_add(SUCCESS).min(BUDGET * FAILURE);
    }

    /// Whether what failed may be tried again.
    fn failed(&self) -> bool {
        let mut left = self.0.lock();
        let may = *left >= FAILURE;
        *left = left.saturating_sub(FAILURE);
        may
    }
}

#[derive(Debug)]
struct Attempts {
    client: HttpClient,
    patience: Patience,
    metrics: ObjectMetrics,
    budget: Arc<Budget>,
}

/// Why an attempt failed, as the metrics name it.
struct Failed {
    reason: &'static str,
    error: HttpError,
}

#[async_trait]
impl HttpService for Attempts {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let reads_object = is_object(&request) && request.method() == Method::GET;
        let time = self.time(&request);
        let failed = match timeout(time, self.attempt(request, reads_object)).await {
            Ok(Ok(response)) if !is_trouble(response.status()) => {
                self.budget.succeeded();
                return Ok(response);
            }
            Ok(Ok(response)) => return self.in_trouble(response).await,
            Ok(Err(failed)) => failed,
            Err(_) => Failed { reason: "timeout", error: broken(&format!("no answer within {time:?}")) },
        };
        self.give_back(failed)
    }
}

impl Attempts {
    fn time(&self, request: &HttpRequest) -> Duration {
        let mib = request.body().content_length().div_ceil(BYTES_PER_SECOND);
        let sending = Duration::from_secs(mib.saturating_sub(1) as u64);
        sending + if is_object(request) { self.patience.answer } else { self.patience.pause }
    }

    async fn attempt(&self, request: HttpRequest, reads_object: bool) -> Result<HttpResponse, Failed> {
        let failed = |error: HttpError| {
            let reason = match error.kind() {
                HttpErrorKind::Timeout => "timeout",
                HttpErrorKind::Connect => "connect",
                _ => "connection",
            };
            Failed { reason, error }
        };
        let response = self.client.execute(request).await.map_err(failed)?;
        if let Some((told, expected)) = lengths(response.headers()).filter(|(a, b)| a != b) {
            let error = broken(&format!("an answer of {told} bytes says that it has {expected}"));
            return Err(Failed { reason: "truncated", error });
        }
        if reads_object && response.status().is_success() {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let whole = body.bytes().await.map_err(|error| Failed { reason: "truncated", error })?;
        Ok(HttpResponse::from_parts(parts, whole.into()))
    }

    /// A status that asks to come again.
    async fn in_trouble(&self, response: HttpResponse) -> Result<HttpResponse, HttpError> {
        let status = response.status();
        let reason = match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => "slow_down",
            _ => "server_error",
        };
        if !self.budget.failed() {
            return Err(last(&format!("{status}, and too many requests failed lately to try again")));
        }
        self.metrics.retried(reason);
        if let Some(wait) = retry_after(response.headers()) {
            tokio::time::sleep(wait.min(RETRY_AFTER_MAX)).await;
        }
        Ok(response)
    }

    fn give_back<T>(&self, Failed { reason, error }: Failed) -> Result<T, HttpError> {
        // What is not known to be harmless to repeat would not be repeated; here, all of it is.
        if matches!(error.kind(), HttpErrorKind::Unknown | HttpErrorKind::Decode) {
            return Err(error);
        }
        if !self.budget.failed() {
            return Err(last(&format!("{error}, and too many requests failed lately to try again")));
        }
        self.metrics.retried(reason);
        Err(HttpError::new(HttpErrorKind::Request, error))
    }
}

/// Whether it is about an object's bytes, rather than a list, a deletion, or parts to be put together.
fn is_object(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    match *request.method() {
        Method::GET | Method::HEAD => !query.contains("list"),
        Method::PUT => true,
        _ => false,
    }
}

fn is_trouble(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// How long an answer of a part is, and how long it should be.
fn lengths(headers: &HeaderMap) -> Option<(u64, u64)> {
    let told = headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (first, last) = range.split_once('/')?.0.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    Some((told, last.checked_sub(first)?.checked_add(1)?))
}

fn broken(reason: &str) -> HttpError {
    HttpError::new(HttpErrorKind::Interrupted, std::io::Error::other(reason.to_owned()))
}

/// One that is not tried again.
fn last(reason: &str) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, std::io::Error::other(reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_lets_a_third_fail_for_ever_and_no_more() {
        let budget = Budget::default();
        for _ in 0..10_000 {
            assert!(budget.failed());
            budget.succeeded();
            budget.succeeded();
        }
        let budget = Budget::default();
        let tries = (0..10_000).filter(|_| budget.failed()).count();
        assert_eq!(tries, BUDGET as usize);
        budget.succeeded();
        assert!(!budget.failed(), "half a retry is none");
        budget.succeeded();
        budget.succeeded();
        assert!(budget.failed());
    }

    #[test]
    fn an_answer_shorter_than_its_range_is_known() {
        let headers = |length: &str, range: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_LENGTH, length.parse().unwrap());
            headers.insert(CONTENT_RANGE, range.parse().unwrap());
            headers
        };
        assert_eq!(lengths(&headers("10", "bytes 5-14/20")), Some((10, 10)));
        assert_eq!(lengths(&headers("9", "bytes 5-14/20")), Some((9, 10)));
        assert_eq!(lengths(&headers("0", "bytes */20")), None);
    }
}
