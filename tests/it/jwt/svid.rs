//! JWT-SVIDs: what a rule for a trust domain takes, and what policy and the application see.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::istio::JwtRule;
use tower_mesh::jwt::{Authenticator, Fetcher, JwtLayer, KeySet, Keyring};
use tower_mesh::live::Live;
use tower_mesh::policy::Engine;
use tower_mesh::rbac::RbacLayer;
use tower_mesh::testing::policy::request;
use tower_mesh::testing::{Issuer, Token};
use tower_mesh::{Peer, Workload};

use super::support::{authentication, bearer, layer, rule, send};

pub(super) const DOMAIN: &str = "spiffe://cluster.local";
pub(super) const DESK: &str = "spiffe://cluster.local/ns/default/sa/desk";

/// As a trust domain publishes it: a root of certificates, and keys of JWT-SVIDs.
pub(super) fn bundle(keys: &[Value]) -> String {
    let mut keys = keys.to_vec();
    keys.push(json!({"kty": "EC", "crv": "P-256", "use": "x509-svid", "x5c": ["MA=="]}));
    json!({"keys": keys, "spiffe_sequence": 7, "spiffe_refresh_hint": 300}).to_string()
}

pub(super) fn key(authority: &Issuer) -> Value {
    let mut jwk = authority.jwk();
    jwk["use"] = "jwt-svid".into();
    // SPIRE writes none.
    jwk.as_object_mut().unwrap().remove("alg");
    jwk
}

pub(super) fn rule_of(bundle: &str) -> JwtRule {
    let mut rule = JwtRule::default();
    rule.issuer = Some(DOMAIN.into());
    rule.jwks = Some(bundle.into());
    rule.audiences = vec!["patients".into()];
    rule
}

pub(super) fn svid(authority: &Issuer) -> Token<'_> {
    let token = authority.token().without_claim("iss");
    token.subject(DESK).audience("patients")
}

/// J-20. The principal is the id, and the application sees the token as it was signed.
#[tokio::test]
async fn a_jwt_svid_names_its_workload() {
    for authority in [
        Issuer::es256("any"),
        Issuer::es384("any"),
        Issuer::rs256("any"),
        Issuer::ps256("any"),
    ] {
        let rules = || layer(vec![rule_of(&bundle(&[key(&authority)]))]);
        for guard in [rules(), rules().strict()] {
            for token in [
                svid(&authority),
                svid(&authority).without_header("typ"),
                svid(&authority).header("typ", "JOSE"),
                svid(&authority).claim("iss", "https://spire.example"),
                svid(&authority).audience("others"),
            ] {
                let outcome = send(&guard, bearer(&token.sign())).await;
                assert_eq!(outcome.status, 200, "{}", outcome.body);
                let claims = outcome.seen.unwrap().claims.unwrap();
                assert_eq!(claims.principal(), Some(DESK));
                assert_eq!(claims.workload().unwrap().as_str(), DESK);
                assert_eq!(
                    (claims.issuer(), claims.subject()),
                    (Some(DOMAIN), Some(DESK))
                );
                assert_eq!(claims.payload()["sub"], DESK);
            }
        }
    }
}

