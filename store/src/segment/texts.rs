//! A column of texts as templates and variables: rows of one template together, each of its variables a column
//! of its own, so that what is alike lies together.

use std::ops::Range;

use super::columns::{Column, Cursor, Malformed, Parsed, column, put_column, put_varint};
use super::identifiers::{ADDRESS_NUMBERS, SHORT_BYTES_MAX};
use super::pairs::{is_joiner, put_pair};
use super::template::{Class, Variable};
use super::templates::{Templates, WHOLE};

/// The templates of a block's rows.
#[derive(Debug, Default)]
pub(super) struct TextColumn {
    /// The numbers that occur, rising.
    numbers: Vec<u32>,
    /// For each row the place in `numbers`.
    places: Column,
}

impl TextColumn {
    /// Of the rows' numbers.
    pub(super) fn new(of_rows: &[u32]) -> Self {
        let mut numbers = of_rows.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        let place = |n: &u32| numbers.binary_search(n).map_or(0, |at| u32::try_from(at).unwrap_or(0));
        Self { places: Column::Each(of_rows.iter().map(place).collect()), numbers }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.numbers.len() as u64);
        let mut previous = 0;
        for number in &self.numbers {
            put_varint(out, (number - previous).into());
            previous = *number;
        }
        if let Column::Each(places) = &self.places {
            put_column(out, places);
        }
    }

    pub(super) fn read(from: &mut Cursor<'_>, rows: usize) -> Parsed<Self> {
        let count = from.count(rows)?;
        let mut number = 0_u32;
        let mut numbers = Vec::with_capacity(count);
        for _ in 0..count {
            number = number.checked_add(from.u32()?).ok_or(Malformed("a number is too large"))?;
            numbers.push(number);
        }
        let places = column(from, rows)?;
        let is_known = match &places {
            Column::Same(place) => (*place as usize) < count,
            Column::Each(places) => places.iter().all(|place| (*place as usize) < count),
        };
        if is_known { Ok(Self { numbers, places }) } else { Err(Malformed("a row's template is missing")) }
    }

    /// The number of a row's template.
    pub(super) fn number(&self, row: usize) -> u32 {
        self.numbers.get(self.places.get(row) as usize).copied().unwrap_or(WHOLE)
    }

    /// The numbers that occur with how many rows have each.
    pub(super) fn counts(&self, rows: usize) -> Vec<(u32, u32)> {
        let mut counts: Vec<(u32, u32)> = self.numbers.iter().map(|n| (*n, 0)).collect();
        for row in 0..rows {
            if let Some((_, count)) = counts.get_mut(self.places.get(row) as usize) {
                *count += 1;
            }
        }
        counts
    }
}

/// Takes what a block's texts are made of, while they are written.
pub(super) trait TextSink {
    /// What follows is of rows of this template, or of texts that are kept whole.
    fn begin(&mut self, template: u32);
    /// A variable.
    fn variable(&mut self, variable: &str, class: Class);
    /// A row of the block that has the variable told last.
    fn row(&mut self, row: u32);
    /// Four numbers of an address, which are variables of their own.
    fn address(&mut self, address: &str);
    /// Two variables and the character between them that joins them; folded where they are not ASCII.
    fn pair(&mut self, pair: &str);
    /// A row's text that is kept whole.
    fn whole(&mut self, text: &str, row: u32);
}

/// A text with its variables.
pub(super) type Split<'a> = (&'a str, &'a [Variable]);

