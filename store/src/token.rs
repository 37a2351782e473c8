//! Machines' credentials: `hg_<id>_<secret>`; the catalog knows the hash of the secret only.
//!
//! The id is 12 hexadecimal digits, public, and names the token in lists; the secret is 32 random bytes as 43
//! characters of URL-safe base64.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use heliograph_model::cipher::random;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;
use secrecy::SecretString;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::catalog::{Catalog, Role, Token};
use crate::error::Result;

const PREFIX: &str = "hg_";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;
const SECRET_CHARS: usize = 43;

/// Makes a token: what goes into the catalog, and the text that its holder presents.
pub fn issue(
    tenant: &TenantId,
    roles: &[Role],
    expires: Option<Timestamp>,
    now: Timestamp,
) -> Result<(Token, SecretString)> {
    let (id, secret) = draw()?;
    let mut roles = roles.to_vec();
    roles.sort_unstable();
    roles.dedup();
    let presented = SecretString::from(format!("{PREFIX}{id}_{}", *secret));
    let secret_hash = hash(&secret);
    let token =
        Token { id, secret_hash, tenant: tenant.clone(), roles, created: now, expires, revoked: None };
    Ok((token, presented))
}

/// A random id and a random secret.
pub(crate) fn draw() -> Result<(String, Zeroizing<String>)> {
    let bytes = Zeroizing::new(random::<SECRET_BYTES>()?);
    Ok((HEXLOWER.encode(&random::<ID_BYTES>()?), Zeroizing::new(BASE64URL_NOPAD.encode(bytes.as_slice()))))
}

/// What a presented text proves.
#[derive(Debug)]
pub enum Proof {
    /// This token, which holds.
    Good(Token),
    /// This token, which has expired or was revoked: it gives no right, and tells who still uses it.
    Ended(Token),
    /// Nothing.
    Nothing,
}

/// The token that a presented text proves, if it is known, not expired and not revoked.
pub async fn authenticate(catalog: &dyn Catalog, presented: &str, now: Timestamp) -> Result<Option<Token>> {
    match prove(catalog, presented, now).await? {
        Proof::Good(token) => Ok(Some(token)),
        Proof::Ended(_) | Proof::Nothing => Ok(None),
    }
}

/// What a presented text proves. Takes the same time whether or not its id is known.
pub async fn prove(catalog: &dyn Catalog, presented: &str, now: Timestamp) -> Result<Proof> {
    let Some((id, secret)) = parts(PREFIX, presented) else { return Ok(Proof::Nothing) };
    let presented_hash = hash(secret);
    let found = catalog.token(id).await?;
    // Nobody knows a secret whose hash this is, so an unknown id fails in the same comparison.
    let expected_hash = found.as_ref().map_or([0; 32], |t| t.secret_hash);
    let is_proven = bool::from(presented_hash.ct_eq(&expected_hash));
    Ok(match found.filter(|_| is_proven) {
        None => Proof::Nothing,
        Some(token) if token.revoked.is_none() && token.expires.is_none_or(|end| now < end) => {
            Proof::Good(token)
        }
        Some(token) => Proof::Ended(token),
    })
}

/// What the catalog knows of a secret.
pub(crate) fn hash(secret: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    out
}

