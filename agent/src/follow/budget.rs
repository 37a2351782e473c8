//! How much of the node's disk may be held by files that are deleted and not read to their end.
//!
//! A deleted file keeps its bytes while it is open. The disk belongs to the pods: beyond the budget, the oldest of
//! these files are let go, of whoever holds most, and a record in their place says how many bytes that were.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use heliograph_model::source::SourceId;

use super::Follower;

/// Most bytes of deleted files that are held open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnlinkedMax {
    /// On the node.
    pub node: u64,
    /// Of one container; of one path, where it is not a container's.
    pub container: u64,
}

/// Deleted files of one container.
#[derive(Debug, Default)]
struct Held {
    bytes: u64,
    sources: BTreeMap<SourceId, u64>,
}

impl Follower {
    /// Lets go of deleted files until the rest is within the budget.
    pub(super) fn keep_within_budget(&mut self, now: Instant) {
        let max = self.context.unlinked_max;
        let mut held: BTreeMap<Arc<Path>, Held> = BTreeMap::new();
        for (id, followed) in &self.followed {
            let bytes = followed.tail.pinned_bytes();
            if bytes > 0 {
                let of = held.entry(followed.container()).or_default();
                of.bytes += bytes;
                of.sources.insert(*id, bytes);
            }
        }
        let mut total: u64 = held.values().map(|h| h.bytes).sum();
        while let Some((container, most)) = held.iter_mut().max_by_key(|(_, h)| h.bytes)
            && (total > max.node || most.bytes > max.container)
        {
            let source = most.sources.iter().max_by_key(|(_, bytes)| **bytes).map(|(id, _)| *id);
            let freed = source.map_or(0, |id| self.let_go_oldest(id, now));
            if freed == 0 {
                // What is left of it is being read.
                total -= most.bytes;
                let container = Arc::clone(container);
                held.remove(&container);
                continue;
            }
            total -= freed;
            most.bytes -= freed;
            if let Some(bytes) = source.and_then(|id| most.sources.get_mut(&id)) {
                *bytes -= freed;
            }
        }
        self.context.metrics.unlinked_bytes.set(i64::try_from(total).unwrap_or(i64::MAX));
    }

    /// Lets go of a source's oldest deleted file; says how many bytes that frees.
    fn let_go_oldest(&mut self, id: SourceId, now: Instant) -> u64 {
        let Some(followed) = self.followed.get_mut(&id) else { return 0 };
        let before = followed.tail.pinned_bytes();
        let Some(lost) = followed.tail.let_go_oldest(now) else { return 0 };
        if lost > 0 {
            self.context.metrics.gap_bytes.inc_by(lost);
            let path = followed.path.display();
            tracing::error!(%path, bytes = lost, "deleted file let go unread: too much of the disk was held");
        }
        let freed = before.saturating_sub(followed.tail.pinned_bytes());
        self.enqueue(id);
        freed
    }
}