/// Writes a block's texts; `None` if they are too long for a page.
pub(super) fn put_texts<'a>(
    out: &mut Vec<u8>,
    texts: impl Fn(usize) -> Split<'a>,
    numbers: &[u32],
    sink: &mut impl TextSink,
) -> Option<()> {
    let mut rows: Vec<(u32, u32)> = (0..).zip(numbers).map(|(row, number)| (*number, row)).collect();
    rows.sort_unstable();
    let mut lengths = Vec::new();
    let mut of_group: Vec<Split<'a>> = Vec::new();
    for group in rows.chunk_by(|a, b| a.0 == b.0) {
        let number = group.first().map_or(WHOLE, |(number, _)| *number);
        of_group.clear();
        of_group.extend(group.iter().map(|(_, row)| texts(*row as usize)));
        sink.begin(number);
        if number == WHOLE {
            for ((text, _), (_, row)) in of_group.iter().zip(group) {
                sink.whole(text, *row);
                out.extend_from_slice(text.as_bytes());
                put_varint(&mut lengths, text.len() as u64);
            }
        } else {
            put_variables(&of_group, group, (out, &mut lengths), sink)?;
        }
    }
    let length = u32::try_from(out.len()).ok()?;
    out.append(&mut lengths);
    out.extend_from_slice(&length.to_le_bytes());
    Some(())
}

