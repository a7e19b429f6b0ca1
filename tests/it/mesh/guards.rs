//! Layers that are composed by hand and kept fresh by a driver, without a mesh.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::middleware::{Next, from_fn};
use axum::routing::any;
use http::{Request, StatusCode};
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_mesh::context::PeerLayer;
use tower_mesh::identity::{SpiffeId, TrustDomain};
use tower_mesh::live::Live;
use tower_mesh::mesh::{GuardsBuilder, IdentityState, RefusalReason};
use tower_mesh::metrics::Format;
use tower_mesh::policy::{self as rules, Engine};
use tower_mesh::rbac::RbacLayer;
use tower_mesh::source::{Directory, Fixed};
use tower_mesh::testing::{Issuer, JwksServer, Pki};
use tower_mesh::{Claims, Guards, Peer, Workload};
use tracing::Level;

use crate::support::log::Log;
use crate::support::mesh::{
    ISSUER, authentication, pass_until, policy, proven, unproven, until, write,
};

fn builder() -> GuardsBuilder {
    Guards::builder(Workload::new("default", "app").service("app", 8443))
}

async fn build(builder: GuardsBuilder) -> Guards {
    let (guards, driver) = builder.build().await.unwrap();
    tokio::spawn(driver.run());
    guards
}

#[tokio::test]
async fn guards_are_told_at_the_start_as_a_mesh_is() {
    let (log, _guard) = Log::listen(Level::INFO);
    let elsewhere = policy("two", "ALLOW", "[{}]").replace("{name:", "{namespace: prod, name:");
    let yaml = policy("one", "ALLOW", "[{}]") + &elsewhere;
    let _guards = build(builder().config(Fixed::yaml("p.yaml", yaml))).await;
    let told = log.with(&["INFO tower_mesh::mesh", "guards are ready"]);
    assert_eq!(told.len(), 1, "{}", log.text());
    for piece in [
        "workload=default/app",
        "policies=2",
        "apply=1",
        "generation=1",
    ] {
        assert!(told[0].contains(piece), "{piece}: {}", told[0]);
    }
}

/// No certificate says which trust domain is ours.
#[tokio::test]
async fn an_assumed_trust_domain_is_warned_of() {
    let desk = "[{from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}]}]";
    let anyone = policy("p", "ALLOW", "[{}]");
    let stated = TrustDomain::new("clinic.example").unwrap();
    for (yaml, domain, is_warned) in [
        (policy("p", "DENY", desk), None, true),
        (policy("p", "DENY", desk), Some(stated), false),
        (anyone, None, false),
    ] {
        let (log, _guard) = Log::listen(Level::WARN);
        let workload = Workload::new("default", "app").service("app", 8443);
        let workload = match domain {
            Some(domain) => workload.trust_domain(domain),
            None => workload,
        };
        let config = Fixed::yaml("p.yaml", yaml.clone());
        let _guards = build(Guards::builder(workload).config(config)).await;
        let told = log.with(&["tower_mesh::config", "taken for cluster.local"]);
        assert_eq!(!told.is_empty(), is_warned, "{yaml}: {}", log.text());
    }
}

/// Says whose token it was.
fn routes() -> Router {
    Router::new().fallback(any(|claims: Option<Claims>| async move {
        let subject = claims.as_ref().and_then(Claims::subject);
        subject.unwrap_or("no one").to_owned()
    }))
}

fn guarded(guards: &Guards) -> Router {
    routes().layer(guards.rbac()).layer(guards.jwt())
}

async fn ask(app: &Router, peer: Option<Peer>, path: &str, token: Option<&str>) -> StatusCode {
    let mut request = Request::get(path).header("host", "app");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Body::empty()).unwrap();
    let app = match peer {
        Some(peer) => app.clone().layer(PeerLayer::new(peer)),
        None => app.clone(),
    };
    app.oneshot(request).await.unwrap().status()
}

