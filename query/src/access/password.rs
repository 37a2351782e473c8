//! Passwords: argon2id, with the parameters that OWASP names as the least.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use heliograph_model::cipher;
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, Result};

/// Memory of one hash, in KiB; with the passes below the least that OWASP names.
const MEMORY_KIB: u32 = 19_456;
/// Passes over the memory.
const PASSES: u32 = 2;
/// Longest password, in bytes: a longer one is refused before it costs anything.
pub const PASSWORD_BYTES_MAX: usize = 1024;

fn argon2() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|e| Error::server("argon2", e))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// The PHC text of a password, with a random salt. Takes tens of milliseconds: call it off the async threads.
pub fn hash(password: &SecretString) -> Result<String> {
    let bytes = password.expose_secret().as_bytes();
    if bytes.is_empty() || bytes.len() > PASSWORD_BYTES_MAX {
        return Err(Error::invalid(format!("a password has 1 to {PASSWORD_BYTES_MAX} bytes")));
    }
    let salt: [u8; 16] = cipher::random().map_err(|e| Error::server("random bytes", e))?;
    let hash: PasswordHash =
        argon2()?.hash_password_with_salt(bytes, &salt).map_err(|e| Error::server("argon2", e))?;
    Ok(hash.to_string())
}

/// Whether the password is the one of the PHC text. Takes as long as [`hash`].
pub fn verify(password: &SecretString, phc: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(phc) else { return false };
    argon2().is_ok_and(|a| a.verify_password(password.expose_secret().as_bytes(), &parsed).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_proved_by_itself_only() {
        let phc = hash(&"correct horse".into()).unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(verify(&"correct horse".into(), &phc));
        assert!(!verify(&"correct horse ".into(), &phc));
        assert!(!verify(&"correct horse".into(), "$argon2id$nonsense"));
        assert_ne!(phc, hash(&"correct horse".into()).unwrap());
        assert!(hash(&"".into()).is_err());
    }
}
