//! What the index says of a filter: which blocks may hold a match, and which hold nothing else.
//!
//! Two sets for every node of the filter: *possible* blocks (outside of them no record passes) and *certain*
//! ones (inside of them every record passes). With both, `Not` is as exact as the rest.

mod compiled;
mod pattern;
mod text;
mod words;

use heliograph_model::filter::{Field, Filter, Matcher, Test};
use heliograph_model::level::Level;
use heliograph_model::time::Timestamp;

use super::bitset::BitSet;
use super::dictionary::Probe;
use super::directory::Entry;
use super::fields;
use super::reader::Index;
use super::row_lists::RowLists;
use super::sources::Sources;
use super::verdict::Known as Condition;
use crate::error::Result;

/// What is known of a condition.
pub(super) struct Known {
    pub(super) possible: BitSet,
    pub(super) certain: BitSet,
}

impl Known {
    pub(super) fn and(self, other: &Self) -> Self {
        Self { possible: self.possible.and(&other.possible), certain: self.certain.and(&other.certain) }
    }

    fn or(self, other: &Self) -> Self {
        Self { possible: self.possible.or(&other.possible), certain: self.certain.or(&other.certain) }
    }

    fn not(self) -> Self {
        Self { possible: self.certain.not(), certain: self.possible.not() }
    }
}

/// The blocks whose entry says so.
pub(super) fn of_entries(entries: &[Entry], mut holds: impl FnMut(&Entry) -> bool) -> BitSet {
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    BitSet::of(count, |b| entries.get(b as usize).is_some_and(&mut holds))
}

/// What is known of a filter, by the index and the lists at hand; adds what is known of each of its conditions, in
/// their order.
pub(super) fn known(
    by: (&Index, &RowLists),
    filter: &Filter,
    conditions: &mut Vec<Condition>,
) -> Result<Known> {
    let count = by.0.blocks();
    let known = match filter {
        Filter::All => Known { possible: BitSet::all(count), certain: BitSet::all(count) },
        Filter::None => Known { possible: BitSet::none(count), certain: BitSet::none(count) },
        Filter::And(parts) => {
            let mut all = Known { possible: BitSet::all(count), certain: BitSet::all(count) };
            for part in parts {
                all = all.and(&known(by, part, conditions)?);
            }
            all
        }
        Filter::Or(parts) => {
            let mut all = Known { possible: BitSet::none(count), certain: BitSet::none(count) };
            for part in parts {
                all = all.or(&known(by, part, conditions)?);
            }
            all
        }
        Filter::Not(inner) => known(by, inner, conditions)?.not(),
        Filter::Is(field, test) => {
            let (known, condition) = condition(by, field, test)?;
            conditions.push(condition);
            known
        }
    };
    Ok(known)
}

fn condition((index, lists): (&Index, &RowLists), field: &Field, test: &Test) -> Result<(Known, Condition)> {
    let count = index.blocks();
    Ok(match field {
        Field::Message => return text::of_message(index, lists, test),
        Field::Level => (level(index, test)?, Condition::Nothing),
        Field::Timestamp => (time(index, test), Condition::Nothing),
        Field::Attribute(path) => return text::of_attribute(index, path, test),
        field if Sources::has(field) => source(index, field, test)?,
        field => match fields::slot(field) {
            Some(slot) => {
                let (possible, certain, passes, passing) =
                    index.fields()?.matching(slot, field, test, index.entries())?;
                (Known { possible, certain }, Condition::Field { slot, passes, passing })
            }
            None => {
                (Known { possible: BitSet::all(count), certain: BitSet::none(count) }, Condition::Nothing)
            }
        },
    })
}

fn level(index: &Index, test: &Test) -> Result<Known> {
    let matcher = Matcher::new(&Filter::Is(Field::Level, test.clone()))?;
    let passes: Vec<bool> = Level::ALL
        .into_iter()
        .map(Some)
        .chain([None])
        .map(|level| matcher.matches(&Probe::Level(level)))
        .collect();
    let has = |e: &Entry, pass: bool| e.levels.iter().zip(&passes).any(|(n, p)| *n > 0 && *p == pass);
    Ok(Known {
        possible: of_entries(index.entries(), |e| has(e, true)),
        certain: of_entries(index.entries(), |e| !has(e, false)),
    })
}

fn time(index: &Index, test: &Test) -> Known {
    let count = index.blocks();
    let entries = index.entries();
    let parse = |text: &String| Timestamp::parse(text).ok();
    // A bound as the first or last moment that passes it; a bound that cannot be read was refused before.
    let (lower, upper) = match test {
        Test::Exists => return Known { possible: BitSet::all(count), certain: BitSet::all(count) },
        Test::Text(text) => (parse(text).map(|t| (t, true)), parse(text).map(|t| (t, true))),
        Test::Range { lower, upper } => {
            let bound =
                |b: &Option<(String, bool)>| b.as_ref().and_then(|(t, inside)| Some((parse(t)?, *inside)));
            (bound(lower), bound(upper))
        }
        _ => return Known { possible: BitSet::all(count), certain: BitSet::none(count) },
    };
    let above = |t: Timestamp| lower.is_none_or(|(l, inside)| t > l || (inside && t == l));
    let below = |t: Timestamp| upper.is_none_or(|(u, inside)| t < u || (inside && t == u));
    Known {
        possible: of_entries(entries, |e| above(e.last) && below(e.first)),
        certain: of_entries(entries, |e| above(e.first) && below(e.last)),
    }
}

fn source(index: &Index, field: &Field, test: &Test) -> Result<(Known, Condition)> {
    let passes = index.sources()?.matching(field, test)?;
    let of = |e: &Entry| passes.get(e.sources.start as usize..e.sources.end as usize).unwrap_or_default();
    let known = Known {
        possible: of_entries(index.entries(), |e| of(e).contains(&true)),
        certain: of_entries(index.entries(), |e| !of(e).contains(&false)),
    };
    Ok((known, Condition::Source { passes }))
}
