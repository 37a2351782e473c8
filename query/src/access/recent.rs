//! Callers that were proved a moment ago: a page asks several things at once, and each proof costs the catalog
//! several questions.
//!
//! What changes through this process counts at once, as every call that may change something forgets all. What
//! changes elsewhere (`heliograph admin`, another query role) counts after [`KEPT_FOR`]; promised are 5 s.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use heliograph_model::cipher;
use heliograph_model::time::Timestamp;
use parking_lot::Mutex;

use super::Caller;
use crate::error::{Error, Result};

/// How long a proof counts.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// Callers known at the same time.
const CALLERS_MAX: usize = 1_000;

/// What stands for a credential here: worthless to who reads our memory.
pub(super) type Key = [u8; 32];

/// The proofs of the last moment.
pub(super) struct Recent {
    salt: [u8; 32],
    kept: Mutex<HashMap<Key, (Caller, Timestamp)>>,
    /// How often all was forgotten: a proof that was begun before must not be kept after.
    forgotten: AtomicU64,
}

/// A proof that may be kept, if nothing changed since it was begun.
pub(super) struct Begun {
    key: Key,
    at: Timestamp,
    forgotten: u64,
}

impl Recent {
    pub(super) fn new() -> Result<Self> {
        let salt = cipher::random().map_err(|e| Error::server("random bytes", e))?;
        Ok(Self { salt, kept: Mutex::default(), forgotten: AtomicU64::new(0) })
    }

    /// Begins a proof of a kind of credential.
    pub(super) fn begin(&self, kind: &str, credential: &[u8], now: Timestamp) -> Begun {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.salt);
        context.update(kind.as_bytes());
        context.update(&[0]);
        context.update(credential);
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        Begun { key, at: now, forgotten: self.forgotten.load(Ordering::SeqCst) }
    }

    /// The caller, if the same credential was proved a moment ago.
    pub(super) fn find(&self, begun: &Begun) -> Option<Caller> {
        self.kept.lock().get(&begun.key).filter(|(_, at)| is_fresh(*at, begun.at)).map(|(c, _)| c.clone())
    }

    /// Keeps what was proved.
    pub(super) fn keep(&self, begun: &Begun, caller: &Caller) {
        let mut kept = self.kept.lock();
        if begun.forgotten != self.forgotten.load(Ordering::SeqCst) {
            return;
        }
        if kept.len() >= CALLERS_MAX {
            kept.retain(|_, (_, at)| is_fresh(*at, begun.at));
        }
        if kept.len() < CALLERS_MAX {
            kept.insert(begun.key, (caller.clone(), begun.at));
        }
    }

    /// Forgets all proofs, also those under way.
    pub(super) fn forget(&self) {
        let mut kept = self.kept.lock();
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        kept.clear();
    }
}

/// A clock that went back makes nothing last longer.
fn is_fresh(at: Timestamp, now: Timestamp) -> bool {
    let nanos = now.nanos_since(at);
    nanos >= 0 && u64::try_from(nanos).is_ok_and(|nanos| Duration::from_nanos(nanos) < KEPT_FOR)
}
