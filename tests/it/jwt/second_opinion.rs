//! Our answers beside those of `jsonwebtoken`'s own `decode`, which shares no code with ours but the curves.

use std::time::{Duration, SystemTime};

use http::Request;
use http::header::AUTHORIZATION;
use jsonwebtoken::{DecodingKey, Validation, decode};
use serde_json::{Value, json};
use tower_mesh::context::Exchange;
use tower_mesh::jwt::{Authenticator, Keyring};
use tower_mesh::testing::{Issuer, Token};

use super::support::{authentication, rule};

const MINUTES: Duration = Duration::from_secs(600);

/// The same demands put to both.
struct Judges {
    ours: Authenticator,
    key: DecodingKey,
    validation: Validation,
}

impl Judges {
    fn of(issuer: &Issuer) -> Self {
        let mut rule = rule(issuer);
        rule.audiences = vec!["patients".into()];
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(issuer.jwk()).unwrap();
        let name = issuer.jwk()["alg"].as_str().unwrap().to_owned();
        let mut validation = Validation::new(name.parse().unwrap());
        validation.set_issuer(&[issuer.name()]);
        validation.set_audience(&["patients"]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        Self {
            ours: Authenticator::compile(&authentication(vec![rule]), &mut Keyring::new()).unwrap(),
            key: DecodingKey::from_jwk(&jwk).unwrap(),
            validation,
        }
    }

    /// Whether we take the token, and whether the library does.
    fn judge(&self, token: &str) -> (bool, bool) {
        let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        let ours =
            self.ours
                .authenticate_strictly(&mut head, &Exchange::default(), SystemTime::now());
        let theirs = decode::<Value>(token, &self.key, &self.validation);
        (matches!(ours, Ok(Some(_))), theirs.is_ok())
    }
}

/// Well-signed tokens that differ in what they claim.
fn claims(issuer: &Issuer) -> Vec<Token<'_>> {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let token = || issuer.token().audience("patients");
    vec![
        token(),
        token().subject("alice"),
        token().audience("billing"),
        token().claim(
            "extra",
            json!({"roles": ["admin"], "text": "ü \" \u{1F600}"}),
        ),
        token().without_header("kid"),
        token().without_header("typ"),
        token().header("x5t", "ignored"),
        token().expires_in(MINUTES),
        token().expired_ago(Duration::from_secs(20)),
        token().expired_ago(MINUTES),
        token().without_claim("exp"),
        token().claim("exp", "tomorrow"),
        token().claim("exp", -1),
        token().claim("exp", now as f64 + 600.5),
        token().claim("nbf", now + 20),
        token().claim("nbf", now + 600),
        token().claim("iat", now),
        token().claim("aud", "patients"),
        token().claim("aud", "billing"),
        token().claim("aud", json!([])),
        token().without_claim("aud"),
        token().claim("iss", "https://elsewhere.example"),
        token().without_claim("iss"),
        token().header("alg", "none"),
        token().header("alg", "HS256"),
        token().header("alg", "es256"),
        token().header("alg", 1),
        token().without_header("alg"),
    ]
}

/// The token and what becomes of it on its way.
fn mutations(token: &str, other: &str) -> Vec<String> {
    let parts: Vec<_> = token.split('.').collect();
    let foreign = other.rsplit('.').next().unwrap();
    let [header, payload, signature] = parts[..] else {
        panic!("three parts")
    };
    let mut all = vec![
        token.to_owned(),
        format!("{header}.{payload}.{foreign}"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{token}.{signature}"),
        format!("{payload}.{header}.{signature}"),
        format!("{header}.{payload}.{}", &signature[4..]),
        format!("{header}.{payload}.{signature}AAAA"),
        format!("{header}.{payload}AAAA.{signature}"),
        format!("{token}="),
    ];
    for at in [
        1,
        header.len() + 5,
        header.len() + payload.len() + 6,
        token.len() - 1,
    ] {
        let mut bytes = token.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'B' { b'C' } else { b'B' };
        all.push(String::from_utf8(bytes).unwrap());
    }
    all
}

#[test]
fn two_libraries_agree_on_every_token() {
    let issuers = [
        Issuer::es256("https://issuer.example"),
        Issuer::es384("https://issuer.example"),
        Issuer::eddsa("https://issuer.example"),
        Issuer::rs256("https://issuer.example"),
        Issuer::ps256("https://issuer.example"),
    ];
    let (mut tokens, mut good) = (0, 0);
    for (number, issuer) in issuers.iter().enumerate() {
        let judges = Judges::of(issuer);
        let stranger = &issuers[(number + 1) % issuers.len()];
        for token in claims(issuer) {
            let other = stranger.token().audience("patients").sign();
            for token in mutations(&token.sign(), &other) {
                let (ours, theirs) = judges.judge(&token);
                assert_eq!(ours, theirs, "{issuer:?} {token}");
                tokens += 1;
                good += usize::from(ours);
            }
        }
    }
    assert!(tokens > 1000 && good > 50, "{good} of {tokens} are good");
}

/// J-09, J-11, J-12, J-16, J-17: where the library is content.
#[test]
fn our_own_rules_are_the_stricter_ones() {
    let issuer = Issuer::es256("https://issuer.example");
    let judges = Judges::of(&issuer);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let token = || issuer.token().audience("patients");
    for (name, token) in [
        ("crit", token().header("crit", json!(["exp"]))),
        ("typ", token().header("typ", "secevent+jwt")),
        ("iat", token().claim("iat", now + 3600)),
        ("iss", token().claim("iss", json!([issuer.name()]))),
        ("sub", token().subject("a\u{0}b")),
        ("kid", token().header("kid", "another")),
    ] {
        assert_eq!(judges.judge(&token.sign()), (false, true), "{name}");
    }
}
