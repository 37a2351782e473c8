//! Promise: lines written to a followed file = records found, once each, in file order.

use std::fs::OpenOptions;
use std::io::Write;

use crate::server::Place;
use crate::writer::assert_same;

const FILES: usize = 5;
const BEFORE: usize = 20_000;
const WHILE_RUNNING: usize = 2_000;

fn line(file: usize, n: usize) -> String {
    // Not all alike: long ones, empty ends, quotes, other alphabets.
    match n % 5 {
        0 => format!("file{file} {n} {}", "x".repeat(n % 700)),
        1 => format!("file{file} {n} größer als \"zuvor\" → {{\"a\": [1, 2]}}"),
        2 => format!("file{file} {n} [2026-11-24] took {n}ms\ttab"),
        _ => format!("file{file} {n} of a task that says little"),
    }
}

fn expected(file: usize) -> Vec<String> {
    let prefix = format!("file{file} ");
    (0..BEFORE + WHILE_RUNNING).map(|n| line(file, n).split_off(prefix.len())).collect()
}

/// 100,000 lines before the start, 10,000 while it runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_is_found_once_in_file_order() {
    let place = Place::new();
    let path = |file: usize| place.logs().join(format!("file{file}.log"));
    for file in 0..FILES {
        let text: String = (0..BEFORE).map(|n| line(file, n) + "\n").collect();
        std::fs::write(path(file), text).unwrap();
    }
    let server = place.up().await;
    for n in BEFORE..BEFORE + WHILE_RUNNING {
        for file in 0..FILES {
            let mut file_at_end = OpenOptions::new().append(true).open(path(file)).unwrap();
            file_at_end.write_all((line(file, n) + "\n").as_bytes()).unwrap();
        }
    }
    let token = place.token("default", "viewer").await;
    for file in 0..FILES {
        server.wait_for(&token, &format!("file{file} \"{}\"", BEFORE + WHILE_RUNNING - 1), 1).await;
    }
    let found = server.messages(&token).await;
    assert_eq!(found.len(), FILES);
    for file in 0..FILES {
        let name = format!("file{file}");
        assert_same(&name, &found[&name], &expected(file));
    }
    server.stop().await;
}

/// A file that appears while the server runs, and one that is gone at once.
#[tokio::test]
async fn files_that_appear_and_vanish_are_read() {
    let place = Place::new();
    let server = place.up().await;
    let token = place.token("default", "viewer").await;
    std::fs::write(place.logs().join("late.log"), "late 1\nlate 2\n").unwrap();
    server.wait_for(&token, "late", 2).await;
    std::fs::remove_file(place.logs().join("late.log")).unwrap();
    std::fs::write(place.logs().join("next.log"), "next 1\n").unwrap();
    server.wait_for(&token, "next", 1).await;
    let found = server.messages(&token).await;
    assert_eq!(found["late"], ["1", "2"]);
    assert_eq!(found["next"], ["1"]);
    server.stop().await;
}