/// Writes one template's variables, column by column; `numbers` are those of the template and of each row.
fn put_variables(
    rows: &[Split<'_>],
    numbers: &[(u32, u32)],
    (values, lengths): (&mut Vec<u8>, &mut Vec<u8>),
    sink: &mut impl TextSink,
) -> Option<()> {
    let (first, variables) = rows.first()?;
    put_addresses(rows, sink);
    for column in 0..variables.len() {
        let mut last = "";
        for ((text, variables), (_, row)) in rows.iter().zip(numbers) {
            let variable = variables.get(column)?;
            let value = text.get(variable.range())?;
            if value != last {
                sink.variable(value, variable.class());
                last = value;
            }
            sink.row(*row);
            values.extend_from_slice(value.as_bytes());
            put_varint(lengths, value.len() as u64);
        }
        // What stands between the variables of a template is the same in all its rows.
        if let Some([one, next]) = variables.get(column..column + 2)
            && let Some(joiner) = joiner(first.get(one.range().end..next.range().start)?)
        {
            put_pairs(rows, column, joiner, sink);
        }
    }
    Some(())
}

fn joiner(between: &str) -> Option<char> {
    let mut chars = between.chars();
    chars.next().filter(|c| is_joiner(*c) && chars.next().is_none())
}

/// Tells of the pairs of two columns.
fn put_pairs(rows: &[Split<'_>], column: usize, joiner: char, sink: &mut impl TextSink) {
    let (mut last, mut folded) = ("", String::new());
    for (text, variables) in rows {
        let Some([first, second]) = variables.get(column..column + 2) else { continue };
        let of = |range: Range<usize>| text.get(range).unwrap_or_default();
        let pair = of(first.range().start..second.range().end);
        match (first.class(), second.class()) {
            (Class::Identifier, _) | (_, Class::Identifier) | (Class::Number, Class::Number) => {}
            _ if pair == last => {}
            (Class::Other, _) | (_, Class::Other) => {
                folded.clear();
                if put_pair(of(first.range()), joiner, of(second.range()), &mut folded) {
                    sink.pair(&folded);
                }
                last = pair;
            }
            (Class::Word | Class::Number, _) => {
                sink.pair(pair);
                last = pair;
            }
        }
    }
}

/// Tells of addresses among the variables of one template's rows: where four of its variables have nothing but
/// dots between them.
fn put_addresses(rows: &[Split<'_>], sink: &mut impl TextSink) {
    let Some((text, variables)) = rows.first() else { return };
    let are_joined = |numbers: &[Variable]| {
        numbers.windows(2).all(|pair| match pair {
            [a, b] => text.get(a.range().end..b.range().start) == Some("."),
            _ => false,
        })
    };
    let is_short = |v: &Variable| matches!(v.class(), Class::Number);
    for (from, _) in variables.windows(ADDRESS_NUMBERS).enumerate().filter(|(_, four)| are_joined(four)) {
        for (text, variables) in rows {
            let four = variables.get(from..from + ADDRESS_NUMBERS).unwrap_or_default();
            if let [first, .., last] = four
                && four.iter().all(|v| is_short(v) || is_short_number(text.get(v.range())))
            {
                sink.address(text.get(first.range().start..last.range().end).unwrap_or_default());
            }
        }
    }
}

/// The same of texts that are not ASCII.
fn is_short_number(token: Option<&str>) -> bool {
    token.is_some_and(|token| token.len() <= SHORT_BYTES_MAX && token.bytes().all(|b| b.is_ascii_digit()))
}

/// One template's rows in a block.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Group {
    /// Of the template.
    pub(super) number: u32,
    /// The first of its values.
    base: u32,
    /// The place of its first row: rows are numbered template by template here.
    first: u32,
    rows: u32,
    variables: u32,
}

impl Group {
    /// The places of its rows.
    pub(super) fn places(&self) -> Range<usize> {
        self.first as usize..(self.first + self.rows) as usize
    }
}

/// The texts of a block, as their variables.
#[derive(Debug)]
pub(super) struct Texts {
    values: String,
    ends: Vec<u32>,
    groups: Vec<Group>,
    /// For each row how many rows before it have the same template.
    ranks: Vec<u32>,
    /// Where the values of texts that are kept whole end: they come first.
    whole_end: u32,
    is_ascii: bool,
}

impl Texts {
    /// Reads [`put_texts`].
    pub(super) fn read(mut bytes: Vec<u8>, column: &TextColumn, rows: usize, of: &Templates) -> Parsed<Self> {
        let mut groups = vec![Group::default(); column.numbers.len()];
        let mut ranks = Vec::with_capacity(rows);
        for row in 0..rows {
            let group = groups.get_mut(column.places.get(row) as usize);
            let group = group.ok_or(Malformed("a row's template is missing"))?;
            ranks.push(group.rows);
            group.rows += 1;
        }
        let (mut count, mut first) = (0_u32, 0_u32);
        for (group, number) in groups.iter_mut().zip(&column.numbers) {
            let variables = of.variables(*number).ok_or(Malformed("a template is missing"))?;
            (group.number, group.base, group.first) = (*number, count, first);
            first = first.saturating_add(group.rows);
            group.variables = u32::try_from(variables).map_err(|_| Malformed("a template is too long"))?;
            let values = group.rows.checked_mul(group.variables).and_then(|n| count.checked_add(n));
            count = values.ok_or(Malformed("it has too many values"))?;
        }
        let (rest, length) = bytes.split_last_chunk().ok_or(Malformed("it ends too early"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let (_, lengths) = rest.split_at_checked(length).ok_or(Malformed("it ends too early"))?;
        if lengths.len() < count as usize {
            return Err(Malformed("it ends too early"));
        }
        let ends = ends(lengths, count as usize, length)?;
        bytes.truncate(length);
        let values = String::from_utf8(bytes).map_err(|_| Malformed("a text is not UTF-8"))?;
        if !ends.iter().all(|end| values.is_char_boundary(*end as usize)) {
            return Err(Malformed("a text is not UTF-8"));
        }
        let whole = groups.first().filter(|_| column.numbers.first() == Some(&WHOLE)).map_or(0, |g| g.rows);
        let whole_end = whole.checked_sub(1).and_then(|last| ends.get(last as usize)).copied().unwrap_or(0);
        Ok(Self { is_ascii: values.is_ascii(), values, ends, groups, ranks, whole_end })
    }

    fn value(&self, at: u32) -> &str {
        let end = self.ends.get(at as usize).copied().unwrap_or_default() as usize;
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before as usize)).copied();
        self.values.get(start.unwrap_or_default() as usize..end).unwrap_or_default()
    }

    /// A row's text where it lies somewhere as it is: kept whole, or a template without variables.
    pub(super) fn as_it_is<'a>(
        &'a self,
        row: usize,
        column: &TextColumn,
        of: &'a Templates,
    ) -> Option<&'a str> {
        let group = self.groups.get(column.places.get(row) as usize)?;
        let number = column.number(row);
        if number == WHOLE {
            Some(self.value(group.base + self.ranks.get(row)?))
        } else if group.variables == 0 {
            of.text(number)
        } else {
            None
        }
    }

    /// Puts a row's text together.
    pub(super) fn write(&self, row: usize, column: &TextColumn, of: &Templates, out: &mut String) {
        let Some(group) = self.groups.get(column.places.get(row) as usize) else { return };
        let mut at = group.base + self.ranks.get(row).copied().unwrap_or_default();
        let mut pieces = of.pieces(column.number(row));
        out.push_str(pieces.next().unwrap_or_default());
        for piece in pieces {
            out.push_str(self.value(at));
            out.push_str(piece);
            at += group.rows;
        }
    }

    /// All variables, one behind the other without anything between, and where they begin among the values.
    pub(super) fn variables(&self) -> (&str, usize) {
        let start = self.whole_end as usize;
        (self.values.get(start..).unwrap_or_default(), start)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let numbers = 4 * (self.ends.len() + self.ranks.len());
        self.values.len() + numbers + self.groups.len() * size_of::<Group>()
    }

    pub(super) fn rows(&self) -> usize {
        self.ranks.len()
    }

    /// The templates of the block's rows.
    pub(super) fn groups(&self) -> impl Iterator<Item = Group> + '_ {
        self.groups.iter().copied()
    }

    /// A row's place: rows are numbered template by template here.
    pub(super) fn place(&self, row: usize, column: &TextColumn) -> usize {
        let group = self.groups.get(column.places.get(row) as usize).copied().unwrap_or_default();
        group.first as usize + self.ranks.get(row).copied().unwrap_or_default() as usize
    }

    /// The place of the row to which a byte of the values belongs, and where its value ends.
    pub(super) fn place_of_byte(&self, at: usize) -> Option<(usize, usize)> {
        let value = self.ends.partition_point(|end| *end as usize <= at);
        let end = *self.ends.get(value)? as usize;
        let value = u32::try_from(value).ok()?;
        let group = self.groups.partition_point(|g| g.base + g.rows * g.variables <= value);
        let group = self.groups.get(group)?;
        Some(((group.first + (value - group.base) % group.rows.max(1)) as usize, end))
    }

    /// Calls `each` with the place and the text of every variable of a group's rows whose length in bytes is one
    /// of `lengths` (a bit for each, the last for all above); of every one where not all texts are ASCII, since
    /// others change their length when they are folded.
    pub(super) fn for_each_variable(&self, group: &Group, lengths: u64, mut each: impl FnMut(usize, &str)) {
        let lengths = if self.is_ascii { lengths } else { u64::MAX };
        let values = group.base as usize..(group.base + group.rows * group.variables) as usize;
        let mut start = values.start.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let places = (0..group.variables).flat_map(|_| group.places());
        for (end, place) in self.ends.get(values).unwrap_or_default().iter().zip(places) {
            let begin = start.unwrap_or_default();
            start = Some(*end);
            if lengths >> (end - begin).min(63) & 1 == 1 {
                each(place, self.values.get(begin as usize..*end as usize).unwrap_or_default());
            }
        }
    }
}

fn ends(lengths: &[u8], count: usize, length: usize) -> Parsed<Vec<u32>> {
    let mut ends = Vec::with_capacity(count);
    let mut end = 0_usize;
    // Nearly all lengths are one byte.
    let (head, _) = lengths.split_at_checked(count).unwrap_or_default();
    if lengths.len() == count && head.iter().all(|b| *b < 0x80) {
        for byte in head {
            end += usize::from(*byte);
            ends.push(u32::try_from(end).map_err(|_| Malformed("its texts are too long"))?);
        }
    } else {
        let mut from = Cursor::new(lengths);
        for _ in 0..count {
            end += from.count(length.saturating_sub(end))?;
            ends.push(u32::try_from(end).map_err(|_| Malformed("its texts are too long"))?);
        }
        from.finish()?;
    }
    if end == length { Ok(ends) } else { Err(Malformed("its lengths do not add up")) }
}
