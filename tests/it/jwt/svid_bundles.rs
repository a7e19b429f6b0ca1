//! The keys of JWT-SVIDs that come with the mesh's own bundles.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use serde_json::{Value, json};
use tower::{ServiceExt, service_fn};
use tower_mesh::context::Exchange;
use tower_mesh::identity::TrustDomain;
use tower_mesh::istio::JwtRule;
use tower_mesh::jwt::{Authenticator, Fetcher, JwtLayer, Keyring, SvidKeys};
use tower_mesh::live::Live;
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, Pki};
use tower_mesh::tls::{JwtBundleSource, JwtBundles, WorkloadApi, WorkloadApiBundles};
use tower_mesh::{Guards, Mesh, Workload};
use tracing::Level;

use super::support::{authentication, bearer, send};
use super::svid::{DESK, DOMAIN, bundle, key, rule_of, svid};
use crate::support::agent::{self, Agent, DENY, HANG_UP, jwt_bundles};
use crate::support::log::Log;
use crate::support::mesh::{unproven, until, until_status};

/// A rule without keys of its own.
fn bare_rule() -> JwtRule {
    let mut rule = rule_of("");
    rule.jwks = None;
    rule
}

fn compile(keys: &SvidKeys) -> Authenticator {
    let mut keyring = Keyring::new().svid_keys(keys.clone());
    let rules = authentication(vec![bare_rule()]);
    let compiled = Authenticator::compile(&rules, &mut keyring).unwrap();
    assert!(keyring.wants_svid_keys());
    compiled
}

fn guard(keys: &SvidKeys) -> JwtLayer {
    JwtLayer::new(Live::new(compile(keys)))
}

fn bundles<const N: usize>(bundles: [(&str, String); N]) -> JwtBundles {
    let domain = |name| TrustDomain::new(name).unwrap();
    BTreeMap::from(bundles.map(|(name, text)| (domain(name), text)))
}

/// A bundle of these keys with this sequence.
fn version(keys: &[Value], sequence: u64) -> String {
    json!({"keys": keys, "spiffe_sequence": sequence}).to_string()
}

/// J-53. Keys are those of the domain's bundle, as it is now; without one, all is refused.
#[tokio::test]
async fn a_rule_without_keys_takes_those_of_its_domains_bundle() {
    let (log, _guard) = Log::listen(Level::WARN);
    let (old, new) = (
        Issuer::es256("any"),
        Issuer::es256("any").with_key_id("new"),
    );
    let tokens = [&old, &new].map(|authority| bearer(&svid(authority).sign()));
    let keys = SvidKeys::new();
    let guard = guard(&keys);
    let statuses = async || {
        let mut statuses = [0; 2];
        for (status, request) in statuses.iter_mut().zip(&tokens) {
            *status = send(&guard, request.clone()).await.status.as_u16();
        }
        statuses
    };
    assert_eq!(statuses().await, [401, 401]);
    let told = log.with(&["WARN tower_mesh::jwt", "no bundle", "domain=cluster.local"]);
    assert_eq!(told.len(), 2, "{}", log.text());

    let ours = |text: String| bundles([("cluster.local", text)]);
    let steps = [
        (ours(bundle(&[key(&old)])), [200, 401]),
        (ours(bundle(&[key(&old), key(&new)])), [200, 200]),
        (ours(bundle(&[key(&new)])), [401, 200]),
        (
            bundles([("other.domain", bundle(&[key(&new)]))]),
            [401, 401],
        ),
        (ours(bundle(&[key(&old)])), [200, 401]),
        (BTreeMap::new(), [401, 401]),
    ];
    for (bundles, expected) in steps {
        assert_eq!(keys.replace(&bundles), []);
        assert_eq!(statuses().await, expected, "{bundles:?}");
    }
}

/// J-53. A bundle without keys revokes its domain, also for tokens that were good a moment ago.
#[tokio::test]
async fn a_bundle_without_keys_revokes_its_domain() {
    let authority = Issuer::es256("any");
    let keys = SvidKeys::new();
    let guard = guard(&keys);
    let token = svid(&authority).sign();
    let x509 = json!({"kty": "EC", "crv": "P-256", "use": "x509-svid", "x5c": ["MA=="]});
    for empty in [&[][..], &[x509]] {
        let good = bundles([("cluster.local", bundle(&[key(&authority)]))]);
        assert_eq!(keys.replace(&good), []);
        let outcome = send(&guard, bearer(&token)).await;
        assert_eq!(outcome.status, 200, "{}", outcome.body);
        let claims = outcome.seen.unwrap().claims.unwrap();
        assert_eq!(claims.principal(), Some(DESK));

        let revoked = json!({ "keys": empty }).to_string();
        assert_eq!(keys.replace(&bundles([("cluster.local", revoked)])), []);
        assert_eq!(keys.trust_domains(), []);
        assert_eq!(send(&guard, bearer(&token)).await.status, 401);
    }
}

