//! Who may invite whom to what: when an invitation is made, and again when it is accepted.

use heliograph_store::catalog::{Extent, Invitation, Role};

use super::{Access, Caller, Principal};
use crate::error::{Error, Result};

/// What the name of a person stands behind, where an invitation says who made it.
const PERSON: &str = "user:";

impl Caller {
    /// Whether the caller may give all of this: an administrator anything, a person what is over tenants they operate.
    ///
    /// A machine invites nobody: a person would stay where its token was revoked.
    pub(crate) fn check_invites_to(&self, grants: &[(Extent, Role)]) -> Result<()> {
        if self.is_admin() {
            return Ok(());
        }
        if !matches!(self.principal, Principal::User(_)) || grants.is_empty() {
            return Err(Error::Forbidden);
        }
        for (extent, _) in grants {
            match extent {
                Extent::Tenant(name) => drop(self.operated(name.as_str())?),
                Extent::Workspace(_) => return Err(Error::Forbidden),
            }
        }
        Ok(())
    }
}

impl Access {
    /// Whether an open invitation still counts: its maker is let in, and could make it now.
    ///
    /// Of one that was made at the command line nobody's right is asked, nor of an administrator's whom a proxy named:
    /// only the proxy knows what they are now.
    pub(crate) async fn still_invites(&self, invitation: &Invitation) -> Result<bool> {
        let Some(name) = invitation.invited_by.strip_prefix(PERSON) else { return Ok(true) };
        let Some(maker) = self.catalog.user(name).await? else { return Ok(false) };
        match self.of_password(maker).await {
            Ok(maker) => Ok(maker.check_invites_to(&invitation.grants).is_ok()),
            Err(Error::Unauthenticated) => Ok(false),
            Err(other) => Err(other),
        }
    }
}
