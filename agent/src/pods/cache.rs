//! Pods and namespaces over a restart.
//!
//! ```text
//!  0  6  "HGPODS"
//!  6  1  version, 1
//!  7 16  random id: the key of the file is derived from the spool's key and it
//! 23  n  sealed body, one page: JSON with pods, when each was deleted, and namespaces
//! ```
//!
//! Replaced as a whole by renaming, so it is never torn. It is a help, not a truth: one that does not open is
//! warned of and passed over, and the API server tells it all again.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use heliograph_model::cipher::SecretKey;
use heliograph_model::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::facts::Pod;
use crate::error::{Error, Result};
use crate::sealed::Form;
use crate::tenancy::Namespace;

const FORM: Form = Form { magic: *b"HGPODS", version: 1, key: "agent pods v1" };

/// What is kept.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Cache<P = Pod> {
    /// Pods, and when they were deleted.
    pub pods: Vec<(P, Option<Timestamp>)>,
    /// Namespaces by name.
    pub namespaces: BTreeMap<Box<str>, Namespace>,
}

impl Cache {
    /// Reads what is kept; nothing, with a warning, where it does not read back.
    pub(super) fn read(path: &Path, key: &SecretKey) -> Self {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Self::default(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "known pods cannot be read");
                return Self::default();
            }
        };
        Self::open(&bytes, key).unwrap_or_else(|reason| {
            tracing::warn!(path = %path.display(), reason, "known pods do not read back, starting without them");
            Self::default()
        })
    }

    fn open(bytes: &[u8], key: &SecretKey) -> Result<Self, String> {
        let body = FORM.open(bytes, key)?;
        serde_json::from_slice(&body).map_err(|e| e.to_string())
    }
}

impl<P: Serialize> Cache<P> {
    /// Replaces what is kept; it is on disk when this returns.
    pub(super) fn write(&self, path: &Path, key: &SecretKey) -> Result<()> {
        let body = serde_json::to_vec(self)
            .map_err(|e| Error::Unavailable { what: "write known pods", reason: e.to_string() })?;
        FORM.replace(path, key, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_what_is_damaged_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let (path, key) = (dir.path().join("pods"), SecretKey::generate().unwrap());
        assert_eq!(Cache::read(&path, &key), Cache::default());
        let pod = Pod { uid: "u1".into(), name: "geheim".into(), ..Pod::default() };
        let labels = [("team".into(), "a".into())].into();
        let namespaces = [("ns".into(), Namespace { labels, gone: Some(Timestamp::from_nanos(7)) })].into();
        let cache = Cache { pods: vec![(pod, None)], namespaces };
        cache.write(&path, &key).unwrap();
        assert_eq!(Cache::read(&path, &key), cache);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(memchr::memmem::find(&bytes, b"geheim"), None);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Cache::open(&damaged, &key).is_err(), "a flipped bit in byte {at}");
            assert!(Cache::open(&bytes[..at], &key).is_err(), "cut at {at}");
        }
        std::fs::write(&path, b"HGPODS\x01nonsense").unwrap();
        assert_eq!(Cache::read(&path, &key), Cache::default());
    }
}