/// J-53. An older version of a bundle would bring back keys that were taken out.
#[tokio::test]
async fn an_older_bundle_is_refused() {
    let (stolen, new) = (
        Issuer::es256("any"),
        Issuer::es256("any").with_key_id("new"),
    );
    let keys = SvidKeys::new();
    let guard = guard(&keys);
    let ours = |text| bundles([("cluster.local", text)]);
    assert_eq!(keys.replace(&ours(version(&[key(&new)], u64::MAX - 1))), []);
    for (text, reason) in [
        (version(&[key(&stolen)], u64::MAX - 2), "older"),
        (version(&[], 0), "older"),
        (
            version(&[key(&stolen)], 0).replace("\":0", "\":-1"),
            "no whole number",
        ),
        (
            version(&[key(&stolen)], 0).replace("\":0", "\":\"9\""),
            "no whole number",
        ),
    ] {
        let refused = keys.replace(&ours(text));
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].trust_domain().as_str(), "cluster.local");
        assert!(refused[0].to_string().contains(reason), "{}", refused[0]);
        let stolen = send(&guard, bearer(&svid(&stolen).sign())).await;
        assert_eq!(stolen.status, 401);
        let good = send(&guard, bearer(&svid(&new).sign())).await;
        assert_eq!(good.status, 200, "{}", good.body);
    }
    // One without a sequence counts, and forgets nothing.
    assert_eq!(
        keys.replace(&ours(json!({"keys": [key(&new)]}).to_string())),
        []
    );
    assert_eq!(keys.replace(&ours(version(&[key(&stolen)], 5))).len(), 1);
    assert_eq!(keys.replace(&ours(version(&[key(&new)], u64::MAX))), []);
}

/// J-53. The bundle of a friend that cannot be read holds nobody else up.
#[tokio::test]
async fn a_broken_bundle_leaves_its_domain_as_it_was() {
    let authority = Issuer::es256("any");
    let keys = SvidKeys::new();
    let guard = guard(&keys);
    let good = || bundle(&[key(&authority)]);
    let mut weak = key(&authority);
    weak["x"] = "AAAA".into();
    for broken in [
        "no JSON".to_owned(),
        "{}".to_owned(),
        r#"{"keys": [], "keys": []}"#.to_owned(),
        json!({"keys": vec![json!({}); 101]}).to_string(),
        json!({ "keys": [weak] }).to_string(),
    ] {
        let both = [("cluster.local", broken.clone()), ("friend", good())];
        let refused = keys.replace(&bundles(both));
        assert_eq!(refused.len(), 1, "{broken}");
        assert_eq!(keys.trust_domains(), [TrustDomain::new("friend").unwrap()]);

        let both = [("cluster.local", good()), ("friend", broken)];
        assert_eq!(keys.replace(&bundles(both)).len(), 1);
        assert_eq!(keys.trust_domains().len(), 2, "the friend's keys stay");
        let outcome = send(&guard, bearer(&svid(&authority).sign())).await;
        assert_eq!(outcome.status, 200, "{}", outcome.body);
        assert_eq!(keys.replace(&BTreeMap::new()), []);
    }
}

/// J-53. Keys of unknown kinds, or without an id, are left out; the others count.
#[tokio::test]
async fn unknown_keys_of_a_bundle_are_left_out() {
    let authority = Issuer::es256("any");
    let mut nameless = key(&authority);
    nameless.as_object_mut().unwrap().remove("kid");
    let mixed = bundle(&[
        json!({"kty": "ML-DSA", "use": "jwt-svid", "kid": "later"}),
        json!({"kty": "oct", "use": "jwt-svid", "kid": "shared", "k": "c2VjcmV0"}),
        nameless,
        json!("no key"),
        key(&authority),
    ]);
    let keys = SvidKeys::new();
    assert_eq!(keys.replace(&bundles([("cluster.local", mixed)])), []);
    let outcome = send(&guard(&keys), bearer(&svid(&authority).sign())).await;
    assert_eq!(outcome.status, 200, "{}", outcome.body);
}

