//! All records of a question, a page at a time: what streams are made of.

use std::sync::Arc;

use heliograph_model::scan::Order;

use super::{Page, Place, Question, Search};
use crate::access::Scope;
use crate::error::Result;

/// Records of the first page: the caller should see something soon.
const FIRST_RECORDS: usize = 200;
/// Most records of a page.
const RECORDS_MAX: usize = 5_000;
/// Memory that a page aims at: long messages make short pages.
const PAGE_BYTES: usize = 8 << 20;

/// Goes through all records of a question. Between pages nothing is held: each asks hot and sealed parts anew
/// from the last record on.
pub(crate) struct Pager {
    search: Arc<Search>,
    scope: Scope,
    question: Question,
    order: Order,
    after: Option<Place>,
    left: usize,
    next_records: usize,
    is_done: bool,
}

impl Pager {
    /// From after a place where given, at most `limit` records.
    pub(crate) fn new(
        search: Arc<Search>,
        scope: Scope,
        question: Question,
        order: Order,
        after: Option<Place>,
        limit: usize,
    ) -> Self {
        Self {
            search,
            scope,
            question,
            order,
            after,
            left: limit,
            next_records: FIRST_RECORDS,
            is_done: limit == 0,
        }
    }

    /// Where the next page would begin; none where there is nothing more.
    pub(crate) fn place(&self) -> Option<&Place> {
        self.after.as_ref()
    }

    /// The next page; none after the last. To be run in turn with the other searches.
    pub(crate) async fn next(&mut self) -> Result<Option<Page>> {
        if self.is_done {
            return Ok(None);
        }
        let wanted = self.next_records.min(self.left);
        let after = self.after.as_ref();
        let page = self.search.records(&self.scope, &self.question, self.order, wanted, after).await?;
        self.after = page.next.clone();
        self.left -= page.records.len().min(self.left);
        self.is_done = self.after.is_none() || self.left == 0;
        let bytes: usize = page.records.iter().map(|(_, r)| r.memory_bytes()).sum();
        let each = (bytes / page.records.len().max(1)).max(1);
        self.next_records = (PAGE_BYTES / each).clamp(1, RECORDS_MAX).min(self.next_records * 8);
        Ok(Some(page))
    }
}
