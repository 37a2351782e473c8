//! ID tokens that prove nothing, each brought by a whole sign-in.

use data_encoding::BASE64URL_NOPAD;
use heliograph_testbed::idp::keys::{sign_with_secret, unsigned, with_signature};
use heliograph_testbed::idp::{Algorithm, CLIENT_SECRET, Forge, Keys};
use serde_json::{Value, json};

use super::{IN, REFUSED, World};

/// Signs in by each of these tokens in vain, and then by a proper one.
async fn refused(forgeries: Vec<(String, Forge)>) {
    let world = World::new().await;
    world.visitor(json!({ "sub": "1", "groups": ["roots"] }));
    let before = world.users().await;
    for (what, forge) in forgeries {
        world.idp.state().forge = Some(forge);
        let mut browser = world.browser();
        assert_eq!(browser.sign_in("idp").await, REFUSED, "{what}");
        assert!(browser.who().await.is_none(), "{what}");
        // Failures of an address are counted.
        world.advance(61);
    }
    assert_eq!(world.users().await, before, "no account is made");
    // What is forged but for nothing is taken: it was not the forging that was refused.
    world.idp.state().forge = Some(with_claims("nothing", json!({})).1);
    world.sign_in(IN).await;
    world.idp.state().forge = Some(with_head("nothing", json!({})).1);
    world.sign_in(IN).await;
}

fn forgery(what: &str, forge: impl Fn(&Keys, &Value) -> String + Send + 'static) -> (String, Forge) {
    (what.to_owned(), Box::new(forge))
}

/// Properly signed, with another head.
fn with_head(what: &str, more: Value) -> (String, Forge) {
    forgery(what, move |keys, claims| {
        let mut head = keys.head(Algorithm::Rsa);
        merge(&mut head, &more);
        keys.sign(Algorithm::Rsa, &head, &claims.to_string())
    })
}

/// Properly signed, with other claims; those that are null are left out.
fn with_claims(what: &str, more: Value) -> (String, Forge) {
    forgery(what, move |keys, claims| {
        let mut claims = claims.clone();
        merge(&mut claims, &more);
        keys.sign(Algorithm::Rsa, &keys.head(Algorithm::Rsa), &claims.to_string())
    })
}

fn merge(into: &mut Value, more: &Value) {
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(into.as_object_mut().unwrap().remove(name)),
            value => into[name.as_str()] = value.clone(),
        }
    }
}

/// At which moment a token was made, from its claims.
fn made(claims: &Value) -> i64 {
    claims["iat"].as_i64().unwrap()
}

fn at(what: &str, claim: &'static str, later: i64) -> (String, Forge) {
    forgery(what, move |keys, claims| {
        let mut claims = claims.clone();
        claims[claim] = json!(made(&claims) + later);
        keys.sign(Algorithm::Rsa, &keys.head(Algorithm::Rsa), &claims.to_string())
    })
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused_in_any_spelling() {
    let mut all = Vec::new();
    for name in ["none", "None", "nOnE", "NONE", "", "null"] {
        all.push(forgery(name, move |keys, claims| {
            let head = json!({ "alg": name, "kid": keys.kid(Algorithm::Rsa) });
            with_signature(&unsigned(&head, &claims.to_string()), b"")
        }));
    }
    all.push(forgery("no alg", |keys, claims| {
        keys.sign(Algorithm::Rsa, &json!({ "kid": keys.kid(Algorithm::Rsa) }), &claims.to_string())
    }));
    all.push(forgery("two parts", |_, claims| unsigned(&json!({ "alg": "none" }), &claims.to_string())));
    refused(all).await;
}

#[tokio::test]
async fn a_public_key_is_no_secret_and_neither_is_the_clients() {
    let mut all = Vec::new();
    for form in 0..5 {
        for kid in [true, false] {
            all.push(forgery(&format!("form {form} of the public key"), move |keys, claims| {
                let mut head = json!({ "alg": "HS256" });
                if kid {
                    head["kid"] = json!(keys.kid(Algorithm::Rsa));
                }
                sign_with_secret(&keys.public_forms()[form], &head, &claims.to_string())
            }));
        }
    }
    for secret in ["", CLIENT_SECRET] {
        all.push(forgery("a secret", move |_, claims| {
            sign_with_secret(secret.as_bytes(), &json!({ "alg": "HS256" }), &claims.to_string())
        }));
    }
    refused(all).await;
}

#[tokio::test]
async fn the_name_of_a_key_is_only_compared() {
    let names = ["../../../../dev/null", "key-RS256' OR '1'='1", "", "/etc/passwd", "http://127.0.0.1/jwks"];
    let mut all: Vec<_> = names.map(|kid| with_head(kid, json!({ "kid": kid }))).into_iter().collect();
    all.push(with_head("1 MB", json!({ "kid": "x".repeat(1 << 20) })));
    all.push(with_head("a number", json!({ "kid": 1 })));
    all.push(with_head("of another kind", json!({ "kid": "key-ES256" })));
    refused(all).await;
}

#[tokio::test]
async fn keys_that_a_token_brings_along_are_not_looked_at() {
    let by_own_key = |what: &'static str, more: fn(&Keys) -> Value| {
        forgery(what, move |_, claims| {
            let own = Keys::new("key");
            let mut head = own.head(Algorithm::Rsa);
            merge(&mut head, &more(&own));
            own.sign(Algorithm::Rsa, &head, &claims.to_string())
        })
    };
    refused(vec![
        by_own_key("jwk", |own| json!({ "jwk": own.set()["keys"][0] })),
        by_own_key("jwk without kid", |own| json!({ "jwk": own.set()["keys"][0], "kid": null })),
        by_own_key("jku", |_| json!({ "jku": "https://evil.example/jwks" })),
        by_own_key("x5u", |_| json!({ "x5u": "https://evil.example/cert.pem" })),
        by_own_key("x5c", |own| json!({ "x5c": [BASE64URL_NOPAD.encode(&own.public_forms()[2])] })),
        by_own_key("nothing", |_| json!({})),
    ])
    .await;
}

