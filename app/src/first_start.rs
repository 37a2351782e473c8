//! The first administrator, made where there is none.

use data_encoding::BASE32_NOPAD;
use heliograph_model::cipher;
use heliograph_model::time::Clock;
use heliograph_store::audit::{Action, Actor, Details, Event, Log, Outcome, Subject};
use heliograph_store::catalog::User;
use heliograph_store::{Error, Store, crash};
use secrecy::{ExposeSecret, SecretString};

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
    let details = [("user".to_owned(), ADMIN.into()), ("admin".to_owned(), true.into())];
    let event = Event {
        at: clock.now(),
        actor: Actor::Service,
        action: Action::UserCreate,
        subject: Subject::Platform,
        from: None,
        outcome: Outcome::Done,
        details: Details::new(details.into_iter().collect()),
    };
    Ok(Log::of(store).append(&[event]).await?)
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