/// J-20. Request principals of policies match the id, cut at its last slash.
#[tokio::test]
async fn policy_sees_the_id_of_a_jwt_svid_as_its_principal() {
    let authority = Issuer::es256("any");
    let token = svid(&authority).sign();
    let rules = authentication(vec![rule_of(&bundle(&[key(&authority)]))]);
    let tokens = Authenticator::compile(&rules, &mut Keyring::new()).unwrap();
    let tokens = JwtLayer::new(Live::new(tokens));
    let app = service_fn(|_: Request<Empty<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    for (principal, status) in [
        (DESK, 200),
        ("*", 200),
        ("spiffe://cluster.local/ns/default/sa/*", 200),
        ("*/desk", 200),
        ("spiffe://cluster.local/ns/default/sa/des", 403),
        ("spiffe://cluster.local/ns/other/sa/desk", 403),
        ("spiffe://cluster.local/*", 403),
        ("spiffe://other.domain/ns/default/sa/desk", 403),
    ] {
        let policy = format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: a}}\nspec: {{rules: [{{from: [{{source: {{requestPrincipals: [\"{principal}\"]}}}}]}}]}}\n"
        );
        let engine = Engine::builder(&Workload::new("default", "app"))
            .yaml(&policy)
            .build()
            .unwrap();
        // Policy tests say the same of such a token without signing one.
        let stated = request().get("/").jwt_svid(DESK);
        let stated = engine.judge(&stated).decision;
        assert_eq!(stated.allowed, status == 200, "{principal}");
        let guarded = RbacLayer::new(Live::new(engine)).layer(app);
        let (peer, own) = ("10.0.0.1:4711", "10.0.0.2:8080");
        let request = Request::get("/")
            .header("host", "app")
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .extension(Peer::plaintext(peer.parse().unwrap(), own.parse().unwrap()));
        let request = request.body(Empty::new()).unwrap();
        let answer = tokens.layer(guarded).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{principal}");
    }
}

/// J-20. Whatever else the domain's key has signed names nobody.
#[tokio::test]
async fn what_is_no_jwt_svid_of_the_domain_is_refused() {
    let authority = Issuer::es256("any");
    let stranger = Issuer::es256("any");
    let curve25519 = Issuer::eddsa("any").with_key_id("key-2");
    let keys = [key(&authority), key(&curve25519)];
    let guard = layer(vec![rule_of(&bundle(&keys))]);
    let strict = layer(vec![rule_of(&bundle(&keys))]).strict();
    let of = |subject: &str| svid(&authority).subject(subject).sign();
    let with = |member: &str, value: Value| svid(&authority).header(member, value).sign();
    let foreign = "Jwt issuer is not configured";
    let member = "Jwt header holds a member that a JWT-SVID does not have";
    for (token, status, body) in [
        (
            svid(&authority).without_claim("exp").sign(),
            401,
            "Jwt payload [exp] field is required",
        ),
        (
            svid(&authority).without_claim("aud").sign(),
            401,
            "Jwt payload [aud] field is required",
        ),
        (
            svid(&authority).without_claim("sub").sign(),
            401,
            "Jwt payload [sub] field is required",
        ),
        (
            svid(&authority).claim("exp", 0).sign(),
            401,
            "Jwt is expired",
        ),
        (
            svid(&authority).claim("aud", "others").sign(),
            403,
            "Audiences in Jwt are not allowed",
        ),
        (
            svid(&authority).claim("aud", json!([])).sign(),
            403,
            "Audiences in Jwt are not allowed",
        ),
        (of("spiffe://other.domain/ns/default/sa/desk"), 401, foreign),
        (
            of("spiffe://cluster.local.evil/ns/default/sa/desk"),
            401,
            foreign,
        ),
        (of("spiffe://cluster.local"), 401, foreign),
        (of("spiffe://cluster.local/ns/../sa/desk"), 401, foreign),
        (of("spiffe://CLUSTER.LOCAL/desk"), 401, foreign),
        (of("alice"), 401, foreign),
        (
            with("typ", json!("at+jwt")),
            401,
            "Jwt header [typ] is not supported",
        ),
        (
            with("typ", json!("jwt")),
            401,
            "Jwt header [typ] is not supported",
        ),
        (with("jku", json!("https://evil.example")), 401, member),
        (with("x", json!(1)), 401, member),
        (
            svid(&curve25519).sign(),
            401,
            "Jwt header [alg] is not supported",
        ),
        (svid(&stranger).sign(), 401, "Jwt verification fails"),
        (svid(&authority).tampered(), 401, foreign),
        (
            svid(&authority).unsigned(),
            401,
            "Jwt header [alg] is not supported",
        ),
    ] {
        let outcome = send(&guard, bearer(&token)).await;
        assert_eq!(
            (outcome.status.as_u16(), outcome.body.as_str()),
            (status, body)
        );
        assert!(outcome.seen.is_none(), "{body}");
        let outcome = send(&strict, bearer(&token)).await;
        assert!(
            outcome.status.is_client_error() && outcome.seen.is_none(),
            "{body}"
        );
    }
}

/// J-20. Each of two rules takes its own tokens: a user cannot pose as a workload, nor the other
/// way round.
#[tokio::test]
async fn the_keys_of_a_domain_and_of_an_issuer_are_apart() {
    let authority = Issuer::es256("any");
    let users = Issuer::es256("https://issuer.test");
    let guard = layer(vec![rule(&users), rule_of(&bundle(&[key(&authority)]))]);
    for (token, principal) in [
        (svid(&authority).sign(), Some(DESK)),
        (
            users.token().subject("alice").sign(),
            Some("https://issuer.test/alice"),
        ),
        (
            users.token().subject("alice").audience("patients").sign(),
            Some("https://issuer.test/alice"),
        ),
        (svid(&users).sign(), None),
        (
            svid(&authority)
                .claim("iss", "https://issuer.test")
                .subject("alice")
                .sign(),
            None,
        ),
    ] {
        let outcome = send(&guard, bearer(&token)).await;
        let claims = outcome.seen.and_then(|seen| seen.claims);
        assert_eq!(
            claims.as_ref().and_then(|claims| claims.principal()),
            principal
        );
        assert_eq!(
            outcome.status == 200,
            principal.is_some(),
            "{}",
            outcome.body
        );
    }
}

/// J-20. Keys of certificates and of ordinary tokens verify no JWT-SVID, and keys of JWT-SVIDs
/// verify nothing else.
#[test]
fn a_bundle_gives_the_keys_of_svids_alone() {
    let authority = Issuer::es256("any");
    let of_svids = bundle(&[key(&authority), authority.jwk()]);
    let keys = KeySet::parse_bundle(&of_svids).unwrap();
    assert_eq!((keys.len(), keys.skipped()), (1, 2));
    let keys = KeySet::parse(&of_svids).unwrap();
    assert_eq!((keys.len(), keys.skipped()), (1, 2));
    assert!(KeySet::parse(&bundle(&[key(&authority)])).is_err());
    for unfit in [
        |jwk: &mut Value| jwk["use"] = "sig".into(),
        |jwk: &mut Value| jwk["use"] = "x509-svid".into(),
        |jwk: &mut Value| drop(jwk.as_object_mut().unwrap().remove("use")),
        |jwk: &mut Value| drop(jwk.as_object_mut().unwrap().remove("kid")),
    ] {
        let mut jwk = key(&authority);
        unfit(&mut jwk);
        assert!(KeySet::parse_bundle(&bundle(&[jwk])).is_err());
    }
}

/// J-20. A rule that could take the JWT-SVIDs of other services, or that has no bundle, is refused
/// when it is read.
#[test]
fn a_rule_for_svids_says_whom_they_are_for() {
    let authority = Issuer::es256("any");
    let good = rule_of(&bundle(&[key(&authority)]));
    let compile = |rule: JwtRule| {
        let rules = authentication(vec![rule]);
        let compiled = Authenticator::compile(&rules, &mut Keyring::new());
        compiled.map(drop).map_err(|problems| problems.to_string())
    };
    assert_eq!(compile(good.clone()), Ok(()));
    let refused = |change: &dyn Fn(&mut JwtRule)| {
        let mut rule = good.clone();
        change(&mut rule);
        compile(rule).unwrap_err()
    };
    let text = refused(&|rule| rule.audiences = Vec::new());
    assert!(text.contains("list the names of this service"), "{text}");
    let text = refused(&|rule| rule.jwks = None);
    assert!(text.contains("in its bundle"), "{text}");
    let text = refused(&|rule| rule.jwks = Some(authority.jwks().as_str().into()));
    assert!(text.contains("no key that can verify a token"), "{text}");
    for issuer in [
        "spiffe://",
        "spiffe://cluster.local/",
        DESK,
        "spiffe://Cluster.Local",
    ] {
        let text = refused(&|rule| rule.issuer = Some(issuer.into()));
        assert!(text.contains("write spiffe://DOMAIN"), "{issuer}: {text}");
    }
    // By address, as ever over https.
    let at = |uri: &'static str| {
        let mut rule = good.clone();
        (rule.jwks, rule.jwks_uri) = (None, Some(uri.into()));
        compile(rule)
    };
    assert_eq!(at("https://spire.example/bundle"), Ok(()));
    assert!(at("http://spire.example/bundle").is_err());
}

/// J-20. Also where the bundle is fetched, its keys of JWT-SVIDs count and no others.
#[tokio::test]
async fn a_bundle_is_fetched_from_its_address() {
    let authority = Issuer::es256("any");
    let mut rule = rule_of("");
    (rule.jwks, rule.jwks_uri) = (None, Some("https://spire.example/bundle".into()));
    let mut keyring = Keyring::new();
    let rules = Authenticator::compile(&authentication(vec![rule]), &mut keyring).unwrap();
    let guard = JwtLayer::new(Live::new(rules));
    let jwks = keyring.take_unfetched().remove(0);
    for (served, status) in [(authority.jwks(), 401), (bundle(&[key(&authority)]), 200)] {
        let client = service_fn(move |_: Request<Empty<Bytes>>| {
            let answer = Response::new(Full::<Bytes>::from(served.clone()));
            async { Ok::<_, Infallible>(answer) }
        });
        let fetched = Fetcher::new(&jwks, client).unwrap().fetch(&jwks).await;
        assert_eq!(fetched.is_ok(), status == 200);
        let outcome = send(&guard, bearer(&svid(&authority).sign())).await;
        assert_eq!(outcome.status, status, "{}", outcome.body);
    }
}
