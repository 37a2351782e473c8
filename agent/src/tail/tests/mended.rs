//! A test for each mistake that was found, by the histories or by thought; and for each kind of rotation.

use std::path::PathBuf;

use std::io::{Seek, SeekFrom};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn copy(&self, to: &str) {
        fs::copy(self.path("x.log"), self.path(to)).unwrap();
    }

    fn truncate(&self) {
        OpenOptions::new().write(true).truncate(true).open(self.path("x.log")).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    fn compress(&self, name: &str) {
        let text = fs::read(self.path(name)).unwrap();
        self.gzip(&format!("{name}.gz"), &text);
        self.remove(name);
    }

    fn gzip(&self, name: &str, text: &[u8]) {
        let mut encoder = GzEncoder::new(fs::File::create(self.path(name)).unwrap(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap();
    }

    fn lost(&mut self) -> u64 {
        self.lost += self.tail.take_lost_rests();
        self.lost
    }
}

/// 256 bytes that every file begins with.
fn head() -> String {
    "=".repeat(256)
}

#[test]
fn a_copy_is_recognised_after_the_path_was_deleted() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\n");
    bench.read_all();
    bench.copy("x.log.1");
    bench.truncate();
    bench.remove("x.log");
    bench.append("x.log", "two\n");
    bench.check(&["one", "two"]);
}

#[test]
fn what_was_written_between_a_truncation_and_a_deletion_is_read() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\n");
    bench.read_all();
    bench.truncate();
    bench.append("x.log", "two\n");
    bench.remove("x.log");
    bench.append("x.log", "three\n");
    bench.check(&["one", "two", "three"]);
    assert_eq!(bench.lost(), 1);
}

#[test]
fn a_copy_of_what_nobody_had_read_is_read() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\n");
    bench.read_all();
    bench.copy("x.log.1");
    bench.truncate();
    bench.look();
    // The file is open, and nothing was in it.
    bench.append("x.log", "two\n");
    bench.rename("x.log.1", "x.log.2");
    bench.copy("x.log.1");
    bench.truncate();
    bench.append("x.log", "three\n");
    bench.check(&["one", "two", "three"]);
}

#[test]
fn a_copy_of_less_than_was_read_is_not_read() {
    let mut bench = Bench::new();
    bench.buffer = vec![0; 4096];
    bench.append("x.log", &format!("{}\none\n", head()));
    bench.read_all();
    bench.copy("x.log.1");
    bench.append("x.log", "between\n");
    bench.read_all();
    bench.truncate();
    bench.append("x.log", "two\n");
    bench.check(&[&head(), "one", "between", "two"]);
    bench.crash();
    bench.check(&[&head(), "one", "between", "two"]);
}

#[test]
fn a_copy_of_less_than_was_read_before_a_restart_is_not_read() {
    let mut bench = Bench::new();
    bench.buffer = vec![0; 4096];
    bench.append("x.log", &format!("{}\none\n", head()));
    bench.read_all();
    bench.copy("x.log.1");
    bench.append("x.log", "between\n");
    bench.read_all();
    bench.truncate();
    bench.append("x.log", "two\n");
    bench.crash();
    bench.check(&[&head(), "one", "between", "two"]);
}

#[test]
fn a_copy_that_is_made_while_the_agent_starts_is_not_read() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\n");
    bench.copy("x.log.1");
    bench.append("x.log", "between\n");
    bench.read_all();
    bench.check(&["one", "between"]);
}

#[test]
fn a_copy_that_is_made_while_the_agent_starts_is_not_read_after_the_truncation() {
    let own = |n: usize| format!("{n} {}", head());
    let mut bench = Bench::new();
    bench.buffer = vec![0; 4096];
    bench.append("x.log.2", &format!("{}\none\n", own(1)));
    bench.append("x.log", &format!("{}\ntwo\n", own(2)));
    bench.copy("x.log.1");
    bench.append("x.log", "between\n");
    bench.look();
    bench.look();
    bench.truncate();
    bench.append("x.log", &format!("{}\nthree\n", own(3)));
    bench.check(&[&own(1), "one", &own(2), "two", "between", &own(3), "three"]);
}

