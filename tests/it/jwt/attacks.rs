//! Hostile tokens, and the grid of claims.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Request;
use http::header::AUTHORIZATION;
use http_body_util::Empty;
use proptest::prelude::*;
use serde_json::{Value, json};
use tower_mesh::context::Exchange;
use tower_mesh::jwt::{Authenticator, Keyring};
use tower_mesh::testing::Issuer;

use super::support::{authentication, bearer, get, layer, rule, send};

const ALG: &str = "Jwt header [alg] is not supported";
const ALG_TYPE: &str = "Jwt header [alg] field is required and must be a string";
const HEADER_JSON: &str = "Jwt header is an invalid JSON";

/// J-01, J-02, J-05, J-08 to J-12: the header.
#[tokio::test]
async fn headers_that_ask_for_more_are_refused() {
    let issuer = Issuer::es256("i");
    let layer = layer(vec![rule(&issuer)]);
    let payload = r#"{"iss":"i","sub":"alice"}"#;
    for (header, expected) in [
        (r#"{"alg":"ES256"}"#, None),
        (r#"{"alg":"ES256","typ":"JWT"}"#, None),
        (r#"{"alg":"ES256","typ":"jwt"}"#, None),
        (r#"{"alg":"ES256","typ":"JOSE"}"#, None),
        (r#"{"alg":"ES256","typ":"application/at+JWT"}"#, None),
        (
            r#"{"alg":"ES256","jwk":{"kty":"oct"},"jku":"https://evil/","x5u":"https://evil/"}"#,
            None,
        ),
        (r#"{"alg":"none"}"#, Some(ALG)),
        (r#"{"alg":"None"}"#, Some(ALG)),
        (r#"{"alg":"nOnE"}"#, Some(ALG)),
        (r#"{"alg":""}"#, Some(ALG)),
        (r#"{"alg":"es256"}"#, Some(ALG)),
        (r#"{"alg":"HS256"}"#, Some(ALG)),
        (r#"{"alg":"HS512"}"#, Some(ALG)),
        (r#"{"alg":"ES256K"}"#, Some(ALG)),
        (r#"{}"#, Some(ALG_TYPE)),
        (r#"{"alg":null}"#, Some(ALG_TYPE)),
        (r#"{"alg":["ES256"]}"#, Some(ALG_TYPE)),
        (
            r#"{"alg":"RS256"}"#,
            Some("Jwks doesn't have key to match kid or alg from Jwt"),
        ),
        (
            r#"{"alg":"ES384"}"#,
            Some("Jwks doesn't have key to match kid or alg from Jwt"),
        ),
        (
            r#"{"alg":"ES256","kid":1}"#,
            Some("Jwt header [kid] field is not a string"),
        ),
        (
            r#"{"alg":"ES256","kid":null}"#,
            Some("Jwt header [kid] field is not a string"),
        ),
        (
            r#"{"alg":"ES256","kid":"other"}"#,
            Some("Jwks doesn't have key to match kid or alg from Jwt"),
        ),
        (
            r#"{"alg":"ES256","crit":["exp"]}"#,
            Some("Jwt header [crit] is not supported"),
        ),
        (
            r#"{"alg":"ES256","crit":[]}"#,
            Some("Jwt header [crit] is not supported"),
        ),
        (
            r#"{"alg":"ES256","b64":false}"#,
            Some("Jwt header [b64] is not supported"),
        ),
        (
            r#"{"alg":"ES256","zip":"DEF"}"#,
            Some("Jwt header [zip] is not supported"),
        ),
        (
            r#"{"alg":"ES256","enc":"A128GCM"}"#,
            Some("Jwt header [enc] is not supported"),
        ),
        (
            r#"{"alg":"ES256","typ":"secevent+jwt"}"#,
            Some("Jwt header [typ] is not supported"),
        ),
        (
            r#"{"alg":"ES256","typ":1}"#,
            Some("Jwt header [typ] is not supported"),
        ),
        (
            r#"{"alg":"ES256","cty":"JWT"}"#,
            Some("Jwt header [cty] is not supported"),
        ),
        (r#"{"alg":"ES256","alg":"ES256"}"#, Some(HEADER_JSON)),
        (r#"["alg"]"#, Some(HEADER_JSON)),
        (
            "",
            Some("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"),
        ),
    ] {
        let answer = send(&layer, bearer(&issuer.token().sign_texts(header, payload))).await;
        match expected {
            None => assert_eq!(answer.status, 200, "{header}: {}", answer.body),
            Some(text) => assert_eq!(
                (answer.status.as_u16(), answer.body.as_str()),
                (401, text),
                "{header}"
            ),
        }
    }
}

/// J-10, J-13, J-14: the form. What Envoy tolerates passes; the strict guard refuses it.
#[tokio::test]
async fn forms_are_read_as_envoy_reads_them() {
    let issuer = Issuer::es256("i");
    let lenient = layer(vec![rule(&issuer)]);
    let strict = layer(vec![rule(&issuer)]).strict();
    let token = issuer.token().subject("alice").sign();
    let [header, payload, signature]: [&str; 3] =
        token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let padded = format!("{payload}{}", "=".repeat((4 - payload.len() % 4) % 4));
    for (form, passes, passes_strictly) in [
        (token.clone(), true, true),
        (format!("{header}..{payload}.{signature}"), true, false),
        (format!("{header}.{payload}.{signature}."), true, false),
        (format!(".{header}.{payload}.{signature}"), true, false),
        (format!("{header}.{payload}.{signature}=="), true, false),
        (format!("{header}.{payload}"), false, false),
        (format!("{header}.{payload}."), false, false),
        (format!("{token}.{signature}.{signature}"), false, false),
        (format!("{header}.{payload}.{signature}AAAA"), false, false),
        (
            format!("{header}.{payload}.?{}", signature.get(1..).unwrap()),
            false,
            false,
        ),
        (format!("{header}.{padded}x.{signature}"), false, false),
        ("x".repeat(20_000), false, false),
        ("a.b.c".into(), false, false),
    ] {
        for (layer, expected) in [(&lenient, passes), (&strict, passes_strictly)] {
            let answer = send(layer, bearer(&form)).await;
            assert_eq!(answer.status == 200, expected, "{form}: {}", answer.body);
        }
    }
}

/// J-14: a token of a megabyte costs nothing.
#[tokio::test]
async fn a_megabyte_is_refused_before_it_is_read() {
    let issuer = Issuer::es256("i");
    let layer = layer(vec![rule(&issuer)]);
    let answer = send(&layer, bearer(&"a.".repeat(1 << 19))).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (401, "Jwt is too large")
    );
    let padded = issuer.token().claim("x", "x".repeat(20_000)).sign();
    assert_eq!(send(&layer, bearer(&padded)).await.body, "Jwt is too large");
}

/// J-15 to J-19: each registered claim with every kind of value, lenient and strict.
#[tokio::test]
async fn the_grid_of_claims() {
    let issuer = Issuer::es256("i");
    let mut audience = rule(&issuer);
    audience.audiences = vec!["i".into()];
    let guards = [
        ("lenient", layer(vec![audience.clone()])),
        ("strict", layer(vec![audience]).strict()),
    ];
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    // One letter per claim of exp, nbf, iat, iss, aud, sub: g(ood) or b(ad). Upper case: bad only when strict.
    let grid: Vec<(&str, Option<String>, &str)> = vec![
        ("absent", None, "Bggbbg"),
        ("null", Some("null".into()), "bbbbbb"),
        ("true", Some("true".into()), "bbbbbb"),
        ("false", Some("false".into()), "bbbbbb"),
        ("zero", Some("0".into()), "Bggbbb"),
        ("negative", Some("-1".into()), "bbbbbb"),
        ("past", Some((now - 1000).to_string()), "bggbbb"),
        ("future", Some((now + 1000).to_string()), "gbbbbb"),
        ("fraction", Some(format!("{}.5", now + 1000)), "gbbbbb"),
        ("2^53+2", Some("9007199254740994".into()), "Bbbbbb"),
        ("1e19", Some("1e19".into()), "Bbbbbb"),
        ("1e300", Some("1e300".into()), "bbbbbb"),
        ("1e400", Some("1e400".into()), "bbbbbb"),
        ("digits", Some(format!("\"{}\"", now + 1000)), "bbbbbg"),
        ("issuer", Some("\"i\"".into()), "bbbggg"),
        ("empty", Some("\"\"".into()), "bbbbbg"),
        ("slash", Some("\"i/\"".into()), "bbbbgg"),
        ("control", Some("\"i\\u0000\"".into()), "bbbbbb"),
        ("newline", Some("\"i\\n\"".into()), "bbbbbb"),
        ("surrogate", Some("\"\\ud800\"".into()), "bbbbbb"),
        ("list", Some("[\"i\"]".into()), "bbbbgb"),
        ("empty list", Some("[]".into()), "bbbbbb"),
        ("mixed", Some("[\"i\",1]".into()), "bbbbbb"),
        ("nested", Some("[[\"i\"]]".into()), "bbbbbb"),
        ("object", Some("{\"i\":\"i\"}".into()), "bbbbbb"),
    ];
    let claims = ["exp", "nbf", "iat", "iss", "aud", "sub"];
    let good = [
        ("exp", (now + 500).to_string()),
        ("nbf", (now - 500).to_string()),
        ("iat", (now - 500).to_string()),
        ("iss", "\"i\"".to_owned()),
        ("aud", "\"i\"".to_owned()),
        ("sub", "\"alice\"".to_owned()),
    ];
    let mut cells = 0;
    for (name, value, verdicts) in &grid {
        for (claim, verdict) in claims.iter().zip(verdicts.chars()) {
            for duplicate in [false, true] {
                let mut members: Vec<String> = good
                    .iter()
                    .filter(|(other, _)| other != claim)
                    .map(|(other, value)| format!("\"{other}\":{value}"))
                    .collect();
                if let Some(value) = value {
                    members.push(format!("\"{claim}\":{value}"));
                    if duplicate {
                        members.push(format!("\"{claim}\":{value}"));
                    }
                }
                let header = r#"{"alg":"ES256","kid":"key-1"}"#;
                let token = issuer
                    .token()
                    .sign_texts(header, &format!("{{{}}}", members.join(",")));
                for (kind, guard) in &guards {
                    let expected = match verdict {
                        _ if duplicate && value.is_some() => false,
                        'g' => true,
                        'B' => *kind == "lenient",
                        _ => false,
                    };
                    let answer = send(guard, bearer(&token)).await;
                    assert_eq!(
                        answer.status == 200,
                        expected,
                        "{kind} {claim} {name} twice: {duplicate}: {}",
                        answer.body
                    );
                    cells += 1;
                }
            }
        }
    }
    assert!(cells >= 400, "{cells}");
}

/// Status texts of the claims' types.
#[tokio::test]
async fn wrong_types_are_named() {
    let issuer = Issuer::es256("i");
    let layer = layer(vec![rule(&issuer)]);
    let cases: [(&str, Value, &str); 8] = [
        ("iss", json!(1), "Jwt payload [iss] field is not a string"),
        (
            "sub",
            json!(["a"]),
            "Jwt payload [sub] field is not a string",
        ),
        ("jti", json!(1), "Jwt payload [jti] field is not a string"),
        (
            "exp",
            json!("1"),
            "Jwt payload [exp] field is not an integer",
        ),
        (
            "nbf",
            json!(null),
            "Jwt payload [nbf] field is not an integer",
        ),
        (
            "iat",
            json!(-1),
            "Jwt payload [iat] field is not a positive 64 bit integer",
        ),
        (
            "aud",
            json!(1),
            "Jwt payload [aud] field is not a string or string list",
        ),
        (
            "aud",
            json!(["a", 1]),
            "Jwt payload [aud] field is not a string or string list",
        ),
    ];
    for (claim, value, text) in cases {
        let answer = send(&layer, bearer(&issuer.token().claim(claim, value).sign())).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (401, text));
    }
}

/// J-21, J-24: what the strict guard adds about places.
#[tokio::test]
async fn the_strict_guard_wants_one_principal() {
    let (a, b) = (Issuer::es256("a"), Issuer::es256("b"));
    let strict = layer(vec![rule(&a), rule(&b)]).strict();
    let (token_a, token_b) = (a.token().subject("s").sign(), b.token().subject("s").sign());
    let both = |query: &str| {
        get(&format!("/?access_token={query}"))
            .header(AUTHORIZATION, format!("Bearer {token_a}"))
            .body(Empty::new())
            .unwrap()
    };
    let answer = send(&strict, both(&token_b)).await;
    assert_eq!(answer.body, "Jwts of one request name different principals");
    assert_eq!(send(&strict, both(&token_a)).await.status, 200);
    assert_eq!(send(&strict, both(&a.token().tampered())).await.status, 401);
    let one = layer(vec![rule(&a)]).strict();
    for (value, status, claims) in [
        (format!("bearer {token_a}"), 200, true),
        (format!("BEARER   {token_a}"), 200, true),
        (format!("xx Bearer {token_a}"), 200, false),
        ("Bearer".into(), 401, false),
        ("Bearer ".into(), 401, false),
        ("Bearerx".into(), 200, false),
    ] {
        let request = get("/")
            .header(AUTHORIZATION, &value)
            .body(Empty::new())
            .unwrap();
        let answer = send(&one, request).await;
        assert_eq!(answer.status, status, "{value}");
        assert_eq!(
            answer.seen.is_some_and(|seen| seen.claims.is_some()),
            claims,
            "{value}"
        );
    }
}

/// J-29: nothing of the token, its claims or the keys comes back.
#[tokio::test]
async fn answers_tell_nothing() {
    let issuer = Issuer::es256("i");
    let layer = layer(vec![rule(&issuer)]);
    let secret = "canary-4711";
    let token = issuer
        .token()
        .subject(secret)
        .claim(secret, secret)
        .audience(secret);
    for bad in [
        token.tampered(),
        token.unsigned(),
        token.clone().expired_ago(Duration::from_secs(1000)).sign(),
        token.clone().claim("iss", secret).sign(),
    ] {
        let answer = send(&layer, bearer(&bad)).await;
        let told = format!("{} {:?} {:?}", answer.body, answer.headers, answer.exchange);
        assert!(!told.contains(secret) && !told.contains(&bad), "{told}");
    }
}

/// One for all cases: keys are slow to make.
static GUARD: LazyLock<(Issuer, Authenticator)> = LazyLock::new(|| {
    let issuer = Issuer::es256("i");
    let rules = authentication(vec![rule(&issuer)]);
    let compiled = Authenticator::compile(&rules, &mut Keyring::new()).unwrap();
    (issuer, compiled)
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// B-40: no header panics the guard, and none that is not a good token yields claims.
    #[test]
    fn arbitrary_bytes_never_panic(value in prop::collection::vec(any::<u8>(), 0..200), dots in any::<bool>()) {
        let (_, compiled) = &*GUARD;
        let mut line = b"Bearer ".to_vec();
        line.extend(value.iter().map(|byte| if dots && byte % 5 == 0 { b'.' } else { *byte }));
        if let Ok(line) = http::HeaderValue::from_bytes(&line) {
            let (mut head, ()) = Request::get("/").header(AUTHORIZATION, line).body(()).unwrap().into_parts();
            let exchange = Exchange::default();
            let verdict = compiled.authenticate(&mut head, &exchange, SystemTime::now());
            prop_assert!(!matches!(verdict, Ok(Some(_))));
        }
    }

    /// J-12, J-14: a signed payload of any text neither panics nor passes unless it is an object of the issuer.
    #[test]
    fn arbitrary_payloads_never_panic(payload in "[\\[\\]{}\":,a0-9e.iss-]{0,60}") {
        let (issuer, compiled) = &*GUARD;
        let token = issuer.token().sign_texts(r#"{"alg":"ES256"}"#, &payload);
        let (mut head, ()) = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}")).body(()).unwrap().into_parts();
        let verdict = compiled.authenticate(&mut head, &Exchange::default(), SystemTime::now());
        prop_assert!(!matches!(verdict, Ok(Some(_))) || payload.contains("\"iss\""));
    }
}
