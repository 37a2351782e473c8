//! Numbers as bytes: varints, and the encodings of a block's columns. Knows no record and no page.
//!
//! Whatever is read is checked: a length that the bytes cannot hold is [`Malformed`], and nothing is allocated
//! beyond what the caller says that there may be.

/// Bytes that do not follow the format: what was expected where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// What reading the format gives.
pub(super) type Parsed<T> = Result<T, Malformed>;

/// Units that times are counted in, largest first; a column takes the largest that divides all its steps.
const UNITS: [i64; 4] = [1_000_000_000, 1_000_000, 1_000, 1];

/// Writes 7 bits a byte, lowest first.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        let [low, ..] = value.to_le_bytes();
        out.push(low | 0x80);
        value >>= 7;
    }
    let [low, ..] = value.to_le_bytes();
    out.push(low);
}

/// Writes a signed number, small ones of either sign in few bytes.
pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

/// Writes a text's length and bytes.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// How many bytes [`put_varint`] takes.
pub(super) fn varint_bytes(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Reads from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Parsed<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u32_le(&mut self) -> Parsed<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64_le(&mut self) -> Parsed<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn varint(&mut self) -> Parsed<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("a number is too long"))
    }

    pub(super) fn signed(&mut self) -> Parsed<i64> {
        self.varint().map(unzigzag)
    }

    pub(super) fn u32(&mut self) -> Parsed<u32> {
        u32::try_from(self.varint()?).map_err(|_| Malformed("a number is too large"))
    }

    /// A count or length of at most `limit`.
    pub(super) fn count(&mut self, limit: usize) -> Parsed<usize> {
        usize::try_from(self.varint()?)
            .ok()
            .filter(|n| *n <= limit)
            .ok_or(Malformed("a count is beyond its bound"))
    }

    /// A text as [`put_text`] wrote it.
    pub(super) fn text(&mut self) -> Parsed<&'a str> {
        let length = self.count(self.0.len())?;
        std::str::from_utf8(self.bytes(length)?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    pub(super) fn remaining(&self) -> usize {
        self.0.len()
    }

    /// Checks that nothing is left.
    pub(super) fn finish(self) -> Parsed<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("it is longer than it should be")) }
    }
}

/// Writes numbers as differences to their predecessors, in the largest unit that divides all of them.
pub(super) fn put_times(out: &mut Vec<u8>, times: &[i64]) {
    let mut previous = times.first().copied().unwrap_or_default();
    put_signed(out, previous);
    let deltas: Vec<i64> = times
        .iter()
        .skip(1)
        .map(|t| {
            let delta = t.wrapping_sub(previous);
            previous = *t;
            delta
        })
        .collect();
    let unit = (0..UNITS.len())
        .find(|&u| UNITS.get(u).is_some_and(|unit| deltas.iter().all(|d| d % unit == 0)))
        .unwrap_or(UNITS.len() - 1);
    put_varint(out, unit as u64);
    let unit = UNITS.get(unit).copied().unwrap_or(1);
    put_planes(out, &deltas.iter().map(|d| zigzag(d / unit)).collect::<Vec<_>>());
}

/// Writes numbers byte by byte: how many bytes the largest has, then the lowest byte of each, then the next of
/// each. What hardly changes lies together, and reading needs no look at each number's length.
fn put_planes(out: &mut Vec<u8>, numbers: &[u64]) {
    let bits = 64 - numbers.iter().fold(0, |all, n| all | n).leading_zeros();
    let bytes = bits.div_ceil(8);
    put_varint(out, bytes.into());
    for plane in 0..bytes {
        out.extend(numbers.iter().map(|n| {
            let [low, ..] = (n >> (8 * plane)).to_le_bytes();
            low
        }));
    }
}

/// Reads [`put_planes`].
fn planes(from: &mut Cursor<'_>, count: usize) -> Parsed<Vec<u64>> {
    let bytes = from.count(8)?;
    let mut numbers = vec![0_u64; count];
    for plane in 0..bytes {
        let low = from.bytes(count)?;
        numbers.iter_mut().zip(low).for_each(|(n, low)| *n |= u64::from(*low) << (8 * plane));
    }
    Ok(numbers)
}

/// Reads [`put_times`].
pub(super) fn times(from: &mut Cursor<'_>, rows: usize) -> Parsed<Vec<i64>> {
    let mut value = from.signed()?;
    let unit = from.count(UNITS.len() - 1)?;
    let unit = UNITS.get(unit).copied().unwrap_or(1);
    let deltas = planes(from, rows.saturating_sub(1))?;
    let mut out = Vec::with_capacity(rows);
    if rows > 0 {
        out.push(value);
    }
    for delta in deltas {
        value = value.wrapping_add(unzigzag(delta).wrapping_mul(unit));
        out.push(value);
    }
    Ok(out)
}

