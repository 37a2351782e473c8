//! What a question would look at, without looking: the plan of each segment, by its index alone.

use heliograph_model::filter::{Field, Filter, Test};
use heliograph_model::scan::{Scan, Want};
use heliograph_model::time::Timestamp;
use heliograph_model::{tenant::TenantId, token};
use heliograph_store::catalog::SegmentMeta;
use heliograph_store::segment::Explained;
use serde::Serialize;

use super::{Question, Search, Width, counts};
use crate::access::Scope;
use crate::error::Result;
use crate::plan;

/// Segments that are explained; the plan says how many more there are.
const SEGMENTS_MAX: usize = 1_000;
/// An automatic width over an open range is only known by asking.
const BUCKET_NANOS: i64 = 3_600_000_000_000;

/// What would be looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Plan {
    /// Which records are meant, as a tree.
    filter: Filter,
    start: Timestamp,
    end: Timestamp,
    /// What is looked up in the index for each condition on the message.
    words: Vec<Words>,
    tenants: Vec<OfTenant>,
    /// Segments beyond those that are explained.
    segments_left_out: usize,
}

#[derive(Debug, Serialize)]
struct Words {
    condition: Test,
    /// None where the index cannot help: a regular expression, a part of a word.
    tokens: Vec<String>,
}

#[derive(Debug, Serialize)]
struct OfTenant {
    tenant: TenantId,
    segments: Vec<OfSegment>,
}

#[derive(Debug, Serialize)]
struct OfSegment {
    /// Tells segments apart, and means nothing else.
    id: String,
    first: Timestamp,
    last: Timestamp,
    records: u64,
    blocks: u64,
    possible_blocks: u64,
    certain_blocks: u64,
    read_blocks: u64,
    read_bytes: u64,
}

impl Search {
    /// The plan of a question about what the scope may read.
    pub(crate) async fn explain(&self, scope: &Scope, question: &Question, want: &Want) -> Result<Plan> {
        let range = plan::reach(question.range, &question.filter, want);
        let listed = if range.is_empty() {
            Vec::new()
        } else {
            self.store.catalog.segments_of(scope.tenants(), &range).await?
        };
        let mut listed = plan::in_order(listed, want);
        let segments_left_out = listed.len().saturating_sub(SEGMENTS_MAX);
        listed.truncate(SEGMENTS_MAX);
        let mut tenants: Vec<OfTenant> = scope
            .tenants()
            .iter()
            .map(|tenant| OfTenant { tenant: tenant.clone(), segments: Vec::new() })
            .collect();
        for meta in listed {
            let scan = Scan {
                tenant: meta.tenant.clone(),
                range,
                filter: question.filter.clone(),
                committed_after: None,
                committed_through: None,
                want: want.clone(),
            };
            let explained = self.segments.open(&meta).await?.explain(&scan).await?;
            if let Some(of) = tenants.iter_mut().find(|of| of.tenant == meta.tenant) {
                of.segments.push(OfSegment::of(&meta, explained));
            }
        }
        let mut words = Vec::new();
        on_messages(&question.filter, &mut words);
        let filter = question.filter.clone();
        Ok(Plan { filter, start: range.start, end: range.end, words, tenants, segments_left_out })
    }
}

/// What a histogram wants, as far as it is known without asking.
pub(crate) fn histogram_want(question: &Question, width: Width) -> Result<Want> {
    let interval_nanos = match width {
        Width::Nanos(nanos) => nanos,
        Width::Auto if question.is_open() => BUCKET_NANOS,
        Width::Auto => counts::interval(&question.range, width)?,
    };
    Ok(Want::Histogram { interval_nanos, by_level: false })
}

impl OfSegment {
    fn of(meta: &SegmentMeta, explained: Explained) -> Self {
        let Explained { blocks, possible, certain, read, bytes } = explained;
        Self {
            id: meta.id.simple().to_string(),
            first: meta.first,
            last: meta.last,
            records: meta.records,
            blocks,
            possible_blocks: possible,
            certain_blocks: certain,
            read_blocks: read,
            read_bytes: bytes,
        }
    }
}

/// The conditions on the message, in the order of the query.
fn on_messages(filter: &Filter, words: &mut Vec<Words>) {
    match filter {
        Filter::All | Filter::None => {}
        Filter::And(parts) | Filter::Or(parts) => parts.iter().for_each(|part| on_messages(part, words)),
        Filter::Not(inner) => on_messages(inner, words),
        Filter::Is(Field::Message, condition) => {
            let tokens = match condition {
                Test::Text(text) | Test::Prefix(text) => token::tokens(text),
                _ => Vec::new(),
            };
            words.push(Words { condition: condition.clone(), tokens });
        }
        Filter::Is(..) => {}
    }
}
