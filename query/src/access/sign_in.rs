//! Name and password → user: throttled, and as slow for a name that does not exist.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use heliograph_model::cipher;
use heliograph_model::time::{Clock, Timestamp};
use heliograph_store::catalog::{Catalog, User};
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use super::password;
use super::throttle::{FAILURES_MAX, Key, Throttle};
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// Hashes at the same time: each takes a core and 19 MiB.
const HASHES_MAX: usize = 2;
/// How long a proved password is known: a client that sends Basic with every request pays one hash in so long.
const RECALL_FOR: Duration = Duration::from_secs(30);
/// Proved passwords known at the same time.
const RECALLED_MAX: usize = 1_000;

/// Whether a password proved a moment ago needs no new proof.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Recall {
    Yes,
    No,
}

/// Whose a name and password are.
pub(super) enum Proved<T> {
    /// A user's.
    User(User),
    /// Somebody's who is known elsewhere.
    Elsewhere(T),
}

/// Proves passwords.
pub(super) struct SignIns {
    catalog: Arc<dyn Catalog>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    throttle: Throttle,
    hashes: Arc<Semaphore>,
    /// What a password is checked against where there is no such user.
    nobody: String,
    /// Makes the keys of `recalled` worthless to who reads our memory later.
    salt: [u8; 32],
    recalled: Mutex<HashMap<[u8; 32], Recalled>>,
}

struct Recalled {
    password_hash: String,
    until: Timestamp,
}

impl SignIns {
    pub(super) fn new(catalog: Arc<dyn Catalog>, clock: Arc<dyn Clock>, metrics: Metrics) -> Result<Self> {
        let random: [u8; 32] = cipher::random().map_err(|e| Error::server("random bytes", e))?;
        let nobody = password::hash(&SecretString::from(data_encoding::HEXLOWER.encode(&random)))?;
        Ok(Self {
            catalog,
            clock,
            metrics,
            throttle: Throttle::new(FAILURES_MAX),
            hashes: Arc::new(Semaphore::new(HASHES_MAX)),
            nobody,
            salt: cipher::random().map_err(|e| Error::server("random bytes", e))?,
            recalled: Mutex::default(),
        })
    }

    /// The user whose password this is.
    pub(super) async fn check(
        &self,
        name: &str,
        password: &SecretString,
        peer: IpAddr,
        recall: Recall,
    ) -> Result<User> {
        let nowhere = async || Err::<Infallible, _>(Error::Unauthenticated);
        match self.check_or(name, password, peer, recall, nowhere).await? {
            Proved::User(user) => Ok(user),
            Proved::Elsewhere(never) => match never {},
        }
    }

    /// The same, or whoever is known elsewhere: that is asked for whenever it is no user's, after as long a time.
    pub(super) async fn check_or<T>(
        &self,
        name: &str,
        password: &SecretString,
        peer: IpAddr,
        recall: Recall,
        elsewhere: impl AsyncFnOnce() -> Result<T>,
    ) -> Result<Proved<T>> {
        let now = self.clock.now();
        let user = self.catalog.user(name).await?;
        let key = self.recall_key(name, password);
        if recall == Recall::Yes
            && let Some(user) = &user
            && self.is_recalled(&key, user, now)
        {
            return Ok(Proved::User(user.clone()));
        }
        let keys = [Key::account(name), Key::address(peer)];
        self.begin(&keys, now)?;
        // Who has no password, or is locked out, takes as long as who has the wrong one.
        let user = user.filter(|user| !user.password_hash.is_empty() && !user.disabled);
        let phc = user.as_ref().map_or_else(|| self.nobody.clone(), |u| u.password_hash.clone());
        let is_right = self.verify(password.clone(), phc).await?;
        let proved = match user {
            Some(user) if is_right => {
                self.remember(key, &user, now);
                Ok(Proved::User(user))
            }
            _ => elsewhere().await.map(Proved::Elsewhere),
        };
        match &proved {
            Ok(_) => self.succeeded(&keys, now),
            Err(Error::Unauthenticated) => self.refused(),
            // Where nobody knows, it was no wrong guess.
            Err(_) => {
                self.refused();
                self.throttle.succeeded(&keys, now);
            }
        }
        proved
    }

    /// Counts a try, by whatever means, or says how long to wait.
    pub(super) fn begin(&self, keys: &[Key], now: Timestamp) -> Result<()> {
        self.throttle.begin(keys, now).map_err(|retry_after| {
            self.metrics.sign_ins.with_label_values(&["throttled"]).inc();
            Error::Throttled { retry_after }
        })
    }

    /// Takes a try back, which succeeded.
    pub(super) fn succeeded(&self, keys: &[Key], begun: Timestamp) {
        self.metrics.sign_ins.with_label_values(&["accepted"]).inc();
        self.throttle.succeeded(keys, begun);
    }

    /// Counts a try that did not.
    pub(super) fn refused(&self) {
        self.metrics.sign_ins.with_label_values(&["refused"]).inc();
    }

    /// The hash of a new password: hashes of all kinds wait for one another.
    pub(super) async fn hash(&self, password: SecretString) -> Result<String> {
        let permit =
            Arc::clone(&self.hashes).acquire_owned().await.map_err(|e| Error::server("argon2", e))?;
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            password::hash(&password)
        })
        .await
        .map_err(|e| Error::server("argon2", e))?
    }

    async fn verify(&self, password: SecretString, phc: String) -> Result<bool> {
        if password.expose_secret().len() > password::PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let permit =
            Arc::clone(&self.hashes).acquire_owned().await.map_err(|e| Error::server("argon2", e))?;
        tokio::task::spawn_blocking(move || {
            // Held here, so that a caller who gives up does not let another hash begin beside this one.
            let _permit = permit;
            password::verify(&password, &phc)
        })
        .await
        .map_err(|e| Error::server("argon2", e))
    }

    fn recall_key(&self, name: &str, password: &SecretString) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.salt);
        context.update(&name.len().to_le_bytes());
        context.update(name.as_bytes());
        context.update(password.expose_secret().as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        key
    }

    /// A changed password ends what was recalled at once: its hash is compared with the catalog's.
    fn is_recalled(&self, key: &[u8; 32], user: &User, now: Timestamp) -> bool {
        self.recalled.lock().get(key).is_some_and(|r| now < r.until && r.password_hash == user.password_hash)
    }

    fn remember(&self, key: [u8; 32], user: &User, now: Timestamp) {
        let mut recalled = self.recalled.lock();
        if recalled.len() >= RECALLED_MAX {
            recalled.retain(|_, r| now < r.until);
        }
        if recalled.len() < RECALLED_MAX {
            let nanos = i64::try_from(RECALL_FOR.as_nanos()).unwrap_or(i64::MAX);
            let until = now.saturating_add_nanos(nanos);
            recalled.insert(key, Recalled { password_hash: user.password_hash.clone(), until });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::stage::Stage;

    #[tokio::test]
    async fn new_passwords_wait_for_the_hashes_of_others() {
        let stage = Stage::new().await;
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let sign_ins =
            SignIns::new(Arc::clone(&stage.store.catalog), Arc::new(stage.clock.clone()), metrics).unwrap();
        let all = Arc::clone(&sign_ins.hashes).acquire_many_owned(u32::try_from(HASHES_MAX).unwrap());
        let all = all.await.unwrap();
        let mut hashing = Box::pin(sign_ins.hash(SecretString::from("a long password")));
        assert!(hashing.as_mut().now_or_never().is_none());
        drop(all);
        assert!(hashing.await.is_ok());
    }
}