/// ALLOW this service account, with a token of this subject.
fn allow(account: &str, subject: &str) -> String {
    let rules = format!(
        "[{{from: [{{source: {{principals: [cluster.local/ns/default/sa/{account}], requestPrincipals: ['{ISSUER}/{subject}']}}}}]}}]"
    );
    policy("readers", "ALLOW", &rules)
}

fn closes(path: &str) -> String {
    let rules = format!("[{{to: [{{operation: {{paths: [{path}]}}}}]}}]");
    policy("closes", "DENY", &rules)
}

#[tokio::test]
async fn tokens_and_policies_decide_together() {
    let issuer = Issuer::es256(ISSUER);
    let yaml = authentication(&issuer) + &allow("desk", "alice");
    let guards = build(builder().config(Fixed::yaml("p.yaml", yaml))).await;
    let app = guarded(&guards);
    let alice = issuer.token().subject("alice").sign();
    let bob = issuer.token().subject("bob").sign();
    let tampered = issuer.token().subject("alice").tampered();
    let desk = || Some(proven("desk"));
    for (name, peer, token, expected) in [
        ("allowed", desk(), Some(&alice), 200),
        ("no token", desk(), None, 403),
        ("another user", desk(), Some(&bob), 403),
        ("a bad token", desk(), Some(&tampered), 401),
        ("another caller", Some(proven("lab")), Some(&alice), 403),
        ("plaintext", Some(unproven()), Some(&alice), 403),
        ("a caller that is not known", None, Some(&alice), 403),
    ] {
        let status = ask(&app, peer, "/a", token.map(String::as_str)).await;
        assert_eq!(status, expected, "{name}");
    }
    let readiness = guards.readiness();
    assert_eq!(readiness.identity, IdentityState::Absent);
    assert!(readiness.is_ready() && readiness.to_string() == "ready");
    let metrics = guards.metrics().render(Format::Text);
    for name in ["mesh_config_generation 1", "mesh_jwt_tokens_total{"] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
}

#[tokio::test]
async fn a_reload_changes_what_layers_decide_that_are_there_already() {
    let issuer = Issuer::es256(ISSUER);
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &closes("/a"));
    let (guards, driver) = builder()
        .config(Directory::watch(directory.path()))
        .build()
        .await
        .unwrap();
    let driver = tokio::spawn(driver.run());
    let app = guarded(&guards);
    let token = issuer.token().subject("alice").tampered();
    let desk = || Some(proven("desk"));
    assert_eq!(ask(&app, desk(), "/a", None).await, 403);
    assert_eq!(ask(&app, desk(), "/b", Some(&token)).await, 200, "no rules");
    write(directory.path(), &(closes("/b") + &authentication(&issuer)));
    let generation = |guards: &Guards| {
        let text = guards.metrics().render(Format::Text);
        let line = text
            .lines()
            .find(|line| line.starts_with("mesh_config_generation "));
        line.unwrap().to_owned()
    };
    pass_until("the change", || generation(&guards).ends_with(" 2")).await;
    assert_eq!(ask(&app, desk(), "/a", None).await, 200);
    assert_eq!(ask(&app, desk(), "/b", None).await, 403);
    assert_eq!(ask(&app, desk(), "/a", Some(&token)).await, 401);

    // What opens the workload is refused, as for a mesh.
    write(directory.path(), &authentication(&issuer));
    let refused = || guards.readiness().refused;
    pass_until("the refusal", || refused().is_some()).await;
    assert_eq!(refused().unwrap().reason, RefusalReason::Opening);
    assert_eq!(ask(&app, desk(), "/b", None).await, 403);

    assert!(guards.readiness().is_ready());
    driver.abort();
    until("the driver's end", || guards.readiness().unattended).await;
    assert!(!guards.readiness().is_ready());
    assert_eq!(ask(&app, desk(), "/b", None).await, 403);
}

