//! Senders whom only the platform knows: it is asked about credentials that are none of ours.

use heliograph_egress::webhook::{Keep, Question, Refusal, Webhook};
use heliograph_egress::{Service, Target};
use heliograph_model::tenant::TenantId;
use http::HeaderValue;
use prometheus::IntCounterVec;

use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::receive::Head;

/// The role that a sender needs, where an answer names roles.
const WRITER: &str = "writer";

/// What the platform is asked with.
pub(crate) struct Platform {
    webhook: Webhook,
    /// Questions by what came of them.
    answers: IntCounterVec,
}

impl Platform {
    /// Checks where it is asked.
    pub(crate) async fn open((target, keep): (Target, Keep), metrics: &Metrics) -> Result<Self> {
        let section = "authorization_webhook";
        let service = Service::open("authorization webhook", target).await;
        let service = service.map_err(|source| Error::Service { section, source })?;
        let unavailable = Error::Unavailable { reason: "the machine gives no random bytes" };
        let webhook = Webhook::new(service, keep).ok_or(unavailable)?;
        Ok(Self { webhook, answers: metrics.webhook_answers.clone() })
    }

    /// Reads its authorities anew when they change, for ever.
    pub(crate) async fn keep_fresh(&self) -> std::convert::Infallible {
        self.webhook.keep_fresh().await
    }

    /// The tenant whose records the credential may send; `tenant` is the one that it names itself.
    pub(crate) async fn writer(
        &self,
        head: Head<'_>,
        authorization: &HeaderValue,
        tenant: Option<TenantId>,
    ) -> Result<TenantId> {
        let uri = head.uri.path_and_query().map_or("/", |uri| uri.as_str());
        let question = Question {
            authorization: authorization.clone(),
            tenant,
            method: head.method.clone(),
            uri: HeaderValue::from_str(uri).map_err(|_| Error::Unauthenticated)?,
            from: head.from,
        };
        let answer = self.webhook.ask(&question).await;
        let outcome = answer.as_ref().map_or_else(|refusal| refusal.label(), |_| "allowed");
        self.answers.with_label_values(&[outcome]).inc();
        let allowed = answer.map_err(|refusal| match refusal {
            Refusal::Denied => Error::Unauthenticated,
            Refusal::Throttled { retry_after } => Error::Throttled { after: retry_after },
            Refusal::Busy | Refusal::Failed(_) | Refusal::Status(_) | Refusal::Malformed => {
                Error::Unavailable { reason: "the credential cannot be checked now" }
            }
        })?;
        match allowed.roles {
            Some(roles) if !roles.iter().any(|role| role == WRITER) => {
                Err(Error::Forbidden { reason: "the credential lacks the role writer" })
            }
            _ => Ok(allowed.tenant),
        }
    }
}
