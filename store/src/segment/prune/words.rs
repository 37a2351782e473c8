//! What templates and tokens say of a run of words.

use std::collections::HashMap;

use heliograph_model::token::{self, Run};

use super::super::blocks::Blocks;
use super::super::candidates::{Search, TOKENS_MAX, Tokens};
use super::super::identifiers::{addresses, is_identifier};
use super::super::reader::{Index, Kind};
use super::super::templates::WHOLE;
use super::super::verdict::{Verdict, has_mark};
use super::text::Looked;
use crate::error::Result;

/// The only blocks in which a template's [`Verdict::Maybe`] can be true.
pub(super) struct Limits {
    /// Of texts that are kept whole.
    whole: Blocks,
    /// Of templates that have none of the tokens themselves.
    outside: Blocks,
    /// Of templates that have some.
    by_template: HashMap<u32, Blocks>,
}

impl Limits {
    /// Of a template, or of texts that are kept whole.
    pub(super) fn of(&self, number: u32) -> &Blocks {
        if number == WHOLE { &self.whole } else { self.by_template.get(&number).unwrap_or(&self.outside) }
    }
}

/// A token of the run, as the index knows it.
struct Token {
    /// Templates that have it, rising.
    templates: Vec<u32>,
    /// Blocks that have it as a variable, or in a text that is kept whole.
    blocks: Blocks,
}

impl Token {
    fn is_in(&self, template: u32) -> bool {
        self.templates.binary_search(&template).is_ok()
    }
}

/// What each template says of a run; `open` is the text's last token, where it may go on. Without a run only the
/// tokens are asked for.
pub(super) fn verdicts(
    index: &Index,
    kind: Kind,
    text: &str,
    run: Option<&Run>,
    open: Option<&str>,
) -> Result<Looked> {
    let templates = index.templates(kind)?;
    let mut whole = token::tokens(text);
    if open.is_some() {
        whole.pop();
    }
    let mut tokens = Vec::with_capacity(whole.len());
    for token in &whole {
        let token = look_up(index, kind, token)?;
        if token.templates.is_empty() && token.blocks.is_empty() {
            return Ok((Vec::new(), None, None));
        }
        tokens.push(token);
    }
    for address in addresses(text, open.is_some()) {
        let blocks = index.filters(kind)?.with(&address);
        if blocks.is_empty() {
            return Ok((Vec::new(), None, None));
        }
        tokens.push(Token { templates: Vec::new(), blocks });
    }
    let all = Blocks::all(index.blocks());
    let with_all = tokens.iter().fold(all.clone(), |with_all, token| with_all.and(&token.blocks));
    let with_open = open.map(|open| blocks_with_prefix(index, kind, open)).transpose()?;
    let mut limits = Limits {
        whole: with_open.as_ref().map_or_else(|| with_all.clone(), |open| with_all.clone().and(open)),
        // A template may have the open token itself, and lack the others.
        outside: with_open.filter(|_| tokens.is_empty()).unwrap_or(with_all),
        by_template: HashMap::new(),
    };
    let may_be_variable = open.is_some() || tokens.iter().any(|token| !token.blocks.is_empty());
    let mut verdicts = vec![Verdict::No; templates.len() as usize + 1];
    if let Some(verdict) = verdicts.first_mut() {
        *verdict = Verdict::Maybe;
    }
    // Texts with a mark in them have no template.
    if has_mark(text) {
        return Ok((verdicts, Some(limits), None));
    }
    let mut search = search(&whole, open, run);
    for (number, slot) in (WHOLE..).zip(&mut verdicts).skip(1) {
        let has_all = tokens.iter().all(|token| token.is_in(number));
        let is_there = |run: &Run| templates.text(number).is_some_and(|text| run.is_in(text));
        if has_all && run.is_some_and(is_there) {
            *slot = Verdict::Yes;
        } else if has_all && run.is_none() {
            *slot = Verdict::Maybe;
            limits.by_template.insert(number, all.clone());
            search.lacking.insert(number, 0);
        } else if may_be_variable && templates.variables(number).is_some_and(|n| n > 0) {
            let limit = limit(&tokens, number, open.is_some().then_some(&all));
            if limit.as_ref().unwrap_or(&limits.outside).is_empty() {
                continue;
            }
            // One that lacks all whole tokens may still have the open one.
            if limit.is_some() || (open.is_some() && !whole.is_empty()) {
                search.lacking.insert(number, lacking(tokens.get(..whole.len()).unwrap_or_default(), number));
            }
            limits.by_template.extend(limit.map(|limit| (number, limit)));
            *slot = Verdict::Maybe;
        }
    }
    Ok((verdicts, Some(limits), Some(Search::Tokens(search))))
}

