//! Lines in, events out, as tables; and the promise on where to resume, for any lines.

use proptest::prelude::*;

use super::*;

const AT: &str = "2026-11-24T10:00:00.5Z";

/// Feeds lines as of one file; gives the framer and the place after the last.
fn fed(form: Form, lines: &[&[u8]], now: Instant) -> (Framer, Position) {
    let mut framer = Framer::new(form);
    let mut at = 0;
    for bytes in lines {
        let end = at + bytes.len() as u64 + 1;
        let place = |o| Position::in_file(0, o);
        framer.line(Line { bytes, start: place(at), end: place(end), cut: false }, now);
        at = end;
    }
    (framer, Position::in_file(0, at))
}

#[track_caller]
fn check(form: Form, lines: &[&str], expected: &[&str]) {
    let now = Instant::now();
    let bytes: Vec<&[u8]> = lines.iter().map(|l| l.as_bytes()).collect();
    let (mut framer, read) = fed(form, &bytes, now);
    framer.settle(now, true);
    let (events, resume) = framer.release(read);
    let texts: Vec<&str> = events.iter().map(|e| e.text.as_str()).collect();
    assert_eq!(texts, expected);
    assert_eq!(resume, read);
}

#[test]
fn plain_lines_are_an_event_each() {
    check(Form::Plain, &["one", "two", "", "  ", "three\r", "t\u{0}x"], &["one", "two", "three", "t\u{0}x"]);
}

#[test]
fn tracebacks_are_one_event() {
    check(
        Form::Plain,
        &["before", "Traceback (most recent call last):", "  File \"x\"", "ValueError: y", "after"],
        &["before", "Traceback (most recent call last):\n  File \"x\"\nValueError: y", "after"],
    );
}

#[test]
fn pieces_are_joined_by_stream() {
    check(
        Form::Cri,
        &[
            &format!("{AT} stdout P one "),
            &format!("{AT} stderr F between"),
            &format!("{AT} stdout P two "),
            &format!("{AT} stdout F three"),
            "not in form",
            &format!("{AT} stdout F "),
        ],
        &["one two three", "between", "not in form"],
    );
}

#[test]
fn a_torn_line_between_pieces_ends_their_text() {
    let lines = [format!("{AT} stdout P   one"), "2026-11-24T1".to_owned(), format!("{AT} stdout F two")];
    check(Form::Cri, &lines.each_ref().map(String::as_str), &["  one", "2026-11-24T1", "two"]);
}

#[test]
fn what_is_not_text_is_replaced_and_counted() {
    let now = Instant::now();
    let (mut framer, read) = fed(Form::Plain, &[b"\xEF\xBB\xBFbom", b"a\xFF\xFEb", b"nul\0", b""], now);
    framer.settle(now, true);
    let (events, _) = framer.release(read);
    let texts: Vec<_> = events.iter().map(|e| e.text.as_str()).collect();
    assert_eq!(texts, ["bom", "a\u{FFFD}\u{FFFD}b", "nul\0"]);
    let tally = framer.tally();
    assert_eq!((tally.lines, tally.replaced, tally.empty), (4, 2, 1));
}

#[test]
fn a_piece_of_a_character_is_not_left_at_a_cut() {
    assert_eq!(whole_characters("aä".as_bytes().get(..2).unwrap()), b"a");
    assert_eq!(whole_characters(b"ab"), b"ab");
    assert_eq!(whole_characters(b""), b"");
    let now = Instant::now();
    let mut framer = Framer::new(Form::Cri);
    let piece = "ä".repeat(5000);
    let line = format!("{AT} stdout P {piece}");
    for n in 0..200 {
        let place = |o| Position::in_file(0, o);
        framer.line(Line { bytes: line.as_bytes(), start: place(n), end: place(n + 1), cut: false }, now);
    }
    framer.settle(now, true);
    let (events, _) = framer.release(Position::in_file(0, 200));
    let [event] = events.as_slice() else { panic!("one event, not {}", events.len()) };
    assert!(event.cut && event.text.len() <= MESSAGE_BYTES_MAX && event.text.chars().all(|c| c == 'ä'));
    assert_eq!(framer.tally().cut, 1);
}

