//! What a file may hold that is no log: each costs bounded memory, and the lines after it are right.
//!
//! `HELIOGRAPH_TEST_ENDLESS_BYTES` is how much text comes without a line end (1 GiB at full scale).

use heliograph_model::record::MESSAGE_BYTES_MAX;

use super::*;
use crate::frame::Tally;

/// Reads `x.log` to its end; what came of it, and what was counted.
fn read(bench: &mut Bench) -> (Vec<(String, bool)>, Tally) {
    bench.buffer = vec![0; 256 << 10];
    if bench.tail.is_displaced() {
        bench.tail.reconcile(bench.now, &|_| false).unwrap();
    }
    let (mut events, mut sum) = (vec![], Tally::default());
    loop {
        let progress = bench.tail.turn(&mut bench.buffer, bench.now).unwrap();
        assert!(bench.tail.held_bytes() <= 4 * MESSAGE_BYTES_MAX, "{}", bench.tail.held_bytes());
        let tally = bench.tail.tally();
        sum.lines += tally.lines;
        sum.cut += tally.cut;
        sum.empty += tally.empty;
        sum.replaced += tally.replaced;
        let run = bench.tail.take_run();
        events.extend(run.into_iter().flat_map(|r| r.events).map(|e| (e.text, e.cut)));
        if progress == Progress::Idle {
            return (events, sum);
        }
    }
}

#[track_caller]
fn check(bytes: &[u8], expected: &[&str]) -> Tally {
    let mut bench = Bench::new();
    fs::write(bench.dir.path().join("x.log"), bytes).unwrap();
    let (events, tally) = read(&mut bench);
    assert_eq!(events, expected.iter().map(|text| ((*text).to_owned(), false)).collect::<Vec<_>>());
    tally
}

#[test]
fn an_empty_file() {
    check(b"", &[]);
    check(b"\n", &[]);
}

#[test]
fn bytes_that_are_no_text() {
    let tally = check(
        b"\xEF\xBB\xBFone\r\ntw\0o\n\xFF\xFE\xC3\nf\xC3\xB6ur\n",
        &["one", "tw\0o", "\u{FFFD}\u{FFFD}\u{FFFD}", "f\u{f6}ur"],
    );
    assert_eq!((tally.lines, tally.replaced), (4, 3));
}

#[test]
fn a_million_empty_lines() {
    let mut text = "before\n".to_owned();
    text.push_str(&"\n".repeat(1_000_000));
    text.push_str("after\n");
    let tally = check(text.as_bytes(), &["before", "after"]);
    assert_eq!((tally.lines, tally.empty), (1_000_002, 1_000_000));
}

#[test]
fn text_without_a_line_end() {
    #[expect(clippy::disallowed_methods, reason = "how large a run is, is said to the test program")]
    let wanted = std::env::var("HELIOGRAPH_TEST_ENDLESS_BYTES");
    let wanted: usize = wanted.map_or(24 << 20, |text| text.parse().unwrap());
    let mut bench = Bench::new();
    let path = bench.dir.path().join("x.log");
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(b"before\n").unwrap();
    let piece = vec![b'x'; 1 << 20];
    (0..wanted.div_ceil(1 << 20)).for_each(|_| file.write_all(&piece).unwrap());
    let (events, _) = read(&mut bench);
    assert_eq!(events, [("before".to_owned(), false)]);
    file.write_all(b"\nafter\n").unwrap();
    let (events, tally) = read(&mut bench);
    let lens: Vec<_> = events.iter().map(|(text, cut)| (text.len(), *cut)).collect();
    assert_eq!((lens, tally.cut), (vec![(MESSAGE_BYTES_MAX, true), (5, false)], 1));
}

#[test]
fn a_line_of_exactly_the_limit_is_whole_and_a_longer_one_is_cut() {
    let mut bench = Bench::new();
    let whole = "x".repeat(MESSAGE_BYTES_MAX);
    let long = "y".repeat(10 << 20);
    fs::write(bench.dir.path().join("x.log"), format!("{whole}\n{whole}y\n{long}\nafter\n")).unwrap();
    let (events, _) = read(&mut bench);
    let lens: Vec<_> = events.iter().map(|(text, cut)| (text.len(), *cut)).collect();
    let max = MESSAGE_BYTES_MAX;
    assert_eq!(lens, [(max, false), (max, true), (max, true), (5, false)]);
}

#[test]
fn a_container_line_in_ten_thousand_pieces() {
    let mut bench = Bench::new();
    bench.tail = Tail::new(bench.dir.path().join("x.log").into(), Reach::Anywhere, Form::Cri, LiteMap::new());
    let at = "2026-11-24T10:00:00.5Z";
    let piece = format!("{at} stdout P {}\n", "x".repeat(1000));
    fs::write(
        bench.dir.path().join("x.log"),
        format!("{at} stdout F before\n{}{at} stdout F end\n{at} stdout F after\n", piece.repeat(10_000)),
    )
    .unwrap();
    let (events, tally) = read(&mut bench);
    let lens: Vec<_> = events.iter().map(|(text, cut)| (text.len(), *cut)).collect();
    assert_eq!((lens, tally.cut), (vec![(6, false), (MESSAGE_BYTES_MAX, true), (5, false)], 1));
}
