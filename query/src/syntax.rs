//! Query text → [`Filter`]. Pure: the present, against which relative times count, is passed in.
//!
//! ```text
//! query    = [ any ]
//! any      = all { "OR" all }
//! all      = operand { ["AND"] operand }
//! operand  = ("NOT" | "-") operand | "(" any ")" | condition
//! condition= [ field ":" ] value
//! value    = word | "\"" phrase "\"" | "/" regex "/"
//!          | "(" any ")" | ("[" | "{") bound "TO" bound ("]" | "}") | (">" | ">=" | "<" | "<=") bound     after a field
//! ```
//! A word goes to the next white space, quote or parenthesis; so `10.0.0.7`, `s3://b/k` and `10:30:00` are one
//! word each. `*` in a word stands for anything; a backslash before punctuation takes its meaning away.

mod fault;
mod value;
#[cfg(test)]
pub(crate) mod written;

use heliograph_model::filter::{Field, Filter, Matcher, Test};
use heliograph_model::time::Timestamp;
use winnow::Parser;
use winnow::combinator::{alt, eof, not, opt, peek, terminated};
use winnow::stream::{LocatingSlice, Location, Stateful, Stream};
use winnow::token::{any, literal, one_of, take_while};

pub(crate) use fault::Fault;
use fault::{Parsed, Raised};

/// Longest query text, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 10 << 10;
/// Most conditions in one query.
const CLAUSES_MAX: usize = 1024;
/// Most regular expressions in one query: each may compile to 1 MiB.
const REGEXES_MAX: usize = 32;
/// Deepest nesting of parentheses and negations.
const DEPTH_MAX: usize = 50;

/// What the parser has met so far.
#[derive(Clone, Debug)]
struct Met {
    now: Timestamp,
    clauses: usize,
    regexes: usize,
    depth: usize,
}

type Input<'a> = Stateful<LocatingSlice<&'a str>, Met>;

/// What stands before an operand, for the error where there is none.
#[derive(Clone, Copy, Debug)]
struct Before {
    what: &'static str,
    at: usize,
}

/// Reads a query; an empty one means every record.
pub(crate) fn parse(text: &str, now: Timestamp) -> Result<Filter, Fault> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Fault::at_start(
            format!("the query has {} bytes", text.len()),
            format!("at most {TEXT_BYTES_MAX} are read"),
        ));
    }
    let met = Met { now, clauses: 0, regexes: 0, depth: 0 };
    let mut input = Stateful { input: LocatingSlice::new(text), state: met };
    whole(&mut input).map_err(|raised| Raised::of(raised).into_fault(text))
}

fn whole(input: &mut Input<'_>) -> Parsed<Filter> {
    space(input)?;
    if input.input.is_empty() {
        return Ok(Filter::All);
    }
    let filter = any_of(input, None, Before { what: "", at: 0 })?;
    // Only a parenthesis ends a list of operands early.
    if input.input.is_empty() {
        Ok(filter)
    } else {
        Raised::cut(here(input), "this parenthesis closes nothing", Raised::QUOTE_PARENTHESIS)
    }
}

/// The byte at which the input stands.
fn here(input: &Input<'_>) -> usize {
    input.current_token_start()
}

fn space(input: &mut Input<'_>) -> Parsed<()> {
    take_while(0.., char::is_whitespace).void().parse_next(input)
}

/// Takes an operator if it stands here as a word of its own.
fn keyword(input: &mut Input<'_>, word: &'static str) -> Parsed<bool> {
    let edge = peek(alt((eof.void(), one_of(|c: char| c.is_whitespace() || "()\"".contains(c)).void())));
    opt((literal(word), edge)).map(|found| found.is_some()).parse_next(input)
}

fn any_of(input: &mut Input<'_>, field: Option<&Field>, before: Before) -> Parsed<Filter> {
    let mut parts = vec![all_of(input, field, before)?];
    loop {
        let at = here(input);
        if !keyword(input, "OR")? {
            return Ok(either(parts));
        }
        parts.push(all_of(input, field, Before { what: "OR", at })?);
    }
}

fn all_of(input: &mut Input<'_>, field: Option<&Field>, before: Before) -> Parsed<Filter> {
    let mut parts = vec![operand(input, field, before)?];
    loop {
        space(input)?;
        let at = here(input);
        if keyword(input, "AND")? {
            parts.push(operand(input, field, Before { what: "AND", at })?);
            continue;
        }
        let is_end = opt(peek(alt((eof.void(), literal(")").void())))).parse_next(input)?.is_some();
        if is_end || peek_keyword(input, "OR")? {
            return Ok(both(parts));
        }
        parts.push(operand(input, field, Before { what: "", at })?);
    }
}

