//! What is known of a filter's conditions before a row is looked at: a condition on a text is decided by the
//! text's template, one on a field by the field's value.

use std::sync::Arc;

use super::bitset::BitSet;
use super::candidates::Search;
use super::reader::Kind;
use super::template::MARK;

/// What a template says of a condition on the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No text of this template passes.
    #[default]
    No,
    /// Every one does.
    Yes,
    /// It depends on the variables.
    Maybe,
    /// None passes unless its variables have a part that [`Known::Text`] tells.
    Varies,
}

/// What is known of one condition.
#[derive(Debug)]
pub(super) enum Known {
    /// On a text.
    Text {
        /// Which one.
        kind: Kind,
        /// By the number of the template; numbers beyond the list are [`Verdict::No`].
        by_template: Vec<Verdict>,
        /// The only blocks in which a [`Verdict::Maybe`] or [`Verdict::Varies`] can be true.
        undecided: BitSet,
        /// Rows of each block that pass by their templates.
        passing: Vec<u32>,
        /// What a row's variables must have for one of the two to be true.
        search: Option<Search>,
        /// All rows that pass without a [`Verdict::Yes`], where they are listed: nothing is undecided then.
        rows: Option<Arc<BitSet>>,
    },
    /// By the number of the field's value, where 0 is none.
    Field {
        /// Of the field.
        slot: usize,
        /// By number.
        passes: Vec<bool>,
        /// Rows of each block that pass.
        passing: Vec<u32>,
    },
    /// By the number of the source.
    Source { passes: Vec<bool> },
    /// Nothing.
    Nothing,
}

impl Verdict {
    pub(super) fn of(passes: bool) -> Self {
        if passes { Self::Yes } else { Self::No }
    }
}

impl Known {
    /// How many rows of a block pass, where that is known without looking at them.
    pub(super) fn passing(&self, block: u32) -> Option<u32> {
        let passing = match self {
            Self::Text { undecided, passing, .. } if !undecided.contains(block) => passing,
            Self::Field { passing, .. } => passing,
            Self::Text { .. } | Self::Source { .. } | Self::Nothing => return None,
        };
        passing.get(block as usize).copied()
    }
}

/// Whether a text of a query could be taken for a template's mark.
pub(super) fn has_mark(text: &str) -> bool {
    text.contains(MARK)
}
