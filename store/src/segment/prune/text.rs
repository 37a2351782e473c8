//! What templates and tokens say of a condition on a text.

use std::sync::Arc;

use heliograph_model::filter::Test;
use heliograph_model::token::{self, Run};

use super::super::bitset::BitSet;
use super::super::candidates::Search;
use super::super::dictionary::Probe;
use super::super::directory::{Entry, Group};
use super::super::reader::{Index, Kind};
use super::super::row_lists::RowLists;
use super::super::templates::{Templates, WHOLE};
use super::super::verdict::{Known as Condition, Verdict, has_mark};
use super::words::{self, Limits};
use super::{Known, compiled, of_entries, pattern};
use crate::error::Result;

/// What is known of a condition on the message.
pub(super) fn of_message(index: &Index, lists: &RowLists, test: &Test) -> Result<(Known, Condition)> {
    let kind = Kind::Messages;
    let templates = index.templates(kind)?;
    let (verdicts, limits, search) = match test {
        Test::Exists => (vec![Verdict::Yes; templates.len() as usize + 1], None, None),
        Test::Text(text) => words::verdicts(index, kind, text, Some(&Run::whole(text)), None)?,
        Test::Prefix(text) => {
            let open = open_token(text);
            let run = Run::prefix(text);
            words::verdicts(index, kind, text, Some(&run), open.as_deref())?
        }
        Test::Contains(text) => by_parts(index, kind, test, &[text.as_str()])?,
        Test::Wildcard(parts) => {
            by_parts(index, kind, test, &parts.iter().map(String::as_str).collect::<Vec<_>>())?
        }
        Test::Regex(pattern) => by_pattern(index, kind, test, pattern)?,
        Test::Range { .. } => (by_looking(templates, test, |_, _, _| Verdict::Maybe)?, None, None),
    };
    if let Test::Text(text) = test
        && let Some(rows) = lists.of(index, text)?
    {
        return Ok(by_rows(index, templates, verdicts, rows));
    }
    Ok(answer(index, kind, verdicts, limits.as_ref(), search))
}

/// What is known where all rows are listed that pass otherwise than by their templates.
fn by_rows(
    index: &Index,
    templates: &Templates,
    verdicts: Vec<Verdict>,
    rows: Arc<BitSet>,
) -> (Known, Condition) {
    let none = Limits::of_all(&BitSet::none(index.blocks()));
    let (_, undecided, mut passing) = blocks(index, templates, &verdicts, Some(&none));
    for (block, passing) in (0..).zip(&mut passing) {
        let listed = index.rows(block);
        *passing = passing.saturating_add(rows.len_between(listed.start, listed.end));
    }
    let of = |holds: fn(u32, &Entry) -> bool| {
        let mut by_block = passing.iter();
        of_entries(index.entries(), |e| by_block.next().is_some_and(|passing| holds(*passing, e)))
    };
    let known = Known { possible: of(|passing, _| passing > 0), certain: of(|passing, e| passing == e.rows) };
    let kind = Kind::Messages;
    (
        known,
        Condition::Text { kind, by_template: verdicts, undecided, passing, search: None, rows: Some(rows) },
    )
}

/// What is known of a condition on an attribute: where it cannot hold. Its texts stand in the attributes' JSON as
/// they are, for what is escaped there is indexed as it reads.
pub(super) fn of_attribute(index: &Index, path: &str, test: &Test) -> Result<(Known, Condition)> {
    let count = index.blocks();
    if !index.names()?.may_have(path) {
        let known = Known { possible: BitSet::none(count), certain: BitSet::none(count) };
        return Ok((known, Condition::Nothing));
    }
    let kind = Kind::Attributes;
    let (text, open) = match test {
        // Numbers match by value, however they are written.
        Test::Text(text) if text.parse::<f64>().is_err() => (text, None),
        // A number begins as it reads, which is not always how it is written.
        Test::Prefix(text) if !text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
            (text, open_token(text))
        }
        _ => {
            let possible = of_entries(index.entries(), |e| !e.page(Group::Attributes).is_none());
            let by_template = vec![Verdict::Maybe; index.templates(kind)?.len() as usize + 1];
            let undecided = possible.clone();
            let condition = Condition::Text {
                kind,
                by_template,
                undecided,
                passing: Vec::new(),
                search: None,
                rows: None,
            };
            return Ok((Known { possible, certain: BitSet::none(count) }, condition));
        }
    };
    let (verdicts, limits, search) = words::verdicts(index, kind, text, None, open.as_deref())?;
    Ok(answer(index, kind, verdicts, limits.as_ref(), search))
}

/// The last token of a prefix, where it may go on.
fn open_token(text: &str) -> Option<String> {
    text.chars().next_back().is_some_and(token::is_word_char).then(|| token::tokens(text).pop()).flatten()
}

fn answer(
    index: &Index,
    kind: Kind,
    verdicts: Vec<Verdict>,
    limits: Option<&Limits>,
    search: Option<Search>,
) -> (Known, Condition) {
    // The templates are open already: they were asked.
    let (known, undecided, passing) = match index.templates(kind) {
        Ok(templates) => blocks(index, templates, &verdicts, limits),
        Err(_) => {
            let all = BitSet::all(index.blocks());
            (Known { possible: all.clone(), certain: BitSet::none(index.blocks()) }, all, Vec::new())
        }
    };
    (known, Condition::Text { kind, by_template: verdicts, undecided, passing, search, rows: None })
}

