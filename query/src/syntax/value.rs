//! What stands for a value: words, phrases, regular expressions, ranges.

use heliograph_model::filter::{Field, Test};
use heliograph_model::time::Timestamp;
use winnow::Parser;
use winnow::combinator::{alt, eof, opt, peek, repeat};
use winnow::token::{any, literal, one_of, take_while};

use super::fault::{Parsed, Raised};
use super::{Input, here, space};

/// The test that stands where the message is meant.
pub(super) fn of_message(input: &mut Input<'_>) -> Parsed<Test> {
    let at = here(input);
    if let Some(text) = phrase(input)? {
        if text.is_empty() {
            return Raised::cut(
                at,
                "there is nothing between these quotes",
                "write \\\" to search for a quote",
            );
        }
        return Ok(Test::Text(text));
    }
    if let Some(pattern) = regex(input)? {
        return Ok(Test::Regex(pattern));
    }
    word(input).map(of_parts)
}

/// The test that stands behind a field's colon.
pub(super) fn of_field(input: &mut Input<'_>, field: &Field) -> Parsed<Test> {
    let at = here(input);
    if let Some(text) = phrase(input)? {
        return resolved(input, field, at, text).map(Test::Text);
    }
    if let Some(pattern) = regex(input)? {
        return Ok(Test::Regex(pattern));
    }
    if let Some(test) = range(input, field)? {
        return Ok(test);
    }
    if let Some(test) = comparison(input, field)? {
        return Ok(test);
    }
    match of_parts(word(input)?) {
        Test::Text(text) => resolved(input, field, at, text).map(Test::Text),
        test => Ok(test),
    }
}

/// A text between quotes, in which a backslash stands before a quote or a backslash only.
fn phrase(input: &mut Input<'_>) -> Parsed<Option<String>> {
    let at = here(input);
    if opt(literal("\"")).parse_next(input)?.is_none() {
        return Ok(None);
    }
    let mut text = String::new();
    loop {
        let plain: &str = take_while(0.., |c| c != '"' && c != '\\').parse_next(input)?;
        text.push_str(plain);
        let escape =
            alt((literal("\\\"").value('"'), literal("\\\\").value('\\'), literal("\\").value('\\')));
        match opt(escape).parse_next(input)? {
            Some(c) => text.push(c),
            None if opt(literal("\"")).parse_next(input)?.is_some() => return Ok(Some(text)),
            None => {
                let hint = "close it, or write \\\" to search for a quote";
                return Raised::cut(at, "the quote opened here is not closed", hint);
            }
        }
    }
}

/// An expression between slashes; a slash that does not close before white space begins a word (a path).
fn regex(input: &mut Input<'_>) -> Parsed<Option<String>> {
    let piece = alt((
        literal("\\/").value("/"),
        (literal("\\"), any).take(),
        take_while(1.., |c| c != '/' && c != '\\'),
    ));
    let body = repeat(1.., piece).fold(String::new, |mut text, piece: &str| {
        text.push_str(piece);
        text
    });
    let edge = alt((eof.void(), one_of(|c: char| c.is_whitespace() || c == ')').void()));
    opt((literal("/"), body, literal("/"), peek(edge)).map(|(_, body, _, ())| body)).parse_next(input)
}

/// A word, cut at its stars; a backslash before anything but a letter or digit takes its meaning away.
fn word(input: &mut Input<'_>) -> Parsed<Vec<String>> {
    let mut parts = vec![String::new()];
    loop {
        let c = alt((
            literal("*").value(None),
            (literal("\\"), one_of(|c: char| !c.is_alphanumeric())).map(|(_, c)| Some(c)),
            one_of(|c: char| !c.is_whitespace() && !"()\"".contains(c)).map(Some),
        ));
        match (opt(c).parse_next(input)?, parts.last_mut()) {
            (Some(Some(c)), Some(part)) => part.push(c),
            (Some(_), _) => parts.push(String::new()),
            (None, _) => return Ok(parts),
        }
    }
}