/// A request that has met its token rules is judged by the policies of the same configuration, whatever is published meanwhile.
#[tokio::test]
async fn a_request_is_judged_by_one_generation() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &closes("/other"));
    let guards = build(builder().config(Directory::watch(directory.path()))).await;
    let (came, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (arrived, gate) = (Arc::clone(&came), Arc::clone(&go));
    let wait = from_fn(move |request: Request<Body>, next: Next| {
        let (came, go) = (Arc::clone(&arrived), Arc::clone(&gate));
        async move {
            came.add_permits(1);
            go.acquire().await.unwrap().forget();
            next.run(request).await
        }
    });
    let app = routes()
        .layer(guards.rbac())
        .layer(wait)
        .layer(guards.jwt());
    let slow = {
        let app = app.clone();
        tokio::spawn(async move { ask(&app, Some(proven("desk")), "/a", None).await })
    };
    came.acquire().await.unwrap().forget();
    write(directory.path(), &closes("/a"));
    let desk = "cluster.local/ns/default/sa/desk";
    let call = rules::Request::new().get("/a").from(desk);
    let is_closed = || !guards.engine().decide(&call).is_allowed();
    assert!(!is_closed());
    pass_until("the change", is_closed).await;
    go.add_permits(2);
    assert_eq!(slow.await.unwrap(), 200, "of the generation that it met");
    assert_eq!(ask(&app, Some(proven("desk")), "/a", None).await, 403);
}

/// A DENY of a user holds in no order of the layers: where no token guard has come before the
/// policies, they do not take the user for nobody.
#[tokio::test]
async fn layers_in_a_wrong_order_let_nobody_in() {
    let issuer = Issuer::es256(ISSUER);
    let deny = format!("[{{from: [{{source: {{requestPrincipals: ['{ISSUER}/mallory']}}}}]}}]");
    let yaml = authentication(&issuer) + &policy("no-mallory", "DENY", &deny);
    let guards = build(builder().config(Fixed::yaml("p.yaml", yaml))).await;
    let without = build(builder().config(Fixed::yaml("p.yaml", closes("/b")))).await;
    let mallory = issuer.token().subject("mallory").sign();
    let alice = issuer.token().subject("alice").sign();
    let reversed = routes().layer(guards.jwt()).layer(guards.rbac());
    let alone = routes().layer(guards.rbac());
    let of_others = routes().layer(guards.rbac()).layer(without.jwt());
    let engine = Live::new(guards.engine());
    let single = routes().layer(RbacLayer::new(engine));
    for (name, app, token, expected) in [
        ("a policy layer alone", single, Some(&mallory), 200),
        ("in order", guarded(&guards), Some(&mallory), 403),
        ("in order", guarded(&guards), Some(&alice), 200),
        ("in order", guarded(&guards), None, 200),
        ("reversed", reversed.clone(), Some(&mallory), 403),
        ("reversed", reversed, None, 403),
        ("no token guard", alone, Some(&mallory), 403),
        ("one without rules", of_others, Some(&mallory), 403),
        (
            "no rules, no guard",
            routes().layer(without.rbac()),
            Some(&mallory),
            200,
        ),
    ] {
        let (log, _listening) = Log::listen(Level::WARN);
        let status = ask(&app, Some(proven("desk")), "/a", token.map(String::as_str)).await;
        assert_eq!(status, expected, "{name}");
        let told = log.with(&[
            "tower_mesh::access",
            "put Guards::jwt outside of Guards::rbac",
        ]);
        let is_wrong = ["reversed", "no token guard", "one without rules"].contains(&name);
        assert_eq!(told.len(), usize::from(is_wrong), "{name}: {}", log.text());
        // What was always so, and is written in the docs, is at least told.
        let warned = log.with(&["WARN", "put the JwtLayer outside of the RbacLayer"]);
        let is_single = name == "a policy layer alone";
        assert_eq!(
            warned.len(),
            usize::from(is_single),
            "{name}: {}",
            log.text()
        );
    }
}

