//! People beyond a name and a password: whom a provider vouches for, who is invited, and where they are signed in.

use heliograph_model::time::Timestamp;

use super::{Extent, Role, User};

/// Somebody as an identity provider names them. Issuer and subject are who it is; an e-mail address is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The provider, by its issuer's URL.
    pub issuer: String,
    /// Who, in that provider's own words; it never has another person by the same.
    pub subject: String,
    /// The address that the provider last said to be theirs, if it had verified it.
    pub email: Option<String>,
}

/// An identity that has an account.
#[derive(Clone)]
pub struct Known {
    /// The account.
    pub user: User,
    /// Whether it came by an invitation, and so needs no group to be let in.
    pub invited: bool,
}

/// What a provider's groups give somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Platform administrator.
    pub admin: bool,
    /// Roles, each over something.
    pub grants: Vec<(Extent, Role)>,
}

/// An invitation that is open; the catalog knows only the hash of its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Its public part, by which it is listed and revoked.
    pub id: String,
    /// SHA-256 of the secret part.
    pub secret_hash: [u8; 32],
    /// Whom: in lower case. A provider that has verified this address lets them in, too.
    pub email: Option<String>,
    /// What the account will be called.
    pub user_name: String,
    /// What it will be given.
    pub grants: Vec<(Extent, Role)>,
    /// Who invited, as the audit log names them.
    pub invited_by: String,
    /// When.
    pub created: Timestamp,
    /// Until when.
    pub expires: Timestamp,
}

/// A session that has not ended.
#[derive(Clone)]
pub struct SignedIn {
    /// Whose.
    pub user: User,
    /// When it ends unless it is used.
    pub idle_end: Timestamp,
}
