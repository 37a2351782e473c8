//! A search as lines of JSON: how far it is while nothing is found yet, records as they are found, and at the end
//! what a page says beside its records.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream;
use heliograph_model::scan::Order;
use http::header;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::search::{Running, record_lines, stats};
use crate::error::{Error, Result};
use crate::search::{Page, Progress, Watch};

pub(super) const NDJSON: &str = "application/x-ndjson";
/// How often a search that has found nothing yet says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// The search of the next page, which has everything that it works on.
type Next = BoxFuture<'static, (Running, Result<Option<Page>>)>;

/// What the next line is made of.
enum Step {
    Searching(Next),
    Found(Running, Page),
    End(Running),
    Ended,
}

impl Step {
    fn of(running: Running, page: Option<Page>) -> Self {
        match page {
            Some(page) => Self::Found(running, page),
            None => Self::End(running),
        }
    }
}

/// Streams a search.
pub(super) async fn stream(running: Running) -> Result<Response> {
    let (watch, order) = (Arc::clone(running.pager.watch()), running.order);
    let mut next = next(running, true);
    // The first page before the status, if it is there soon: an error is still an answer then. A search that did
    // not have its turn yet has no status either.
    let step = loop {
        match timeout(PROGRESS_EVERY, &mut next).await {
            Ok((running, page)) => break Step::of(running, page?),
            Err(_) if watch.progress().is_some() => break Step::Searching(next),
            Err(_) => {}
        }
    };
    let lines = stream::try_unfold((step, true), move |(step, is_silent)| {
        let watch = Arc::clone(&watch);
        async move { line(step, is_silent, &watch, order).await }
    });
    Ok(([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(lines)).into_response())
}

fn next(mut running: Running, is_first: bool) -> Next {
    Box::pin(async move {
        let (search, scope) = (Arc::clone(&running.api.search), running.scope.clone());
        let page = if is_first {
            search.in_turn(&scope, running.pager.next()).await
        } else {
            search.in_turn_patiently(&scope, running.pager.next()).await
        };
        (running, page)
    })
}

/// The next lines, and what comes after them; `is_silent` as long as nothing was found.
async fn line(
    mut step: Step,
    mut is_silent: bool,
    watch: &Watch,
    order: Order,
) -> Result<Option<(Bytes, (Step, bool))>> {
    loop {
        step = match step {
            Step::Searching(mut next) => {
                let done =
                    if is_silent { timeout(PROGRESS_EVERY, &mut next).await } else { Ok((&mut next).await) };
                match (done, watch.progress()) {
                    (Ok((running, page)), _) => Step::of(running, page?),
                    (Err(_), Some(progress)) => {
                        let said = said(progress, order);
                        return Ok(Some((said, (Step::Searching(next), is_silent))));
                    }
                    (Err(_), None) => Step::Searching(next),
                }
            }
            Step::Found(mut running, page) => {
                let lines = record_lines(&page)?;
                running.outcome.merge(page.outcome);
                running.ensure_up()?;
                running.ensure_allowed().await?;
                is_silent = is_silent && lines.is_empty();
                let searching = Step::Searching(next(running, false));
                if !lines.is_empty() {
                    return Ok(Some((lines, (searching, is_silent))));
                }
                searching
            }
            Step::End(running) => {
                let mut rest = Map::new();
                rest.insert("next_cursor".to_owned(), json!(running.next_cursor()?));
                rest.insert("complete".to_owned(), json!(running.is_complete()));
                rest.extend(running.searched_to());
                rest.insert("stats".to_owned(), stats(&running.outcome, running.begun));
                let line = Bytes::from(format!("{}\n", Value::Object(rest)));
                return Ok::<_, Error>(Some((line, (Step::Ended, is_silent))));
            }
            Step::Ended => return Ok(None),
        };
    }
}

fn said(progress: Progress, order: Order) -> Bytes {
    let Progress { searched_to, done, segments } = progress;
    let mut said = Map::new();
    said.extend(searched_to.map(|time| (searched(order).to_owned(), json!(time))));
    said.insert("segments".to_owned(), json!(done));
    said.insert("of_segments".to_owned(), json!(segments));
    Bytes::from(format!("{}\n", json!({ "progress": said })))
}

/// How the time is named up to which a search came.
pub(super) fn searched(order: Order) -> &'static str {
    match order {
        Order::Desc => "searched_back_to",
        Order::Asc => "searched_up_to",
    }
}

#[cfg(test)]
mod tests {
    use heliograph_model::time::TimeRange;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_search_that_finds_nothing_says_how_far_it_is() {
        let searching = || Step::Searching(Box::pin(futures::future::pending()));
        let watch = Watch::default();
        let mut waiting = Box::pin(line(searching(), true, &watch, Order::Desc));
        assert!(timeout(PROGRESS_EVERY * 5, &mut waiting).await.is_err(), "it has not begun");
        watch.begin(Order::Desc, &TimeRange::ALL, &[]);
        assert!(timeout(PROGRESS_EVERY * 5, &mut waiting).await.is_err(), "there is nothing to search");
        let begun = tokio::time::Instant::now();
        watch.begin(Order::Desc, &TimeRange::ALL, &[crate::stage::segment(1, 10)]);
        let (said, again) = waiting.await.unwrap().unwrap();
        assert!(begun.elapsed() <= PROGRESS_EVERY);
        let said: Value = serde_json::from_slice(&said).unwrap();
        let progress = json!({
            "searched_back_to": "1970-01-01T00:00:00.000000010Z", "segments": 0, "of_segments": 1,
        });
        assert_eq!(said, json!({ "progress": progress }));
        assert!(matches!(again, (Step::Searching(_), true)));
        let mut found = Box::pin(line(searching(), false, &watch, Order::Desc));
        assert!(timeout(PROGRESS_EVERY * 5, &mut found).await.is_err(), "lines say it by themselves");
    }
}
