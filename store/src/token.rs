//! Machines' credentials: `hg_<id>_<secret>`; the catalog knows the hash of the secret only.

use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;
use secrecy::SecretString;

use crate::catalog::{Catalog, Role, Token};
use crate::error::Result;

/// Makes a token: what goes into the catalog, and the text that its holder presents.
pub fn issue(
    _tenant: &TenantId,
    _roles: &[Role],
    _expires: Option<Timestamp>,
    _now: Timestamp,
) -> Result<(Token, SecretString)> {
    todo!()
}

/// The token that a presented text proves, if it is known, not expired and not revoked. Takes the same time
/// whether or not the id is known.
pub async fn authenticate(
    _catalog: &dyn Catalog,
    _presented: &str,
    _now: Timestamp,
) -> Result<Option<Token>> {
    todo!()
}
