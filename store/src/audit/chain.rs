//! The chain: what is hashed, and what holds its ends.
//!
//! ```text
//! hash of a row    = SHA-256 ( "heliograph audit row\0" | version 1 (u8) | hash of the row before (32)
//!                    | seq (u64) | at (i64) | actor | action | tenant | source | outcome | details )
//! code of the head = HMAC-SHA-256 ( "heliograph audit head\0" | version 1 (u8) | anchor (u64) | its hash (32)
//!                    | seq (u64) | its hash (32) | broken (u64) )
//! ```
//! Numbers are little-endian. A text is its length in bytes (u32) and its bytes; `tenant` is 0 (u8), or 1 (u8), the
//! name as a text, and the uid as a text of 16 bytes. Row 1 has 32 zeros as the hash before it.

use aws_lc_rs::{digest, hmac};
use heliograph_model::cipher::SecretKey;
use heliograph_model::time::Timestamp;

use super::{Event, Subject};
use crate::error::{Error, Result};
use crate::keyring::{KeyId, KeyRing};

const VERSION: u8 = 1;
const ROW: &[u8] = b"heliograph audit row\0";
const HEAD: &[u8] = b"heliograph audit head\0";
/// What the master key derives the key of the head's code for.
const PURPOSE: &str = "audit head v1";

/// A row as it lies in the catalog: whatever is there can be read, and is judged by its hash alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// Who, as [`super::Actor::name`] gives it.
    pub actor: String,
    /// What.
    pub action: String,
    /// The tenant's name, if it is about one.
    pub tenant: Option<String>,
    /// The tenant's uid, likewise.
    pub tenant_uid: Option<Vec<u8>>,
    /// The address that it came from, or empty.
    pub source: String,
    /// What came of it.
    pub outcome: String,
    /// JSON, with what is sealed of it; [`super::Told`] has that open.
    pub details: String,
    /// The hash over all this and the hash of the row before.
    pub hash: Vec<u8>,
}

impl Row {
    fn new(seq: u64, event: &Event, before: &[u8]) -> Self {
        let (tenant, uid) = match &event.subject {
            Subject::Platform => (None, None),
            Subject::Tenant { name, uid } => (Some(name.to_string()), Some(uid.as_bytes().to_vec())),
        };
        let mut row = Self {
            seq,
            at: event.at,
            actor: event.actor.name(),
            action: event.action.as_str().to_owned(),
            tenant,
            tenant_uid: uid,
            source: event.from.map_or_else(String::new, |from| from.to_canonical().to_string()),
            outcome: event.outcome.as_str().to_owned(),
            details: event.details.stored(),
            hash: Vec::new(),
        };
        row.hash = row.hash_after(before);
        row
    }

    /// The hash that this row has behind one with that hash.
    pub(super) fn hash_after(&self, before: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256 + self.details.len());
        bytes.extend_from_slice(ROW);
        bytes.push(VERSION);
        bytes.extend_from_slice(before);
        bytes.extend_from_slice(&self.seq.to_le_bytes());
        bytes.extend_from_slice(&self.at.as_nanos().to_le_bytes());
        put(&mut bytes, self.actor.as_bytes());
        put(&mut bytes, self.action.as_bytes());
        let is_of_tenant = self.tenant.is_some() || self.tenant_uid.is_some();
        bytes.push(u8::from(is_of_tenant));
        if is_of_tenant {
            put(&mut bytes, self.tenant.as_deref().unwrap_or_default().as_bytes());
            put(&mut bytes, self.tenant_uid.as_deref().unwrap_or_default());
        }
        put(&mut bytes, self.source.as_bytes());
        put(&mut bytes, self.outcome.as_bytes());
        put(&mut bytes, self.details.as_bytes());
        digest::digest(&digest::SHA256, &bytes).as_ref().to_vec()
    }
}

/// A text with its length, so that parts do not run into one another.
fn put(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(text);
}