#[tokio::test]
async fn a_token_of_another_issuer_or_for_another_is_refused() {
    refused(vec![
        with_claims("iss", json!({ "iss": "https://evil.example" })),
        with_claims("no iss", json!({ "iss": null })),
        with_claims("aud", json!({ "aud": "another" })),
        with_claims("aud list", json!({ "aud": ["another"] })),
        with_claims("aud of two", json!({ "aud": ["heliograph", "another"] })),
        with_claims("no aud", json!({ "aud": null })),
        with_claims("azp", json!({ "azp": "another" })),
        with_claims("sub", json!({ "sub": "" })),
        with_claims("no sub", json!({ "sub": null })),
        with_claims("long sub", json!({ "sub": "x".repeat(256) })),
        with_claims("sub with a NUL", json!({ "sub": "1\0" })),
    ])
    .await;
}

#[tokio::test]
async fn a_token_is_good_for_its_time_only() {
    refused(vec![
        at("expired", "exp", -1),
        at("expires now", "exp", 0),
        at("nbf in the future", "nbf", 3_600),
        at("iat in the future", "iat", 3_600),
        with_claims("no exp", json!({ "exp": null })),
        with_claims("nbf of no number", json!({ "nbf": "soon" })),
    ])
    .await;
}

#[tokio::test]
async fn a_nonce_is_the_one_of_this_sign_in() {
    refused(vec![
        with_claims("another nonce", json!({ "nonce": "another" })),
        with_claims("no nonce", json!({ "nonce": null })),
        with_claims("an empty nonce", json!({ "nonce": "" })),
    ])
    .await;
}

#[tokio::test]
async fn signatures_of_zeros_and_broken_ones_are_refused() {
    let with = |what: &str, algorithm: Algorithm, signature: Vec<u8>| {
        forgery(what, move |keys, claims| {
            with_signature(&unsigned(&keys.head(algorithm), &claims.to_string()), &signature)
        })
    };
    let changed = |what: &str, algorithm: Algorithm| {
        forgery(what, move |keys, claims| {
            let proper = keys.sign(algorithm, &keys.head(algorithm), &claims.to_string());
            let mut other = claims.clone();
            other["groups"] = json!(["roots", "more"]);
            let signed = unsigned(&keys.head(algorithm), &other.to_string());
            format!("{signed}.{}", proper.rsplit('.').next().unwrap())
        })
    };
    refused(vec![
        with("64 zeros", Algorithm::Ec, vec![0; 64]),
        with("half zeros", Algorithm::Ec, [vec![1; 32], vec![0; 32]].concat()),
        with("short", Algorithm::Ec, vec![0; 8]),
        with("RSA zeros", Algorithm::Rsa, vec![0; 256]),
        with("empty", Algorithm::Ed, Vec::new()),
        changed("another payload (RSA)", Algorithm::Rsa),
        changed("another payload (EC)", Algorithm::Ec),
        changed("another payload (Ed)", Algorithm::Ed),
    ])
    .await;
}

