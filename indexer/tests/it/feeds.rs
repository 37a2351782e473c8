//! Live feeds: in order, without gap or repeat, and honest about what they leave out.

use futures::StreamExt;
use heliograph_model::filter::{Field, Filter, Test};
use heliograph_model::scan::{CommitId, FeedFrame};
use serde_json::json;

use crate::bench::{CLUSTER, Server, config, records, until};

/// A feed as the query role reads it.
pub(crate) struct Tail {
    body: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    held: Vec<u8>,
}

impl Tail {
    pub(crate) async fn open(server: &Server, filter: &Filter, after: Option<i64>) -> Self {
        let request = json!({"tenant": "t", "filter": filter, "after": after});
        let response =
            server.post("/internal/v1/feed").bearer_auth(CLUSTER).json(&request).send().await.unwrap();
        assert_eq!(response.status(), 200);
        Self { body: response.bytes_stream().boxed(), held: Vec::new() }
    }

    /// The next line; `None` at the end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.held.iter().position(|b| *b == b'\n') {
                let line = self.held.drain(..=end).collect();
                return Some(String::from_utf8(line).unwrap());
            }
            self.held.extend_from_slice(&self.body.next().await?.ok()?);
        }
    }

    /// Messages until `count` are there, with their commits; heartbeats are passed over.
    pub(crate) async fn messages(&mut self, count: usize) -> Vec<(CommitId, String)> {
        let mut all = Vec::new();
        while all.len() < count {
            let line = self.line().await.expect("the feed goes on");
            match serde_json::from_str(&line).unwrap() {
                FeedFrame::Records { commit, records } => {
                    all.extend(records.into_iter().map(|r| (commit, r.message.into_owned())));
                }
                FeedFrame::Heartbeat { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        all
    }

    pub(crate) async fn opening(&mut self) -> (CommitId, CommitId) {
        let line = self.line().await.unwrap();
        let FeedFrame::Open { committed, sealed_through, .. } = serde_json::from_str(&line).unwrap() else {
            panic!("{line}")
        };
        (committed, sealed_through)
    }
}

fn numbers(messages: &[(CommitId, String)]) -> Vec<u64> {
    messages.iter().map(|(_, m)| m.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn records_come_in_the_order_of_commits_and_only_those_meant() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    assert_eq!(server.send("t", "p", 1, &records("a", 0..100)).await, 200);
    let mut all = Tail::open(&server, &Filter::All, None).await;
    let errors = Filter::Is(Field::Level, Test::Text("error".to_owned()));
    let mut errors = Tail::open(&server, &errors, None).await;
    let (committed, sealed) = all.opening().await;
    errors.opening().await;
    assert!(committed > sealed);
    until("both feeds are there", || async { server.figure("heliograph_indexer_feed_subscribers") >= 2.0 })
        .await;
    assert_eq!(server.send("other", "p", 1, &records("other", 0..100)).await, 200);
    for sequence in 2..=20 {
        assert_eq!(
            server.send("t", "p", sequence, &records("a", sequence * 100..sequence * 100 + 100)).await,
            200
        );
    }
    let messages = all.messages(1900).await;
    assert_eq!(numbers(&messages), (200..2100).collect::<Vec<_>>());
    assert!(messages.is_sorted_by_key(|(commit, _)| *commit));
    assert!(messages[0].0 > committed);
    assert_eq!(numbers(&errors.messages(190).await), (200..2100).step_by(10).collect::<Vec<_>>());
    // A quiet feed says how far it is.
    let last = messages.last().unwrap().0;
    loop {
        let line = all.line().await.unwrap();
        if let FeedFrame::Heartbeat { commit } = serde_json::from_str(&line).unwrap() {
            assert!(commit >= last);
            break;
        }
    }
    drop((all, errors));
    until("both feeds are gone", || async { server.figure("heliograph_indexer_feed_subscribers") == 0.0 })
        .await;
    server.stop().await;
}

#[tokio::test]
async fn a_feed_that_resumes_while_records_come_misses_and_repeats_none() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let sending = async {
        for sequence in 1..=60_u64 {
            let batch = records("a", sequence * 10 - 10..sequence * 10);
            assert_eq!(server.send("t", "p", sequence, &batch).await, 200);
        }
    };
    let reading = async {
        let (mut seen, mut after) = (Vec::new(), 0);
        while seen.len() < 600 {
            let mut tail = Tail::open(&server, &Filter::All, Some(after)).await;
            tail.opening().await;
            let wanted = (600 - seen.len()).min(70);
            let messages = tail.messages(wanted).await;
            after = messages.last().unwrap().0.0;
            seen.extend(messages);
        }
        seen
    };
    let ((), seen) = tokio::join!(sending, reading);
    assert_eq!(numbers(&seen), (0..600).collect::<Vec<_>>());
    server.stop().await;
}

#[tokio::test]
async fn a_slow_reader_is_told_exactly_what_it_missed_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let config = heliograph_indexer::Config { hot_bytes_max: 512 << 20, ..config() };
    let server = Server::start_with(folder.path(), config, |store| store).await;
    let mut slow = Tail::open(&server, &Filter::All, None).await;
    slow.opening().await;
    let mut sent = 0_u64;
    // Until more is sent than the sockets between us and the feed's room can hold.
    for sequence in 1.. {
        let mut batch = records("a", sent..sent + 100);
        batch.iter_mut().for_each(|r| r.message = format!("{} {}", "x".repeat(5_000), r.position.0).into());
        assert_eq!(server.send("t", "p", sequence, &batch).await, 200);
        sent += 100;
        if server.figure("heliograph_indexer_feed_skipped_lines_total") >= 1_000.0 {
            break;
        }
        assert!(sequence < 1_000);
    }
    let (mut got, mut skipped, mut next) = (0, 0, 0);
    while got + skipped < sent {
        let line = slow.line().await.expect("the feed goes on");
        match serde_json::from_str(&line).unwrap() {
            FeedFrame::Records { records, .. } => {
                for record in records {
                    let number: u64 = record.message.rsplit(' ').next().unwrap().parse().unwrap();
                    assert_eq!(number, next);
                    next += 1;
                    got += 1;
                }
            }
            FeedFrame::Skipped { count, from, to, .. } => {
                assert_eq!(from.as_nanos() - 1_800_000_000_000_000_000, next.cast_signed());
                assert_eq!(to.nanos_since(from) + 1, count.cast_signed());
                next += count;
                skipped += count;
            }
            FeedFrame::Heartbeat { .. } | FeedFrame::Open { .. } => {}
        }
    }
    assert!(got > 0 && skipped >= 1_000, "{got} given, {skipped} left out");
    assert_eq!(next, sent);
    server.stop().await;
}

#[tokio::test]
async fn feeds_end_with_the_indexer() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let mut tail = Tail::open(&server, &Filter::All, None).await;
    tail.opening().await;
    let (end, ()) = tokio::join!(
        async {
            while tail.line().await.is_some() {}
            true
        },
        server.stop()
    );
    assert!(end);
}
