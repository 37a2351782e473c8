//! Mistakes that are known and not mended yet. Each goes with its mending.

use heliograph_model::filter::{Field, Filter, Test};
use heliograph_model::scan::{Scan, Want};

use super::super::Committed;

/// Whether a scan meets a mistake that is known and not mended yet.
pub(in super::super) fn awaits_mending(scan: &Scan, records: &[Committed]) -> bool {
    let any = |filter: &Filter, is: fn(&Field, &Test) -> bool| {
        let mut parts = vec![filter];
        while let Some(part) = parts.pop() {
            match part {
                Filter::Is(field, test) if is(field, test) => return true,
                Filter::And(inner) | Filter::Or(inner) => parts.extend(inner),
                Filter::Not(inner) => parts.push(inner),
                _ => {}
            }
        }
        false
    };
    // A key that an object has twice is counted twice.
    let has_equal_keys = |(_, record): &Committed| record.attributes.as_json().matches(r#""d":"#).count() > 1;
    // One word of another script with a digit in it: all rows of some blocks pass.
    let is_odd_word = |field: &Field, test: &Test| match test {
        Test::Text(text) => {
            *field == Field::Message && !text.is_ascii() && text.contains(|c: char| c.is_ascii_digit())
        }
        _ => false,
    };
    // `{"n":3e2}` is not found by the beginning of `300.0`.
    let is_number = |field: &Field, test: &Test| match test {
        Test::Prefix(text) => {
            matches!(field, Field::Attribute(_)) && text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        }
        _ => false,
    };
    matches!(scan.want, Want::Fields) && records.iter().any(has_equal_keys)
        || any(&scan.filter, is_odd_word)
        || any(&scan.filter, is_number)
}