/// Writes numbers beside `base` as differences to it or to their own predecessors, whichever is shorter.
pub(super) fn put_beside(out: &mut Vec<u8>, values: &[i64], base: &[i64]) {
    let to_base: Vec<i64> = values.iter().zip(base).map(|(v, b)| v.wrapping_sub(*b)).collect();
    let (mut beside, mut alone) = (Vec::new(), Vec::new());
    put_times(&mut beside, &to_base);
    put_times(&mut alone, values);
    out.push(u8::from(alone.len() < beside.len()));
    out.extend_from_slice(if alone.len() < beside.len() { &alone } else { &beside });
}

/// Reads [`put_beside`].
pub(super) fn beside(from: &mut Cursor<'_>, base: &[i64]) -> Parsed<Vec<i64>> {
    let [alone] = from.array()?;
    let mut values = times(from, base.len())?;
    if alone == 0 {
        values.iter_mut().zip(base).for_each(|(v, b)| *v = v.wrapping_add(*b));
    }
    Ok(values)
}

/// A column of small numbers, one a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// Every row has the same.
    Same(u32),
    /// Each row has its own.
    Each(Vec<u32>),
}

impl Default for Column {
    fn default() -> Self {
        Self::Same(0)
    }
}

impl Column {
    /// The number of a row.
    pub(super) fn get(&self, row: usize) -> u32 {
        match self {
            Self::Same(value) => *value,
            Self::Each(values) => values.get(row).copied().unwrap_or_default(),
        }
    }
}

/// Writes small numbers: in runs, or one by one, whichever is shorter.
pub(super) fn put_column(out: &mut Vec<u8>, values: &[u32]) {
    let runs = || values.chunk_by(|a, b| a == b).filter_map(|run| Some((*run.first()?, run.len() as u64)));
    let run_bytes: usize = runs().map(|(v, n)| varint_bytes(v.into()) + varint_bytes(n)).sum();
    let each_bytes: usize = values.iter().map(|v| varint_bytes((*v).into())).sum();
    let each = each_bytes < run_bytes;
    out.push(u8::from(each));
    if each {
        values.iter().for_each(|v| put_varint(out, (*v).into()));
    } else {
        for (value, count) in runs() {
            put_varint(out, value.into());
            put_varint(out, count);
        }
    }
}

/// Reads [`put_column`].
pub(super) fn column(from: &mut Cursor<'_>, rows: usize) -> Parsed<Column> {
    let [each] = from.array()?;
    if each != 0 {
        // Mostly they are one byte each.
        let mut ahead = *from;
        if let Ok(bytes) = ahead.bytes(rows)
            && bytes.iter().all(|byte| *byte < 0x80)
        {
            *from = ahead;
            return Ok(Column::Each(bytes.iter().map(|byte| u32::from(*byte)).collect()));
        }
        return (0..rows).map(|_| from.u32()).collect::<Parsed<_>>().map(Column::Each);
    }
    let mut values = Vec::new();
    while values.len() < rows {
        let value = from.u32()?;
        let count = from.count(rows - values.len())?;
        if count == rows {
            return Ok(Column::Same(value));
        }
        if count == 0 {
            return Err(Malformed("a run is empty"));
        }
        values.resize(values.len() + count, value);
    }
    Ok(Column::Each(values))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn columns_come_back(
            numbers in proptest::collection::vec(any::<i64>(), 1..50),
            bases in proptest::collection::vec(any::<i64>(), 50),
            unit in 0_usize..4,
            small in proptest::collection::vec(0_u32..3, 1..50),
        ) {
            let scaled: Vec<i64> = numbers.iter().map(|n| (n % 1_000_000).wrapping_mul(UNITS[unit])).collect();
            for times_in in [&numbers, &scaled] {
                let mut out = Vec::new();
                put_times(&mut out, times_in);
                put_beside(&mut out, times_in, &bases);
                put_column(&mut out, &small);
                let mut from = Cursor::new(&out);
                prop_assert_eq!(&times(&mut from, times_in.len()).unwrap(), times_in);
                prop_assert_eq!(&beside(&mut from, &bases[..times_in.len()]).unwrap(), times_in);
                let column = column(&mut from, small.len()).unwrap();
                prop_assert!(small.iter().enumerate().all(|(row, v)| column.get(row) == *v));
                from.finish().unwrap();
            }
        }

        #[test]
        fn varints_come_back_and_are_measured(value: u64, signed: i64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_bytes(value));
            put_signed(&mut out, signed);
            let mut from = Cursor::new(&out);
            prop_assert_eq!((from.varint().unwrap(), from.signed().unwrap()), (value, signed));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40), rows in 0_usize..100) {
            drop(times(&mut Cursor::new(&bytes), rows));
            drop(beside(&mut Cursor::new(&bytes), &vec![0; rows]));
            drop(column(&mut Cursor::new(&bytes), rows));
            assert!(Cursor::new(&bytes).text().is_ok() || !bytes.starts_with(&[0]));
        }
    }
}
