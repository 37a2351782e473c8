//! Keys that sign tokens, and tokens that are what they should not be.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use aws_lc_rs::{encoding, hmac};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};

/// Where the modulus stands in the DER of a public key of 2048 bits, and how long it is.
const MODULUS: std::ops::Range<usize> = 9..265;

/// A provider's keys: one of each kind.
pub struct Keys {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    /// What their names begin with.
    pub prefix: String,
}

/// What a token is signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `RS256`.
    Rsa,
    /// `ES256`.
    Ec,
    /// `EdDSA`.
    Ed,
}

impl Algorithm {
    /// As a token's head names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rsa => "RS256",
            Self::Ec => "ES256",
            Self::Ed => "EdDSA",
        }
    }
}

impl Keys {
    /// New ones.
    pub fn new(prefix: &str) -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            ed: Ed25519KeyPair::generate().unwrap(),
            prefix: prefix.to_owned(),
        }
    }

    /// The name of a key.
    pub fn kid(&self, algorithm: Algorithm) -> String {
        format!("{}-{}", self.prefix, algorithm.name())
    }

    /// The head of a proper token.
    pub fn head(&self, algorithm: Algorithm) -> Value {
        json!({ "typ": "JWT", "alg": algorithm.name(), "kid": self.kid(algorithm) })
    }

    /// The public keys, as a provider shows them.
    pub fn set(&self) -> Value {
        let base64 = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let point = self.ec.public_key().as_ref();
        let keys = [
            json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid(Algorithm::Rsa),
                "n": base64(&self.rsa.public_key().as_ref()[MODULUS]), "e": "AQAB" }),
            json!({ "kty": "EC", "use": "sig", "alg": "ES256", "kid": self.kid(Algorithm::Ec),
                "crv": "P-256", "x": base64(&point[1..33]), "y": base64(&point[33..]) }),
            json!({ "kty": "OKP", "use": "sig", "alg": "EdDSA", "kid": self.kid(Algorithm::Ed),
                "crv": "Ed25519", "x": base64(self.ed.public_key().as_ref()) }),
            // One that no library of today knows.
            json!({ "kty": "XYZ", "kid": "future" }),
        ];
        json!({ "keys": keys })
    }

    /// A token of this head and payload, whatever they say.
    pub fn sign(&self, algorithm: Algorithm, head: &Value, payload: &str) -> String {
        let signed = unsigned(head, payload);
        let random = SystemRandom::new();
        let signature = match algorithm {
            Algorithm::Rsa => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
                signature
            }
            Algorithm::Ec => self.ec.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
            Algorithm::Ed => self.ed.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        with_signature(&signed, &signature)
    }

    /// The RSA public key in the forms in which it is taken for a secret: DER of both kinds, PEM, the modulus.
    pub fn public_forms(&self) -> Vec<Vec<u8>> {
        let pkcs1 = self.rsa.public_key().as_ref().to_vec();
        let spki: encoding::PublicKeyX509Der<'_> = encoding::AsDer::as_der(self.rsa.public_key()).unwrap();
        let pem = |label: &str, der: &[u8]| {
            let base64 = BASE64.encode(der);
            let lines: Vec<&str> =
                base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")).into_bytes()
        };
        vec![
            pem("PUBLIC KEY", spki.as_ref()),
            pem("RSA PUBLIC KEY", &pkcs1),
            spki.as_ref().to_vec(),
            pkcs1.clone(),
            pkcs1[MODULUS].to_vec(),
        ]
    }
}

/// Head and payload, as they are signed.
pub fn unsigned(head: &Value, payload: &str) -> String {
    format!(
        "{}.{}",
        BASE64URL_NOPAD.encode(head.to_string().as_bytes()),
        BASE64URL_NOPAD.encode(payload.as_bytes())
    )
}

/// The same with a signature, whatever it is.
pub fn with_signature(signed: &str, signature: &[u8]) -> String {
    format!("{signed}.{}", BASE64URL_NOPAD.encode(signature))
}

/// A token that is signed with a secret.
pub fn sign_with_secret(secret: &[u8], head: &Value, payload: &str) -> String {
    let signed = unsigned(head, payload);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    with_signature(&signed, tag.as_ref())
}
