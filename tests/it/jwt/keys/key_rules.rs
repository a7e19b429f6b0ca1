//! Which key of a set serves a token: rules J-04 to J-07.

use serde_json::{Value, json};
use tower_mesh::jwt::{KeySet, Refusal, verify_jws};
use tower_mesh::testing::Issuer;

use crate::jwt::support::{bearer, layer, rule, send};

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(&json!({ "keys": keys }).to_string()).unwrap()
}

fn judge(keys: &[Value], token: &str) -> Result<Vec<u8>, Refusal> {
    verify_jws(&set(keys), token.as_bytes())
}

fn with(mut jwk: Value, changes: &[(&str, Value)]) -> Value {
    for (member, value) in changes {
        jwk[*member] = value.clone();
    }
    jwk
}

fn without(mut jwk: Value, members: &[&str]) -> Value {
    for member in members {
        jwk.as_object_mut().unwrap().remove(*member);
    }
    jwk
}

/// J-04, J-06
#[test]
fn a_twin_that_verifies_no_token_does_no_harm() {
    let (issuer, other) = (Issuer::es256("i"), Issuer::es256("i"));
    let token = issuer.token().sign();
    let twin = other.jwk();
    let twins = [
        with(twin.clone(), &[("use", "enc".into())]),
        with(twin.clone(), &[("use", Value::Null)]),
        with(twin.clone(), &[("key_ops", json!(["encrypt"]))]),
        with(twin.clone(), &[("key_ops", "verify".into())]),
        with(twin.clone(), &[("key_ops", json!({}))]),
        with(twin.clone(), &[("key_ops", json!(["verify", "deriveKey"]))]),
        with(twin.clone(), &[("alg", "ECDH-ES".into())]),
        with(twin.clone(), &[("alg", "ES384".into())]),
        with(twin.clone(), &[("crv", "P-521".into())]),
        with(twin.clone(), &[("crv", "secp256k1".into())]),
        with(twin.clone(), &[("kty", "AKP".into())]),
        with(twin.clone(), &[("d", "AQAB".into())]),
        with(twin, &[("x", "AAAA".into())]),
        json!({"kty": "oct", "kid": "key-1", "k": "c2VjcmV0"}),
        json!({"kty": "RSA", "kid": "key-1", "x5c": ["MIIB"]}),
        json!({"kid": "key-1"}),
    ];
    for twin in twins {
        for keys in [[issuer.jwk(), twin.clone()], [twin.clone(), issuer.jwk()]] {
            assert!(judge(&keys, &token).is_ok(), "{twin}");
            assert_eq!((set(&keys).doubled(), set(&keys).skipped()), (0, 1));
        }
    }
}

/// J-06, RFC 7517 §4.5: keys of different types may share an id.
#[test]
fn twins_of_other_types_serve_their_own_tokens() {
    let issuers = [
        Issuer::es256("i"),
        Issuer::es384("i"),
        Issuer::eddsa("i"),
        Issuer::rs256("i"),
        Issuer::ps256("i"),
    ];
    let keys: Vec<_> = issuers.iter().map(Issuer::jwk).collect();
    assert_eq!((set(&keys).len(), set(&keys).doubled()), (5, 0));
    for issuer in &issuers {
        assert!(judge(&keys, &issuer.token().sign()).is_ok(), "{issuer:?}");
    }
}

/// J-06: whatever verifies one algorithm twice verifies it not at all; the rest of the set goes on.
#[test]
fn twins_are_doubled_for_the_algorithms_that_both_verify() {
    let (any, narrow) = (Issuer::rs256("i"), Issuer::ps256("i"));
    let keys = [without(any.jwk(), &["alg"]), narrow.jwk()];
    assert_eq!(set(&keys).doubled(), 1);
    assert!(judge(&keys, &any.token().sign()).is_ok(), "RS256 by one");
    assert_eq!(
        judge(&keys, &narrow.token().sign()),
        Err(Refusal::NoKey),
        "PS256 by both"
    );

    let (one, two, three) = (Issuer::es256("i"), Issuer::es256("i"), Issuer::es256("i"));
    let spare = Issuer::es256("i").with_key_id("spare");
    let encrypts = with(three.jwk(), &[("use", "enc".into())]);
    for keys in [
        vec![one.jwk(), two.jwk(), three.jwk(), spare.jwk()],
        vec![one.jwk(), encrypts.clone(), two.jwk(), spare.jwk()],
        vec![encrypts, two.jwk(), one.jwk(), spare.jwk()],
        vec![one.jwk(), one.jwk(), spare.jwk()],
    ] {
        let token = one.token().sign();
        assert_eq!(judge(&keys, &token), Err(Refusal::NoKey));
        assert_eq!(set(&keys).doubled(), 1);
        assert!(judge(&keys, &spare.token().sign()).is_ok());
    }
}

