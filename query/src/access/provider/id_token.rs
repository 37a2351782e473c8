//! ID tokens: what is taken, and from whom. Everything in one comes from outside until it is verified.
//!
//! The signature, the issuer, the audience, the end and the nonce are verified by `openidconnect`, with the keys of the
//! provider's own set and the algorithms below, whatever the token's head says: keys and addresses of keys in it are not
//! looked at. Beside that stand the checks which that library leaves to its caller.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use data_encoding::BASE64URL_NOPAD;
use heliograph_model::time::Timestamp;
use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::{ClaimsVerificationError, ClientId, IssuerUrl, Nonce, SignatureVerificationError};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Longest ID token, in bytes: one with some hundred groups has 10 KiB.
const TOKEN_BYTES_MAX: usize = 32 << 10;
/// Longest name of a key.
const KEY_ID_BYTES_MAX: usize = 1 << 10;
/// How far the provider's clock may be ahead of ours.
const LEEWAY_SECONDS: f64 = 60.0;

/// What a token may be signed with: public keys only, so that no public key is ever taken for a secret.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// Whose token it must be.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a IssuerUrl,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    pub(super) now: Timestamp,
}

/// Why a token proves nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its key is not in the set: the provider may have a new one.
    UnknownKey,
    /// Anything else.
    Wrong(String),
}

fn wrong(why: impl Into<String>) -> Refused {
    Refused::Wrong(why.into())
}

/// The claims of a token that these keys prove.
pub(super) fn verify(
    text: &str,
    keys: &CoreJsonWebKeySet,
    expected: &Expected<'_>,
) -> Result<Map<String, Value>, Refused> {
    if text.len() > TOKEN_BYTES_MAX {
        return Err(wrong(format!("the ID token has over {TOKEN_BYTES_MAX} bytes")));
    }
    let mut parts = text.split('.');
    let (Some(head), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong("the ID token has not three parts"));
    };
    let (head, claims) = (object(head)?, object(payload)?);
    if head.get("kid").and_then(Value::as_str).is_some_and(|kid| kid.len() > KEY_ID_BYTES_MAX) {
        return Err(wrong("the name of the ID token's key is too long"));
    }
    let token = CoreIdToken::from_str(text).map_err(|_| wrong("the ID token cannot be read"))?;
    let now =
        SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(expected.now.as_nanos()).unwrap_or(0));
    let client = ClientId::new(expected.client_id.to_owned());
    let verifier = CoreIdTokenVerifier::new_public_client(client, expected.issuer.clone(), keys.clone())
        .set_allowed_algs(ALGORITHMS)
        .set_time_fn(move || now.into());
    match token.claims(&verifier, &Nonce::new(expected.nonce.to_owned())) {
        Ok(_) => {}
        Err(ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey)) => {
            return Err(Refused::UnknownKey);
        }
        Err(error) => return Err(wrong(format!("the ID token is refused: {error}"))),
    }
    check_party_and_times(&claims, expected)?;
    Ok(claims)
}

/// For whom it was made, and from when it is good.
fn check_party_and_times(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), Refused> {
    if claims.get("azp").is_some_and(|party| party.as_str() != Some(expected.client_id)) {
        return Err(wrong("the ID token was made for another party"));
    }
    let now = Duration::from_nanos(u64::try_from(expected.now.as_nanos()).unwrap_or(0)).as_secs_f64();
    for (claim, what) in [("nbf", "is not good yet"), ("iat", "was made in the future")] {
        let Some(at) = claims.get(claim) else { continue };
        if at.as_f64().is_none_or(|at| at > now + LEEWAY_SECONDS) {
            return Err(wrong(format!("the ID token {what}")));
        }
    }
    Ok(())
}

/// The object in a part of a token.
fn object(part: &str) -> Result<Map<String, Value>, Refused> {
    let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| wrong("the ID token is not base64"))?;
    unique(&bytes).map_err(|e| wrong(format!("the ID token cannot be read: {e}")))
}

/// A JSON object in which, and in whatever is in it, no name is there twice: which of two counts differs from reader to
/// reader.
pub(super) fn unique(json: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    match serde_json::from_slice(json)? {
        Unique(Value::Object(map)) => Ok(map),
        Unique(_) => Err(serde_json::Error::custom("it is no object")),
    }
}

struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueNames).map(Self)
    }
}

struct UniqueNames;

impl<'de> Visitor<'de> for UniqueNames {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unique(value)) = access.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Unique(value))) = access.next_entry::<String, _>()? {
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a name is there twice"));
            }
        }
        Ok(map.into())
    }
}
