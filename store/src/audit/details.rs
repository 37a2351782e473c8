//! What more there is to say of an event: JSON within bounds.
//!
//! Texts of questions may quote what stands in records, and the catalog holds no log content. They lie there sealed with
//! the tenant's key, so that they go where that key goes:
//!
//! ```text
//! "sealed": base64 ( version 1 (u8) | salt, random (16) | JSON of the texts, sealed | tag (16) )
//! ```
//! Sealed as page 0 with the key that the tenant's key derives for `audit details v1` and the salt; bound to the
//! tenant's uid.

use data_encoding::BASE64;
use heliograph_model::cipher::{SecretKey, random};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, Result};

/// Longest details of an event in plain, in bytes.
pub const DETAILS_BYTES_MAX: usize = 4 << 10;
/// Longest text in them, in bytes of JSON: a query of its largest size is cut, and the cut is marked.
const TEXT_BYTES_MAX: usize = 2 << 10;
/// Details that are texts of questions.
const ASKED: [&str; 2] = ["q", "query"];
/// Where they are when they are sealed.
const SEALED: &str = "sealed";
/// Stands where they could not be: there is no tenant, or it is gone.
const LEFT_OUT: &str = "left_out";
const VERSION: u8 = 1;
const SALT_BYTES: usize = 16;
const PURPOSE: &str = "audit details v1";

/// A JSON object of at most [`DETAILS_BYTES_MAX`]. Holds no secrets: whoever makes it sees to that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    plain: Map<String, Value>,
    asked: Asked,
}

/// The texts of questions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Asked {
    #[default]
    Nothing,
    Plain(Map<String, Value>),
    Sealed(String),
}

impl Details {
    /// Of these values. A text that is too long is cut and ends with `…`; values for which there is no room are left
    /// out, and `"cut": true` says so.
    pub fn new(values: Map<String, Value>) -> Self {
        let (mut plain, mut asked) = (Map::new(), Map::new());
        let (mut bytes, mut is_cut) = ("{\"cut\":true}".len(), false);
        for (name, value) in values {
            let value = shortened(value);
            // Two quotes, a colon and a comma; a name is ours and short, or is escaped to six times its length at most.
            let cost = value.to_string().len() + Value::from(name.as_str()).to_string().len() + 2;
            if bytes + cost > DETAILS_BYTES_MAX {
                is_cut = true;
                continue;
            }
            bytes += cost;
            match ASKED.contains(&name.as_str()) {
                true => asked.insert(name, value),
                false => plain.insert(name, value),
            };
        }
        if is_cut {
            plain.insert("cut".to_owned(), Value::Bool(true));
        }
        let asked = if asked.is_empty() { Asked::Nothing } else { Asked::Plain(asked) };
        Self { plain, asked }
    }

    /// Whether there is something to be sealed.
    pub(super) fn has_plain_question(&self) -> bool {
        matches!(self.asked, Asked::Plain(_))
    }

    /// The same with its questions sealed by the tenant's key.
    pub(super) fn sealed(&self, tenant: Uuid, key: &SecretKey) -> Result<Self> {
        let Asked::Plain(asked) = &self.asked else { return Ok(self.clone()) };
        let salt: [u8; SALT_BYTES] = random()?;
        let mut text = Value::Object(asked.clone()).to_string().into_bytes();
        key.derive(PURPOSE, &salt)?.pages()?.seal(0, tenant.as_bytes(), &mut text)?;
        let bytes = [&[VERSION][..], &salt, &text].concat();
        Ok(Self { plain: self.plain.clone(), asked: Asked::Sealed(BASE64.encode(&bytes)) })
    }

    /// The JSON text for the catalog. Questions that are not sealed are not in it.
    pub(super) fn stored(&self) -> String {
        let mut all = self.plain.clone();
        match &self.asked {
            Asked::Nothing => {}
            Asked::Plain(_) => drop(all.insert(LEFT_OUT.to_owned(), Value::Bool(true))),
            Asked::Sealed(sealed) => drop(all.insert(SEALED.to_owned(), sealed.as_str().into())),
        }
        Value::Object(all).to_string()
    }
}

/// What is sealed in stored details, and the details without it; nothing if nothing is.
pub(super) fn parted(stored: &str) -> Option<(Map<String, Value>, String)> {
    let Ok(Value::Object(mut all)) = serde_json::from_str(stored) else { return None };
    match all.shift_remove(SEALED) {
        Some(Value::String(sealed)) => Some((all, sealed)),
        _ => None,
    }
}

