//! Which blocks use which of some numbered things (values, templates), and how many rows of each block do.

use super::columns::{Cursor, Malformed, Parsed, put_varint};

/// Gathers uses while a segment is written.
#[derive(Default)]
pub(super) struct UsesBuilder(Vec<(u32, u32, u32)>);

impl UsesBuilder {
    /// Notes that so many rows of a block have a number; each pair of number and block once.
    pub(super) fn add(&mut self, number: u32, block: u32, rows: u32) {
        self.0.push((number, block, rows));
    }

    /// How many rows have a number.
    pub(super) fn rows(&self, number: u32) -> u64 {
        self.0.iter().filter(|(n, ..)| *n == number).map(|(.., rows)| u64::from(*rows)).sum()
    }

    /// For each number below `count`, how many blocks; then for each block its distance from the one before, and the
    /// rows.
    pub(super) fn write(mut self, count: usize, out: &mut Vec<u8>) {
        self.0.sort_unstable();
        let mut uses = self.0.chunk_by(|a, b| a.0 == b.0).peekable();
        for number in (0_u32..).take(count) {
            let of = uses.next_if(|of| of.first().is_some_and(|u| u.0 == number)).unwrap_or_default();
            put_varint(out, of.len() as u64);
            let mut next = 0;
            for (_, block, rows) in of {
                put_varint(out, (block - next).into());
                put_varint(out, (*rows).into());
                next = block + 1;
            }
        }
    }
}

/// The uses in an opened segment.
pub(super) struct Uses {
    bytes: Vec<u8>,
    /// Where each number's uses begin, and the end of the last.
    starts: Vec<u32>,
}

impl Uses {
    /// Reads [`UsesBuilder::write`] of a segment with so many blocks.
    pub(super) fn read(from: &mut Cursor<'_>, count: usize, blocks: u32) -> Parsed<Self> {
        let mut body = *from;
        let at = |from: &Cursor<'_>| {
            u32::try_from(body.remaining() - from.remaining()).map_err(|_| Malformed("its uses are too long"))
        };
        let mut starts = Vec::with_capacity(count.min(body.remaining()) + 1);
        for _ in 0..count {
            starts.push(at(from)?);
            for _ in 0..from.count(blocks as usize)? {
                from.varint()?;
                from.varint()?;
            }
        }
        starts.push(at(from)?);
        let bytes = body.bytes(body.remaining() - from.remaining())?.to_vec();
        Ok(Self { bytes, starts })
    }

    /// Calls `each` with every block that uses a number, and how many of its rows do.
    pub(super) fn for_each_block(&self, number: u32, mut each: impl FnMut(u32, u32)) {
        let at = |n: u32| self.starts.get(n as usize).map(|s| *s as usize);
        let (Some(start), Some(end)) = (at(number), at(number.saturating_add(1))) else { return };
        let mut from = Cursor::new(self.bytes.get(start..end).unwrap_or_default());
        let mut next = 0_u32;
        // The uses were walked through when they were read.
        for _ in 0..from.varint().unwrap_or_default() {
            let (Ok(distance), Ok(rows)) = (from.u32(), from.u32()) else { return };
            let block = next.saturating_add(distance);
            each(block, rows);
            next = block.saturating_add(1);
        }
    }
}
