//! The templates of a segment's texts: each once, with the blocks that use it and how many of their rows do.
//!
//! Two passes: the first counts, the second writes, since only a template that several texts share is worth its
//! place. Texts of all others are kept whole; they have the number 0.

use std::collections::HashMap;

use super::columns::{Cursor, Malformed, Parsed};
use super::dictionary::{Dictionary, put_values};
use super::hashing::Seeded;
use super::template::{MARK, Splitter, Variable};
use super::uses::{Uses, UsesBuilder};

/// The number of texts that are kept whole.
pub(super) const WHOLE: u32 = 0;
/// Texts that must share a template, at least.
const SHARED_MIN: u32 = 3;
/// How many bytes of templates and how many of them are gathered: what bounds the memory of a tenant whose every line
/// is a template of its own.
const GATHERED_BYTES_MAX: usize = 32 << 20;
const GATHERED_MAX: usize = 1 << 18;
/// Most variables that are remembered between the passes, of four bytes each.
const VARIABLES_MAX: usize = 1 << 23;
/// Most bytes of all templates of a segment.
const SECTION_BYTES_MAX: usize = 64 << 20;

/// The variables of texts, one after the other: found in the first pass, written in the second.
#[derive(Default)]
pub(super) struct Variables {
    all: Vec<Variable>,
    /// For each text where its variables end.
    ends: Vec<u32>,
}

impl Variables {
    /// Of the nth text.
    pub(super) fn of(&self, text: usize) -> &[Variable] {
        let at = |text: usize| self.ends.get(text).map(|end| *end as usize);
        let start = text.checked_sub(1).map_or(Some(0), at);
        start.zip(at(text)).and_then(|(start, end)| self.all.get(start..end)).unwrap_or_default()
    }
}

/// First pass: counts templates.
#[derive(Default)]
pub(super) struct TemplatesBuilder {
    splitter: Splitter,
    variables: Variables,
    numbers: HashMap<Box<str>, u32, Seeded>,
    counts: Vec<u32>,
    bytes: usize,
    /// The last template with its number: neighbours often share theirs.
    last: (String, u32),
    scratch: String,
}

impl TemplatesBuilder {
    /// The number of the next text's template; preliminary.
    pub(super) fn number(&mut self, text: &str) -> u32 {
        let number = self.number_of(text);
        if number == WHOLE {
            let before = self.variables.ends.last().map_or(0, |end| *end as usize);
            self.variables.all.truncate(before);
        }
        // Their count has a bound that is well below.
        self.variables.ends.push(u32::try_from(self.variables.all.len()).unwrap_or(u32::MAX));
        number
    }

    /// The next text has no template.
    pub(super) fn pass_over(&mut self) -> u32 {
        self.variables.ends.push(self.variables.ends.last().copied().unwrap_or_default());
        WHOLE
    }

    fn number_of(&mut self, text: &str) -> u32 {
        if !self.make_template(text) || self.variables.all.len() > VARIABLES_MAX {
            return WHOLE;
        }
        if self.last.1 == WHOLE || self.last.0 != self.scratch {
            self.last.1 = self.look_up();
            std::mem::swap(&mut self.last.0, &mut self.scratch);
        }
        let number = self.last.1;
        if let Some(count) = number.checked_sub(1).and_then(|n| self.counts.get_mut(n as usize)) {
            *count = count.saturating_add(1);
        }
        number
    }

    /// Leaves a text's template in `scratch` and its variables behind the others; `false` where it has none.
    fn make_template(&mut self, text: &str) -> bool {
        let Self { splitter, scratch, variables, .. } = self;
        scratch.clear();
        let mut from = 0;
        let is_template = splitter.split(text, |variable| {
            let range = variable.range();
            scratch.push_str(text.get(from..range.start).unwrap_or_default());
            scratch.push(MARK);
            from = range.end;
            variables.all.push(variable);
        });
        scratch.push_str(text.get(from..).unwrap_or_default());
        is_template
    }

    fn look_up(&mut self) -> u32 {
        let template = self.scratch.as_str();
        if let Some(number) = self.numbers.get(template) {
            return *number;
        }
        if self.counts.len() >= GATHERED_MAX || self.bytes + template.len() > GATHERED_BYTES_MAX {
            return WHOLE;
        }
        self.bytes += template.len();
        self.counts.push(0);
        let number = u32::try_from(self.counts.len()).unwrap_or(WHOLE);
        self.numbers.insert(template.into(), number);
        number
    }

