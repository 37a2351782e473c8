//! What answers is not always an indexer.

use std::time::Duration;

use crate::flow::{Agent, append, files, records, texts};
use crate::indexer::{Indexer, config};
use crate::log::Log;

#[tokio::test]
async fn an_answer_that_no_indexer_gives_is_told_and_counted_and_nothing_is_lost() {
    let log = Log::start();
    let dir = tempfile::tempdir().unwrap();
    let indexer = Indexer::start().await;
    // As a proxy that leads elsewhere.
    indexer.indexed.lock().refuses = Some(404);
    append(&dir.path().join("logs/app.log"), "one\n");
    let agent = Agent::start_with(config(dir.path(), &indexer.url, files(dir.path(), "logs/*.log"))).await;
    let told = |n: f64| {
        let agent = &agent;
        async move {
            while agent.batches("unexpected") < n {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    told(2.0).await;
    const SAID: &str = "answer is none of an indexer's";
    let said = log.lines(SAID);
    assert_eq!(said.len(), 1, "once a minute: {said:?}");
    assert!(said[0].contains("WARN") && said[0].contains("status=404"), "{said:?}");
    assert!(said[0].contains(&indexer.url), "{said:?}");
    indexer.indexed.lock().refuses = Some(302);
    told(agent.batches("unexpected") + 2.0).await;
    let said = log.lines(SAID);
    assert!(said.len() == 2 && said[1].contains("status=302"), "and when it changes: {said:?}");
    indexer.indexed.lock().refuses = Some(500);
    while agent.batches("failed") < 2.0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(log.lines("indexer failed at a batch").len(), 1);
    indexer.indexed.lock().refuses = None;
    indexer.wait_for(1).await;
    agent.stop().await;
    assert_eq!(texts(&records(&indexer, "team-a")), ["one"]);
}