/// J-05: a set whose one usable key has no id serves every name, but not by the letter.
#[tokio::test]
async fn one_key_without_an_id_serves_a_token_that_names_one() {
    let (issuer, other) = (Issuer::es256("i"), Issuer::es256("i"));
    let named = issuer.token().header("kid", "named").sign();
    let nameless = without(issuer.jwk(), &["kid"]);
    let encrypts = with(other.jwk(), &[("use", "enc".into())]);
    for keys in [
        vec![nameless.clone()],
        vec![with(nameless.clone(), &[("kid", "".into())])],
        vec![nameless.clone(), encrypts.clone()],
        vec![with(encrypts, &[("kid", "named".into())]), nameless.clone()],
    ] {
        assert!(judge(&keys, &named).is_ok(), "{keys:?}");
        let mut rule = rule(&issuer);
        rule.jwks = Some(json!({ "keys": keys }).to_string().as_str().into());
        let layer = layer(vec![rule]);
        assert_eq!(send(&layer, bearer(&named)).await.status, 200);
        let strict = layer.strict();
        assert_eq!(send(&strict, bearer(&named)).await.status, 401);
        let unnamed = issuer.token().without_header("kid").sign();
        assert_eq!(send(&strict, bearer(&unnamed)).await.status, 200);
    }
    let forged = other.token().header("kid", "named").sign();
    assert_eq!(
        judge(std::slice::from_ref(&nameless), &forged),
        Err(Refusal::Signature)
    );
    let second = without(other.jwk(), &["kid"]);
    for keys in [
        vec![nameless.clone(), second],
        vec![nameless.clone(), other.jwk()],
        vec![issuer.jwk()],
        vec![without(Issuer::eddsa("i").jwk(), &["kid"])],
    ] {
        assert_eq!(judge(&keys, &named), Err(Refusal::NoKey), "{keys:?}");
    }
}

/// Some issuers pad, though RFC 7515 §2 says not to. Whole padding or none.
#[test]
fn members_of_a_key_may_be_padded() {
    for issuer in [Issuer::es256("i"), Issuer::eddsa("i"), Issuer::rs256("i")] {
        let token = issuer.token().sign();
        for member in ["x", "y", "n"] {
            let jwk = issuer.jwk();
            let Some(text) = jwk[member].as_str().map(str::to_owned) else {
                continue;
            };
            let whole = "=".repeat((4 - text.len() % 4) % 4);
            let padded = with(jwk.clone(), &[(member, format!("{text}{whole}").into())]);
            assert!(judge(&[padded], &token).is_ok(), "{issuer:?} {member}");
            for wrong in [
                format!("{text}{whole}="),
                format!("{text}{whole}===="),
                format!("={text}"),
                format!("{text} "),
                format!("{text}\n"),
                text.replacen(|c: char| c.is_alphanumeric(), "+", 1),
                text.replacen(|c: char| c.is_alphanumeric(), "/", 1),
            ] {
                let keys = json!({"keys": [with(jwk.clone(), &[(member, wrong.as_str().into())])]});
                let parsed = KeySet::parse(&keys.to_string());
                assert!(parsed.is_err(), "{issuer:?} {member} {wrong:?}");
            }
            if whole.len() == 2 {
                let keys = json!({"keys": [with(jwk, &[(member, format!("{text}=").into())])]});
                assert!(
                    KeySet::parse(&keys.to_string()).is_err(),
                    "half the padding"
                );
            }
        }
    }
}

/// J-07, RFC 7518 §6.2.1.2: a coordinate has the width of its curve, zeros in front included.
#[test]
fn a_coordinate_keeps_its_leading_zeros() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let bytes = |jwk: &Value, member: &str| {
        let text = jwk[member].as_str().unwrap();
        URL_SAFE_NO_PAD.decode(text).unwrap()
    };
    let starts_with_zero = |issuer: &Issuer| bytes(&issuer.jwk(), "x")[0] == 0;
    let issuer = std::iter::repeat_with(|| Issuer::es256("i"))
        .find(starts_with_zero)
        .unwrap();
    let (jwk, token) = (issuer.jwk(), issuer.token().sign());
    assert!(judge(std::slice::from_ref(&jwk), &token).is_ok());
    let x = bytes(&jwk, "x");
    for wrong in [x[1..].to_vec(), [&[0], &x[..]].concat()] {
        let jwk = with(jwk.clone(), &[("x", URL_SAFE_NO_PAD.encode(wrong).into())]);
        assert!(KeySet::parse(&json!({"keys": [jwk]}).to_string()).is_err());
    }
}

/// J-46: a member twice, in the set or in a key, whichever key it is.
#[test]
fn a_set_with_a_member_twice_is_refused() {
    let issuer = Issuer::es256("i");
    let key = issuer.jwk().to_string();
    let twice = key.replacen('{', r#"{"use":"sig","#, 1);
    let nested = key.replacen('{', r#"{"x":{"a":1,"a":1},"#, 1);
    for text in [
        format!(r#"{{"keys":[{twice}]}}"#),
        format!(r#"{{"keys":[{key},{twice}]}}"#),
        format!(r#"{{"keys":[{key},{nested}]}}"#),
        format!(r#"{{"keys":[{key}],"keys":[{key}]}}"#),
    ] {
        assert!(KeySet::parse(&text).is_err(), "{text}");
    }
    assert!(KeySet::parse(&format!(r#"{{"keys":[{key}]}}"#)).is_ok());
}