fn peek_keyword(input: &mut Input<'_>, word: &'static str) -> Parsed<bool> {
    peek(|input: &mut Input<'_>| keyword(input, word)).parse_next(input)
}

fn operand(input: &mut Input<'_>, field: Option<&Field>, before: Before) -> Parsed<Filter> {
    space(input)?;
    let at = here(input);
    let next: Option<char> = opt(peek(any)).parse_next(input)?;
    if matches!(next, None | Some(')')) {
        return no_operand(before, at);
    }
    for word in ["AND", "OR"] {
        if peek_keyword(input, word)? {
            return Raised::cut(
                at,
                format!("{word} needs a condition on its left"),
                format!("to search for the word itself, quote it: \"{word}\""),
            );
        }
    }
    if input.state.depth >= DEPTH_MAX {
        return Raised::cut(
            at,
            format!("nested over {DEPTH_MAX} deep"),
            "use fewer parentheses and negations",
        );
    }
    input.state.depth += 1;
    let filter = if keyword(input, "NOT")? {
        negated(operand(input, field, Before { what: "NOT", at })?)
    } else if minus(input, field)? {
        negated(operand(input, field, Before { what: "-", at })?)
    } else if next == Some('(') {
        group(input, field)?
    } else {
        condition(input, field)?
    };
    input.state.depth -= 1;
    Ok(filter)
}

fn no_operand<T>(before: Before, at: usize) -> Parsed<T> {
    match before.what {
        "" => Raised::cut(at, "this parenthesis closes nothing", Raised::QUOTE_PARENTHESIS),
        "(" => {
            Raised::cut(before.at, "there is nothing between these parentheses", Raised::QUOTE_PARENTHESIS)
        }
        what => Raised::cut(
            before.at,
            format!("{what} needs a condition on its right"),
            format!("to search for {what} itself, quote it: \"{what}\""),
        ),
    }
}

/// A minus that negates: one that touches what follows, is no `--`, and is no sign of a field's number.
fn minus(input: &mut Input<'_>, field: Option<&Field>) -> Parsed<bool> {
    let negates =
        move |c: char| !c.is_whitespace() && c != '-' && c != ')' && !(field.is_some() && c.is_ascii_digit());
    opt((literal("-"), peek(one_of(negates)))).map(|found| found.is_some()).parse_next(input)
}

fn group(input: &mut Input<'_>, field: Option<&Field>) -> Parsed<Filter> {
    let at = here(input);
    literal("(").void().parse_next(input)?;
    let filter = any_of(input, field, Before { what: "(", at })?;
    match opt(literal(")")).parse_next(input)? {
        Some(_) => Ok(filter),
        None => Raised::cut(at, "the parenthesis opened here is not closed", Raised::QUOTE_PARENTHESIS),
    }
}

fn condition(input: &mut Input<'_>, outer: Option<&Field>) -> Parsed<Filter> {
    let at = here(input);
    if outer.is_none()
        && let Some(field) = field_name(input)?
    {
        if opt(peek(literal("("))).parse_next(input)?.is_some() {
            return group(input, Some(&field));
        }
        let test = value::of_field(input, &field)?;
        return leaf(input, at, field, test);
    }
    match outer {
        Some(field) => {
            let test = value::of_field(input, field)?;
            leaf(input, at, field.clone(), test)
        }
        None => match value::of_message(input)? {
            // A lone star asks nothing of the message.
            Test::Exists => Ok(Filter::All),
            test => leaf(input, at, Field::Message, test),
        },
    }
}

/// A field's name and its colon, unless what stands here is a word with a colon in it.
fn field_name(input: &mut Input<'_>) -> Parsed<Option<Field>> {
    let (at, start) = (here(input), input.checkpoint());
    let name = (
        one_of(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '@'),
        take_while(0.., |c: char| c.is_ascii_alphanumeric() || "_.@-/".contains(c)),
    );
    // `s3://bucket` and `std::io` are words.
    let colon = (literal(":"), not(alt((literal("//"), literal(":")))));
    let Some(name) = opt(terminated(name.take(), colon)).parse_next(input)? else { return Ok(None) };
    let field = Field::named(name);
    let bare = alt((eof.void(), one_of(|c: char| c.is_whitespace() || c == ')').void()));
    if opt(peek(bare)).parse_next(input)?.is_none() {
        return Ok(Some(field));
    }
    if matches!(field, Field::Attribute(_)) {
        // As in `ValueError: could not …`: the colon is text.
        input.reset(&start);
        return Ok(None);
    }
    Raised::cut(
        at,
        format!("{name}: has no value"),
        format!("write {name}:VALUE without a space, {name}:* for any value, or \"{name}:\" for the text"),
    )
}

/// A condition that is counted and known to be evaluable.
fn leaf(input: &mut Input<'_>, at: usize, field: Field, test: Test) -> Parsed<Filter> {
    input.state.clauses += 1;
    if input.state.clauses > CLAUSES_MAX {
        return Raised::cut(at, format!("more than {CLAUSES_MAX} conditions"), "ask in several queries");
    }
    if matches!(test, Test::Regex(_)) {
        input.state.regexes += 1;
        if input.state.regexes > REGEXES_MAX {
            let hint = "join them with | into one";
            return Raised::cut(at, format!("more than {REGEXES_MAX} regular expressions"), hint);
        }
    }
    let filter = Filter::Is(field, test);
    match Matcher::new(&filter) {
        Ok(_) => Ok(filter),
        Err(error) => Err(Raised::refused(at, &error)),
    }
}

fn both(parts: Vec<Filter>) -> Filter {
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Filter::And(inner) => flat.extend(inner),
            Filter::All => {}
            other => flat.push(other),
        }
    }
    if flat.len() > 1 { Filter::And(flat) } else { flat.pop().unwrap_or(Filter::All) }
}

fn either(parts: Vec<Filter>) -> Filter {
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Filter::Or(inner) => flat.extend(inner),
            Filter::All => return Filter::All,
            Filter::None => {}
            other => flat.push(other),
        }
    }
    if flat.len() > 1 { Filter::Or(flat) } else { flat.pop().unwrap_or(Filter::None) }
}

fn negated(filter: Filter) -> Filter {
    match filter {
        Filter::All => Filter::None,
        Filter::None => Filter::All,
        Filter::Not(inner) => *inner,
        other => Filter::Not(Box::new(other)),
    }
}

#[cfg(test)]
mod tests;
