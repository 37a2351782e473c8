//! Invitations: `hgi_<id>_<secret>`, in the form of a machine's token; the catalog knows the hash of the secret only.

use heliograph_model::time::Timestamp;
use secrecy::SecretString;
use subtle::ConstantTimeEq;

use crate::catalog::{Catalog, Extent, Invitation, Role};
use crate::error::Result;
use crate::token::{draw, hash, parts};

const PREFIX: &str = "hgi_";
/// Longest address that mail servers take.
const EMAIL_BYTES_MAX: usize = 254;

/// Whom an invitation is for.
#[derive(Clone, Debug)]
pub struct Guest {
    /// By an address, which a provider may have verified. Only ASCII letters lose their case: others may become those.
    pub email: Option<String>,
    /// By what the account will be called.
    pub user_name: String,
}

/// Makes an invitation: what goes into the catalog, and the text that its guest presents.
pub fn issue(
    guest: Guest,
    grants: Vec<(Extent, Role)>,
    invited_by: String,
    expires: Timestamp,
    now: Timestamp,
) -> Result<(Invitation, SecretString)> {
    let (id, secret) = draw()?;
    let presented = SecretString::from(format!("{PREFIX}{id}_{}", *secret));
    let invitation = Invitation {
        id,
        secret_hash: hash(&secret),
        email: guest.email.map(|email| email.to_ascii_lowercase()),
        user_name: guest.user_name,
        grants,
        invited_by,
        created: now,
        expires,
    };
    Ok((invitation, presented))
}

/// Whether a text looks like an address of a mailbox: one `@`, and something on both sides.
pub fn is_email(text: &str) -> bool {
    let has_sides = text
        .split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    has_sides
        && text.len() <= EMAIL_BYTES_MAX
        && !text.chars().any(|c| c.is_control() || c.is_whitespace() || c == ':')
}

/// The open invitation that a presented text proves.
pub async fn authenticate(
    catalog: &dyn Catalog,
    presented: &str,
    now: Timestamp,
) -> Result<Option<Invitation>> {
    let Some((id, secret)) = parts(PREFIX, presented) else { return Ok(None) };
    let presented_hash = hash(secret);
    let open = catalog.invitations(now).await?;
    let found = open.into_iter().find(|invitation| invitation.id == id);
    Ok(found.filter(|invitation| bool::from(presented_hash.ct_eq(&invitation.secret_hash))))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::catalog;

    #[tokio::test]
    async fn an_invitation_is_proved_by_its_text_only() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/c.db", folder.path().display());
        let catalog = catalog::open(&url.into(), None).await.unwrap();
        let at = Timestamp::from_nanos;
        let guest = Guest { email: Some("Ann@Example.com".to_owned()), user_name: "ann".to_owned() };
        let (invitation, text) = issue(guest, Vec::new(), "user:root".to_owned(), at(50), at(1)).unwrap();
        catalog.create_invitation(&invitation, at(1)).await.unwrap();
        let text = text.expose_secret();
        let found = authenticate(&*catalog, text, at(2)).await.unwrap().unwrap();
        assert_eq!((&found, found.email.as_deref()), (&invitation, Some("ann@example.com")));
        let (head, last) = text.split_at(text.len() - 1);
        let other = format!("{head}{}", if last == "A" { "B" } else { "A" });
        for (wrong, now) in [(text, 50), (head, 2), ("", 2), (&other, 2)] {
            assert!(authenticate(&*catalog, wrong, at(now)).await.unwrap().is_none());
        }
    }

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("ann@example.com", true),
            ("ann", false),
            ("@example.com", false),
            ("ann@", false),
            ("a@b@c", false),
            ("a b@c", false),
            ("a:b@c", false),
        ] {
            assert_eq!(is_email(text), expected, "{text}");
        }
    }
}
