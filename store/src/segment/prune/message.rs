//! What templates and tokens say of a condition on the message.

use heliograph_model::filter::{Field, Filter, Matcher, Test};
use heliograph_model::token::{self, Run};

use super::super::blocks::Blocks;
use super::super::dictionary::Probe;
use super::super::identifiers::is_identifier;
use super::super::reader::Index;
use super::super::template::{WORD_BYTES_MAX, is_variable};
use super::super::templates::{Templates, WHOLE};
use super::super::tokens::{self, Places};
use super::super::verdict::{Known as Condition, Verdict, has_mark};
use super::{Known, of_entries};
use crate::error::Result;

/// Where a template's "maybe" can be true at all, and where that of texts that are kept whole can.
struct Limits {
    templates: Blocks,
    whole: Blocks,
    /// Whether so many templates may pass that their blocks are not worth looking up.
    is_wide: bool,
}

/// What is known of a condition on the message: which blocks, and what each template says.
pub(super) fn known(index: &Index, test: &Test) -> Result<(Known, Condition)> {
    let templates = index.templates()?;
    let (verdicts, limits) = match test {
        Test::Exists => (vec![Verdict::Yes; templates.len() as usize + 1], None),
        Test::Text(text) => words(index, templates, text, &Run::whole(text), None)?,
        Test::Prefix(text) => {
            let open = text.chars().next_back().is_some_and(token::is_word_char);
            let open = open.then(|| token::tokens(text).pop()).flatten();
            words(index, templates, text, &Run::prefix(text), open.as_deref())?
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
    let is_wide = limits.is_some_and(|l| l.is_wide);
    let (mut sure, mut maybe) = (Blocks::none(count), Blocks::none(count));
    let mut whole = maybe.clone();
    let mut passing = vec![0_u32; count as usize];
    for (number, verdict) in (WHOLE..).zip(verdicts) {
        match verdict {
            Verdict::Maybe if number == WHOLE => {
                templates.for_each_block(number, |block, _| whole.insert(block));
            }
            Verdict::Maybe if !is_wide => {
                templates.for_each_block(number, |block, _| maybe.insert(block));
            }
            Verdict::No | Verdict::Maybe => {}
            Verdict::Yes => templates.for_each_block(number, |block, rows| {
                sure.insert(block);
                if let Some(passing) = passing.get_mut(block as usize) {
                    *passing = passing.saturating_add(rows);
                }
            }),
        }
    }
    if let Some(limits) = limits {
        maybe = if is_wide { limits.templates.clone() } else { maybe.and(&limits.templates) };
        whole = whole.and(&limits.whole);
    }
    let mut passing = passing.into_iter();
    let certain = of_entries(index.entries(), |e| passing.next() == Some(e.rows));
    let undecided = maybe.or(&whole);
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

/// Asks for a run of words. What its words say decides for most templates; `open` is the last token, where it
/// may go on.
fn words(
    index: &Index,
    templates: &Templates,
    text: &str,
    run: &Run,
    open: Option<&str>,
) -> Result<(Vec<Verdict>, Option<Limits>)> {
    let (words, filters) = (index.words()?, index.filters()?);
    let bad_terms = index.bad_terms();
    let mut whole = token::tokens(text);
    if open.is_some() {
        whole.pop();
    }
    // Templates that have all words, and the blocks that have all tokens outside of templates.
    let mut having: Option<Vec<u32>> = None;
    let all = Blocks::all(index.blocks());
    let mut limits = Limits { templates: all.clone(), whole: all, is_wide: false };
    for token in &whole {
        if is_variable_to_query(token) {
            let blocks = tokens::blocks_with(words, filters, token).map_err(&bad_terms)?;
            limits.narrow(&blocks);
        } else {
            let Places { templates, blocks } = words.with(token).map_err(&bad_terms)?;
            limits.whole = limits.whole.clone().and(&blocks);
            having = Some(match having {
                None => templates,
                Some(having) => both(&having, &templates),
            });
        }
        if limits.whole.is_empty() && having.as_ref().is_some_and(Vec::is_empty) {
            return Ok((Vec::new(), None));
        }
    }
    if let Some(open) = open {
        let found = words.with_prefix(open).map_err(&bad_terms)?;
        // Where the filters cannot tell, identifiers that begin so may be anywhere.
        if let (Some(found), Some(identifiers)) = (found, filters.with_prefix(open)) {
            limits.narrow(&found.blocks.or(&identifiers));
        }
    }
    let has_variable = whole.iter().any(|token| is_variable_to_query(token));
    let is_long = whole.iter().any(|token| token.len() > WORD_BYTES_MAX);
    if has_variable && !is_long && limits.templates.is_empty() {
        return Ok((Vec::new(), None));
    }
    limits.is_wide = having.is_none() && has_variable;
    let decide = |number: u32| {
        let has_marks = templates.variables(number).is_some_and(|n| n > 0);
        if has_mark(text) {
            // Texts with the mark have no template.
            Verdict::No
        } else if (!has_variable || is_long) && templates.text(number).is_some_and(|text| run.is_in(text)) {
            Verdict::Yes
        } else if has_marks && (has_variable || open.is_some()) {
            Verdict::Maybe
        } else {
            Verdict::No
        }
    };
    let mut verdicts = vec![Verdict::No; templates.len() as usize + 1];
    let mut set = |number: u32, verdict| {
        if let Some(slot) = verdicts.get_mut(number as usize) {
            *slot = verdict;
        }
    };
    match having {
        Some(having) => having.into_iter().for_each(|number| set(number, decide(number))),
        None => (1..=templates.len()).for_each(|number| set(number, decide(number))),
    }
    set(WHOLE, Verdict::Maybe);
    Ok((verdicts, Some(limits)))
}

impl Limits {
    /// A token that can be a variable stands in these blocks only.
    fn narrow(&mut self, blocks: &Blocks) {
        self.templates = self.templates.clone().and(blocks);
        self.whole = self.whole.clone().and(blocks);
    }
}

/// Whether a query's token can be a variable. Longer ones may be words of another script, too.
fn is_variable_to_query(token: &str) -> bool {
    is_variable(token) || is_identifier(token)
}

/// What is in both of two rising lists.
fn both(a: &[u32], b: &[u32]) -> Vec<u32> {
    a.iter().copied().filter(|n| b.binary_search(n).is_ok()).collect()
}