/// Id and secret of a text that has the form of a token of this prefix.
pub(crate) fn parts<'t>(prefix: &str, presented: &'t str) -> Option<(&'t str, &'t str)> {
    let (id, secret) = presented.strip_prefix(prefix)?.split_at_checked(2 * ID_BYTES)?;
    let secret = secret.strip_prefix('_')?;
    let is_id = id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_secret = secret.len() == SECRET_CHARS
        && secret.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    (is_id && is_secret).then_some((id, secret))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use heliograph_model::tenant::Workspace;
    use secrecy::ExposeSecret;
    use uuid::Uuid;

    use super::*;
    use crate::catalog::{self, Tenant};

    fn at(nanos: i64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    async fn a_catalog(folder: &tempfile::TempDir) -> (Arc<dyn Catalog>, TenantId) {
        let catalog =
            catalog::open(&format!("sqlite:{}/c.db", folder.path().display()).into(), None).await.unwrap();
        let name = TenantId::parse("a").unwrap();
        let tenant = Tenant {
            name: name.clone(),
            workspace: Workspace::parse("w").unwrap(),
            uid: Uuid::new_v4(),
            wrapped_key: vec![1],
            created: at(0),
        };
        catalog.create_tenant(&tenant).await.unwrap();
        (catalog, name)
    }

    #[tokio::test]
    async fn a_token_proves_itself_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (catalog, tenant) = a_catalog(&folder).await;
        let roles = [Role::Writer, Role::Viewer, Role::Writer];
        let (token, text) = issue(&tenant, &roles, Some(at(100)), at(5)).unwrap();
        let text = text.expose_secret();
        assert_eq!(text.len(), 3 + 12 + 1 + 43);
        assert!(text.starts_with(&format!("hg_{}_", token.id)));
        assert_eq!((token.roles.as_slice(), token.created), ([Role::Viewer, Role::Writer].as_slice(), at(5)));

        let proven = async |text: &str, now| {
            authenticate(&*catalog, text, at(now)).await.unwrap().map(|t| (t.id, t.tenant))
        };
        assert_eq!(proven(text, 50).await, None, "not in the catalog yet");
        catalog.create_token(&token).await.unwrap();
        assert_eq!(proven(text, 99).await, Some((token.id.clone(), tenant.clone())));
        assert_eq!(proven(text, 100).await, None, "expired");
        let (_, other) = issue(&tenant, &roles, None, at(5)).unwrap();
        let (_, others_secret) = parts(PREFIX, other.expose_secret()).unwrap();
        let mixed = format!("hg_{}_{others_secret}", token.id);
        assert_eq!(proven(&mixed, 50).await, None, "another's secret");
        catalog.revoke_token(&token.id, at(60)).await.unwrap();
        assert_eq!(proven(text, 50).await, None, "revoked");
        let ended = async |text: &str| match prove(&*catalog, text, at(50)).await.unwrap() {
            Proof::Ended(token) => Some(token.id),
            Proof::Good(_) | Proof::Nothing => None,
        };
        assert_eq!(ended(text).await.as_ref(), Some(&token.id));
        assert_eq!(ended(&mixed).await, None, "only who has the secret is told from others");
    }

    #[tokio::test]
    async fn malformed_text_is_no_token() {
        let folder = tempfile::tempdir().unwrap();
        let (catalog, tenant) = a_catalog(&folder).await;
        let (token, text) = issue(&tenant, &[Role::Viewer], None, at(0)).unwrap();
        catalog.create_token(&token).await.unwrap();
        let text = text.expose_secret();
        let umlaut = format!("hg_{}ä", "0".repeat(11));
        let (most, _) = text.split_at(58);
        let (_, rest) = text.split_at(1);
        for bad in ["", "hg_", "hg", "Bearer", rest, most, &umlaut, &format!("{text}A")] {
            assert!(authenticate(&*catalog, bad, at(1)).await.unwrap().is_none(), "{bad:?}");
        }
        for (from, to) in [("hg_", "HG_"), ("hg_", "hg_\0"), (token.id.as_str(), "' OR 1=1 --0")] {
            assert!(authenticate(&*catalog, &text.replacen(from, to, 1), at(1)).await.unwrap().is_none());
        }
        assert!(authenticate(&*catalog, text, at(1)).await.unwrap().is_some());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_token_or_not(text in "(hg_)?[0-9a-f]{0,14}_?\\PC{0,60}") {
            if let Some((id, secret)) = parts(PREFIX, &text) {
                proptest::prop_assert_eq!((id.len(), secret.len()), (12, 43));
            }
        }
    }
}
