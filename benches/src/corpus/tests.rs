//! The corpus is the same for the same seed, and its parcels hold what was counted.

use heliograph_model::codec;

use super::*;
use crate::truth::Answer;

fn options(seed: u64) -> Options {
    Options { seed, bytes: 1 << 20, tenants: 3, hours: 1 }
}

/// A corpus and its `_bulk` bodies.
fn made(seed: u64) -> (Corpus, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let corpus = make(&options(seed), folder.path()).unwrap();
    let bodies = corpus.parcels.all.iter().map(|p| corpus.parcels.body(p, Form::Bulk).unwrap());
    let bodies = bodies.collect::<Vec<_>>().concat();
    (corpus, bodies)
}

#[test]
fn a_seed_names_a_corpus() {
    let (_, one) = made(1);
    assert!(one == made(1).1);
    assert!(one != made(2).1);
}

#[test]
fn what_is_planted_is_there_as_often_as_it_says() {
    let (corpus, bodies) = made(1);
    let bodies = String::from_utf8(bodies).unwrap();
    let planted = Planted::new(1);
    let in_messages = |text: &str| bodies.matches(text).count();
    assert_eq!(in_messages(&planted.needle), 1);
    assert_eq!(in_messages(&planted.ten), 10);
    assert_eq!(in_messages(&planted.absent), 0);
    assert_eq!(in_messages(&planted.trace), 1);
    let (question, tally) = &corpus.truth.asked[1];
    assert!(matches!(tally.answer(question.want), Answer::Lines(times) if times.len() == 10));
}

/// What a batch says to an indexer.
fn records(corpus: &Corpus, parcel: &Parcel) -> Vec<Record> {
    let batch = corpus.parcels.body(parcel, Form::Binary).unwrap();
    codec::decode(&codec::decompress(&batch, 64 << 20).unwrap()).unwrap().to_records()
}

#[test]
fn batches_hold_what_the_documents_say() {
    let (corpus, _) = made(1);
    let parcel = &corpus.parcels.all[0];
    let records = records(&corpus, parcel);
    assert_eq!(records.len() as u64, parcel.documents);
    let documents = String::from_utf8(corpus.parcels.body(parcel, Form::Bulk).unwrap()).unwrap();
    let messages: Vec<String> = documents
        .lines()
        .filter_map(|line| {
            serde_json::from_str::<serde_json::Value>(line).ok()?["message"].as_str().map(str::to_owned)
        })
        .collect();
    assert_eq!(messages, records.iter().map(|r| r.message.to_string()).collect::<Vec<_>>());
}

#[test]
fn time_never_falls_within_a_source() {
    let (corpus, _) = made(1);
    let mut last = std::collections::HashMap::new();
    for parcel in &corpus.parcels.all {
        for record in records(&corpus, parcel) {
            let key = (record.time, record.position);
            let before = last.insert(record.source.id, key);
            assert!(before.is_none_or(|before| before < key && before.1 < key.1));
        }
    }
}
