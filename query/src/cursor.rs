//! Opaque places to go on from: sealed, bound to who asked what, and ending.
//!
//! ```text
//! base64url ( version 1 | id 16 bytes | AES-256-GCM ( JSON [expires, payload] ) )
//! ```
//! The key is derived from the master key and the id; what the cursor is bound to is authenticated with it. One
//! that does not open for any reason is refused with the same answer.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use heliograph_model::cipher::{self, SecretKey};
use heliograph_model::time::Timestamp;
use heliograph_store::keyring::KeyRing;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::Principal;
use crate::error::{Error, Result};

const VERSION: u8 = 1;
/// How long a cursor is good: a page left open over a day begins anew.
const TTL: Duration = Duration::from_secs(24 * 3600);
/// Longest cursor that is looked at: a tail over the most tenants and several indexers needs a few KiB.
const TEXT_BYTES_MAX: usize = 32 << 10;

/// What a cursor is good for.
#[derive(Clone, Debug)]
pub(crate) struct Binding(Vec<u8>);

impl Binding {
    /// For one kind of call of one principal.
    pub(crate) fn new(kind: &str, principal: &Principal) -> Self {
        Self(Vec::new()).with(kind).with(&principal.name())
    }

    /// For what a browser holds before anybody is signed in.
    pub(crate) fn of_nobody(kind: &str) -> Self {
        Self(Vec::new()).with(kind)
    }

    /// And for this part of the question. Parts do not run into one another.
    pub(crate) fn with(mut self, part: &str) -> Self {
        self.0.extend_from_slice(&part.len().to_le_bytes());
        self.0.extend_from_slice(part.as_bytes());
        self
    }

    /// And for these parts, in any order.
    pub(crate) fn with_all(self, parts: &[String]) -> Self {
        let mut sorted: Vec<&String> = parts.iter().collect();
        sorted.sort();
        let this = self.with(&sorted.len().to_string());
        sorted.into_iter().fold(this, |binding, part| binding.with(part))
    }
}

/// Seals and opens cursors.
pub(crate) struct Cursors {
    /// The first seals; what was sealed before the master key was changed opens with one of the others.
    keys: Vec<SecretKey>,
}

impl Cursors {
    /// With keys of the ring's own for cursors.
    pub(crate) fn new(keys: &KeyRing) -> Result<Self> {
        Ok(Self { keys: keys.derive("cursor v1")? })
    }

    /// With these keys.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn with(keys: Vec<SecretKey>) -> Self {
        Self { keys }
    }

    /// The text of a place.
    pub(crate) fn seal(&self, binding: &Binding, place: &impl Serialize, now: Timestamp) -> Result<String> {
        self.seal_for(binding, place, now, TTL)
    }

    /// Likewise, good for so long from now.
    pub(crate) fn seal_for(
        &self,
        binding: &Binding,
        place: &impl Serialize,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<String> {
        let failed = |e| Error::server("sealing a cursor", e);
        let expires = now.saturating_add_nanos(i64::try_from(ttl.as_nanos()).unwrap_or(i64::MAX));
        let mut sealed = serde_json::to_vec(&(expires.as_nanos(), place))
            .map_err(|e| Error::server("sealing a cursor", e))?;
        let id: [u8; 16] = cipher::random().map_err(failed)?;
        let key = self.keys.first().ok_or_else(|| failed(heliograph_model::Error::Sealed))?;
        let pages = key.derive("cursor", &id).and_then(|key| key.pages()).map_err(failed)?;
        pages.seal(0, &binding.0, &mut sealed).map_err(failed)?;
        let mut bytes = Vec::with_capacity(1 + id.len() + sealed.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(&sealed);
        Ok(BASE64URL_NOPAD.encode(&bytes))
    }

    /// The place of a text.
    pub(crate) fn open<T: DeserializeOwned>(
        &self,
        binding: &Binding,
        text: &str,
        now: Timestamp,
    ) -> Result<T> {
        self.opened(binding, text)
            .and_then(|bytes| serde_json::from_slice::<(i64, T)>(&bytes).ok())
            .filter(|(expires, _)| now.as_nanos() < *expires)
            .map(|(_, place)| place)
            .ok_or(Error::Cursor)
    }

    fn opened(&self, binding: &Binding, text: &str) -> Option<Vec<u8>> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (&[version], rest) = bytes.split_first_chunk::<1>()?;
        let (id, sealed) = rest.split_first_chunk::<16>()?;
        if version != VERSION {
            return None;
        }
        self.keys.iter().find_map(|key| {
            let mut sealed = sealed.to_vec();
            key.derive("cursor", id).ok()?.pages().ok()?.open(0, &binding.0, &mut sealed).ok()?;
            Some(sealed)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursors() -> Cursors {
        Cursors::with(vec![SecretKey::from_bytes([3; 32])])
    }

    fn binding(user: &str, query: &str) -> Binding {
        Binding::new("search", &Principal::User(user.to_owned())).with(query).with_all(&["a".to_owned()])
    }

    #[test]
    fn a_cursor_is_good_for_its_own_question_only() {
        let (cursors, now) = (cursors(), Timestamp::from_nanos(0));
        let text = cursors.seal(&binding("ann", "q"), &7_u32, now).unwrap();
        let open = |binding: &Binding, text: &str, now| cursors.open::<u32>(binding, text, now);
        assert_eq!(open(&binding("ann", "q"), &text, now).unwrap(), 7);
        for (foreign, text, now) in [
            (binding("bob", "q"), text.clone(), now),
            (binding("ann", "q2"), text.clone(), now),
            (Binding::new("tail", &Principal::User("ann".to_owned())), text.clone(), now),
            (Binding::new("search", &Principal::Token("ann".to_owned())).with("q"), text.clone(), now),
            (binding("ann", "q"), text.get(..text.len() - 4).unwrap().to_owned(), now),
            (binding("ann", "q"), String::new(), now),
            (binding("ann", "q"), "A".repeat(TEXT_BYTES_MAX + 1), now),
            (binding("ann", "q"), text.clone(), Timestamp::from_nanos(86_400_000_000_000)),
        ] {
            assert!(matches!(open(&foreign, &text, now), Err(Error::Cursor)));
        }
    }

    #[test]
    fn parts_do_not_run_into_one_another() {
        let user = Principal::User("u".to_owned());
        let of = |parts: &[&str]| parts.iter().fold(Binding::new("k", &user), |b, p| b.with(p)).0;
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", ""]), of(&["a"]));
    }

    proptest! {
        #[test]
        fn a_changed_cursor_does_not_open(at in 0_usize..60, bit in 0_u32..6) {
            let (cursors, now) = (cursors(), Timestamp::from_nanos(0));
            let text = cursors.seal(&binding("ann", "q"), &7_u32, now).unwrap();
            let mut bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let changed = BASE64URL_NOPAD.encode(&bytes);
            prop_assert!(cursors.open::<u32>(&binding("ann", "q"), &changed, now).is_err());
        }

        #[test]
        fn no_text_panics(text in "[A-Za-z0-9_-]{0,100}") {
            let opened = cursors().open::<u32>(&binding("ann", "q"), &text, Timestamp::from_nanos(0));
            prop_assert!(opened.is_err());
        }
    }
}