#[test]
fn rotations_that_overran_the_reader_are_counted() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\n");
    bench.read_all();
    bench.remove("x.log");
    for n in ["x.log.2", "x.log.1", "x.log"] {
        bench.append(n, &format!("in {n}\n"));
    }
    bench.check(&["one", "in x.log.2", "in x.log.1", "in x.log"]);
    assert_eq!(bench.lost(), 1);
}

#[test]
fn a_copy_is_not_read_before_its_file_is_truncated() {
    let mut bench = Bench::new();
    bench.append("x.log.1", "zero\n");
    bench.append("x.log", "");
    bench.tail.reconcile(bench.now, &|_| false).unwrap();
    bench.append("x.log", "one\ntwo\n");
    bench.rename("x.log.1", "x.log.2");
    bench.copy("x.log.1");
    bench.read_all();
    bench.truncate();
    bench.append("x.log", "three\n");
    bench.check(&["zero", "one", "two", "three"]);
}

#[test]
fn a_file_that_was_replaced_by_one_that_begins_alike_is_noticed() {
    let mut bench = Bench::new();
    bench.append("x.log", &format!("{}\none\n", head()));
    bench.read_all();
    bench.copy("x.log.1");
    bench.truncate();
    bench.append("x.log", &format!("{}\ntwo, and it is longer than what was there\n", head()));
    bench.check(&[&head(), "one", &head(), "two, and it is longer than what was there"]);
    assert_eq!(bench.lost(), 0);
}

#[test]
fn a_file_that_was_replaced_while_away_by_one_that_begins_alike_is_noticed() {
    let mut bench = Bench::new();
    bench.append("x.log", &format!("{}\none\n", head()));
    bench.read_all();
    bench.copy("x.log.1");
    bench.truncate();
    bench.append("x.log", &format!("{}\ntwo, and it is longer than what was there\n", head()));
    bench.crash();
    bench.check(&[&head(), "one", &head(), "two, and it is longer than what was there"]);
}

#[test]
fn old_copies_are_not_read_again_after_a_truncation_while_away() {
    let mut bench = Bench::new();
    for n in 1..4 {
        bench.append("x.log", &format!("line {n}\n"));
        bench.read_all();
        for old in (1..n).rev() {
            bench.rename(&format!("x.log.{old}"), &format!("x.log.{}", old + 1));
        }
        bench.copy("x.log.1");
        bench.truncate();
        bench.read_all();
    }
    bench.append("x.log", "line 4\n");
    bench.read_all();
    bench.truncate();
    bench.append("x.log", "5\n");
    bench.crash();
    bench.check(&["line 1", "line 2", "line 3", "line 4", "5"]);
}

#[test]
fn two_files_that_begin_alike_are_not_taken_for_copies_of_one() {
    let mut bench = Bench::new();
    bench.append("x.log", &format!("{}\none\n", head()));
    bench.tail.reconcile(bench.now, &|_| false).unwrap();
    bench.truncate();
    for n in 2..4 {
        bench.rename("x.log", &format!("x.log.{}", 9 - n));
        bench.append("x.log", &format!("{}\nfile {n}\n", head()));
    }
    bench.check(&[&head(), "file 2", &head(), "file 3"]);
    assert_eq!(bench.lost(), 1);
}

#[test]
fn positions_of_a_truncated_file_do_not_fit_what_is_in_it_now() {
    let mut bench = Bench::new();
    bench.buffer = vec![0; 4096];
    bench.append("x.log", &format!("{}\nline 1\npart", head()));
    bench.look();
    bench.truncate();
    bench.append("x.log", &format!("{}\nline 2\n", head()));
    bench.look();
    bench.append("x.log", "line 3\n");
    bench.crash();
    // The piece was still held back.
    bench.check(&[&head(), "line 1", &head(), "line 2", "line 3"]);
}

#[test]
fn a_stranger_with_the_inode_of_an_old_file_is_not_read() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\n");
    bench.read_all();
    bench.rename("x.log", "notes.txt");
    bench.crash();
    bench.append("x.log", "two\n");
    bench.read_all();
    // What was the log is overwritten by something else, in place.
    fs::write(bench.path("notes.txt"), "a\nb\nc\n").unwrap();
    bench.rename("notes.txt", "mine.txt");
    bench.crash();
    bench.append("mine.txt", "more\n");
    bench.append("x.log", "three\n");
    bench.read_all();
    assert_eq!(bench.lines.iter().filter(|l| l.as_str() == "a").count(), 0, "{:?}", bench.lines);
    assert_eq!(bench.lines.last().unwrap(), "three");
}