/// A legacy Policy of peers is kept by the token guard; without it nothing passes.
#[tokio::test]
async fn a_legacy_policy_of_peers_needs_its_guard() {
    let yaml = "apiVersion: authentication.istio.io/v1alpha1\nkind: Policy\nmetadata: {name: default}\nspec: {peers: [{mtls: {mode: STRICT}}]}\n";
    let guards = build(builder().config(Fixed::yaml("p.yaml", yaml))).await;
    let alone = routes().layer(guards.rbac());
    for (app, peer, expected) in [
        (guarded(&guards), proven("desk"), 200),
        (guarded(&guards), unproven(), 401),
        (alone.clone(), proven("desk"), 403),
        (alone, unproven(), 403),
    ] {
        assert_eq!(ask(&app, Some(peer), "/a", None).await, expected);
    }
}

/// Two workloads in one process, one router inside the other: each request is judged by both.
#[tokio::test]
async fn guards_inside_guards_keep_their_own_rules() {
    let outer = build(builder().config(Fixed::yaml("p.yaml", closes("/a")))).await;
    let inner = build(builder().config(Fixed::yaml("p.yaml", closes("/b")))).await;
    let app = routes()
        .layer(outer.rbac())
        .layer(inner.rbac())
        .layer(inner.jwt())
        .layer(outer.jwt());
    for (path, expected) in [("/a", 403), ("/b", 403), ("/c", 200)] {
        assert_eq!(ask(&app, Some(proven("desk")), path, None).await, expected);
    }
}

#[tokio::test]
async fn keys_are_fetched_and_followed() {
    let pki = Pki::new("cluster.local").unwrap();
    let issuer = Issuer::es256(ISSUER);
    let server = JwksServer::start(&pki, "keys.test", &issuer).await.unwrap();
    let users = format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: users}}\nspec:\n  jwtRules:\n  - {{issuer: {ISSUER}, jwksUri: 'https://keys.test/keys'}}\n---\n"
    );
    let guards = builder()
        .config(Fixed::yaml("p.yaml", users + &allow("desk", "alice")))
        .tokens(|tokens| {
            tokens
                .jwks_roots(pki.root_pem())
                .resolve("keys.test:443", server.address())
        });
    let guards = build(guards).await;
    let app = guarded(&guards);
    let token = issuer.token().subject("alice").sign();
    let desk = || Some(proven("desk"));
    assert_eq!(ask(&app, desk(), "/", Some(&token)).await, 200);
    let other = Issuer::es256(ISSUER).token().subject("alice").sign();
    assert_eq!(ask(&app, desk(), "/", Some(&other)).await, 401);
}

/// The port that the peer connected to chooses the token rules, as it does the policies.
#[tokio::test]
async fn each_port_has_its_own_rules() {
    let issuer = Issuer::es256(ISSUER);
    let policies = format!(
        "apiVersion: authentication.istio.io/v1alpha1
kind: Policy
metadata: {{name: app}}
spec:
  targets: [{{name: app, ports: [{{number: 8443}}]}}]
  origins: [{{jwt: {{issuer: {ISSUER}, jwks: '{}'}}}}]
  principalBinding: USE_ORIGIN
---
",
        issuer.jwks()
    ) + &policy("closes", "DENY", "[{to: [{operation: {ports: ['9000']}}]}]");
    let guards = build(builder().config(Fixed::yaml("p.yaml", policies))).await;
    let app = guarded(&guards);
    let token = issuer.token().subject("alice").sign();
    for (port, token, expected) in [
        (8443, None, 401),
        (8443, Some(token.as_str()), 200),
        (8444, None, 200),
        (9000, None, 403),
    ] {
        let (remote, local) = (([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], port).into());
        let desk = SpiffeId::new("spiffe://cluster.local/ns/default/sa/desk").unwrap();
        let peer = Peer::proven(remote, local, desk);
        assert_eq!(ask(&app, Some(peer), "/", token).await, expected, "{port}");
    }
    // A peer by hand without a port is of none of them, which is told.
    let (log, _listening) = Log::listen(Level::WARN);
    let nowhere = Peer::plaintext(([0, 0, 0, 0], 0).into(), ([0, 0, 0, 0], 0).into());
    assert_eq!(ask(&app, Some(nowhere), "/", None).await, 200);
    assert_eq!(log.with(&["WARN", "local port 0"]).len(), 1);
    // Without a peer further out no port's rules can be chosen.
    let late = routes()
        .layer(guards.rbac())
        .layer(PeerLayer::new(proven("desk")))
        .layer(guards.jwt());
    assert_eq!(ask(&late, None, "/", Some(&token)).await, 403);
}