#[test]
fn only_what_is_likely_to_go_on_is_held_back() {
    let now = Instant::now();
    let (mut framer, read) = fed(Form::Plain, &[b"one", b"Traceback (most recent call last):"], now);
    framer.settle(now, false);
    let (events, resume) = framer.release(read);
    assert_eq!((events.len(), resume), (1, Position::in_file(0, 4)));
    let due = framer.deadline().unwrap();
    assert!(due <= now + Duration::from_millis(200));
    framer.settle(due, false);
    assert_eq!(framer.release(read).0.len(), 1);
    assert_eq!(framer.deadline(), None);
}

#[test]
fn a_piece_without_an_end_is_let_go_after_a_while() {
    let now = Instant::now();
    let line = format!("{AT} stdout P lonely");
    let (mut framer, read) = fed(Form::Cri, &[line.as_bytes()], now);
    framer.settle(now, false);
    assert_eq!(framer.release(read), (vec![], Position::in_file(0, 0)));
    let due = framer.deadline().unwrap();
    framer.settle(due, false);
    framer.settle(due + Duration::from_secs(1), false);
    assert_eq!(framer.release(read).0.first().unwrap().text, "lonely");
}

#[test]
fn a_joined_event_is_bounded() {
    let now = Instant::now();
    let frame = format!("  {}", "x".repeat(100_000));
    let mut lines = vec!["Traceback (most recent call last):".as_bytes()];
    lines.extend(std::iter::repeat_n(frame.as_bytes(), 30));
    let (mut framer, read) = fed(Form::Plain, &lines, now);
    framer.settle(now, true);
    let (events, _) = framer.release(read);
    assert!(events.iter().all(|e| e.text.len() <= MESSAGE_BYTES_MAX && !e.cut));
    assert_eq!(events.iter().map(|e| e.text.matches('x').count()).sum::<usize>(), 3_000_000);
}

proptest! {
    /// Wherever events are let go, nothing that was let go lies beyond the place to resume, and nothing is
    /// missing before it: reading again from there gives each line exactly once.
    #[test]
    fn resuming_gives_each_line_once(
        kinds in proptest::collection::vec((0_u8..7, 0_u8..2, any::<bool>()), 1..40),
    ) {
        let now = Instant::now();
        let mut framer = Framer::new(Form::Cri);
        let (mut at, mut done, mut seen) = (0, 0, vec![]);
        for (n, (kind, stream, look)) in kinds.iter().enumerate() {
            let stream = ["stdout", "stderr"][usize::from(*stream)];
            let text = match kind {
                0 => format!("{AT} {stream} P #{n}#"),
                1 => format!("{AT} {stream} F Traceback (most recent call last):"),
                2 => format!("{AT} {stream} F   File #{n}#"),
                _ => format!("{AT} {stream} F #{n}#"),
            };
            let end = at + text.len() as u64 + 1;
            let place = |o| Position::in_file(0, o);
            framer.line(Line { bytes: text.as_bytes(), start: place(at), end: place(end), cut: false }, now);
            at = end;
            if *look {
                framer.settle(now, false);
            }
            let (events, resume) = framer.release(place(at));
            prop_assert!(resume >= place(done), "it never goes back");
            for event in &events {
                prop_assert!(event.start >= place(done) && event.end <= resume);
            }
            prop_assert!(events.is_sorted_by_key(|e| e.start));
            done = resume.0;
            seen.extend(events);
        }
        framer.settle(now, true);
        let (events, resume) = framer.release(Position::in_file(0, at));
        prop_assert_eq!(resume, Position::in_file(0, at));
        seen.extend(events);
        for (n, (kind, ..)) in kinds.iter().enumerate() {
            let mark = format!("#{n}#");
            let count = seen.iter().map(|e| e.text.matches(&mark).count()).sum::<usize>();
            prop_assert_eq!(count, usize::from(*kind != 1), "line {}", n);
        }
    }
}
