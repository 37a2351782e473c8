//! Where a word of the vocabulary stands: a posting, written and read.

use super::blocks::Blocks;
use super::columns::{Cursor, Parsed, put_varint};

/// Whether it is known of a word in which templates it is a variable. A number is one in so many that it would
/// cost more than it saves. Part of the format.
fn has_holders(word: &[u8]) -> bool {
    !word.iter().any(u8::is_ascii_digit)
}

/// Rising numbers, each as its distance from the one before.
#[derive(Default)]
pub(super) struct List {
    /// The number after the newest one.
    next: u32,
    count: u32,
    bytes: Vec<u8>,
}

impl List {
    /// Adds a number; one that is not above the newest is there already.
    pub(super) fn add(&mut self, number: u32) {
        if self.count == 0 || number >= self.next {
            put_varint(&mut self.bytes, (number - self.next).into());
            self.next = number + 1;
            self.count += 1;
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.count
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.count.into());
        out.extend_from_slice(&self.bytes);
    }
}

/// A posting in the making.
#[derive(Default)]
pub(super) struct Posting {
    /// Templates that have the word in their fixed part; they come in order.
    pub(super) templates: List,
    /// Templates of which it is a variable, rising.
    holders: Vec<u32>,
    /// Blocks that have it as a variable, or in a text that is kept whole.
    pub(super) blocks: List,
}

impl Posting {
    /// Notes that the word is a variable of a template, or stands in a text that is kept whole.
    pub(super) fn add(&mut self, word: &str, template: u32, block: u32) {
        self.blocks.add(block);
        if has_holders(word.as_bytes())
            && let Err(place) = self.holders.binary_search(&template)
        {
            self.holders.insert(place, template);
        }
    }

    /// Appends the number of templates and their list; the same of those of which it is a variable, for words
    /// without digits; then the list of blocks, or a bitmap of the segment's blocks where that is not longer: the
    /// length tells which.
    pub(super) fn write(&self, word: &str, blocks: u32, out: &mut Vec<u8>) {
        self.templates.put(out);
        if has_holders(word.as_bytes()) {
            let mut holders = List::default();
            self.holders.iter().for_each(|holder| holders.add(*holder));
            holders.put(out);
        }
        if self.blocks.bytes.len() < bitmap_bytes(blocks) {
            out.extend_from_slice(&self.blocks.bytes);
            return;
        }
        let mut bitmap = vec![0_u8; bitmap_bytes(blocks)];
        let mut from = Cursor::new(&self.blocks.bytes);
        let mut next = 0_u32;
        while let Ok(distance) = from.u32() {
            let block = next.saturating_add(distance);
            if let Some(byte) = bitmap.get_mut(block as usize / 8) {
                *byte |= 1 << (block % 8);
            }
            next = block.saturating_add(1);
        }
        out.extend_from_slice(&bitmap);
    }
}

fn bitmap_bytes(blocks: u32) -> usize {
    blocks.div_ceil(8) as usize
}

/// Where a word stands, or several do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// Templates that have it in their fixed part, rising.
    pub(super) templates: Vec<u32>,
    /// The only templates of which it is a variable, rising, among them [`super::templates::WHOLE`] if it stands in
    /// texts that are kept whole; none where it may be any.
    pub(super) holders: Option<Vec<u32>>,
    /// Blocks that have it as a variable, or in a text that is kept whole.
    pub(super) blocks: Blocks,
}

impl Places {
    /// Of a word that is nowhere.
    pub(super) fn none(blocks: u32) -> Self {
        Self { templates: Vec::new(), holders: Some(Vec::new()), blocks: Blocks::none(blocks) }
    }

    /// Adds a word's [posting](Posting::write) in a segment of so many blocks.
    pub(super) fn add(&mut self, word: &[u8], posting: &[u8], blocks: u32) -> Parsed<()> {
        let mut from = Cursor::new(posting);
        put_numbers(&mut from, &mut self.templates)?;
        if !has_holders(word) {
            self.holders = None;
        } else if let Some(holders) = &mut self.holders {
            put_numbers(&mut from, holders)?;
        } else {
            put_numbers(&mut from, &mut Vec::new())?;
        }
        if from.remaining() == bitmap_bytes(blocks) {
            for (at, byte) in (0_u32..).zip(from.bytes(from.remaining())?) {
                (0..8).filter(|bit| byte >> bit & 1 == 1).for_each(|bit| self.blocks.insert(at * 8 + bit));
            }
            return Ok(());
        }
        let mut next = 0_u32;
        while from.remaining() > 0 {
            let block = next.saturating_add(from.u32()?);
            self.blocks.insert(block);
            next = block.saturating_add(1);
        }
        Ok(())
    }

    /// The same after several words were added.
    pub(super) fn sorted(mut self) -> Self {
        for numbers in [Some(&mut self.templates), self.holders.as_mut()].into_iter().flatten() {
            numbers.sort_unstable();
            numbers.dedup();
        }
        self
    }
}

fn put_numbers(from: &mut Cursor<'_>, out: &mut Vec<u32>) -> Parsed<()> {
    let mut next = 0_u32;
    for _ in 0..from.count(from.remaining())? {
        let number = next.saturating_add(from.u32()?);
        out.push(number);
        next = number.saturating_add(1);
    }
    Ok(())
}
