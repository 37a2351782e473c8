//! Callers whom only the platform knows: it is asked about credentials that are none of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use heliograph_egress::Service;
use heliograph_egress::webhook::{Allowed, Question, Refusal, Webhook};
use heliograph_model::tenant::TenantId;
use heliograph_store::catalog::Role;
use http::{HeaderValue, header};

use super::{Access, Call, Caller, Principal, Proof, Rights};
use crate::config::AuthorizationWebhook;
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// What the platform is asked with.
pub(crate) struct Platform {
    webhook: Webhook,
    /// What it can give at most.
    roles: BTreeSet<Role>,
    metrics: Metrics,
    /// The last question came to nothing: our log knows.
    is_away: AtomicBool,
}

impl Platform {
    /// Checks where it is asked.
    pub(crate) async fn open(config: AuthorizationWebhook, metrics: Metrics) -> Result<Self> {
        let failed = |e| Error::server("[query.authorization_webhook]", e);
        let service = Service::open("authorization webhook", config.target).await.map_err(failed)?;
        let webhook = Webhook::new(service, config.keep).ok_or_else(|| {
            Error::server("[query.authorization_webhook]", "the machine gives no random bytes")
        })?;
        Ok(Self { webhook, roles: config.roles, metrics, is_away: AtomicBool::new(false) })
    }

    /// Reads its authorities anew when they change, for ever.
    pub(crate) async fn keep_fresh(&self) -> std::convert::Infallible {
        self.webhook.keep_fresh().await
    }

    async fn ask(&self, question: &Question) -> Result<Allowed> {
        let answer = self.webhook.ask(question).await;
        let outcome = answer.as_ref().map_or_else(|refusal| refusal.label(), |_| "allowed");
        self.metrics.webhook_answers.with_label_values(&[outcome]).inc();
        let is_away =
            !matches!(answer, Ok(_) | Err(Refusal::Denied | Refusal::Throttled { .. } | Refusal::Busy));
        if is_away != self.is_away.swap(is_away, Ordering::Relaxed) {
            match &answer {
                Err(refusal) => tracing::warn!(%refusal, "the authorization webhook proves nobody"),
                Ok(_) => tracing::info!("the authorization webhook answers again"),
            }
        }
        answer.map_err(|refusal| match refusal {
            Refusal::Denied => Error::Unauthenticated,
            Refusal::Throttled { retry_after } => Error::Throttled { retry_after },
            Refusal::Busy => Error::Busy { what: "questions about credentials" },
            Refusal::Failed(_) | Refusal::Status(_) | Refusal::Malformed => Error::Unanswered,
        })
    }
}

/// The question about a call's credential, in the name of a tenant or in none; none without a credential.
pub(super) fn question(call: &Call<'_>, tenant: Option<TenantId>) -> Option<Arc<Question>> {
    let mut authorization = call.headers.get(header::AUTHORIZATION)?.clone();
    authorization.set_sensitive(true);
    let uri = call.uri.path_and_query().map_or("/", |uri| uri.as_str());
    Some(Arc::new(Question {
        authorization,
        tenant,
        method: call.method.clone(),
        uri: HeaderValue::from_str(uri).ok()?,
        from: call.from,
    }))
}

impl Access {
    /// Who the platform has said lately that this is.
    pub(super) async fn known_elsewhere(&self, question: &Arc<Question>) -> Result<Option<Caller>> {
        match self.platform.as_ref().and_then(|platform| platform.webhook.known(question)) {
            Some(allowed) => self.of_platform(allowed, question).await.map(Some),
            None => Ok(None),
        }
    }

    /// Who the platform says this is, if there is one to ask.
    pub(super) async fn by_platform(&self, question: Option<&Arc<Question>>) -> Result<Caller> {
        let (Some(platform), Some(question)) = (&self.platform, question) else {
            return Err(Error::Unauthenticated);
        };
        let allowed = platform.ask(question).await?;
        self.of_platform(allowed, question).await
    }

    async fn of_platform(&self, allowed: Allowed, question: &Arc<Question>) -> Result<Caller> {
        let Some(platform) = &self.platform else { return Err(Error::Unauthenticated) };
        // Tenants are made here, not there.
        let tenant = self.catalog.tenant(&allowed.tenant).await?.ok_or(Error::Unauthenticated)?;
        let is_given = |role: &Role| match &allowed.roles {
            Some(names) => names.iter().any(|name| name == role.as_str()),
            None => true,
        };
        let roles: BTreeSet<Role> = platform.roles.iter().copied().filter(is_given).collect();
        let mut tenants = BTreeMap::new();
        if !roles.is_empty() {
            tenants.insert(tenant.name, Rights { uid: tenant.uid, workspace: tenant.workspace, roles });
        }
        Ok(Caller {
            principal: Principal::Platform(allowed.tenant.clone()),
            proof: Proof::Platform(Arc::clone(question)),
            admin: false,
            tenants,
        })
    }
}

#[cfg(test)]
mod tests;
