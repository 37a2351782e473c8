//! Records in the audit log what senders are refused, and the tenants that come into being by what agents send.
//!
//! Nobody waits for it and nothing fails by it. Refusals are added up by who, from where, about whom and why, and a task
//! writes the sums: the first within a second, what follows once a minute. While the log cannot be written, sums grow.

mod sums;
mod writer;

use std::net::IpAddr;
use std::sync::Arc;

use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::Clock;
use heliograph_store::Store;
use heliograph_store::audit::{Action, Actor, Details, Event, Outcome, Subject};
use heliograph_store::tenants::OpenTenant;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::metrics::Metrics;
use sums::Sums;
pub(crate) use writer::Writer;

/// New tenants that wait to be recorded. They are made where the log is, so that few wait while it is away.
const MADE_MAX: usize = 1_024;

/// Something that was refused: what is the same is added up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Refusal {
    /// Who was proved; nobody, where nothing was.
    pub(crate) actor: Actor,
    /// From where; none of an actor's many.
    pub(crate) from: Option<IpAddr>,
    /// Whose records it would have been, by name: there may be no such tenant.
    pub(crate) tenant: Option<TenantId>,
    /// Why; nothing that was presented.
    pub(crate) reason: &'static str,
}

/// Takes what is to be recorded. Its writer ends when it is gone.
pub(crate) struct Recorder {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    _end: DropGuard,
}

/// What waits for the writer.
#[derive(Default)]
struct Shared {
    refused: Mutex<Sums>,
    made: Mutex<Vec<Event>>,
    /// Something has come.
    woken: Notify,
}

/// A recorder, and the writer behind it, to be run.
pub(crate) fn recorder(store: Store, clock: Arc<dyn Clock>, metrics: Metrics) -> (Recorder, Writer) {
    let (shared, end) = (Arc::<Shared>::default(), CancellationToken::new());
    let writer = Writer { store, shared: Arc::clone(&shared), end: end.clone(), metrics: metrics.clone() };
    (Recorder { shared, clock, metrics, _end: end.drop_guard() }, writer)
}

impl Recorder {
    /// Somebody was refused.
    pub(crate) fn refused(&self, refusal: Refusal) {
        self.shared.refused.lock().add(refusal, self.clock.now());
        self.shared.woken.notify_one();
    }

    /// A tenant came into being by what this sender sent.
    pub(crate) fn made(&self, tenant: &OpenTenant, workspace: &Workspace, by: Actor, from: IpAddr) {
        let details = [("tenant", tenant.name.as_str()), ("workspace", workspace.as_str())];
        let event = Event {
            at: self.clock.now(),
            actor: by,
            action: Action::TenantCreate,
            subject: Subject::Tenant { name: tenant.name.clone(), uid: tenant.uid },
            from: Some(from),
            outcome: Outcome::Done,
            details: Details::new(
                details.map(|(name, value)| (name.to_owned(), value.into())).into_iter().collect(),
            ),
        };
        let mut made = self.shared.made.lock();
        if made.len() < MADE_MAX {
            made.push(event);
        } else {
            self.metrics.audit_lost.inc();
            tracing::error!(tenant = %tenant.name, "the audit log lacks that a tenant was made: too many wait");
        }
        drop(made);
        self.shared.woken.notify_one();
    }
}
