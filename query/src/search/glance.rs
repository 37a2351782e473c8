//! What the indexes of segments answer by themselves: many looked at in one go, while the hot parts are asked.
//!
//! A look takes some tens of microseconds; the way to a thread and back takes as long. A segment that holds
//! nothing of a rare word is done with here. What an index says depends on the segment and the question only,
//! so it may be asked before it is known which segments are read.

use std::collections::HashMap;
use std::sync::Arc;

use heliograph_model::filter::{Filter, Test};
use heliograph_model::scan::{Answer, Scan};
use heliograph_model::tenant::TenantId;
use heliograph_store::catalog::SegmentMeta;
use heliograph_store::layout::ObjectId;
use heliograph_store::segment::Segment;

use crate::segments::Segments;

/// Segments that are looked at in one go: the next go knows what this one's segments have found.
pub(super) const AT_ONCE: usize = 64;

/// Whole answers by segment.
pub(super) type Glanced = HashMap<ObjectId, Answer>;

/// Whether an index answers a filter by a few look-ups. Patterns are held against all words and templates.
pub(super) fn is_quick(filter: &Filter) -> bool {
    match filter {
        Filter::All | Filter::None => true,
        Filter::And(parts) | Filter::Or(parts) => parts.iter().all(is_quick),
        Filter::Not(inner) => is_quick(inner),
        Filter::Is(_, test) => matches!(test, Test::Text(_) | Test::Range { .. } | Test::Exists),
    }
}

/// What the indexes of those segments answer that are open already. An index that cannot be read answers
/// nothing: who then scans the segment says so.
pub(super) async fn glance(
    opened: &Segments,
    metas: Vec<&SegmentMeta>,
    scans: &Arc<HashMap<TenantId, Scan>>,
) -> Glanced {
    let segments: Vec<Arc<Segment>> = metas.into_iter().filter_map(|meta| opened.opened(meta)).collect();
    if segments.is_empty() {
        return Glanced::new();
    }
    let scans = Arc::clone(scans);
    let look = move || -> Glanced {
        let one = |segment: &Arc<Segment>| {
            let meta = segment.meta();
            let answer = segment.glance(scans.get(&meta.tenant)?).ok()??;
            Some((meta.id, answer))
        };
        segments.iter().filter_map(one).collect()
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}