/// The blocks by what the templates say, those in which it depends on the variables, and how many rows of each
/// pass by their templates.
fn blocks(
    index: &Index,
    templates: &Templates,
    verdicts: &[Verdict],
    limits: Option<&Limits>,
) -> (Known, BitSet, Vec<u32>) {
    let count = index.blocks();
    let (mut sure, mut undecided) = (BitSet::none(count), BitSet::none(count));
    let mut passing = vec![0_u32; count as usize];
    for (number, verdict) in (WHOLE..).zip(verdicts) {
        match verdict {
            Verdict::No => {}
            Verdict::Maybe | Verdict::Varies => match limits.map(|limits| limits.of(number)) {
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
    let mut by_block = passing.iter();
    let certain = of_entries(index.entries(), |e| by_block.next() == Some(&e.rows));
    (Known { possible: sure.or(&undecided), certain }, undecided, passing)
}

/// What is known by looking at each template, and what variables must have.
pub(super) type Looked = (Vec<Verdict>, Option<Limits>, Option<Search>);

/// For parts that follow one another with anything between: where they stand in a template, they stand in all its
/// texts; otherwise one of them must touch a variable.
fn by_parts(index: &Index, kind: Kind, test: &Test, parts: &[&str]) -> Result<Looked> {
    let templates = index.templates(kind)?;
    if parts.iter().any(|part| has_mark(part)) {
        return Ok((by_looking(templates, test, |_, _, _| Verdict::Maybe)?, None, None));
    }
    let needle = pattern::of_variables(parts, true);
    let begun =
        parts.iter().filter_map(|part| pattern::begun_token(part)).max_by_key(|(token, _)| token.len());
    let mut begun = Begun::look_up(index, kind, begun)?;
    let verdicts = by_looking(templates, test, |number, text, passes| match (passes, &needle) {
        (true, _) => Verdict::Yes,
        // What has no word in it touches none.
        (false, None) => Verdict::No,
        (false, Some(_)) => begun.verdict(number, text),
    })?;
    Ok((begun.with_whole(verdicts), begun.limits, needle.map(Search::Part)))
}

/// For a regular expression: a text that it must have stands in the template, or touches a variable.
fn by_pattern(index: &Index, kind: Kind, test: &Test, pattern: &str) -> Result<Looked> {
    let templates = index.templates(kind)?;
    let Some(needed) = pattern::needed(pattern).filter(|needed| !has_mark(needed)) else {
        return Ok((by_looking(templates, test, |_, _, _| Verdict::Maybe)?, None, None));
    };
    let needle = pattern::of_variables(&[&needed], false);
    let mut begun = Begun::look_up(index, kind, pattern::begun_token(&needed))?;
    let verdicts = by_looking(templates, test, |number, text, _| {
        if text.contains(&needed) {
            begun.everywhere(number);
            Verdict::Maybe
        } else if needle.is_some() {
            begun.verdict(number, text)
        } else {
            Verdict::No
        }
    })?;
    Ok((begun.with_whole(verdicts), begun.limits, needle.map(Search::Part)))
}

/// A token that texts must have, whole or its beginning, and what the index says of it.
struct Begun {
    token: Option<(Run, words::Token)>,
    limits: Option<Limits>,
    all: BitSet,
}

impl Begun {
    fn look_up(index: &Index, kind: Kind, token: Option<(String, bool)>) -> Result<Self> {
        let all = BitSet::all(index.blocks());
        let Some((token, is_whole)) = token else { return Ok(Self { token: None, limits: None, all }) };
        let (run, of_token) = match is_whole {
            true => (Run::whole(&token), words::look_up(index, kind, &token)?),
            false => (Run::prefix(&token), words::look_up_prefix(index, kind, &token)?),
        };
        let limits = Limits::of_all(&of_token.blocks);
        Ok(Self { token: Some((run, of_token)), limits: Some(limits), all })
    }

    /// What is known of texts of a template if they pass by their variables only.
    fn verdict(&mut self, number: u32, text: &str) -> Verdict {
        match &self.token {
            Some((run, _)) if run.is_in(text) => self.everywhere(number),
            Some((_, token)) if !token.may_vary_in(number) => return Verdict::No,
            _ => {}
        }
        Verdict::Varies
    }

    /// A template's texts may pass wherever they stand.
    fn everywhere(&mut self, number: u32) {
        if let Some(limits) = &mut self.limits {
            limits.lift(number, &self.all);
        }
    }

    /// The verdicts with that on texts which are kept whole.
    fn with_whole(&self, mut verdicts: Vec<Verdict>) -> Vec<Verdict> {
        if let Some((_, token)) = &self.token
            && !token.may_vary_in(WHOLE)
            && let Some(verdict) = verdicts.first_mut()
        {
            *verdict = Verdict::No;
        }
        verdicts
    }
}

/// Asks each template whether its own text passes, which decides where it has no variables; where it has some,
/// `decide` does, by the template's number, its text and whether that passes.
fn by_looking(
    templates: &Templates,
    test: &Test,
    mut decide: impl FnMut(u32, &str, bool) -> Verdict,
) -> Result<Vec<Verdict>> {
    let matcher = compiled::matcher(test)?;
    let verdict = |number: u32| {
        let Some(text) = templates.text(number) else { return Verdict::Maybe };
        let passes = matcher.matches(&Probe::Message(text));
        if templates.variables(number) == Some(0) {
            Verdict::of(passes)
        } else {
            decide(number, text, passes)
        }
    };
    Ok((WHOLE..=templates.len()).map(verdict).collect())
}