/// J-53, J-41. Keys whose source is gone count for a day.
#[tokio::test]
async fn keys_without_their_source_count_for_a_day() {
    let authority = Issuer::es256("any");
    let token = svid(&authority).expires_in(Duration::from_secs(90 * 3_600));
    let token = token.sign();
    let keys = SvidKeys::new();
    let good = bundles([("cluster.local", bundle(&[key(&authority)]))]);
    let rules = compile(&keys);
    let passes_in = |hours: u64| {
        let (mut head, _) = bearer(&token).into_parts();
        let now = SystemTime::now() + Duration::from_secs(hours * 3_600);
        let exchange = Exchange::default();
        rules.authenticate(&mut head, &exchange, now).is_ok()
    };
    assert_eq!(keys.replace(&good), []);
    assert!(passes_in(72), "its source is there");
    keys.lose();
    assert!(passes_in(23));
    assert!(!passes_in(25));
    keys.lose();
    assert!(!passes_in(25), "the first loss counts");
    assert_eq!(keys.replace(&good), []);
    assert!(passes_in(72));
}

/// J-53. By address, too: no keys revoke, older versions are refused, and the bundle says when to
/// look again.
#[tokio::test]
async fn a_fetched_bundle_follows_the_same_rules() {
    let authority = Issuer::es256("any");
    let mut rule = bare_rule();
    rule.jwks_uri = Some("https://spire.example/bundle".into());
    let mut keyring = Keyring::new();
    let rules = Authenticator::compile(&authentication(vec![rule]), &mut keyring).unwrap();
    let guard = JwtLayer::new(Live::new(rules));
    let jwks = keyring.take_unfetched().remove(0);
    let keys = [key(&authority)];
    let hinted = json!({"keys": keys, "spiffe_sequence": 3, "spiffe_refresh_hint": 77});
    for (served, hint, status) in [
        (version(&keys, 2), Some(None), 200),
        (version(&keys, 1), None, 200),
        (version(&[], 1), None, 200),
        (hinted.to_string(), Some(Some(77)), 200),
        (version(&[], 4), Some(None), 401),
        (version(&keys, 3), None, 401),
        (version(&keys, 5), Some(None), 200),
    ] {
        let answer = served.clone();
        let client = service_fn(move |_: Request<Empty<Bytes>>| {
            let answer = Response::new(Full::<Bytes>::from(answer.clone()));
            async { Ok::<_, Infallible>(answer) }
        });
        let fetched = Fetcher::new(&jwks, client).unwrap().fetch(&jwks).await;
        let hint = hint.map(|hint| hint.map(Duration::from_secs));
        assert_eq!(fetched.ok(), hint, "{served}");
        let outcome = send(&guard, bearer(&svid(&authority).sign())).await;
        assert_eq!(outcome.status, status, "{served}: {}", outcome.body);
    }
}

/// As SPIRE's agent writes it: `use` is left out.
fn of_agent(authority: &Issuer) -> String {
    let mut key = key(authority);
    key.as_object_mut().unwrap().remove("use");
    json!({ "keys": [key] }).to_string()
}

