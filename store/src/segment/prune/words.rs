//! What templates and tokens say of a run of words.

use std::collections::HashMap;

use heliograph_model::token::{self, Run};

use super::super::bitset::BitSet;
use super::super::candidates::{Search, TOKENS_MAX, Tokens};
use super::super::identifiers::{addresses, is_identifier};
use super::super::pairs::pairs;
use super::super::postings::Places;
use super::super::reader::{Index, Kind};
use super::super::templates::WHOLE;
use super::super::verdict::{Verdict, has_mark};
use super::text::Looked;
use crate::error::Result;

/// The only blocks in which a template's [`Verdict::Maybe`] can be true.
pub(super) struct Limits {
    /// Of texts that are kept whole.
    whole: BitSet,
    /// Of templates that have none of the tokens themselves.
    outside: BitSet,
    /// Of templates that have some.
    by_template: HashMap<u32, BitSet>,
}

impl Limits {
    /// The same for all.
    pub(super) fn of_all(blocks: &BitSet) -> Self {
        Self { whole: blocks.clone(), outside: blocks.clone(), by_template: HashMap::new() }
    }

    /// Widens a template's.
    pub(super) fn lift(&mut self, template: u32, blocks: &BitSet) {
        self.by_template.insert(template, blocks.clone());
    }

    /// Of a template, or of texts that are kept whole.
    pub(super) fn of(&self, number: u32) -> &BitSet {
        if number == WHOLE { &self.whole } else { self.by_template.get(&number).unwrap_or(&self.outside) }
    }
}

/// A token of the run, or some of its tokens together, as the index knows them.
pub(super) struct Token {
    /// Templates that have it, rising.
    templates: Vec<u32>,
    /// The only templates of which it is a variable; none where it may be any.
    holders: Option<Vec<u32>>,
    /// Blocks that have it as a variable, or in a text that is kept whole.
    pub(super) blocks: BitSet,
}

impl Token {
    fn is_nowhere(&self) -> bool {
        self.templates.is_empty() && self.blocks.is_empty()
    }

    fn is_in(&self, template: u32) -> bool {
        self.templates.binary_search(&template).is_ok()
    }

