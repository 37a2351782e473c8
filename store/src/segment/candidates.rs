//! Which rows of a block may pass a condition on a text, by the variables alone: texts are put together for few
//! rows only.

use std::collections::HashMap;
use std::sync::Arc;

use heliograph_model::token;
use regex::Regex;

use super::templates::WHOLE;
use super::texts::Texts;
use super::verdict::Verdict;

/// Tokens of a run that are told apart: those beyond are not looked for.
pub(super) const TOKENS_MAX: usize = 64;

/// What the variables of a row must have if its template alone does not decide.
#[derive(Debug)]
pub(super) enum Search {
    /// One of them has a part that this finds.
    Part(Arc<Regex>),
    /// Some of them are these tokens.
    Tokens(Tokens),
}

/// The tokens of a run.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// Folded, and whether the variable may go on behind it.
    pub(super) tokens: Vec<(String, bool)>,
    /// For templates that have some of the tokens themselves, bits of those that they lack; others lack all.
    pub(super) lacking: HashMap<u32, u64>,
    /// Whether a row that has them passes: the run is one token and nothing else.
    pub(super) is_exact: bool,
}

/// The rows of a block that may pass, by their place in [`Texts`].
#[derive(Debug)]
pub(super) struct Candidates(Vec<bool>);

impl Candidates {
    /// Looks at the variables of a block.
    pub(super) fn find(search: &Search, by_template: &[Verdict], texts: &Texts) -> Self {
        let mut found = vec![false; texts.rows()];
        match search {
            Search::Part(part) => find_part(part, texts, &mut found),
            Search::Tokens(tokens) => tokens.find(by_template, texts, &mut found),
        }
        Self(found)
    }

    /// Whether the row in this place may pass.
    pub(super) fn has(&self, place: usize) -> bool {
        self.0.get(place).copied().unwrap_or_default()
    }
}

fn find_part(part: &Regex, texts: &Texts, found: &mut [bool]) {
    let (variables, start) = texts.variables();
    let mut from = 0;
    while let Some(at) = part.find_at(variables, from) {
        let Some((place, end)) = texts.place_of_byte(start + at.start()) else { return };
        if let Some(found) = found.get_mut(place) {
            *found = true;
        }
        // On behind this variable, not behind the match: one that lies over two variables would hide what is in
        // the second.
        from = end - start;
    }
}

impl Tokens {
    fn find(&self, by_template: &[Verdict], texts: &Texts, found: &mut [bool]) {
        let all = self.tokens.iter().enumerate().fold(0_u64, |all, (bit, _)| all | 1 << bit);
        let lengths = self.lengths();
        let mut having = vec![0_u64; found.len()];
        for group in texts.groups() {
            let is_open = by_template.get(group.number as usize) == Some(&Verdict::Maybe);
            if group.number == WHOLE || !is_open {
                continue;
            }
            let lacking = self.lacking.get(&group.number).copied().unwrap_or(all);
            if lacking != 0 {
                texts.for_each_variable(&group, lengths, |place, variable| {
                    if let Some(having) = having.get_mut(place) {
                        *having |= self.bits_of(variable) & lacking;
                    }
                });
            }
            for place in group.places() {
                if let (Some(found), Some(having)) = (found.get_mut(place), having.get(place)) {
                    *found = having & lacking == lacking;
                }
            }
        }
    }

    /// The lengths that a variable has which is one of the tokens, as bits; the last bit is for all above.
    fn lengths(&self) -> u64 {
        self.tokens.iter().fold(0, |bits, (token, is_open)| {
            let length = token.len().min(63);
            bits | if *is_open { u64::MAX << length } else { 1 << length }
        })
    }

    /// The tokens that a variable is.
    fn bits_of(&self, variable: &str) -> u64 {
        let is = |token: &str, is_open: bool| {
            let (token, bytes) = (token.as_bytes(), variable.as_bytes());
            let head = bytes.get(..token.len());
            (is_open || bytes.len() == token.len()) && head.is_some_and(|h| h.eq_ignore_ascii_case(token))
        };
        let matching = |is: &dyn Fn(&str, bool) -> bool| {
            let tokens = self.tokens.iter().enumerate();
            tokens.filter(|(_, (t, open))| is(t, *open)).fold(0, |bits, (bit, _)| bits | 1 << bit)
        };
        if variable.is_ascii() {
            return matching(&is);
        }
        let folded = token::fold(variable);
        matching(&|token, is_open| folded == token || (is_open && folded.starts_with(token)))
    }
}
