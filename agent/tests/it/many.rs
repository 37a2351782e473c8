//! Many files, few of them busy: each line of each arrives, those that are there at the start and those that come
//! later, in file order. `HELIOGRAPH_TEST_FILES` is how many.

use std::collections::BTreeMap;

use crate::flow::{Agent, append, files};
use crate::indexer::Indexer;
use crate::parameter;

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_files() {
    let count = parameter("HELIOGRAPH_TEST_FILES", 2_000);
    let hot = count / 10;
    let dir = tempfile::tempdir().unwrap();
    let path = |n: usize| dir.path().join(format!("logs/{:02}/{n:05}.log", n % 50));
    // Half is there before the agent is.
    let early = count / 2;
    (0..early).for_each(|n| append(&path(n), "first\n"));
    let indexer = Indexer::start().await;
    let agent = Agent::start(dir.path(), &indexer.url, files(dir.path(), "logs/*/*.log")).await;
    (early..count).for_each(|n| append(&path(n), "first\n"));
    indexer.wait_for(count).await;
    // More than the kernel's event queue holds, if nobody took any.
    let rounds = 20_000 / hot;
    for round in 0..rounds {
        (0..hot).for_each(|n| append(&path(n * 10), &format!("line {round}\n")));
    }
    indexer.wait_for(count + hot * rounds).await;
    assert_eq!(agent.metric("heliograph_agent_followed_files"), count as f64);
    assert_eq!(agent.metric("heliograph_agent_lost_rests_total"), 0.0);
    agent.stop().await;

    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut records: Vec<_> = std::mem::take(&mut indexer.indexed.lock().records);
    records.sort_by_key(|(_, record)| record.key());
    for (_, record) in records {
        texts
            .entry(record.source.path.as_deref().unwrap().to_owned())
            .or_default()
            .push(record.message.into());
    }
    assert_eq!(texts.len(), count);
    for n in 0..count {
        let mut expected = vec!["first".to_owned()];
        if n % 10 == 0 {
            expected.extend((0..rounds).map(|round| format!("line {round}")));
        }
        assert_eq!(texts.get(path(n).to_str().unwrap()), Some(&expected), "file {n}");
    }
}