/// Details with what was sealed; without it and marked so, where no key opens it any more.
pub(super) fn opened(
    mut plain: Map<String, Value>,
    sealed: &str,
    tenant: Uuid,
    key: Option<&SecretKey>,
) -> Map<String, Value> {
    match key.map(|key| open(sealed, tenant, key)) {
        Some(Ok(asked)) => {
            let mut all = asked;
            all.extend(plain);
            all
        }
        Some(Err(_)) | None => {
            plain.insert(LEFT_OUT.to_owned(), Value::Bool(true));
            plain
        }
    }
}

fn open(sealed: &str, tenant: Uuid, key: &SecretKey) -> Result<Map<String, Value>> {
    let corrupt = |reason: &str| Error::Corrupt {
        object: "sealed details of a row of the audit log".to_owned(),
        reason: reason.to_owned(),
    };
    let bytes = BASE64.decode(sealed.as_bytes()).map_err(|_| corrupt("no base64"))?;
    let (salt, text) = match bytes.split_first() {
        Some((&VERSION, rest)) => rest.split_at_checked(SALT_BYTES).ok_or_else(|| corrupt("too short"))?,
        _ => return Err(corrupt("another version")),
    };
    let mut text = text.to_vec();
    key.derive(PURPOSE, salt)?.pages()?.open(0, tenant.as_bytes(), &mut text)?;
    serde_json::from_slice(&text).map_err(|_| corrupt("no JSON object"))
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

    const TENANT: Uuid = Uuid::from_u128(7);

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(values) = value else { panic!("{value}") };
        values
    }

    fn details(value: Value) -> Details {
        Details::new(map(value))
    }

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_bytes([byte; 32])
    }

    /// What is told of stored details.
    fn told(stored: &str, tenant: Uuid, key: Option<&SecretKey>) -> Value {
        let (plain, sealed) = parted(stored).unwrap();
        Value::Object(opened(plain, &sealed, tenant, key))
    }

    #[test]
    fn what_is_short_stays_as_it_is() {
        let values = json!({ "user": "a \"b\" \u{0}", "limit": 5 });
        assert_eq!(serde_json::from_str::<Value>(&details(values.clone()).stored()).unwrap(), values);
        assert_eq!(details(json!({})), Details::default());
    }

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        let long = details(json!({ "user": "ä".repeat(5_000), "start": "now-1h" })).stored();
        assert!(long.contains("ä…\"") && long.contains("now-1h"), "{long:?}");
        let many = details(json!({ "a": "x".repeat(2_000), "b": "x".repeat(2_000), "c": "x".repeat(2_000) }));
        assert!(many.stored().contains("\"cut\":true"));
    }

    #[test]
    fn a_question_is_stored_sealed_or_not_at_all() {
        let asked = details(json!({ "q": "canary", "limit": 5 }));
        assert_eq!(asked.stored(), r#"{"limit":5,"left_out":true}"#);
        let stored = asked.sealed(TENANT, &key(1)).unwrap().stored();
        assert!(!stored.contains("canary") && stored.contains("\"limit\":5"), "{stored}");
        assert_ne!(stored, asked.sealed(TENANT, &key(1)).unwrap().stored(), "each has a key of its own");
        assert_eq!(told(&stored, TENANT, Some(&key(1))), json!({ "q": "canary", "limit": 5 }));
        // Not with another key, not in another tenant's row, not without a key, not changed.
        let lost = json!({ "limit": 5, "left_out": true });
        assert_eq!(told(&stored, TENANT, Some(&key(2))), lost);
        assert_eq!(told(&stored, Uuid::nil(), Some(&key(1))), lost);
        assert_eq!(told(&stored, TENANT, None), lost);
        for sealed in ["", "AA==", "AQ==", "no base64"] {
            let stored = json!({ "limit": 5, "sealed": sealed }).to_string();
            assert_eq!(told(&stored, TENANT, Some(&key(1))), lost);
        }
        assert_eq!(parted("no json"), None);
        assert_eq!(parted(r#"{"limit":5}"#), None);
    }

    proptest! {
        #[test]
        fn details_are_bounded_json(values in prop::collection::vec(("q|.{0,40}", ".{0,3000}"), 0..6)) {
            let values: Map<String, Value> =
                values.into_iter().map(|(name, text)| (name, Value::from(text))).collect();
            let details = Details::new(values);
            prop_assert!(details.stored().len() <= DETAILS_BYTES_MAX + r#","left_out":true"#.len());
            let sealed = details.sealed(TENANT, &key(1)).unwrap().stored();
            // Base64 takes four bytes for three.
            prop_assert!(sealed.len() <= DETAILS_BYTES_MAX * 4 / 3 + 128);
            prop_assert!(serde_json::from_str::<Map<String, Value>>(&sealed).is_ok());
        }
    }
}
