//! What a tail that resumes reads from segments, as the feed does not bring it any more.

use heliograph_model::record::{Record, RecordKey};
use heliograph_model::scan::{CommitId, Order, Pursuit, Scans, Want};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::TimeRange;
use uuid::Uuid;

use super::run::{Parts, Run};
use super::{Outcome, Question, Search};
use crate::access::Scope;
use crate::error::{Error, Result};
use crate::plan;

/// A stretch of one indexer's commits that is sealed.
#[derive(Clone, Debug)]
pub(crate) struct Gap {
    /// Whose records.
    pub(crate) tenant: TenantId,
    /// Sealed by whom.
    pub(crate) indexer: Uuid,
    /// Committed after this…
    pub(crate) after: CommitId,
    /// … and up to this.
    pub(crate) through: CommitId,
    /// Up to this place it was read already.
    pub(crate) read_to: Option<RecordKey>,
}

impl Search {
    /// Up to which commit a tenant's records of one indexer are sealed.
    pub(crate) async fn sealed_through(
        &self,
        scope: &Scope,
        tenant: &TenantId,
        indexer: Uuid,
    ) -> Result<CommitId> {
        if !scope.tenants().contains(tenant) {
            return Err(Error::Forbidden);
        }
        let sealed = self.store.catalog.segments(tenant, &TimeRange::ALL).await?;
        let of_indexer = sealed.iter().filter(|s| s.indexer == indexer);
        Ok(of_indexer.map(|s| s.commits_through).max().unwrap_or_default())
    }

    /// Records of one indexer's segments committed after one commit and up to another, oldest first. All of them
    /// are sealed, and later ones are left out, so the answer to the same question stays the same, whether or not
    /// segments are sealed or merged meanwhile.
    pub(crate) async fn sealed_between(
        &self,
        scope: &Scope,
        question: &Question,
        gap: &Gap,
        limit: usize,
    ) -> Result<Vec<Record>> {
        if !scope.tenants().contains(&gap.tenant) {
            return Err(Error::Forbidden);
        }
        let want = Want::Records { order: Order::Asc, limit, after: gap.read_to };
        let range = plan::reach(question.range, &question.filter, &want);
        let sealed = self.store.catalog.segments(&gap.tenant, &range).await?;
        let sealed = sealed.into_iter().filter(|s| {
            s.indexer == gap.indexer && s.commits_after < gap.through && s.commits_through > gap.after
        });
        let sealed = plan::in_order(sealed.collect(), &want);
        let ends_later = sealed.iter().filter(|s| s.commits_through > gap.through);
        let read_through = ends_later.map(|s| (s.id, gap.through)).collect();
        let scans = Scans {
            tenants: vec![gap.tenant.clone()],
            range,
            filter: question.filter.clone(),
            committed_after: Some(gap.after),
            want,
            after_tenant: None,
        };
        // Each segment by its own limit: a damaged one must not bound the others with what it cannot give.
        let pursuit = Pursuit::unbounded();
        let _ends = pursuit.ends_when_dropped();
        let run = Run::of(self, scans, &question.matcher, &pursuit);
        let parts = Parts { sealed, read_through, ..Parts::default() };
        let first = run.first(Order::Asc, limit, parts, &mut Outcome::default()).await?;
        Ok(first.into_records().into_iter().map(|(_, record)| record).collect())
    }
}
