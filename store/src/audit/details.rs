//! What more there is to say of an event: JSON within bounds.

use serde_json::{Map, Value};

/// Longest details of an event, in bytes.
pub const DETAILS_BYTES_MAX: usize = 4 << 10;
/// Longest text in them, in bytes of JSON: a query of its largest size is cut, and the cut is marked.
const TEXT_BYTES_MAX: usize = 2 << 10;

/// A JSON object of at most [`DETAILS_BYTES_MAX`]. Holds no secrets: whoever makes it sees to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details(String);

impl Details {
    /// Of these values. A text that is too long is cut and ends with `…`; values for which there is no room are left
    /// out, and `"cut": true` says so.
    pub fn new(values: Map<String, Value>) -> Self {
        let mut kept = Map::new();
        let (mut bytes, mut is_cut) = ("{\"cut\":true}".len(), false);
        for (name, value) in values {
            let value = shortened(value);
            // Two quotes, a colon and a comma; a name is ours and short, or is escaped to six times its length at most.
            let cost = value.to_string().len() + Value::from(name.as_str()).to_string().len() + 2;
            if bytes + cost > DETAILS_BYTES_MAX {
                is_cut = true;
            } else {
                bytes += cost;
                kept.insert(name, value);
            }
        }
        if is_cut {
            kept.insert("cut".to_owned(), Value::Bool(true));
        }
        Self(Value::Object(kept).to_string())
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Details {
    fn default() -> Self {
        Self("{}".to_owned())
    }
}

/// A text as far as it has room; other values as they are.
fn shortened(value: Value) -> Value {
    let Value::String(text) = value else { return value };
    if Value::from(text.as_str()).to_string().len() <= TEXT_BYTES_MAX {
        return Value::String(text);
    }
    let (mut short, mut bytes) = (String::new(), "\"…\"".len());
    for c in text.chars() {
        // A control character takes six bytes in JSON, a quote or backslash two.
        bytes += if c.is_control() { 6 } else { c.len_utf8() + usize::from(matches!(c, '"' | '\\')) };
        if bytes > TEXT_BYTES_MAX {
            break;
        }
        short.push(c);
    }
    short.push('…');
    Value::String(short)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn details(value: Value) -> Details {
        let Value::Object(values) = value else { panic!("{value}") };
        Details::new(values)
    }

    #[test]
    fn what_is_short_stays_as_it_is() {
        let values = json!({ "q": "a \"b\" \u{0}", "limit": 5 });
        assert_eq!(serde_json::from_str::<Value>(details(values.clone()).as_str()).unwrap(), values);
        assert_eq!(details(json!({})), Details::default());
    }

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        let long = details(json!({ "q": "ä".repeat(5_000), "start": "now-1h" }));
        assert!(long.as_str().contains("ä…\"") && long.as_str().contains("now-1h"), "{long:?}");
        let many = details(json!({ "a": "x".repeat(2_000), "b": "x".repeat(2_000), "c": "x".repeat(2_000) }));
        assert!(many.as_str().contains("\"cut\":true"));
    }

    proptest! {
        #[test]
        fn details_are_bounded_json(values in prop::collection::vec((".{0,40}", ".{0,3000}"), 0..6)) {
            let values: Map<String, Value> =
                values.into_iter().map(|(name, text)| (name, Value::from(text))).collect();
            let details = Details::new(values);
            prop_assert!(details.as_str().len() <= DETAILS_BYTES_MAX);
            prop_assert!(serde_json::from_str::<Map<String, Value>>(details.as_str()).is_ok());
        }
    }
}