    /// Chooses the templates; numbers become final by [`TemplatesWriter::number`]. With them the texts' variables.
    pub(super) fn sort(self) -> (TemplatesWriter, Variables) {
        let shared = |n: u32| self.counts.get(n as usize - 1).is_some_and(|count| *count >= SHARED_MIN);
        let mut kept: Vec<(Box<str>, u32)> = self.numbers.into_iter().filter(|(_, n)| shared(*n)).collect();
        kept.sort_unstable();
        let mut places = vec![WHOLE; self.counts.len() + 1];
        for (place, (_, number)) in (1_u32..).zip(&kept) {
            if let Some(slot) = places.get_mut(*number as usize) {
                *slot = place;
            }
        }
        let texts = kept.into_iter().map(|(text, _)| text).collect();
        (TemplatesWriter { texts, places, uses: UsesBuilder::default() }, self.variables)
    }
}

/// Second pass: notes which blocks use which templates.
pub(super) struct TemplatesWriter {
    texts: Vec<Box<str>>,
    /// By preliminary number.
    places: Vec<u32>,
    uses: UsesBuilder,
}

impl TemplatesWriter {
    /// The final number for a preliminary one.
    pub(super) fn number(&self, preliminary: u32) -> u32 {
        self.places.get(preliminary as usize).copied().unwrap_or(WHOLE)
    }

    /// The templates with their numbers.
    pub(super) fn texts(&self) -> impl Iterator<Item = (u32, &str)> {
        (1_u32..).zip(self.texts.iter().map(|text| &**text))
    }

    /// Notes that so many rows of a block have a template.
    pub(super) fn add_use(&mut self, template: u32, block: u32, rows: u32) {
        self.uses.add(template, block, rows);
    }

    /// How many rows have no template.
    pub(super) fn rows_kept_whole(&self) -> u64 {
        self.uses.rows(WHOLE)
    }

    /// The section's bytes: the templates, then for texts kept whole and for each template the blocks.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let mut out = Vec::new();
        put_values(&mut out, &self.texts);
        self.uses.write(self.texts.len() + 1, &mut out);
        out
    }
}

/// The templates of an opened segment.
pub(super) struct Templates {
    texts: Dictionary,
    /// Where in its text each variable of each template stands, …
    marks: Vec<u16>,
    /// … and where a template's marks begin, from number 1, and the end of the last.
    mark_starts: Vec<u32>,
    uses: Uses,
}

impl Templates {
    /// Reads [`TemplatesWriter::into_bytes`].
    pub(super) fn read(bytes: &[u8], blocks: u32) -> Parsed<Self> {
        let mut from = Cursor::new(bytes);
        let texts = Dictionary::read(&mut from, SECTION_BYTES_MAX)?;
        let (mut marks, mut mark_starts) = (Vec::new(), vec![0]);
        for n in 0..texts.len() {
            let text = texts.get(n).unwrap_or_default();
            for at in memchr::memchr_iter(MARK as u8, text.as_bytes()) {
                marks.push(u16::try_from(at).map_err(|_| Malformed("a template is too long"))?);
            }
            mark_starts.push(u32::try_from(marks.len()).map_err(|_| Malformed("it has too many variables"))?);
        }
        let uses = Uses::read(&mut from, texts.len() as usize + 1, blocks)?;
        from.finish()?;
        Ok(Self { texts, marks, mark_starts, uses })
    }

    /// The highest number.
    pub(super) fn len(&self) -> u32 {
        self.texts.len()
    }

    /// The text of a template, with marks for its variables; none for [`WHOLE`].
    pub(super) fn text(&self, number: u32) -> Option<&str> {
        self.texts.get(number.checked_sub(1)?)
    }

    fn marks(&self, number: u32) -> &[u16] {
        let at = |n: usize| self.mark_starts.get(n).map(|start| *start as usize);
        let number = number as usize;
        let range = number.checked_sub(1).and_then(at).zip(at(number));
        range.and_then(|(start, end)| self.marks.get(start..end)).unwrap_or_default()
    }

    /// How many variables a row with this number has; a text that is kept whole is one.
    pub(super) fn variables(&self, number: u32) -> Option<usize> {
        if number == WHOLE { Some(1) } else { (number <= self.len()).then(|| self.marks(number).len()) }
    }

    /// What stands around the variables of a template: one piece more than there are of them.
    pub(super) fn pieces(&self, number: u32) -> impl Iterator<Item = &str> {
        let text = self.text(number).unwrap_or_default();
        let mut start = 0;
        let ends = self.marks(number).iter().map(|at| usize::from(*at)).chain([text.len()]);
        ends.map(move |end| {
            let piece = text.get(start..end).unwrap_or_default();
            start = end + MARK.len_utf8();
            piece
        })
    }

    /// Calls `each` with every block that has rows with this number, and how many.
    pub(super) fn for_each_block(&self, number: u32, each: impl FnMut(u32, u32)) {
        self.uses.for_each_block(number, each);
    }
}
