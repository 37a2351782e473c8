//! What is made where it is not there yet: the first administrator, and tenants of inputs.

use data_encoding::BASE32_NOPAD;
use heliograph_model::cipher;
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::Clock;
use heliograph_store::audit::{Action, Actor, Details, Event, Log, Outcome, Subject};
use heliograph_store::catalog::User;
use heliograph_store::tenants::Found;
use heliograph_store::{Error, Store, crash};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::config::Config;

/// The first administrator's name.
pub(crate) const ADMIN: &str = "admin";

/// How the administrator signs in.
pub(crate) enum SignIn {
    /// With this password, made just now: to be shown once.
    Generated(String),
    /// With the one of the configuration, set just now.
    Given,
    /// As before.
    Known,
}

/// Makes the first administrator unless there is one.
pub(crate) async fn prepare(store: &Store, config: &Config, clock: &dyn Clock) -> anyhow::Result<SignIn> {
    if store.catalog.user(ADMIN).await?.is_some() {
        return Ok(SignIn::Known);
    }
    let (password, sign_in) = match &config.bootstrap_password {
        Some(password) => (password.clone(), SignIn::Given),
        None => {
            let password = generate_password()?;
            let shown = password.expose_secret().to_owned();
            (password, SignIn::Generated(shown))
        }
    };
    let user = User {
        name: ADMIN.to_owned(),
        password_hash: hash(password).await?,
        admin: true,
        disabled: false,
        created: clock.now(),
    };
    crash::point("admin.create.before");
    match store.catalog.create_user(&user).await {
        Ok(()) => {
            crash::point("admin.create.after");
            record(store, clock).await?;
            Ok(sign_in)
        }
        // Another process was faster: its password holds.
        Err(Error::Exists { .. }) => Ok(SignIn::Known),
        Err(e) => Err(e.into()),
    }
}

/// The audit log begins with who could sign in first.
async fn record(store: &Store, clock: &dyn Clock) -> anyhow::Result<()> {
    let details = [("user", ADMIN.into()), ("admin", true.into())];
    Ok(Log::of(store).append(&[event(Action::UserCreate, Subject::Platform, details, clock)]).await?)
}

/// Makes the tenants that are not there yet.
pub(crate) async fn make_tenants(
    store: &Store,
    tenants: impl IntoIterator<Item = TenantId>,
    workspace: &Workspace,
    clock: &dyn Clock,
) -> anyhow::Result<()> {
    for name in tenants {
        let Found { tenant, is_new } = store.tenants.find_or_create(&name, workspace).await?;
        if is_new {
            let details = [("tenant", name.as_str().into()), ("workspace", workspace.as_str().into())];
            let subject = Subject::Tenant { name: tenant.name.clone(), uid: tenant.uid };
            Log::of(store).append(&[event(Action::TenantCreate, subject, details, clock)]).await?;
        }
    }
    Ok(())
}

/// What we did by ourselves.
fn event<const N: usize>(
    action: Action,
    subject: Subject,
    details: [(&str, Value); N],
    clock: &dyn Clock,
) -> Event {
    Event {
        at: clock.now(),
        actor: Actor::Service,
        action,
        subject,
        from: None,
        outcome: Outcome::Done,
        details: Details::new(details.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()),
    }
}

/// 100 random bits in five groups that can be read out: `abcd-efgh-…`.
pub(crate) fn generate_password() -> anyhow::Result<SecretString> {
    let text = BASE32_NOPAD.encode(&cipher::random::<13>()?).to_lowercase();
    let characters: Vec<char> = text.chars().take(20).collect();
    let groups: Vec<String> = characters.chunks(4).map(|group| group.iter().collect()).collect();
    Ok(SecretString::from(groups.join("-")))
}

/// Hashes off the async threads: it is meant to take long.
pub(crate) async fn hash(password: SecretString) -> anyhow::Result<String> {
    Ok(tokio::task::spawn_blocking(move || heliograph_query::access::password::hash(&password)).await??)
}