#[test]
fn a_rest_that_was_gone_after_a_restart_is_counted() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\n");
    bench.read_all();
    bench.append("x.log", "two\n");
    // Nothing holds it open while the agent is away.
    bench.tail = Bench::tail(bench.dir.path(), bench.saved.clone());
    bench.remove("x.log");
    bench.append("x.log", "three\n");
    bench.crash();
    bench.check(&["one", "three"]);
    assert_eq!(bench.lost(), 1);
}

#[test]
fn a_file_that_was_read_to_its_end_and_deleted_is_not_counted_as_lost() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\n");
    bench.read_all();
    bench.remove("x.log");
    bench.read_all();
    bench.now += Duration::from_secs(6);
    bench.read_all();
    bench.crash();
    bench.append("x.log", "two\n");
    bench.check(&["one", "two"]);
    assert_eq!(bench.lost(), 0);
}

#[test]
fn times_of_four_digits_are_no_ordinals() {
    let mut bench = Bench::new();
    bench.append("x.log.20261123-1015", "one\n");
    bench.append("x.log.20261123-1016", "two\n");
    bench.append("x.log", "three\n");
    bench.tail.reconcile(bench.now, &|_| false).unwrap();
    bench.check(&["one", "two", "three"]);
}

#[test]
fn a_writer_that_kept_its_offset_over_a_truncation_leaves_no_zeros() {
    let mut bench = Bench::new();
    bench.append("x.log", "a line of some length\n");
    bench.read_all();
    // Without O_APPEND, a write goes to where the last one ended.
    let mut writer = OpenOptions::new().write(true).open(bench.path("x.log")).unwrap();
    writer.seek(SeekFrom::End(0)).unwrap();
    bench.copy("x.log.1");
    bench.truncate();
    bench.read_all();
    writer.write_all(b"after a hole\n").unwrap();
    bench.check(&["a line of some length", "after a hole"]);
}

#[test]
fn compressed_files_are_read_in_order_when_the_agent_starts_late() {
    let mut bench = Bench::new();
    bench.gzip("x.log.20261123-101400.gz", b"one\ntwo\n");
    bench.gzip("x.log.20261123-101500.gz", b"three\n");
    bench.append("x.log.20261123-101600", "four\n");
    bench.append("x.log", "five\n");
    bench.tail.reconcile(bench.now, &|_| false).unwrap();
    bench.check(&["one", "two", "three", "four", "five"]);
    bench.crash();
    bench.check(&["one", "two", "three", "four", "five"]);
}

#[test]
fn reading_goes_on_in_the_middle_of_a_compressed_file() {
    let text: String = (0..200).map(|n| format!("line {n}\n")).collect();
    let lines: Vec<_> = text.lines().collect();
    for crash_after in [1, 3, 10] {
        let mut bench = Bench::new();
        bench.gzip("x.log.1.gz", text.as_bytes());
        bench.append("x.log", "last\n");
        bench.tail.reconcile(bench.now, &|_| false).unwrap();
        for _ in 0..crash_after {
            bench.look();
        }
        bench.crash();
        let mut expected = lines.clone();
        expected.push("last");
        bench.check(&expected);
    }
}

#[test]
fn what_was_read_plain_is_not_read_again_compressed() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\ntwo\n");
    bench.read_all();
    bench.rename("x.log", "x.log.1");
    bench.append("x.log", "three\n");
    bench.read_all();
    bench.compress("x.log.1");
    bench.check(&["one", "two", "three"]);
    bench.crash();
    bench.tail.reconcile(bench.now, &|_| false).unwrap();
    bench.check(&["one", "two", "three"]);
}

#[test]
fn what_was_read_in_part_goes_on_compressed_after_a_restart() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\n");
    bench.read_all();
    bench.append("x.log", "two\n");
    bench.rename("x.log", "x.log.1");
    bench.append("x.log", "three\n");
    bench.compress("x.log.1");
    bench.crash();
    bench.check(&["one", "two", "three"]);
    assert_eq!(bench.lost(), 0);
}