/// What a row's variables must be: the whole tokens, then the open one.
fn search(whole: &[String], open: Option<&str>, run: Option<&Run>) -> Tokens {
    let tokens = whole.iter().map(|token| (token.clone(), false));
    let tokens: Vec<_> = tokens.chain(open.map(|open| (open.to_owned(), true))).take(TOKENS_MAX).collect();
    let is_exact = match (tokens.as_slice(), run) {
        ([(token, _)], Some(run)) => run.folded() == token && !may_be_anywhere(token),
        _ => false,
    };
    Tokens { tokens, lacking: HashMap::new(), is_exact }
}

/// Bits of the whole tokens that a template lacks; an open one it may have or not.
fn lacking(tokens: &[Token], number: u32) -> u64 {
    let lacking = tokens.iter().take(TOKENS_MAX).enumerate().filter(|(_, token)| !token.is_in(number));
    lacking.fold(0, |bits, (bit, _)| bits | 1 << bit)
}

/// The blocks in which the tokens that a template lacks stand as variables; none where it lacks them all. A
/// template that has them all may still have them otherwise than in this run, and one of them as a variable, too;
/// with an open token (`all` are all blocks) that one may be anywhere.
fn limit(tokens: &[Token], number: u32, all: Option<&Blocks>) -> Option<Blocks> {
    let (having, lacking): (Vec<_>, Vec<_>) = tokens.iter().partition(|token| token.is_in(number));
    let first = having.first()?;
    let join = |of: &[&Token], join: fn(Blocks, &Blocks) -> Blocks| {
        let blocks = of.iter().skip(1).map(|token| &token.blocks);
        of.first().map(|first| blocks.fold(first.blocks.clone(), join))
    };
    let any = || join(&having, Blocks::or).unwrap_or_else(|| first.blocks.clone());
    Some(join(&lacking, Blocks::and).or_else(|| all.cloned()).unwrap_or_else(any))
}

fn look_up(index: &Index, kind: Kind, token: &str) -> Result<Token> {
    if is_identifier(token) {
        let blocks = index.filters(kind)?.with(token);
        let templates = if may_be_anywhere(token) { everywhere(index, kind)? } else { Vec::new() };
        return Ok(Token { templates, blocks });
    }
    let places = index.words(kind)?.with(token).map_err(index.bad_terms(kind))?;
    Ok(Token { templates: places.templates, blocks: places.blocks })
}

/// Whether a letter of another script could have become a part of this token: the Kelvin sign folds to `k`, and a
/// dotted capital I to `i`.
fn is_folded(token: &str) -> bool {
    !token.bytes().any(|b| b.is_ascii_digit()) && token.contains(['k', 'i'])
}

/// Whether a token that the filters know may stand in a template, too: as a longer word of another script. The
/// filters of the blocks that use the template have it then.
fn may_be_anywhere(token: &str) -> bool {
    is_identifier(token) && (!token.is_ascii() || is_folded(token))
}

fn everywhere(index: &Index, kind: Kind) -> Result<Vec<u32>> {
    Ok((1..=index.templates(kind)?.len()).collect())
}

/// The blocks in which a token that begins so may stand outside of templates.
fn blocks_with_prefix(index: &Index, kind: Kind, prefix: &str) -> Result<Blocks> {
    let found = index.words(kind)?.with_prefix(prefix).map_err(index.bad_terms(kind))?;
    // Where the filters cannot tell, identifiers that begin so may be anywhere.
    Ok(match (found, index.filters(kind)?.with_prefix(prefix)) {
        (Some(found), Some(identifiers)) => found.blocks.or(&identifiers),
        _ => Blocks::all(index.blocks()),
    })
}