fn of_parts(mut parts: Vec<String>) -> Test {
    // Stars side by side are one.
    let last = parts.len() - 1;
    let mut index = 0;
    parts.retain(|part| {
        let keep = index == 0 || index == last || !part.is_empty();
        index += 1;
        keep
    });
    match parts.as_mut_slice() {
        [whole] => Test::Text(std::mem::take(whole)),
        [start, end] if start.is_empty() && end.is_empty() => Test::Exists,
        [start, end] if end.is_empty() => Test::Prefix(std::mem::take(start)),
        [start, part, end] if start.is_empty() && end.is_empty() => Test::Contains(std::mem::take(part)),
        _ => Test::Wildcard(parts),
    }
}

/// `[a TO b]`, `{a TO b}` and mixed; a star for an open end.
fn range(input: &mut Input<'_>, field: &Field) -> Parsed<Option<Test>> {
    const HINT: &str = "write [1 TO 5] with, {1 TO 5} without the ends; * for an open end";
    let at = here(input);
    let open: Option<char> = opt(one_of(['[', '{'])).parse_next(input)?;
    let Some(open) = open else { return Ok(None) };
    let lower = range_end(input, field)?;
    space(input)?;
    let to = here(input);
    if opt(literal("TO")).parse_next(input)?.is_none() {
        return Raised::cut(to, "TO is missing in this range", HINT);
    }
    let upper = range_end(input, field)?;
    space(input)?;
    let close: Option<char> = opt(one_of([']', '}'])).parse_next(input)?;
    let Some(close) = close else {
        return Raised::cut(at, "the range opened here is not closed", HINT);
    };
    match (lower, upper) {
        (None, None) => Ok(Some(Test::Exists)),
        (lower, upper) => Ok(Some(Test::Range {
            lower: lower.map(|text| (text, open == '[')),
            upper: upper.map(|text| (text, close == ']')),
        })),
    }
}

fn range_end(input: &mut Input<'_>, field: &Field) -> Parsed<Option<String>> {
    space(input)?;
    let at = here(input);
    let text = match phrase(input)? {
        Some(text) => text,
        None => {
            let text: &str =
                take_while(0.., |c: char| !c.is_whitespace() && !"]}\"".contains(c)).parse_next(input)?;
            if text == "*" {
                return Ok(None);
            }
            text.to_owned()
        }
    };
    if text.is_empty() {
        return Raised::cut(at, "an end of this range is missing", "write * for an open end");
    }
    resolved(input, field, at, text).map(Some)
}

/// `>2`, `>=warning`, `<now-1h`.
fn comparison(input: &mut Input<'_>, field: &Field) -> Parsed<Option<Test>> {
    let sign = alt((literal(">="), literal("<="), literal(">"), literal("<")));
    let Some(sign) = opt(sign).parse_next(input)? else { return Ok(None) };
    let at = here(input);
    let text = match phrase(input)? {
        Some(text) => text,
        None => {
            take_while(0.., |c: char| !c.is_whitespace() && !"()\"".contains(c)).parse_next(input)?.to_owned()
        }
    };
    if text.is_empty() {
        let hint = format!("write {}:{sign}VALUE without a space", field.name());
        return Raised::cut(at, format!("{sign} has no value"), hint);
    }
    let bound = Some((resolved(input, field, at, text)?, sign.ends_with('=')));
    Ok(Some(match sign.starts_with('>') {
        true => Test::Range { lower: bound, upper: None },
        false => Test::Range { lower: None, upper: bound },
    }))
}

/// A time counts against the present; any other text stays as it is.
fn resolved(input: &Input<'_>, field: &Field, at: usize, text: String) -> Parsed<String> {
    if *field != Field::Timestamp {
        return Ok(text);
    }
    match Timestamp::parse_relative(&text, input.state.now) {
        Ok(time) => Ok(time.to_string()),
        Err(error) => Err(Raised::refused(at, &error)),
    }
}