#[tokio::test]
async fn a_claim_that_is_there_twice_is_refused() {
    let twice = |what: &str, more: &'static str| {
        forgery(what, move |keys, claims| {
            let payload = format!("{{{more},{}", claims.to_string().split_at(1).1);
            keys.sign(Algorithm::Rsa, &keys.head(Algorithm::Rsa), &payload)
        })
    };
    let head = forgery("alg in the head", |keys, claims| {
        let head = format!(r#"{{"alg":"none",{}"#, keys.head(Algorithm::Rsa).to_string().split_at(1).1);
        let signed = format!(
            "{}.{}",
            BASE64URL_NOPAD.encode(head.as_bytes()),
            BASE64URL_NOPAD.encode(claims.to_string().as_bytes())
        );
        with_signature(&signed, &[1; 256])
    });
    refused(vec![
        twice("sub", r#""sub":"root""#),
        twice("groups", r#""groups":["roots"]"#),
        twice("aud", r#""aud":"another""#),
        twice("inside a claim", r#""realm_access":{"roles":[],"roles":["roots"]}"#),
        twice("inside a list", r#""more":[[{"a":1,"a":2}]]"#),
        head,
    ])
    .await;
}

#[tokio::test]
async fn a_token_has_a_bound_and_a_form() {
    refused(vec![
        with_claims("64 KiB", json!({ "more": "x".repeat(64 << 10) })),
        forgery("no token", |_, _| "x".repeat(100)),
        forgery("empty", |_, _| String::new()),
        forgery("no JSON", |keys, _| keys.sign(Algorithm::Rsa, &keys.head(Algorithm::Rsa), "[")),
        forgery("a list", |keys, _| keys.sign(Algorithm::Rsa, &keys.head(Algorithm::Rsa), "[]")),
        forgery("deep", |keys, _| {
            let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
            keys.sign(Algorithm::Rsa, &keys.head(Algorithm::Rsa), &deep)
        }),
        with_head("crit", json!({ "crit": ["exp"] })),
        with_head("a token in a token", json!({ "cty": "JWT" })),
        with_head("another type", json!({ "typ": "at+jwt" })),
    ])
    .await;
}

#[tokio::test]
async fn numbers_that_are_no_times_are_refused() {
    let mut all = Vec::new();
    for claim in ["exp", "iat", "nbf", "auth_time"] {
        for value in ["1e308", "-1e308", "18446744073709551615", "9e18", "1e999", "[]", "{}", "\"x\"", "true"]
        {
            // Long ago is a time from which something may be good.
            if claim == "nbf" && value == "-1e308" {
                continue;
            }
            all.push(forgery(&format!("{claim} {value}"), move |keys, claims| {
                let mut claims = claims.clone();
                claims.as_object_mut().unwrap().remove(claim);
                let payload = format!("{{\"{claim}\":{value},{}", claims.to_string().split_at(1).1);
                keys.sign(Algorithm::Rsa, &keys.head(Algorithm::Rsa), &payload)
            }));
        }
    }
    refused(all).await;
}

#[tokio::test]
async fn a_set_of_keys_has_a_bound_and_no_two_of_one_name() {
    let key = |kid: String| json!({ "kty": "OKP", "crv": "Ed25519", "x": "A".repeat(43), "kid": kid });
    let try_with = async |count: usize, kid: fn(usize) -> String, expected: &str| {
        let world = World::new().await;
        world.visitor(json!({ "sub": "1", "groups": ["readers"] }));
        {
            let mut state = world.idp.state();
            state.more_keys = (0..count).map(|n| key(kid(n))).collect();
            state.algorithm = Algorithm::Ed;
        }
        let mut browser = world.browser();
        assert_eq!(browser.sign_in("idp").await, expected, "{count} keys");
    };
    try_with(5_000, |n| format!("other-{n}"), IN).await;
    try_with(20_000, |n| format!("other-{n}"), REFUSED).await;
    try_with(1, |_| "key-EdDSA".to_owned(), REFUSED).await;
}
