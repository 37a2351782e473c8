//! Random histories of a path against a model, which knows what must come out: each line once, in the order in
//! which it was written; and which lines may be missing, because their bytes were gone before anybody read them.

use proptest::prelude::*;

use super::world::World;

/// How a path is rotated. A program does it in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `x.log.1` … `x.log.5`.
    Numbered,
    /// `x.log.<time>`, older ones compressed.
    Kubelet,
    /// Copied to `x.log.1`, then truncated.
    Copied,
    /// The path is a link, which is led to the next file.
    Linked,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// A line, of this length at least.
    Write(usize),
    /// A piece of a line.
    WritePart,
    Rotate,
    /// A rotation after which the file is there again at once, empty.
    RotateAndCreate,
    /// The oldest rotated file that is not compressed is.
    Compress,
    Truncate,
    Delete,
    /// … and another file in its place, which may get its inode.
    DeleteAndWrite,
    Look,
    ReadAll,
    /// kill -9 before so many runs were spooled.
    Crash(usize),
    Wait(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (0_usize..120).prop_map(Op::Write),
        2 => Just(Op::WritePart),
        4 => Just(Op::Rotate),
        1 => Just(Op::RotateAndCreate),
        1 => Just(Op::Compress),
        1 => Just(Op::Truncate),
        1 => Just(Op::Delete),
        1 => Just(Op::DeleteAndWrite),
        4 => Just(Op::Look),
        3 => Just(Op::ReadAll),
        2 => (0_usize..4).prop_map(Op::Crash),
        1 => prop_oneof![Just(1), Just(6), Just(11)].prop_map(Op::Wait),
    ];
    proptest::collection::vec(op, 1..48)
}

/// How each file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// With its first line.
    Line,
    /// With the same 256 bytes as all others.
    Alike,
    /// With 256 bytes of its own.
    Own,
}

fn begins() -> impl Strategy<Value = Begin> {
    prop_oneof![Just(Begin::Line), Just(Begin::Alike), Just(Begin::Own)]
}

fn styles() -> impl Strategy<Value = Style> {
    prop_oneof![Just(Style::Numbered), Just(Style::Kubelet), Just(Style::Copied), Just(Style::Linked)]
}

proptest! {
    // 256 cases; PROPTEST_CASES=20000 for a night's worth.
    #![proptest_config(ProptestConfig::default())]
    /// Any history of writes, rotations, deletions, truncations and crashes: every line once and in order, but
    /// for what was gone before it could be read; and that is counted.
    #[test]
    fn any_history_gives_each_line_once(style in styles(), begin in begins(), ops in ops()) {
        let mut world = World::new(style, begin);
        for op in ops {
            world.apply(op);
        }
        world.check()?;
    }
}
