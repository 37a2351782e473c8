//! What templates and tokens say of a condition on the message.

use heliograph_model::filter::{Field, Filter, Matcher, Test};
use heliograph_model::token::{self, Run};

use super::super::blocks::Blocks;
use super::super::dictionary::Probe;
use super::super::reader::Index;
use super::super::templates::{Templates, WHOLE};
use super::super::verdict::{Known as Condition, Verdict, has_mark};
use super::words::{self, Limits};
use super::{Known, of_entries};
use crate::error::Result;

/// What is known of a condition on the message: which blocks, and what each template says.
pub(super) fn known(index: &Index, test: &Test) -> Result<(Known, Condition)> {
    let templates = index.templates()?;
    let (verdicts, limits) = match test {
        Test::Exists => (vec![Verdict::Yes; templates.len() as usize + 1], None),
        Test::Text(text) => words::verdicts(index, text, &Run::whole(text), None)?,
        Test::Prefix(text) => {
            let open = text.chars().next_back().is_some_and(token::is_word_char);
            let open = open.then(|| token::tokens(text).pop()).flatten();
            words::verdicts(index, text, &Run::prefix(text), open.as_deref())?
        }
        Test::Contains(text) => (by_looking(templates, test, !has_mark(text))?, None),
        Test::Wildcard(parts) => {
            (by_looking(templates, test, !parts.iter().any(|part| has_mark(part)))?, None)
        }
        // A pattern may take a mark for text.
        Test::Regex(_) | Test::Range { .. } => (by_looking(templates, test, false)?, None),
    };
    let (known, undecided) = blocks(index, templates, &verdicts, limits.as_ref());
    Ok((known, Condition::Message { by_template: verdicts, undecided }))
}

/// The blocks by what the templates say, and those in which it depends on the variables.
fn blocks(
    index: &Index,
    templates: &Templates,
    verdicts: &[Verdict],
    limits: Option<&Limits>,
) -> (Known, Blocks) {
    let count = index.blocks();
    let (mut sure, mut undecided) = (Blocks::none(count), Blocks::none(count));
    let mut passing = vec![0_u32; count as usize];
    for (number, verdict) in (WHOLE..).zip(verdicts) {
        match verdict {
            Verdict::No => {}
            Verdict::Maybe => match limits.map(|limits| limits.of(number)) {
                // Nearly as good as the template's own blocks, which need not be walked through then.
                Some(limit) if limit.len() * 8 < count => undecided = undecided.or(limit),
                Some(limit) => templates.for_each_block(number, |block, _| {
                    if limit.contains(block) {
                        undecided.insert(block);
                    }
                }),
                None => templates.for_each_block(number, |block, _| undecided.insert(block)),
            },
            Verdict::Yes => templates.for_each_block(number, |block, rows| {
                sure.insert(block);
                if let Some(passing) = passing.get_mut(block as usize) {
                    *passing = passing.saturating_add(rows);
                }
            }),
        }
    }
    let mut passing = passing.into_iter();
    let certain = of_entries(index.entries(), |e| passing.next() == Some(e.rows));
    (Known { possible: sure.or(&undecided), certain }, undecided)
}

/// Asks each template whether its own text passes. That tells of all its texts where it has no variables, and
/// where a match in its text is a match in each of them (`by_part`).
fn by_looking(templates: &Templates, test: &Test, by_part: bool) -> Result<Vec<Verdict>> {
    let matcher = Matcher::new(&Filter::Is(Field::Message, test.clone()))?;
    let verdict = |number: u32| {
        let passes = || templates.text(number).is_some_and(|t| matcher.matches(&Probe::Message(t)));
        match templates.variables(number) {
            Some(0) => Verdict::of(passes()),
            _ if number != WHOLE && by_part && passes() => Verdict::Yes,
            _ => Verdict::Maybe,
        }
    };
    Ok((WHOLE..=templates.len()).map(verdict).collect())
}