/// M-52, J-53. The agent's stream of bundles is kept, lost, found and withdrawn as that of
/// identities is.
#[tokio::test]
async fn bundles_come_from_the_workload_api() {
    let authority = Issuer::es256("any");
    let agent = Agent::start();
    let tell = async |answer: Bytes| agent.bundles.send(answer).await.unwrap();
    let full = || {
        let text = of_agent(&authority);
        jwt_bundles(&[(DOMAIN, &text), ("spiffe://friend", r#"{"keys": []}"#)])
    };
    let mut source = WorkloadApiBundles::at(agent.address());

    tell(full()).await;
    let first = source.next().await.unwrap();
    assert_eq!(first.len(), 2);
    let keys = SvidKeys::new();
    assert_eq!(keys.replace(&first), []);
    let outcome = send(&guard(&keys), bearer(&svid(&authority).sign())).await;
    assert_eq!(outcome.status, 200, "{}", outcome.body);
    tell(full()).await;
    assert_eq!(source.next().await.unwrap(), first, "the same text");
    assert_eq!(agent.asked_bundles.load(Ordering::Relaxed), 1);

    tell(Bytes::from_static(HANG_UP)).await;
    let lost = source.next().await.unwrap_err();
    assert!(!lost.is_withdrawn(), "{lost}");
    tell(Bytes::from_static(DENY)).await;
    let denied = source.next().await.unwrap_err();
    assert!(!denied.is_withdrawn(), "said to a stream that knew nothing");
    tell(full()).await;
    assert_eq!(source.next().await.unwrap(), first);
    tell(jwt_bundles(&[])).await;
    assert!(source.next().await.unwrap_err().is_withdrawn());
    tell(full()).await;
    assert_eq!(source.next().await.unwrap(), first);
    tell(Bytes::from_static(DENY)).await;
    assert!(source.next().await.unwrap_err().is_withdrawn());
}

fn resources(issuer: &str) -> Fixed {
    let text = format!(
        "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: workloads}}
spec: {{jwtRules: [{{issuer: '{issuer}', audiences: [patients]}}]}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: desk}}
spec: {{rules: [{{from: [{{source: {{requestPrincipals: ['{DESK}']}}}}]}}]}}
"
    );
    Fixed::yaml("policies.yaml", text)
}

/// J-53, M-52. A mesh whose identity is from the agent has the keys from there, over a real socket.
#[tokio::test]
async fn a_mesh_verifies_jwt_svids_by_the_bundles_of_its_agent() {
    let pki = Pki::new("cluster.local").unwrap();
    let authority = Issuer::es256("any");
    let next = Issuer::es256("any").with_key_id("next");
    let agent = Agent::start();
    let id = "spiffe://cluster.local/ns/default/sa/patients";
    let identity = agent::response(&[agent::svid(&pki, id, "")], &[]);
    agent.answers.send(identity).await.unwrap();
    let tell = async |bundle: &str| {
        let answer = jwt_bundles(&[(DOMAIN, bundle)]);
        agent.bundles.send(answer).await.unwrap();
    };
    tell(&of_agent(&authority)).await;
    let workload = Workload::new("default", "patients");
    let (mesh, driver) = Mesh::builder(workload, WorkloadApi::at(agent.address()))
        .config(resources(DOMAIN))
        .build()
        .await
        .unwrap();
    tokio::spawn(driver.run());
    let ask = async |authority: &Issuer| -> StatusCode {
        let app = service_fn(|request: Request<_>| async move {
            drop::<Request<_>>(request);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        let token = svid(authority).sign();
        let request = Request::get("/").header("host", "patients");
        let request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        let request = request.extension(unproven()).body(Empty::<Bytes>::new());
        let answer = mesh.protect(app).oneshot(request.unwrap()).await;
        answer.unwrap().status()
    };
    assert_eq!(ask(&authority).await, 200, "at once");
    assert_eq!(ask(&next).await, 401);
    tell(&of_agent(&next)).await;
    until_status("the next key", 200, async || ask(&next).await).await;
    assert_eq!(ask(&authority).await, 401);
    agent
        .bundles
        .send(Bytes::from_static(HANG_UP))
        .await
        .unwrap();
    until("the stream to be opened again", || {
        agent.asked_bundles.load(Ordering::Relaxed) == 2
    })
    .await;
    assert_eq!(ask(&next).await, 200, "the keys stay");
    tell(r#"{"keys": []}"#).await;
    until_status("the revocation", 401, async || ask(&next).await).await;
}

/// J-53. No agent is asked for keys that no rule needs.
#[tokio::test]
async fn the_agent_is_asked_for_keys_only_where_a_rule_needs_them() {
    let pki = Pki::new("cluster.local").unwrap();
    let agent = Agent::start();
    let id = "spiffe://cluster.local/ns/default/sa/patients";
    let identity = agent::response(&[agent::svid(&pki, id, "")], &[]);
    agent.answers.send(identity).await.unwrap();
    let workload = Workload::new("default", "patients");
    let (_mesh, driver) = Mesh::builder(workload, WorkloadApi::at(agent.address()))
        .config(Fixed::yaml("p.yaml", ""))
        .build()
        .await
        .unwrap();
    drop(driver);
    assert_eq!(agent.asked.load(Ordering::Relaxed), 1);
    assert_eq!(agent.asked_bundles.load(Ordering::Relaxed), 0);
}

/// J-53. Where nothing has bundles, the rule is refused, and the error says what to do.
#[tokio::test]
async fn a_rule_without_any_bundle_is_refused() {
    let guards = || Guards::builder(Workload::new("default", "patients"));
    let error = guards().config(resources(DOMAIN)).build().await;
    let error = error.map(drop).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    for piece in ["policies.yaml:5", "jwksUri", "TokenOptions::svid_keys"] {
        assert!(cause.contains(piece), "{cause}");
    }
    let keys = SvidKeys::new();
    let given = guards()
        .config(resources(DOMAIN))
        .tokens(|tokens| tokens.svid_keys(keys.clone()));
    given.build().await.map(drop).unwrap();
}