/// An engine of a configuration decides by its settings, too, as the guards do that were given it.
#[tokio::test]
async fn an_engine_takes_a_whole_configuration() {
    let everywhere = policy("closes", "DENY", "[{to: [{operation: {paths: [/a]}}]}]")
        .replace("name: closes", "name: closes, namespace: roots");
    let source =
        Fixed::yaml("p.yaml", everywhere).mesh_config("mesh.yaml", "rootNamespace: roots\n");
    let configuration = source.load("default").unwrap();
    let workload = Workload::new("default", "app");
    let engine = Engine::builder(&workload).configuration(&configuration);
    let engine = engine.build().unwrap();
    let without = Engine::builder(&workload).resources(configuration.resources.clone());
    let guards = build(builder().config(configuration)).await;
    let request = rules::Request::new().get("/a");
    assert!(!engine.decide(&request).is_allowed());
    assert!(!guards.engine().decide(&request).is_allowed());
    let without = without.build().unwrap();
    assert!(
        without.decide(&request).is_allowed(),
        "not the root without its settings"
    );
}

#[tokio::test]
async fn what_is_wrong_or_open_is_told_at_build() {
    let wrong = builder().config(Fixed::yaml("p.yaml", "kind: Nonsense\n"));
    assert!(wrong.build().await.unwrap_err().problems().is_some());
    let required = builder().require_policy().build().await.unwrap_err();
    assert!(required.problems().is_some(), "{required}");
    let roots = builder()
        .tokens(|tokens| tokens.jwks_roots("no certificate"))
        .build()
        .await;
    assert!(roots.unwrap_err().problems().is_none());

    let (log, _listening) = Log::listen(Level::WARN);
    let _open = build(builder()).await;
    assert_eq!(
        log.with(&["tower_mesh::config", "no enforced ALLOW policy"])
            .len(),
        1
    );
    assert_eq!(log.with(&["PeerAuthentication"]).len(), 0);
    let strict = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: all}\nspec: {mtls: {mode: STRICT}}\n";
    let _strict = build(builder().config(Fixed::yaml("p.yaml", strict))).await;
    assert_eq!(
        log.with(&["PeerAuthentication", "STRICT"]).len(),
        1,
        "{}",
        log.text()
    );
}

/// Guards have no client and no application behind them that could answer.
#[tokio::test]
async fn guards_refuse_what_a_provider_would_decide_and_say_so() {
    let (log, _guard) = Log::listen(Level::WARN);
    let yaml = "
apiVersion: mesh.tower/v1
kind: Authorizer
metadata: {name: always}
spec: {expression: 'request.method == \"GET\"'}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: asks}
spec: {action: CUSTOM, provider: {name: always}, rules: [{to: [{operation: {paths: [/asked]}}]}]}
---
apiVersion: mesh.tower/v1
kind: RateLimit
metadata: {name: few}
spec: {local: {tokenBucket: {maxTokens: 1, fillInterval: 3600s}}}
";
    let guards = build(builder().config(Fixed::yaml("p.yaml", yaml))).await;
    let app = guarded(&guards);
    let desk = || Some(proven("desk"));
    assert_eq!(ask(&app, desk(), "/asked", None).await, 403);
    for _ in 0..2 {
        assert_eq!(ask(&app, desk(), "/other", None).await, 200, "no limit");
    }
    for pieces in [
        ["the provider cannot be asked here", "provider=\"always\""],
        ["guards do not apply it", "limit=\"few\""],
    ] {
        assert_eq!(log.with(&pieces).len(), 1, "{pieces:?}: {}", log.text());
    }
}
