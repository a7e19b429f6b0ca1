//! Published vectors, through the signature step alone, and what a key set leaves out.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tower_mesh::jwt::{KeySet, Refusal, verify_jws};
use tower_mesh::testing::Issuer;

const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn keys(jwks: &[Value]) -> Result<KeySet, tower_mesh::jwt::KeySetError> {
    KeySet::parse(&json!({ "keys": jwks }).to_string())
}

fn rfc7515_rsa() -> Value {
    json!({"kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"})
}

fn rfc7515_p256() -> Value {
    json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})
}

fn rfc7515_p521() -> Value {
    json!({"kty": "EC", "crv": "P-521", "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk", "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"})
}

/// RFC 7515, appendix A; A.4 is ES512, which J-03 leaves out.
#[test]
fn the_examples_of_rfc_7515_verify() {
    let rs256 = format!(
        "eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
    let es256 = format!(
        "eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    let es512 = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
    for (name, key, jws) in [
        ("A.2", rfc7515_rsa(), rs256.as_str()),
        ("A.3", rfc7515_p256(), &es256),
    ] {
        let set = keys(std::slice::from_ref(&key)).unwrap();
        assert!(verify_jws(&set, jws.as_bytes()).is_ok(), "{name}");
        let mut other = jws.to_owned();
        other.pop();
        assert!(verify_jws(&set, other.as_bytes()).is_err(), "{name}, cut");
        let other = jws.replacen('.', ".A", 1);
        assert!(
            verify_jws(&set, other.as_bytes()).is_err(),
            "{name}, other payload"
        );
    }
    let all = keys(&[rfc7515_rsa(), rfc7515_p256(), rfc7515_p521()]).unwrap();
    assert_eq!((all.len(), all.skipped()), (2, 1));
    for jws in [&rs256, &es256] {
        assert!(verify_jws(&all, jws.as_bytes()).is_ok());
    }
    assert_eq!(
        verify_jws(&all, es512.as_bytes()),
        Err(Refusal::Algorithm),
        "A.4"
    );
    // A.5, A.7, and the JWE of RFC 7516 A.1 cut short: five parts.
    let unsigned = format!("eyJhbGciOiJub25lIn0.{PAYLOAD}.");
    for bad in [
        unsigned.as_str(),
        "{\"payload\": \"e30\"}",
        "e30.e30.e30.e30.e30",
        "",
        ".",
        "..",
        "...",
    ] {
        assert!(verify_jws(&all, bad.as_bytes()).is_err(), "{bad}");
    }
    // Appendix E: `crit`; RFC 7797: `b64`.
    let issuer = Issuer::es256("i");
    let set = KeySet::parse(&issuer.jwks()).unwrap();
    for header in [
        r#"{"alg":"ES256","crit":["exp"],"exp":1363284000}"#,
        r#"{"alg":"ES256","crit":[]}"#,
        r#"{"alg":"ES256","crit":"x"}"#,
        r#"{"alg":"ES256","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"ES256","zip":"DEF"}"#,
        r#"{"alg":"ES256","alg":"ES256"}"#,
    ] {
        let jws = issuer.token().sign_texts(header, "{}");
        assert!(verify_jws(&set, jws.as_bytes()).is_err(), "{header}");
    }
    let jws = issuer.token().sign_texts(r#"{"alg":"ES256"}"#, "any bytes");
    assert_eq!(verify_jws(&set, jws.as_bytes()).unwrap(), b"any bytes");
}

/// J-02, J-04, J-07: what may stand in a set and what is left out.
#[test]
fn keys_that_cannot_verify_tokens_are_left_out() {
    let issuer = Issuer::es256("i");
    let with = |changes: &[(&str, Value)]| {
        let mut jwk = issuer.jwk();
        for (member, value) in changes {
            jwk[*member] = value.clone();
        }
        jwk
    };
    let rsa = |changes: &[(&str, Value)]| {
        let mut jwk = rfc7515_rsa();
        for (member, value) in changes {
            jwk[*member] = value.clone();
        }
        jwk
    };
    let roca = "gAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABml-vtLJyxuBBYVZP4HaMg36sQvfLg8dnoEvzw";
    let zero = "A".repeat(43);
    let good = [
        with(&[]),
        with(&[("use", "sig".into()), ("key_ops", json!(["verify"]))]),
        with(&[("key_ops", json!(["verify", "sign"]))]),
        with(&[("x5t", "ignored".into()), ("unknown", json!({}))]),
        rsa(&[("alg", "PS512".into())]),
        rsa(&[("e", "Aw".into())]),
    ];
    for jwk in good {
        assert!(keys(std::slice::from_ref(&jwk)).is_ok(), "{jwk}");
    }
    let bad = [
        json!({"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}),
        rfc7515_p521(),
        json!({}),
        json!("text"),
        with(&[("use", "enc".into())]),
        with(&[("use", 1.into())]),
        with(&[("key_ops", json!(["sign"]))]),
        with(&[("key_ops", json!([]))]),
        with(&[("key_ops", "verify".into())]),
        with(&[
            ("use", "sig".into()),
            ("key_ops", json!(["verify", "encrypt"])),
        ]),
        with(&[("alg", "ES384".into())]),
        with(&[("alg", "RS256".into())]),
        with(&[("alg", "ES521".into())]),
        with(&[("alg", "HS256".into())]),
        with(&[("alg", Value::Null)]),
        with(&[("crv", "P-384".into())]),
        with(&[("crv", "secp256k1".into())]),
        with(&[("kty", "ec".into())]),
        with(&[("kid", 1.into())]),
        with(&[("kid", "k".repeat(257).into())]),
        with(&[("d", "AQAB".into())]),
        with(&[("x", zero.clone().into()), ("y", zero.into())]),
        with(&[("x", "".into())]),
        with(&[("x", "?".into())]),
        rsa(&[("e", "AQ".into())]),
        rsa(&[("e", "AQAA".into())]),
        rsa(&[("e", "".into())]),
        rsa(&[("e", "BAAAAAE".into())]),
        rsa(&[("n", "AQAB".into())]),
        rsa(&[("n", "_".repeat(171).into())]),
        rsa(&[("n", roca.into())]),
        rsa(&[("p", "AQAB".into())]),
        rsa(&[("alg", "ES256".into())]),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo"}),
    ];
    for jwk in bad {
        let error = keys(std::slice::from_ref(&jwk)).expect_err(&jwk.to_string());
        assert_eq!(error.to_string(), "no key that can verify a token", "{jwk}");
        let beside = keys(&[with(&[("kid", "good".into())]), jwk.clone()]).unwrap();
        assert_eq!((beside.len(), beside.skipped()), (1, 1), "{jwk}");
    }
    assert_eq!(
        keys(&[with(&[]), with(&[("d", "AQAB".into())])])
            .unwrap()
            .private(),
        1
    );
}

/// J-03, J-05, J-06
#[test]
fn the_key_decides_which_tokens_it_verifies() {
    let (issuer, other) = (Issuer::es256("i"), Issuer::es256("i").with_key_id("key-2"));
    let token = issuer.token().sign();
    let verifies = |jwks: &[Value], token: &str| {
        keys(jwks).is_ok_and(|set| verify_jws(&set, token.as_bytes()).is_ok())
    };
    let (one, two) = (issuer.jwk(), other.jwk());
    assert!(verifies(&[one.clone(), two.clone()], &token));
    let renamed = issuer.token().header("kid", "key-2").sign();
    assert!(
        !verifies(&[one.clone(), two.clone()], &renamed),
        "the named key only"
    );
    let mut doubled = two.clone();
    doubled["kid"] = "key-1".into();
    assert!(
        !verifies(&[one.clone(), doubled.clone()], &token),
        "two keys of one id"
    );
    let nameless = issuer.token().without_header("kid").sign();
    assert!(verifies(&[two.clone(), one.clone()], &nameless));
    let empty = issuer.token().header("kid", "").sign();
    assert!(
        verifies(&[two, one.clone()], &empty),
        "an empty name is none"
    );
    let many: Vec<_> = (0..8)
        .map(|number| {
            let mut jwk = Issuer::es256("i").jwk();
            jwk["kid"] = number.to_string().into();
            jwk
        })
        .collect();
    assert!(
        !verifies(&[&many[..], std::slice::from_ref(&one)].concat(), &nameless),
        "nine candidates"
    );
    assert!(verifies(&[&many[..7], &[one]].concat(), &nameless), "eight");

    let rsa = Issuer::rs256("i");
    let mut any = rsa.jwk();
    let token = rsa.token().sign();
    any.as_object_mut().unwrap().remove("alg");
    assert!(verifies(std::slice::from_ref(&any), &token));
    any["alg"] = "PS256".into();
    assert!(
        !verifies(std::slice::from_ref(&any), &token),
        "a key for PS256 and a token with RS256"
    );
    any["alg"] = "RS512".into();
    assert!(!verifies(&[any], &token));
}

/// The order of P-256's group, and that of Ed25519's (RFC 8032 §5.1, least significant byte first).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Signatures at the edges of their formats: out of range, of another encoding, of a byte more or less.
#[test]
fn a_signature_has_one_form() {
    let parts = |issuer: &Issuer| {
        let token = issuer.token().subject("alice").sign();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        (signed.to_owned(), signature)
    };
    let verdict = |issuer: &Issuer, signed: &str, signature: &[u8]| {
        let jws = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        let keys = KeySet::parse(&issuer.jwks()).unwrap();
        verify_jws(&keys, jws.as_bytes()).map(drop)
    };
    let zero = [0; 32];

    let ecdsa = Issuer::es256("i");
    let (signed, good) = parts(&ecdsa);
    assert_eq!(verdict(&ecdsa, &signed, &good), Ok(()));
    let (r, s) = good.split_at(32);
    let der = |number: &[u8]| [&[2, 33, 0], number].concat();
    for (name, bad) in [
        ("zeros", zero.repeat(2)),
        ("r = 0", [&zero, s].concat()),
        ("s = 0", [r, &zero].concat()),
        ("r = order", [&P256_ORDER, s].concat()),
        ("s = order", [r, &P256_ORDER].concat()),
        ("both = order", P256_ORDER.repeat(2)),
        ("ones", vec![0xff; 64]),
        ("swapped", [s, r].concat()),
        ("r alone", r.to_vec()),
        ("a byte less", good[..63].to_vec()),
        ("a byte more", [&good[..], &[0]].concat()),
        ("a zero before", [&[0], &good[..]].concat()),
        ("padded numbers", [&[0], r, &[0], s].concat()),
        ("as of P-384", [&zero[..16], r, &zero[..16], s].concat()),
        ("as ASN.1", [&[0x30, 70], &der(r)[..], &der(s)].concat()),
    ] {
        assert_eq!(
            verdict(&ecdsa, &signed, &bad),
            Err(Refusal::Signature),
            "{name}"
        );
    }

    let eddsa = Issuer::eddsa("i");
    let (signed, good) = parts(&eddsa);
    assert_eq!(verdict(&eddsa, &signed, &good), Ok(()));
    let (r, s) = good.split_at(32);
    let mut carry = 0;
    let beyond: Vec<u8> = (s.iter().zip(ED25519_ORDER))
        .map(|(a, b)| {
            carry += u16::from(*a) + u16::from(b);
            let low = carry.to_le_bytes()[0];
            carry >>= 8;
            low
        })
        .collect();
    for (name, bad) in [
        ("zeros", zero.repeat(2)),
        ("s = 0", [r, &zero].concat()),
        ("s = order", [r, &ED25519_ORDER].concat()),
        ("s + order", [r, &beyond].concat()),
        ("a byte less", good[..63].to_vec()),
        ("a byte more", [&good[..], &[0]].concat()),
    ] {
        assert_eq!(
            verdict(&eddsa, &signed, &bad),
            Err(Refusal::Signature),
            "{name}"
        );
    }

    for rsa in [Issuer::rs256("i"), Issuer::ps256("i")] {
        let (signed, good) = parts(&rsa);
        assert_eq!(verdict(&rsa, &signed, &good), Ok(()));
        for (name, bad) in [
            ("zero", vec![0; 256]),
            ("one", [&[0; 255][..], &[1]].concat()),
            ("ones", vec![0xff; 256]),
            ("a byte less", good[1..].to_vec()),
            ("a byte more", [&good[..], &[0]].concat()),
            ("a zero before", [&[0], &good[..]].concat()),
        ] {
            assert_eq!(
                verdict(&rsa, &signed, &bad),
                Err(Refusal::Signature),
                "{name}"
            );
        }
    }
}

/// RFC 7515: a payload may be empty. A token's may not, as it is no JSON object.
#[test]
fn an_empty_payload_is_a_payload() {
    let issuer = Issuer::eddsa("i");
    let set = KeySet::parse(&issuer.jwks()).unwrap();
    let sign = |payload: &str| issuer.token().sign_texts(r#"{"alg":"EdDSA"}"#, payload);
    assert_eq!(verify_jws(&set, sign("").as_bytes()).unwrap(), b"");
    assert_eq!(verify_jws(&set, sign("x").as_bytes()).unwrap(), b"x");
    // RFC 7515, appendix F: the payload of a detached one is elsewhere.
    let full = sign("x");
    let [header, _, signature]: [&str; 3] = full.split('.').collect::<Vec<_>>().try_into().unwrap();
    let detached = format!("{header}..{signature}");
    assert_eq!(
        verify_jws(&set, detached.as_bytes()),
        Err(Refusal::Signature)
    );
    for form in [
        format!(".{}.{signature}", "eA"),
        format!("{header}.."),
        "..".to_owned(),
        format!("{header}.eA."),
        format!("{}.", sign("")),
        format!(".{}", sign("")),
    ] {
        assert_eq!(
            verify_jws(&set, form.as_bytes()),
            Err(Refusal::Form),
            "{form}"
        );
    }
}