/// Both ends of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The last row that was dropped for its age; 0 if none was.
    pub anchor: u64,
    /// Its hash.
    pub anchor_hash: Vec<u8>,
    /// The last row; 0 if there never was one.
    pub seq: u64,
    /// Its hash.
    pub hash: Vec<u8>,
    /// The first row that was written when the code was not right; 0 if it always was.
    pub broken: u64,
    /// The code over all this; empty before the first row.
    pub mac: Vec<u8>,
}

impl Head {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = HEAD.to_vec();
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.anchor.to_le_bytes());
        bytes.extend_from_slice(&self.anchor_hash);
        bytes.extend_from_slice(&self.seq.to_le_bytes());
        bytes.extend_from_slice(&self.hash);
        bytes.extend_from_slice(&self.broken.to_le_bytes());
        bytes
    }

    /// Whether it is that of a catalog in which nothing ever happened.
    fn is_first(&self) -> bool {
        (self.anchor, self.seq, self.broken) == (0, 0, 0) && self.mac.is_empty() && self.hash == [0; 32]
    }
}

/// Makes and checks the code of the head: whoever can write the catalog but has no master key cannot.
///
/// Signed with the key by which the catalog has tenants' keys wrapped, so that every process knows it; right is the code
/// of any key of the ring, as that key may be another by now.
#[derive(Clone, Debug)]
pub struct HeadKey {
    ring: KeyRing,
    /// Whether a head whose code no key of the ring makes is somebody else's work. Else it may be that the ring lacks a
    /// key.
    is_ring_whole: bool,
}

impl HeadKey {
    /// The one of these master keys, as they are known now.
    pub(super) fn new(ring: KeyRing) -> Self {
        Self { ring, is_ring_whole: false }
    }

    /// The same, after the ring was read again.
    pub(super) fn of_whole_ring(&self) -> Self {
        Self { is_ring_whole: true, ..self.clone() }
    }

    /// The key to sign with where the catalog names none yet.
    pub(crate) fn first(&self) -> Result<KeyId> {
        self.ring.first()
    }

    /// Whether the code is right.
    pub fn holds(&self, head: &Head) -> Result<bool> {
        let bytes = head.bytes();
        let makes = |key: &SecretKey| hmac::verify(&code_key(key), &bytes, &head.mac).is_ok();
        Ok(head.is_first() || self.ring.derive(PURPOSE)?.iter().any(makes))
    }

    /// The rows of events behind a head, and the head behind them, signed with the master key of this name. A head whose code was not right is marked for ever: a new code must not hide what was done before it.
    /// [`Error::Key`] and [`Error::OtherKey`] if the ring should be read again.
    pub(crate) fn extend(&self, head: Head, events: &[Event], by: KeyId) -> Result<(Vec<Row>, Head)> {
        let mut head = self.marked(head)?;
        let mut rows = Vec::with_capacity(events.len());
        for event in events {
            let row = Row::new(head.seq + 1, event, &head.hash);
            head.seq = row.seq;
            head.hash.clone_from(&row.hash);
            rows.push(row);
        }
        Ok((rows, self.signed(head, by)?))
    }

    /// The head when the rows up to this one are dropped; else as [`Self::extend`].
    pub(crate) fn drop_through(
        &self,
        head: Head,
        (anchor, anchor_hash): (u64, Vec<u8>),
        by: KeyId,
    ) -> Result<Head> {
        self.signed(Head { anchor, anchor_hash, ..self.marked(head)? }, by)
    }

    fn marked(&self, mut head: Head) -> Result<Head> {
        if head.broken > 0 || self.holds(&head)? {
            return Ok(head);
        }
        if !self.is_ring_whole {
            return Err(Error::Key { what: "head of the audit log".to_owned() });
        }
        tracing::error!(
            row = head.seq,
            "the audit log was changed by somebody else: run heliograph admin audit verify"
        );
        head.broken = head.seq + 1;
        Ok(head)
    }

    fn signed(&self, mut head: Head, by: KeyId) -> Result<Head> {
        let key = self.ring.derive_by(by, PURPOSE)?;
        head.mac = hmac::sign(&code_key(&key), &head.bytes()).as_ref().to_vec();
        Ok(head)
    }
}

fn code_key(key: &SecretKey) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key.expose())
}
