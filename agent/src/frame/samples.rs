//! Real logs of Airflow's containers: tracebacks chained and on both outputs at once, lines in pieces.

use super::*;

const OUTAGE: &str = include_str!("../../tests/data/airflow_2_outage.cri.log");
const PIECES: &str = include_str!("../../tests/data/airflow_3_pieces.cri.log");

/// Reads a container's log; `settles` says after how many lines the reader looks what is due.
fn events(log: &str, settles: usize) -> Vec<Event> {
    let now = Instant::now();
    let mut framer = Framer::new(Form::Cri);
    let (mut at, mut out) = (0, vec![]);
    for (n, line) in log.lines().enumerate() {
        let end = at + line.len() as u64 + 1;
        let place = |o| Position::in_file(0, o);
        framer.line(Line { bytes: line.as_bytes(), start: place(at), end: place(end), cut: false }, now);
        at = end;
        if n % settles == settles - 1 {
            framer.settle(now, false);
            out.extend(framer.release(place(at)).0);
        }
    }
    framer.settle(now, true);
    out.extend(framer.release(Position::in_file(0, at)).0);
    assert_eq!(framer.tally().odd, 0);
    out
}

#[test]
fn chained_tracebacks_are_whole_records_on_both_outputs() {
    for settles in [1, 7, usize::MAX] {
        let events = events(OUTAGE, settles);
        for stream in [Stream::Stdout, Stream::Stderr] {
            let of: Vec<_> = events.iter().filter(|e| e.stream == Some(stream)).collect();
            let wanted: Vec<&str> = OUTAGE
                .lines()
                .filter_map(|l| l.split_once(&format!(" {} F ", stream.as_str())).map(|(_, text)| text))
                .filter(|text| !text.trim().is_empty())
                .collect();
            let lines: Vec<&str> =
                of.iter().flat_map(|e| e.text.lines()).filter(|l| !l.trim().is_empty()).collect();
            assert_eq!(lines, wanted, "each line once, in order");
            let torn =
                |e: &&&Event| e.text.starts_with([' ', '\t']) || e.text.starts_with("The above exception");
            assert_eq!(of.iter().filter(torn).count(), 0, "no record is a piece of a traceback");
        }
        let chained =
            events.iter().filter(|e| e.text.matches("Traceback (most recent call last)").count() > 1);
        assert_eq!((events.len(), chained.count()), (13, 2), "looking after {settles} lines");
    }
}

#[test]
fn a_line_in_five_pieces_is_one_record() {
    let events = events(PIECES, 1);
    let lens: Vec<_> = events.iter().map(|e| (e.text.len(), e.cut)).collect();
    assert_eq!(lens, [(360, false), (70_279, false), (309, false), (491, false)]);
}
