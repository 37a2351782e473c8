//! All records of a question, a page at a time: what streams are made of.

use std::sync::Arc;
use std::time::Instant;

use heliograph_model::scan::Order;
use heliograph_model::time::Timestamp;

use super::{Page, Place, Question, Search, Watch};
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
    watch: Arc<Watch>,
    searched_to: Option<Timestamp>,
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
            watch: Arc::default(),
            searched_to: None,
        }
    }

    /// The same, to end about then even where not all is searched.
    pub(crate) fn until(self, deadline: Option<Instant>) -> Self {
        Self { watch: Arc::new(Watch::until(deadline)), ..self }
    }

    /// Who knows how far it is.
    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Where its time was over before all was searched: all that comes before this time is.
    pub(crate) fn searched_to(&self) -> Option<Timestamp> {
        self.searched_to
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
        let (scope, question) = (&self.scope, &self.question);
        let page = self.search.watched(scope, question, self.order, wanted, after, &self.watch).await?;
        self.after = page.next.clone();
        self.left -= page.records.len().min(self.left);
        self.searched_to = page.searched_to;
        self.is_done = self.after.is_none() || self.left == 0 || self.searched_to.is_some();
        let bytes: usize = page.records.iter().map(|(_, r)| r.memory_bytes()).sum();
        let each = (bytes / page.records.len().max(1)).max(1);
        self.next_records = (PAGE_BYTES / each).clamp(1, RECORDS_MAX).min(self.next_records * 8);
        Ok(Some(page))
    }
}
