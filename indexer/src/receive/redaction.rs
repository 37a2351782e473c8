//! Takes credentials out of decoded records, before anything else has them: write-ahead objects, memory and live tails
//! know only what is left. CPU work.

use std::sync::Arc;

use heliograph_model::redact::{Redacted, Redactor};
use heliograph_model::rows::Rows;
use heliograph_model::tenant::TenantId;
use prometheus::IntCounter;

use crate::error::Result;
use crate::metrics::Metrics;

/// How many secrets were taken out, by rule; nothing where there were none.
pub(super) type Taken = Option<Box<[u64]>>;

/// What is taken out of one tenant's records.
pub(super) struct Redaction {
    /// Nothing where redaction is off.
    pub(super) redactor: Option<Arc<Redactor>>,
    pub(super) tenant: TenantId,
}

impl Redaction {
    /// The records without secrets: the same ones where there are none.
    pub(super) fn apply(&self, rows: Rows) -> Result<(Rows, Taken)> {
        let Some(redactor) = &self.redactor else { return Ok((rows, None)) };
        Ok(match redactor.redact(&self.tenant, &rows)? {
            None => (rows, None),
            Some(Redacted { rows, counts }) => (rows, Some(counts)),
        })
    }
}

/// A counter for each rule in effect.
pub(super) struct Counters(Vec<IntCounter>);

impl Counters {
    /// All at 0.
    pub(super) fn new(redactor: Option<&Redactor>, metrics: &Metrics) -> Self {
        let names = redactor.into_iter().flat_map(Redactor::names);
        Self(names.map(|name| metrics.redactions.with_label_values(&[name])).collect())
    }

    /// Counts what was taken out of records that are stored now.
    pub(super) fn add(&self, taken: &[u64]) {
        self.0.iter().zip(taken).for_each(|(counter, count)| counter.inc_by(*count));
    }
}
