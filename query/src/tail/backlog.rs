//! What a tail begins with. What nobody answers for at that moment is left to the feeds, which bring it when
//! somebody does.

use std::collections::BTreeMap;
use std::time::Duration;

use heliograph_model::scan::{CommitId, Order};

use super::starts::{Part, Starts};
use super::{End, Tails};
use crate::access::Scope;
use crate::error::Error;
use crate::lists::KEPT_FOR;
use crate::search::{Page, Question};

/// How long the backlog may take before the tail begins without it: fresh lines are what a tail is for.
const WAIT: Duration = Duration::from_secs(5);
/// How often it is searched where somebody is missing, or answers just when that was seen.
const ATTEMPTS: usize = 4;

/// The newest records that can be had.
pub(super) struct Backlog {
    pub(super) page: Page,
    /// The parts that it lacks.
    pub(super) late: BTreeMap<Part, Late>,
}

/// A part for which nobody answered.
pub(super) struct Late {
    /// All up to here is in the backlog; its feed begins here.
    pub(super) after: CommitId,
    /// Some of what follows, up to here, may be in the backlog, too.
    pub(super) through: CommitId,
}

/// Searches for the backlog, and tells the feeds from where to begin; nothing where that takes too long.
pub(super) async fn read(
    tails: &Tails,
    scope: &Scope,
    question: &Question,
    limit: usize,
    starts: &Starts,
) -> Result<Option<Backlog>, End> {
    let failed = |error: Error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "a tail's backlog cannot be read");
        End::Failed
    };
    let search = &tails.search;
    // Up to where parts that are missing were sealed before the search that is to come.
    let mut sealed_before: BTreeMap<Part, CommitId> = BTreeMap::new();
    for _ in 0..ATTEMPTS {
        let work = search.records(scope, question, Order::Desc, limit, None);
        let page = match tokio::time::timeout(WAIT, search.in_turn_patiently(scope, work)).await {
            Ok(Ok(page)) => page,
            Ok(Err(Error::Timeout { .. })) | Err(_) => return Ok(None),
            Ok(Err(error)) => return Err(failed(error)),
        };
        let mut sealed = BTreeMap::new();
        // Who asks for no backlog lacks none.
        for tenant in scope.tenants().iter().filter(|_| limit > 0) {
            for indexer in &page.outcome.missing {
                let through = search.sealed_through(scope, tenant, *indexer).await.map_err(failed)?;
                sealed.insert((tenant.clone(), *indexer), through);
            }
        }
        let late = |(part, through): (&Part, &CommitId)| {
            Some((part.clone(), Late { after: *sealed_before.get(part)?, through: *through }))
        };
        if let Some(late) = sealed.iter().map(late).collect::<Option<BTreeMap<_, _>>>()
            && starts.tell(&late.iter().map(|(part, late)| (part.clone(), late.after)).collect())
        {
            return Ok(Some(Backlog { page, late }));
        }
        sealed_before = sealed;
        // No search uses a list of segments after that which lacks one of these.
        tokio::time::sleep(KEPT_FOR).await;
    }
    tracing::warn!("a tail's backlog lacks what is being taken over at this moment");
    Err(End::Failed)
}
