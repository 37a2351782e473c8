//! Filters as query text, in any of the ways in which people write them: what tests read back, and ask with.

use heliograph_model::filter::{Field, Filter, Test};
use heliograph_model::time::Timestamp;

use super::{both, either, negated};

/// Characters that mean nothing within a word.
const PLAIN: &str = "._=,;@+%#!?&|~^$-/<>[]{}";

/// The filter as reading its text gives it; none where the language has no words for it.
pub(crate) fn canonical(filter: &Filter) -> Option<Filter> {
    let all = |parts: &[Filter]| parts.iter().map(canonical).collect::<Option<Vec<_>>>();
    Some(match filter {
        Filter::All => Filter::All,
        Filter::None => Filter::None,
        Filter::And(parts) => both(all(parts)?),
        Filter::Or(parts) => either(all(parts)?),
        Filter::Not(inner) => negated(canonical(inner)?),
        Filter::Is(field, test) => {
            Filter::Is(field.clone(), test_of(field, test).filter(|_| has_name(field))?)
        }
    })
}

fn has_name(field: &Field) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "_.@-/".contains(c);
    field.name().starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '@')
        && field.name().chars().all(is_inner)
}

fn test_of(field: &Field, test: &Test) -> Option<Test> {
    // Moments are written in one way; what is none is refused as it stands.
    let value = |text: &String| match Timestamp::parse(text) {
        Ok(time) if *field == Field::Timestamp => time.to_string(),
        _ => text.clone(),
    };
    Some(match test {
        Test::Text(text) => Test::Text(value(text)),
        Test::Prefix(text) | Test::Contains(text) if text.is_empty() => Test::Exists,
        Test::Regex(pattern) if pattern.is_empty() => return None,
        Test::Wildcard(parts) => wildcard(parts)?,
        Test::Range { lower: None, upper: None } => Test::Exists,
        Test::Range { lower, upper } => {
            if [lower, upper].into_iter().flatten().any(|(text, _)| text.is_empty()) {
                return None;
            }
            let end =
                |end: &Option<(String, bool)>| end.as_ref().map(|(text, inside)| (value(text), *inside));
            Test::Range { lower: end(lower), upper: end(upper) }
        }
        other => other.clone(),
    })
}

/// Stars side by side are one; some words with stars have a test of their own.
fn wildcard(parts: &[String]) -> Option<Test> {
    let [first, inner @ .., last] = parts else { return None };
    let inner: Vec<&String> = inner.iter().filter(|part| !part.is_empty()).collect();
    Some(match (first.as_str(), inner.as_slice(), last.as_str()) {
        ("", [], "") => Test::Exists,
        (start, [], "") => Test::Prefix(start.to_owned()),
        ("", [part], "") => Test::Contains((*part).clone()),
        _ => Test::Wildcard([first].into_iter().chain(inner).chain([last]).cloned().collect()),
    })
}

/// A text that means a [`canonical`] filter; `choose` gives a number below its argument for each choice.
pub(crate) fn written(filter: &Filter, choose: &mut dyn FnMut(u64) -> u64) -> String {
    let mut writer = Writer { choose, out: String::new() };
    writer.any(filter, None);
    writer.out
}

struct Writer<'a> {
    choose: &'a mut dyn FnMut(u64) -> u64,
    out: String,
}