#[test]
fn an_open_file_is_read_to_its_end_though_it_was_compressed_meanwhile() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\n");
    bench.read_all();
    bench.append("x.log", "two\n");
    bench.rename("x.log", "x.log.1");
    bench.append("x.log", "three\n");
    bench.compress("x.log.1");
    bench.check(&["one", "two", "three"]);
}

#[test]
fn a_file_that_was_empty_when_it_was_opened_is_not_read_again_compressed() {
    let mut bench = Bench::new();
    bench.append("x.log", "");
    bench.read_all();
    bench.append("x.log", "one\n");
    bench.rename("x.log", "x.log.1");
    bench.append("x.log", "two\n");
    bench.compress("x.log.1");
    bench.check(&["one", "two"]);
}

#[test]
fn a_compressed_file_that_begins_like_another_is_read() {
    let mut bench = Bench::new();
    bench.buffer = vec![0; 4096];
    bench.gzip("x.log.1.gz", format!("{}\none\n", head()).as_bytes());
    bench.append("x.log", &format!("{}\ntwo\n", head()));
    bench.tail.reconcile(bench.now, &|_| false).unwrap();
    bench.look();
    bench.crash();
    bench.rename("x.log.1.gz", "x.log.2.gz");
    bench.rename("x.log", "x.log.1");
    bench.compress("x.log.1");
    bench.append("x.log", "three\n");
    bench.crash();
    bench.check(&[&head(), "one", &head(), "two", "three"]);
}

#[test]
fn a_file_is_not_read_twice_while_it_is_compressed() {
    let mut bench = Bench::new();
    bench.append("x.log.1", "one\ntwo\n");
    bench.gzip("x.log.1.gz", b"one\n");
    bench.append("x.log", "three\n");
    bench.tail.reconcile(bench.now, &|_| false).unwrap();
    bench.check(&["one", "two", "three"]);
}

#[test]
fn a_torn_compressed_file_is_read_as_far_as_it_goes_and_counted() {
    let mut bench = Bench::new();
    let text: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    bench.gzip("x.log.1.gz", text.as_bytes());
    let len = fs::metadata(bench.path("x.log.1.gz")).unwrap().len();
    OpenOptions::new().write(true).open(bench.path("x.log.1.gz")).unwrap().set_len(len / 2).unwrap();
    bench.append("x.log", "last\n");
    bench.buffer = vec![0; 64 << 10];
    bench.tail.reconcile(bench.now, &|_| false).unwrap();
    bench.read_all();
    assert!(bench.lines.len() > 100 && bench.lines.len() < 20_000, "{}", bench.lines.len());
    assert_eq!(bench.lines.first().map(String::as_str), Some("line 0"));
    assert_eq!(bench.lines.last().map(String::as_str), Some("last"));
    assert_eq!(bench.lost(), 1);
}

#[test]
fn pieces_of_a_container_line_are_joined_over_a_rotation() {
    let mut bench = Bench::new();
    let at = "2026-11-24T10:00:00.5Z";
    bench.tail = Tail::new(bench.path("x.log").into(), Reach::Anywhere, Form::Cri, LiteMap::new());
    bench.append("x.log", &format!("{at} stdout F zero\n{at} stdout P one \n{at} stdout P two \n"));
    bench.read_all();
    bench.rename("x.log", "x.log.1");
    bench.append("x.log", &format!("{at} stdout F three\n{at} stdout F four\n"));
    bench.check(&["zero", "one two three", "four"]);
}

#[test]
fn five_rotations_are_read_after_a_restart_before_which_the_first_was_read_in_part() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\n");
    bench.read_all();
    bench.append("x.log", "one more\n");
    for n in 2..7 {
        for old in (1..n - 1).rev() {
            bench.rename(&format!("x.log.{old}"), &format!("x.log.{}", old + 1));
        }
        bench.rename("x.log", "x.log.1");
        bench.append("x.log", &format!("file {n}\n"));
    }
    bench.crash();
    bench.check(&["one", "one more", "file 2", "file 3", "file 4", "file 5", "file 6"]);
}
