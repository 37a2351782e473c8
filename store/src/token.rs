//! Machines' credentials: `hg_<id>_<secret>`; the catalog knows the hash of the secret only.
//!
//! The id has 12 characters and says which token; the secret has 43 (32 random bytes) and proves it.

use aws_lc_rs::digest;
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use heliograph_model::cipher::random;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;
use secrecy::SecretString;
use subtle::ConstantTimeEq;

use crate::catalog::{Catalog, Role, Token};
use crate::error::Result;

/// What every token begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "hg_";
const ID_CHARS: usize = 12;
const SECRET_CHARS: usize = 43;

/// Makes a token: what goes into the catalog, and the text that its holder presents.
pub fn issue(
    tenant: &TenantId,
    roles: &[Role],
    expires: Option<Timestamp>,
    now: Timestamp,
) -> Result<(Token, SecretString)> {
    let id: String =
        BASE32_NOPAD.encode(&random::<8>()?).to_ascii_lowercase().chars().take(ID_CHARS).collect();
    let secret = BASE64URL_NOPAD.encode(&random::<32>()?);
    let mut roles = roles.to_vec();
    roles.sort_unstable();
    roles.dedup();
    let token = Token {
        id: id.clone(),
        secret_hash: sha256(&secret),
        tenant: tenant.clone(),
        roles,
        created: now,
        expires,
        revoked: None,
    };
    Ok((token, SecretString::from(format!("{PREFIX}{id}_{secret}"))))
}

/// The token that a presented text proves, if it is known, not expired and not revoked. Takes the same time
/// whether or not the id is known.
pub async fn authenticate(catalog: &dyn Catalog, presented: &str, now: Timestamp) -> Result<Option<Token>> {
    let Some((id, secret)) = parts(presented) else { return Ok(None) };
    let presented_hash = sha256(secret);
    let found = catalog.token(id).await?;
    // An unknown id is compared, too, with a hash that no secret has.
    let known_hash = found.as_ref().map_or([0; 32], |t| t.secret_hash);
    let proven: bool = presented_hash.ct_eq(&known_hash).into();
    Ok(found.filter(|t| proven && t.revoked.is_none() && t.expires.is_none_or(|end| now < end)))
}

fn parts(presented: &str) -> Option<(&str, &str)> {
    let rest = presented.strip_prefix(PREFIX)?;
    let (id, secret) = rest.split_at_checked(ID_CHARS)?;
    let secret = secret.strip_prefix('_')?;
    let is_id = id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (is_id && secret.len() == SECRET_CHARS).then_some((id, secret))
}

fn sha256(text: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_its_form_and_only_a_hash_is_kept() {
        use secrecy::ExposeSecret;
        let tenant = TenantId::parse("acme").unwrap();
        let (token, text) =
            issue(&tenant, &[Role::Writer, Role::Viewer, Role::Writer], None, Timestamp::from_nanos(1))
                .unwrap();
        let (id, secret) = parts(text.expose_secret()).unwrap();
        assert_eq!(id, token.id);
        assert_eq!(sha256(secret), token.secret_hash);
        assert_eq!(token.roles, [Role::Viewer, Role::Writer]);
        assert!(!format!("{token:?}").contains(secret));
    }

    #[test]
    fn what_is_not_a_token_has_no_parts() {
        for bad in [
            "",
            "hg_",
            "hg_abc_def",
            "Bearer x",
            "hg_\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}_x",
            &"x".repeat(59),
        ] {
            assert_eq!(parts(bad), None, "{bad:?}");
        }
    }
}
