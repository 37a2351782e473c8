//! What commands do to a catalog goes to its audit log.

use anyhow::anyhow;
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::Clock;
use heliograph_store::Store;
use heliograph_store::audit::{Action, Actor, Details, Event, Log, Subject};
use heliograph_store::catalog::Extent;
use serde_json::Value;

use crate::clock::SystemClock;
use crate::exit::{Failure, Outcome};

/// A change that a command is about to make.
pub(super) struct Change<'a> {
    store: &'a Store,
    action: Action,
    subjects: Vec<Subject>,
    details: serde_json::Map<String, Value>,
}

impl<'a> Change<'a> {
    /// Of this store.
    pub(super) fn new(store: &'a Store, action: Action) -> Self {
        Self { store, action, subjects: Vec::new(), details: serde_json::Map::new() }
    }

    /// About this tenant; about the platform, if it is not there.
    pub(super) async fn about(mut self, tenant: &TenantId) -> Outcome<Self> {
        if let Some(tenant) = self.store.catalog.tenant(tenant).await? {
            self.subjects.push(Subject::Tenant { name: tenant.name, uid: tenant.uid });
        }
        Ok(self.with("tenant", tenant.as_str()))
    }

    /// About each tenant that a grant covers.
    pub(super) async fn over(mut self, extent: &Extent) -> Outcome<Self> {
        match extent {
            Extent::Tenant(tenant) => self.about(tenant).await,
            Extent::Workspace(workspace) => {
                let of = self.store.catalog.tenants().await?.into_iter();
                let of = of.filter(|tenant| tenant.workspace == *workspace);
                self.subjects.extend(of.map(|tenant| Subject::Tenant { name: tenant.name, uid: tenant.uid }));
                Ok(self.with("workspace", workspace.as_str()))
            }
        }
    }

    /// With a detail; no secret.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Makes the change, and records how that went. A change that could not be recorded is an error, too: it was made.
    pub(super) async fn make<T>(self, change: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        let made = change.await;
        let outcome = match made {
            Ok(_) => heliograph_store::audit::Outcome::Done,
            Err(_) => heliograph_store::audit::Outcome::Failed,
        };
        self.record(outcome).await.and(made)
    }

    /// Makes a tenant, which is what the change is about from then on.
    pub(super) async fn make_tenant(mut self, name: &TenantId, workspace: &Workspace) -> Outcome {
        self = self.with("tenant", name.as_str());
        match self.store.tenants.create(name, workspace).await {
            Ok(made) => {
                self.subjects.push(Subject::Tenant { name: name.clone(), uid: made.uid });
                self.record(heliograph_store::audit::Outcome::Done).await
            }
            Err(error) => self.record(heliograph_store::audit::Outcome::Failed).await.and(Err(error.into())),
        }
    }

    async fn record(mut self, outcome: heliograph_store::audit::Outcome) -> Outcome {
        if self.subjects.is_empty() {
            self.subjects.push(Subject::Platform);
        }
        let details = Details::new(self.details);
        let at = SystemClock.now();
        let event = |subject| Event {
            at,
            actor: Actor::CommandLine(rustix::process::getuid().as_raw()),
            action: self.action,
            subject,
            from: None,
            outcome,
            details: details.clone(),
        };
        let events: Vec<Event> = self.subjects.into_iter().map(event).collect();
        let written = Log::of(self.store).append(&events).await;
        written.map_err(|error| {
            let what = anyhow!(
                "{} ended as {}, and is not in the audit log",
                self.action.as_str(),
                outcome.as_str()
            );
            Failure::Failed(anyhow::Error::from(error).context(what))
        })
    }
}
