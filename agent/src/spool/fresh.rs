//! Bodies of small batches that were spooled just now. They are sent in a moment, and to read them back from the
//! disk costs more than all else about a small batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// Most bytes of all that are kept.
const BYTES_MAX: usize = 1 << 20;
/// Most bytes of one: reading a larger one back costs little beside sending it.
const BODY_BYTES_MAX: usize = 64 << 10;

/// How many bytes are kept.
#[derive(Clone, Default)]
pub(super) struct Fresh(Arc<AtomicUsize>);

/// A body that is kept.
pub(super) struct Body {
    bytes: Bytes,
    kept: Fresh,
}

impl Fresh {
    /// Keeps a body, if it is small and there is room.
    pub(super) fn keep(&self, body: Vec<u8>) -> Option<Arc<Body>> {
        let (len, room) = (body.len(), BYTES_MAX.saturating_sub(self.0.load(Ordering::Relaxed)));
        if len > BODY_BYTES_MAX.min(room) {
            return None;
        }
        self.0.fetch_add(len, Ordering::Relaxed);
        Some(Arc::new(Body { bytes: body.into(), kept: self.clone() }))
    }
}

impl Body {
    /// The body.
    pub(super) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.kept.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_bodies_are_kept_while_there_is_room() {
        let fresh = Fresh::default();
        assert!(fresh.keep(vec![0; BODY_BYTES_MAX + 1]).is_none());
        let kept: Vec<_> = std::iter::from_fn(|| fresh.keep(vec![7; BODY_BYTES_MAX])).take(100).collect();
        assert_eq!(kept.len(), BYTES_MAX / BODY_BYTES_MAX);
        assert_eq!(kept[0].bytes(), vec![7; BODY_BYTES_MAX]);
        assert!(fresh.keep(vec![1]).is_none());
        drop(kept);
        assert!(fresh.keep(vec![1]).is_some());
    }
}