    /// Whether a template may have it as a variable, or a text that is kept whole may have it.
    pub(super) fn may_vary_in(&self, template: u32) -> bool {
        self.holders.as_ref().is_none_or(|holders| holders.binary_search(&template).is_ok())
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
    let Some(tokens) = look_up_all(index, kind, &whole, (text, open.is_some()))? else {
        return Ok((Vec::new(), None, None));
    };
    let all = BitSet::all(index.blocks());
    let with_all = tokens.iter().fold(all.clone(), |with_all, token| with_all.and(&token.blocks));
    let open_token = open.map(|open| look_up_prefix(index, kind, open)).transpose()?;
    let with_open = open_token.as_ref().map(|token| &token.blocks);
    let mut limits = Limits {
        whole: with_open.map_or_else(|| with_all.clone(), |open| with_all.clone().and(open)),
        // A template may have the open token itself, and lack the others.
        outside: with_open.filter(|_| tokens.is_empty()).cloned().unwrap_or(with_all),
        by_template: HashMap::new(),
    };
    let may_be_variable = open.is_some() || tokens.iter().any(|token| !token.blocks.is_empty());
    let mut verdicts = vec![Verdict::No; templates.len() as usize + 1];
    if let Some(verdict) = verdicts.first_mut()
        && tokens.iter().chain(&open_token).all(|token| token.may_vary_in(WHOLE))
    {
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
            // What the template lacks must be a variable of it; one that lacks nothing must have some as one.
            let mut of_run = tokens.iter().chain(&open_token);
            let can_pass = match has_all {
                true => of_run.any(|token| token.may_vary_in(number)),
                false => tokens.iter().all(|token| token.is_in(number) || token.may_vary_in(number)),
            };
            if !can_pass {
                continue;
            }
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
fn limit(tokens: &[Token], number: u32, all: Option<&BitSet>) -> Option<BitSet> {
    let (having, lacking): (Vec<_>, Vec<_>) = tokens.iter().partition(|token| token.is_in(number));
    let first = having.first()?;
    let join = |of: &[&Token], join: fn(BitSet, &BitSet) -> BitSet| {
        let blocks = of.iter().skip(1).map(|token| &token.blocks);
        of.first().map(|first| blocks.fold(first.blocks.clone(), join))
    };
    let any = || join(&having, BitSet::or).unwrap_or_else(|| first.blocks.clone());
    Some(join(&lacking, BitSet::and).or_else(|| all.cloned()).unwrap_or_else(any))
}

/// Where tokens stand, the whole ones of a text whose last may go on; behind them the text's addresses and pairs. None
/// where one of them stands nowhere.
fn look_up_all(
    index: &Index,
    kind: Kind,
    whole: &[String],
    (text, is_open): (&str, bool),
) -> Result<Option<Vec<Token>>> {
    let mut tokens = Vec::with_capacity(whole.len());
    for token in whole {
        tokens.push(look_up(index, kind, token)?);
        if tokens.last().is_some_and(Token::is_nowhere) {
            return Ok(None);
        }
    }
    for address in addresses(text, is_open) {
        let blocks = index.identifiers(kind)?.with(&address);
        tokens.push(Token { templates: Vec::new(), holders: None, blocks });
    }
    for (first, pair) in pairs(text, is_open) {
        let of_pair = tokens.get(first..first + 2).unwrap_or_default();
        let pair = look_up_pair(index, kind, &pair, of_pair)?;
        tokens.push(pair);
    }
    Ok(if tokens.iter().any(Token::is_nowhere) { None } else { Some(tokens) })
}

/// Where a token stands.
pub(super) fn look_up(index: &Index, kind: Kind, token: &str) -> Result<Token> {
    if is_identifier(token) {
        let blocks = index.identifiers(kind)?.with(token);
        let templates = if may_be_anywhere(token) { everywhere(index, kind)? } else { Vec::new() };
        return Ok(Token { templates, holders: None, blocks });
    }
    let Places { templates, holders, blocks } =
        index.words(kind)?.with(token).map_err(index.bad_terms(kind))?;
    Ok(Token { templates, holders, blocks })
}

/// Where two joined tokens stand as variables; a template that has one of them says nothing of the other.
fn look_up_pair(index: &Index, kind: Kind, pair: &str, tokens: &[Token]) -> Result<Token> {
    let mut templates: Vec<u32> = tokens.iter().flat_map(|token| &token.templates).copied().collect();
    templates.sort_unstable();
    templates.dedup();
    Ok(Token { templates, holders: None, blocks: index.identifiers(kind)?.with(pair) })
}

/// Whether a letter of another script could have become a part of this token: the Kelvin sign folds to `k`, and a
/// dotted capital I to `i`.
fn is_folded(token: &str) -> bool {
    !token.bytes().any(|b| b.is_ascii_digit()) && token.contains(['k', 'i'])
}

/// Whether an identifier may stand in a template, too: as a longer word of another script. The index has it in the
/// blocks that use the template then.
fn may_be_anywhere(token: &str) -> bool {
    is_identifier(token) && (!token.is_ascii() || is_folded(token))
}

fn everywhere(index: &Index, kind: Kind) -> Result<Vec<u32>> {
    Ok((1..=index.templates(kind)?.len()).collect())
}

/// Where a token that begins so may stand outside of templates.
pub(super) fn look_up_prefix(index: &Index, kind: Kind, prefix: &str) -> Result<Token> {
    let found = index.words(kind)?.with_prefix(prefix).map_err(index.bad_terms(kind))?;
    // Where that cannot be told, identifiers that begin so may be anywhere.
    let (holders, blocks) = match (found, index.identifiers(kind)?.with_prefix(prefix)) {
        (Some(found), Some(identifiers)) if identifiers.is_empty() => (found.holders, found.blocks),
        (Some(found), Some(identifiers)) => (None, found.blocks.or(&identifiers)),
        _ => (None, BitSet::all(index.blocks())),
    };
    Ok(Token { templates: Vec::new(), holders, blocks })
}
