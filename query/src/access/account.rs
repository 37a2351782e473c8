//! From a profile to a signed-in caller: who is let in, which account is theirs, and what it has by groups.
//!
//! An account is found by issuer and subject, never by an address: whoever has another's address today does not get
//! the account of yesterday.

use std::net::IpAddr;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use heliograph_model::time::Timestamp;
use heliograph_store::Error as StoreError;
use heliograph_store::catalog::{Identity, Invitation, Known, Mapped, User};
use http::{HeaderMap, HeaderValue};

use super::mapping::Verdict;
use super::provider::{Denied, Profile, Provider, Reason};
use super::throttle::Key;
use super::{Access, Caller};
use crate::error::{Error, Result};

/// Longest name of a user, in characters.
const USER_CHARS_MAX: usize = 128;
/// Digits that tell one of the same name from another.
const DISTINCT_DIGITS: usize = 12;

/// Whether this can be a user's name: Basic credentials part it from the password by a colon.
pub fn is_user_name(name: &str) -> bool {
    (1..=USER_CHARS_MAX).contains(&name.chars().count())
        && !name.chars().any(|c| c.is_control() || c.is_whitespace() || c == ':')
}

/// A try that counts until it succeeds.
pub(crate) struct Tried {
    from: Key,
    at: Timestamp,
}

/// Who signed in, and how they came to it.
pub(crate) struct Entered {
    pub(crate) caller: Caller,
    pub(crate) cookie: HeaderValue,
    /// Whether the account was made just now.
    pub(crate) is_new: bool,
    /// The invitation that was used up by that.
    pub(crate) invitation: Option<String>,
    /// What it has by groups, if that is other than before.
    pub(crate) mapped: Option<Mapped>,
}

/// Whether somebody is let in.
enum LetIn {
    No,
    Yes,
    /// By this invitation.
    Invited(String),
}

impl Access {
    /// Counts a try to come back from a provider, which is taken back when it succeeds.
    pub(crate) fn begin_return(&self, peer: IpAddr) -> Result<Tried> {
        let tried = Tried { from: Key::address(peer), at: self.clock.now() };
        self.sign_ins.begin(std::slice::from_ref(&tried.from), tried.at)?;
        Ok(tried)
    }

    /// Takes a try back, which succeeded.
    pub(crate) fn end_return(&self, tried: &Tried) {
        self.sign_ins.succeeded(std::slice::from_ref(&tried.from), tried.at);
    }

    /// Counts a sign-in that was refused.
    pub(crate) fn count_refused(&self) {
        self.sign_ins.refused();
    }

    /// Signs in whom a provider vouches for, if anything lets them in.
    pub(crate) async fn enter(
        &self,
        headers: &HeaderMap,
        tried: &Tried,
        provider: &Provider,
        profile: &Profile,
    ) -> Result<std::result::Result<Entered, Denied>> {
        let verdict = Verdict::of(&provider.config, profile);
        let identity = Identity {
            issuer: profile.issuer.clone(),
            subject: profile.subject.clone(),
            email: profile.email.clone(),
        };
        let known = self.catalog.known(&identity.issuer, &identity.subject).await?;
        if known.as_ref().is_some_and(|known| known.user.disabled) {
            return Ok(Err(Denied::new(Reason::Disabled, "the user is disabled")));
        }
        let is_new = known.is_none();
        let invitation = match self.let_in(provider, profile, &identity, &verdict, known).await? {
            LetIn::No => {
                let why = "no group, domain or invitation lets them in";
                return Ok(Err(Denied::new(Reason::NotAllowed, why)));
            }
            LetIn::Yes => None,
            LetIn::Invited(id) => Some(id),
        };
        let has_changed = self.catalog.set_mapped(&identity, &verdict.mapped).await?;
        // As it is with what was given just now.
        let known = self.catalog.known(&identity.issuer, &identity.subject).await?;
        let user = known.ok_or(Error::Unauthenticated)?.user;
        self.end_return(tried);
        let (caller, cookie) = self.open_session(headers, user, Some(&provider.config.name)).await?;
        let mapped = has_changed.then_some(verdict.mapped);
        Ok(Ok(Entered { caller, cookie, is_new, invitation, mapped }))
    }

