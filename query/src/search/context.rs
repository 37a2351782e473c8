//! The records around one, in its source.

use heliograph_model::record::RecordId;
use heliograph_model::scan::{Answer, Pursuit, Want};

use super::run::{Parts, Run};
use super::{Outcome, Page, Question, Search};
use crate::access::Scope;
use crate::error::{Error, Result};

impl Search {
    /// `before` records ahead of the one with this id, itself, and `after` ones behind it, in file order.
    ///
    /// An id of a tenant outside the scope is as unknown as one that never was.
    pub(crate) async fn context(
        &self,
        scope: &Scope,
        id: RecordId,
        before: usize,
        after: usize,
        question: &Question,
    ) -> Result<Page> {
        let page = self
            .again_if_gone(scope.tenants(), || self.around(scope, id, before, after, question))
            .await?
            .ok_or(Error::NotFound { what: "record" })?;
        self.counted(&page.outcome, page.records.len());
        Ok(page)
    }

    async fn around(
        &self,
        scope: &Scope,
        id: RecordId,
        before: usize,
        after: usize,
        question: &Question,
    ) -> Result<Option<Page>> {
        let pursuit = Pursuit::unbounded();
        let _ends = pursuit.ends_when_dropped();
        let mut outcome = Outcome::default();
        for tenant in scope.tenants().iter().filter(|t| id.may_belong_to(t)) {
            let want = Want::Around { key: id.key, before: before + 1, after };
            let run = Run::new(self, question, std::slice::from_ref(tenant), want, None, &pursuit);
            // A filter may leave no time: then nothing is around the record, which is there all the same.
            let parts = if run.is_empty() { Parts::default() } else { run.parts(&mut outcome).await? };
            let Answer::Records(records) = run.around(tenant, parts, &mut outcome).await? else {
                continue;
            };
            // With a filter of its own, the context may leave the record itself out.
            let is_found = records.iter().any(|r| r.key() == id.key) || !question.matcher.is_all();
            if is_found {
                let records = records.into_iter().map(|r| (tenant.clone(), r)).collect();
                return Ok(Some(Page { records, outcome, ..Page::default() }));
            }
        }
        Ok(None)
    }
}
