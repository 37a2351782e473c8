//! What an indexer's answer means.

use std::time::{Duration, SystemTime};

use http::header::{DATE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

/// Longest `Retry-After` that is honoured.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is durable.
    Acknowledged,
    /// The indexer expects another sequence, perhaps of a later epoch.
    Expected {
        /// The sequence.
        sequence: u64,
        /// The epoch, where it says.
        epoch: Option<u64>,
    },
    /// Later, after this if said: the tenant sends too much.
    Busy(Option<Duration>),
    /// Later, after this if said: this indexer cannot take anything at present, another one may.
    Unavailable(Option<Duration>),
    /// Later, after this if said: the indexer failed, perhaps at this batch alone.
    Failed(Option<Duration>),
    /// Never: the batch itself is refused, with this status.
    Rejected(u16),
    /// Never: the batch's tenant was erased, and nothing of it is to be kept.
    Erased,
    /// The credential is refused, with this status.
    Denied(u16),
    /// No indexer says this of a batch. Whoever answers with this status (a proxy, another server) may be put right:
    /// later, after this if said.
    Unexpected(u16, Option<Duration>),
    /// No answer.
    Unreachable,
}

#[derive(Deserialize)]
struct Conflict {
    expected: u64,
    epoch: Option<u64>,
}

#[derive(Deserialize)]
struct Gone {
    erased: bool,
}

impl Answer {
    /// Reads a response that came at `now`.
    pub(crate) async fn of(response: reqwest::Response, now: SystemTime) -> Self {
        let status = response.status();
        let wait = retry_after(response.headers(), now);
        match status {
            s if s.is_success() => Self::Acknowledged,
            StatusCode::CONFLICT => match response.json::<Conflict>().await {
                Ok(Conflict { expected, epoch }) => Self::Expected { sequence: expected, epoch },
                Err(_) => Self::Unexpected(status.as_u16(), wait),
            },
            StatusCode::GONE => match response.json::<Gone>().await {
                Ok(Gone { erased: true }) => Self::Erased,
                _ => Self::Unexpected(status.as_u16(), wait),
            },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Denied(status.as_u16()),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                Self::Rejected(status.as_u16())
            }
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Self::Unavailable(wait)
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Self::Busy(wait),
            StatusCode::INTERNAL_SERVER_ERROR => Self::Failed(wait),
            _ => Self::Unexpected(status.as_u16(), wait),
        }
    }

    /// The metric's label.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Acknowledged => "acked",
            Self::Expected { .. } => "sequence",
            Self::Busy(_) => "busy",
            Self::Unavailable(_) => "unavailable",
            Self::Failed(_) => "failed",
            Self::Rejected(_) => "rejected",
            Self::Erased => "erased",
            Self::Denied(_) => "denied",
            Self::Unexpected(..) => "unexpected",
            Self::Unreachable => "unreachable",
        }
    }
}

/// How long to wait: `Retry-After` in seconds or as a date, bounded. None where that is no time at all: the back-off
/// decides, lest whoever is asked to come back at once asks without end.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.trim());
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let said = text(RETRY_AFTER)?;
    let wait = match said.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            // By the clock of whoever says it, if that is shown: ours may differ.
            let then = text(DATE).and_then(date).unwrap_or(now);
            date(said)?.duration_since(then).unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_MAX)).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 26 November 2026, 12:00:00 GMT.
    const NOW: Duration = Duration::from_secs(1_795_694_400);

    #[track_caller]
    fn check(retry: &str, date: Option<&str>, expected: Option<u64>) {
        let mut headers = HeaderMap::from_iter([(RETRY_AFTER, retry.parse().unwrap())]);
        headers.extend(date.map(|date| (DATE, date.parse().unwrap())));
        let found = retry_after(&headers, SystemTime::UNIX_EPOCH + NOW);
        assert_eq!(found, expected.map(Duration::from_secs), "{retry}, {date:?}");
    }

    #[test]
    fn a_retry_after_is_read_in_seconds() {
        check("7", None, Some(7));
        check(" 7 ", None, Some(7));
        check("0", None, None);
        check("86400", None, Some(60));
        check("-1", None, None);
        check("soon", None, None);
        assert_eq!(retry_after(&HeaderMap::new(), SystemTime::UNIX_EPOCH), None);
    }

    #[test]
    fn a_retry_after_is_read_as_a_date() {
        check("Thu, 26 Nov 2026 12:00:09 GMT", None, Some(9));
        check("Thursday, 26-Nov-26 12:00:09 GMT", None, Some(9));
        check("Thu Nov 26 12:00:09 2026", None, Some(9));
        check("Thu, 26 Nov 2026 12:00:00 GMT", None, None);
        check("Wed, 21 Oct 2015 07:28:00 GMT", None, None);
        check("Fri, 27 Nov 2026 12:00:00 GMT", None, Some(60));
        // The server's clock is an hour behind ours.
        check("Thu, 26 Nov 2026 11:00:09 GMT", Some("Thu, 26 Nov 2026 11:00:00 GMT"), Some(9));
        check("Thu, 26 Nov 2026 12:00:09 GMT", Some("today"), Some(9));
        check("Thu, 31 Nov 2026 12:00:09 GMT", None, None);
    }

    #[tokio::test]
    async fn statuses_have_their_meanings() {
        let check = async |status: u16, body: &'static str, expected: Answer| {
            let response = http::Response::builder().status(status).header("retry-after", "7").body(body);
            let found = Answer::of(reqwest::Response::from(response.unwrap()), SystemTime::UNIX_EPOCH).await;
            assert_eq!(found, expected, "{status}");
        };
        let wait = Some(Duration::from_secs(7));
        check(200, "", Answer::Acknowledged).await;
        check(409, "{\"expected\":3}", Answer::Expected { sequence: 3, epoch: None }).await;
        check(409, "<html>", Answer::Unexpected(409, wait)).await;
        check(429, "", Answer::Busy(wait)).await;
        check(500, "", Answer::Failed(wait)).await;
        check(503, "", Answer::Unavailable(wait)).await;
        check(413, "", Answer::Rejected(413)).await;
        check(403, "", Answer::Denied(403)).await;
        check(410, r#"{"erased":true,"code":9,"message":"tenant a was erased"}"#, Answer::Erased).await;
        check(410, r#"{"erased":false}"#, Answer::Unexpected(410, wait)).await;
        check(410, "gone", Answer::Unexpected(410, wait)).await;
        for status in [301, 404, 405, 415, 501] {
            check(status, "", Answer::Unexpected(status, wait)).await;
        }
    }
}