    /// Sees to an account, if they may have one.
    async fn let_in(
        &self,
        provider: &Provider,
        profile: &Profile,
        identity: &Identity,
        verdict: &Verdict,
        known: Option<Known>,
    ) -> Result<LetIn> {
        if let Some(invitation) = self.invitation_of(profile.email.as_deref()).await? {
            match self.make_account(provider, profile, identity, Some(&invitation)).await {
                Ok(()) => return Ok(LetIn::Invited(invitation.id)),
                // Taken back, or used, this moment: it is as if there was none.
                Err(StoreError::Missing { what: "invitation", .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match known {
            Some(known) if verdict.is_let_in || known.invited => Ok(LetIn::Yes),
            Some(known) => {
                // What groups gave goes with the groups, and so does every session.
                self.catalog.set_mapped(identity, &Mapped::default()).await?;
                self.catalog.end_sessions(&known.user.name, None).await?;
                Ok(LetIn::No)
            }
            None if verdict.is_let_in => {
                match self.make_account(provider, profile, identity, None).await {
                    // Of two that come at once, the other was faster.
                    Ok(()) | Err(StoreError::Exists { what: "identity", .. }) => Ok(LetIn::Yes),
                    Err(error) => Err(error.into()),
                }
            }
            None => Ok(LetIn::No),
        }
    }

    /// The open invitation to an address that a provider has verified; the first whose maker still may invite so.
    async fn invitation_of(&self, email: Option<&str>) -> Result<Option<Invitation>> {
        let Some(email) = email.map(str::to_ascii_lowercase) else { return Ok(None) };
        let open = self.catalog.invitations(self.clock.now()).await?;
        for invitation in open {
            if invitation.email.as_deref() == Some(email.as_str()) && self.still_invites(&invitation).await? {
                return Ok(Some(invitation));
            }
        }
        Ok(None)
    }

    /// Makes an account under the first of some names that is free, or gives the one there is what an invitation gives.
    async fn make_account(
        &self,
        provider: &Provider,
        profile: &Profile,
        identity: &Identity,
        invitation: Option<&Invitation>,
    ) -> heliograph_store::Result<()> {
        let mut last = StoreError::Exists { what: "user", name: String::new() };
        for name in names(&provider.config.name, profile) {
            let created = self.clock.now();
            let user = User { name, password_hash: String::new(), admin: false, disabled: false, created };
            let made = match invitation {
                Some(invitation) => {
                    self.catalog.accept_invitation(&invitation.id, &user, Some(identity), created).await
                }
                None => self.catalog.create_known(identity, &user).await,
            };
            match made {
                Err(error @ StoreError::Exists { what: "user", .. }) => last = error,
                made => return made,
            }
        }
        Err(last)
    }
}

/// What an account may be called, the best first. The last has the identity in it, and is nobody else's.
fn names(provider: &str, profile: &Profile) -> Vec<String> {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&profile.issuer.len().to_le_bytes());
    hash.update(profile.issuer.as_bytes());
    hash.update(profile.subject.as_bytes());
    let mut distinct = HEXLOWER.encode(hash.finish().as_ref());
    distinct.truncate(DISTINCT_DIGITS);
    let handle = profile.handle.as_ref().map(|handle| format!("{provider}/{handle}"));
    let all = [profile.email.clone(), handle, Some(format!("{provider}/{distinct}"))];
    all.into_iter().flatten().filter(|name| is_user_name(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_a_name_that_basic_can_carry() {
        let profile = |email: Option<&str>, handle: Option<&str>| Profile {
            issuer: "https://idp".to_owned(),
            subject: "1".to_owned(),
            email: email.map(str::to_owned),
            handle: handle.map(str::to_owned),
            ..Profile::default()
        };
        let all = names("p", &profile(Some("a@b.c"), Some("ann")));
        assert_eq!(all[..2], ["a@b.c", "p/ann"]);
        assert!(all[2].starts_with("p/") && all[2].len() == 2 + DISTINCT_DIGITS, "{all:?}");
        assert_eq!(names("p", &profile(None, Some("a:b"))).len(), 1);
        assert_eq!(names("p", &profile(None, Some(&"x".repeat(200)))).len(), 1);
    }
}
