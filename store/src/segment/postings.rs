//! Where a word of the vocabulary stands: a posting, written and read.

use super::bitset::{BitSet, List};
use super::columns::{Cursor, Parsed};

/// Whether it is known of a word in which templates it is a variable, and of a frequent one in which rows. A number
/// is one in so many that it would cost more than it saves. Part of the format.
pub(super) fn has_holders(word: &[u8]) -> bool {
    !word.iter().any(u8::is_ascii_digit)
}

/// A posting in the making.
#[derive(Default)]
pub(super) struct Posting {
    /// Templates that have the word in their fixed part, rising.
    templates: Vec<u32>,
    /// Templates of which it is a variable, rising.
    holders: Vec<u32>,
    /// The newest of `holders`, and whether the word's rows are listed there.
    newest: Option<(u32, bool)>,
    /// Blocks that have it as a variable, or in a text that is kept whole.
    blocks: List,
}

impl Posting {
    /// Notes that a template has the word in its fixed part; templates come in order.
    pub(super) fn add_template(&mut self, template: u32) {
        if self.templates.last() != Some(&template) {
            self.templates.push(template);
        }
    }

    /// Notes that the word is a variable of a template, or stands in a text that is kept whole. Says whether its
    /// rows there are worth a list: where the template has it, too, each row has it anyway.
    pub(super) fn add(&mut self, word: &str, template: u32, block: u32) -> bool {
        self.blocks.add(block);
        if let Some((newest, is_listed)) = self.newest
            && newest == template
        {
            return is_listed;
        }
        let has_holders = has_holders(word.as_bytes());
        if has_holders && let Err(place) = self.holders.binary_search(&template) {
            self.holders.insert(place, template);
        }
        let is_listed = has_holders && self.templates.binary_search(&template).is_err();
        self.newest = Some((template, is_listed));
        is_listed
    }

    /// How many blocks have it as a variable, or in a text that is kept whole.
    pub(super) fn blocks(&self) -> u32 {
        self.blocks.len()
    }

    /// Appends the number of templates and their list; the same of those of which it is a variable, for words
    /// without digits; then the [set](List::put_set) of blocks.
    pub(super) fn write(&self, word: &str, blocks: u32, out: &mut Vec<u8>) {
        List::of(&self.templates).put(out);
        if has_holders(word.as_bytes()) {
            List::of(&self.holders).put(out);
        }
        self.blocks.put_set(blocks, out);
    }
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
    pub(super) blocks: BitSet,
}

impl Places {
    /// Of a word that is nowhere.
    pub(super) fn none(blocks: u32) -> Self {
        Self { templates: Vec::new(), holders: Some(Vec::new()), blocks: BitSet::none(blocks) }
    }

    /// Adds a word's [posting](Posting::write).
    pub(super) fn add(&mut self, word: &[u8], posting: &[u8]) -> Parsed<()> {
        let mut from = Cursor::new(posting);
        put_numbers(&mut from, &mut self.templates)?;
        if !has_holders(word) {
            self.holders = None;
        } else if let Some(holders) = &mut self.holders {
            put_numbers(&mut from, holders)?;
        } else {
            put_numbers(&mut from, &mut Vec::new())?;
        }
        self.blocks.read(&mut from)
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
