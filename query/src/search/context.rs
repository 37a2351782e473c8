//! The records around one, in its source.

use std::sync::Arc;

use heliograph_model::record::RecordId;
use heliograph_model::scan::{Answer, Want};

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
        let mut outcome = Outcome::default();
        for tenant in scope.tenants().iter().filter(|t| id.may_belong_to(t)) {
            let want = Want::Around { key: id.key, before: before + 1, after };
            let (answer, cost) =
                self.ask(question.scan(tenant, want), &Arc::clone(&question.matcher)).await?;
            outcome.merge(cost);
            let Answer::Records(records) = answer else { continue };
            // With a filter of its own, the context may leave the record itself out.
            let is_found = records.iter().any(|r| r.key() == id.key) || !question.matcher.is_all();
            if is_found {
                self.counted(&outcome, records.len());
                let records = records.into_iter().map(|r| (tenant.clone(), r)).collect();
                return Ok(Page { records, next: None, outcome });
            }
        }
        Err(Error::NotFound { what: "record" })
    }
}
