//! Gathers which rows have which words.

use super::super::bitset::{BitSet, List};

/// The rows that have words, as they are told.
#[derive(Default)]
pub(in super::super) struct RowListsBuilder {
    /// A word's number, and the number of a row that has it; some several times.
    told: Vec<(u32, u32)>,
}

impl RowListsBuilder {
    /// Notes that a row has a word.
    pub(in super::super) fn add(&mut self, word: u32, row: u32) {
        self.told.push((word, row));
    }

    /// The rows of the words, of which there are so many, that were told at least `rows_min` times.
    pub(in super::super) fn finish(self, words: usize, rows_min: usize) -> RowsOfWords {
        let mut counts = vec![0_usize; words];
        for (word, _) in &self.told {
            counts.get_mut(*word as usize).into_iter().for_each(|count| *count += 1);
        }
        // Where each word's rows end; none where it has too few.
        let mut end = 0;
        let mut place = |count: usize| {
            let is_frequent = count > 0 && count >= rows_min;
            end += if is_frequent { count } else { 0 };
            is_frequent.then(|| end - count)
        };
        let mut places: Vec<Option<usize>> = counts.into_iter().map(&mut place).collect();
        let starts = places.clone();
        let mut rows = vec![0; end];
        for (word, row) in &self.told {
            if let Some(Some(place)) = places.get_mut(*word as usize) {
                rows.get_mut(*place).into_iter().for_each(|slot| *slot = *row);
                *place += 1;
            }
        }
        RowsOfWords { rows, starts, ends: places }
    }
}

/// The rows of frequent words.
pub(in super::super) struct RowsOfWords {
    /// Word by word, each as they were told.
    rows: Vec<u32>,
    /// By the number of the word; none where it is not frequent.
    starts: Vec<Option<usize>>,
    ends: Vec<Option<usize>>,
}

impl RowsOfWords {
    /// A word's rows among so many as a [set](List::put_set), if it is frequent.
    pub(in super::super) fn list(&self, word: usize, count: u32) -> Option<Vec<u8>> {
        let (start, end) = ((*self.starts.get(word)?)?, (*self.ends.get(word)?)?);
        // A set and not a sort: they are many, in runs that rise, one for each variable of each template.
        let mut set = BitSet::none(count);
        self.rows.get(start..end)?.iter().for_each(|row| set.insert(*row));
        let mut list = List::default();
        set.iter().for_each(|row| list.add(row));
        let mut out = Vec::new();
        list.put_set(count, &mut out);
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::columns::Cursor;
    use super::*;

    #[test]
    fn frequent_words_have_their_rows_once_and_in_order() {
        let mut builder = RowListsBuilder::default();
        for (word, row) in [(2, 5), (2, 9), (0, 5), (2, 1), (2, 5), (0, 5), (1, 3)] {
            builder.add(word, row);
        }
        let rows = builder.finish(4, 2);
        let list = |word| {
            let mut set = BitSet::none(90);
            set.read(&mut Cursor::new(&rows.list(word, 90)?)).unwrap();
            Some(set.iter().collect::<Vec<_>>())
        };
        assert_eq!(
            [list(0), list(1), list(2), list(3), list(4)],
            [Some(vec![5]), None, Some(vec![1, 5, 9]), None, None]
        );
        assert!(RowListsBuilder::default().finish(2, 0).list(0, 90).is_none());
    }
}