impl Writer<'_> {
    fn one_in(&mut self, n: u64) -> bool {
        (self.choose)(n) == 0
    }

    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// What may stand between parentheses, behind the colon of a field where one is given.
    fn any(&mut self, filter: &Filter, field: Option<&Field>) {
        match filter {
            Filter::And(parts) => {
                for (n, part) in parts.iter().enumerate() {
                    let by = if n == 0 { "" } else { *self.pick(&[" ", " AND ", "  ", " AND\n"]) };
                    self.put(by);
                    self.operand(part, field);
                }
            }
            Filter::Or(parts) => {
                for (n, part) in parts.iter().enumerate() {
                    self.put(if n == 0 { "" } else { " OR " });
                    if matches!(part, Filter::And(_)) && self.one_in(2) {
                        self.any(part, field);
                    } else {
                        self.operand(part, field);
                    }
                }
            }
            other => self.operand(other, field),
        }
    }

    fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[usize::try_from((self.choose)(from.len() as u64)).unwrap()]
    }

    fn operand(&mut self, filter: &Filter, field: Option<&Field>) {
        if field.is_none()
            && !matches!(filter, Filter::Is(..))
            && let Some(common) = common_field(filter)
            && self.one_in(2)
        {
            self.put(&format!("{}:(", common.name()));
            self.any(filter, Some(common));
            self.put(")");
            return;
        }
        match filter {
            Filter::And(_) | Filter::Or(_) => self.group(filter, field),
            _ if self.one_in(8) => self.group(filter, field),
            Filter::All => self.put("*"),
            Filter::None => self.put("NOT *"),
            Filter::Not(inner) => self.negated(inner, field),
            Filter::Is(of, test) => self.condition(of, test, field.is_some()),
        }
    }

    fn group(&mut self, filter: &Filter, field: Option<&Field>) {
        self.put("(");
        self.any(filter, field);
        self.put(")");
    }

    fn negated(&mut self, inner: &Filter, field: Option<&Field>) {
        let at = self.out.len();
        self.operand(inner, field);
        // A minus before one of these means something else.
        let is_sign = self.out.as_bytes().get(at).is_some_and(|b| *b == b'-' || b.is_ascii_digit());
        let not = if is_sign || self.one_in(2) { "NOT " } else { "-" };
        self.out.insert_str(at, not);
    }

    fn condition(&mut self, field: &Field, test: &Test, is_named: bool) {
        let may_be_bare = *field == Field::Message
            && match test {
                Test::Exists | Test::Range { .. } => false,
                Test::Text(text) => !text.is_empty(),
                _ => true,
            };
        let is_bare = is_named || (may_be_bare && self.one_in(2));
        if !is_bare {
            let long = matches!(field, Field::Attribute(_)) && self.one_in(4);
            self.put(if long { "attributes." } else { "" });
            self.put(&format!("{}:", field.name()));
        }
        match test {
            Test::Text(text) if text.is_empty() || is_operator(text) || self.one_in(2) => self.phrase(text),
            Test::Text(text) => self.word(text),
            Test::Prefix(text) => self.stars(&[text, ""]),
            Test::Contains(text) => self.stars(&["", text, ""]),
            Test::Wildcard(parts) => self.stars(&parts.iter().map(String::as_str).collect::<Vec<_>>()),
            Test::Regex(pattern) => self.regex(pattern),
            Test::Range { lower, upper } => self.range(lower.as_ref(), upper.as_ref()),
            Test::Exists => self.put("*"),
        }
    }

    fn stars(&mut self, parts: &[&str]) {
        for (n, part) in parts.iter().enumerate() {
            if n > 0 {
                let stars = if self.one_in(8) { "**" } else { "*" };
                self.put(stars);
            }
            self.word(part);
        }
    }

    fn phrase(&mut self, text: &str) {
        self.put("\"");
        self.put(&text.replace('\\', "\\\\").replace('"', "\\\""));
        self.put("\"");
    }

    fn word(&mut self, text: &str) {
        for (n, c) in text.chars().enumerate() {
            let is_plain = c.is_alphanumeric() || (n > 0 && PLAIN.contains(c) && self.one_in(2));
            self.put(if is_plain { "" } else { "\\" });
            self.out.push(c);
        }
    }

    fn regex(&mut self, pattern: &str) {
        self.put("/");
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            self.put(if c == '/' { "\\" } else { "" });
            self.out.push(c);
            if c == '\\' {
                self.out.extend(chars.next());
            }
        }
        self.put("/");
    }

    fn range(&mut self, lower: Option<&(String, bool)>, upper: Option<&(String, bool)>) {
        match (lower, upper) {
            (Some((text, inside)), None) if self.one_in(2) => {
                self.put(if *inside { ">=" } else { ">" });
                self.end(Some(text));
            }
            (None, Some((text, inside))) if self.one_in(2) => {
                self.put(if *inside { "<=" } else { "<" });
                self.end(Some(text));
            }
            _ => {
                self.put(if lower.is_some_and(|(_, inside)| !inside) { "{" } else { "[" });
                self.end(lower.map(|(text, _)| text.as_str()));
                self.put(" TO ");
                self.end(upper.map(|(text, _)| text.as_str()));
                self.put(if upper.is_some_and(|(_, inside)| !inside) { "}" } else { "]" });
            }
        }
    }

    fn end(&mut self, text: Option<&str>) {
        match text {
            None => self.put("*"),
            Some(text) if text.chars().all(char::is_alphanumeric) && self.one_in(2) => self.put(text),
            Some(text) => self.phrase(text),
        }
    }
}

fn is_operator(text: &str) -> bool {
    matches!(text, "AND" | "OR" | "NOT")
}

/// The one field of all conditions.
fn common_field(filter: &Filter) -> Option<&Field> {
    match filter {
        Filter::All | Filter::None => None,
        Filter::Is(field, _) => Some(field),
        Filter::Not(inner) => common_field(inner),
        Filter::And(parts) | Filter::Or(parts) => {
            let first = common_field(parts.first()?)?;
            parts.iter().all(|part| common_field(part) == Some(first)).then_some(first)
        }
    }
}
