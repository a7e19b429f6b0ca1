//! Trusted proxies, over real sockets and mutual TLS: whose word about a caller counts, and what of it.

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::request::Builder;
use http_body_util::Full;
use tower_mesh::context::ForwardedPeer;
use tower_mesh::mesh::TrustedProxy;
use tower_mesh::rbac::RequestAttributes;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Peer};
use tracing::Level;

use crate::support::log::Log;
use crate::support::mesh::{
    Served, app, build, empty, get, get2, http1, http2, lines, policy, read, serve,
};

const XFCC: &str = "x-forwarded-client-cert";
const GATEWAY: &str = "spiffe://cluster.local/ns/default/sa/gateway";
const HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

/// What the gateway writes of a caller with this service account.
fn element(account: &str) -> String {
    format!(
        r#"By={GATEWAY};Hash={HASH};Subject="";URI=spiffe://cluster.local/ns/default/sa/{account}"#
    )
}

/// Answers with who the application sees: the caller on a proxy's word, and the peer.
pub(super) fn seen() -> Router {
    Router::new().fallback(any(
        |forwarded: Option<ForwardedPeer>, peer: Peer| async move {
            let forwarded = forwarded.map_or_else(|| "-".to_owned(), |caller| caller.to_string());
            format!("{forwarded}; peer {}", peer.principal().unwrap_or("none"))
        },
    ))
}

fn trusting(pki: &Pki, policies: &str) -> MeshBuilder {
    app(pki)
        .config(Fixed::yaml("p.yaml", policies))
        .danger()
        .trusted_proxy(TrustedProxy::identities([GATEWAY]))
}

/// A mesh that trusts the gateway and lets these service accounts call, and no other.
async fn allowing(pki: &Pki, account: &str) -> (Mesh, Served) {
    let principal = format!("[cluster.local/ns/default/sa/{account}]");
    let rules = format!("[{{from: [{{source: {{principals: {principal}}}}}]}}]");
    let mesh = build(trusting(pki, &policy("p", "ALLOW", &rules))).await;
    let served = serve(&mesh, seen()).await;
    (mesh, served)
}

/// The status and body that a caller with this certificate gets.
async fn ask(pki: &Pki, account: &str, served: &Served, request: Builder) -> (u16, String) {
    let mut sender = http1::<Full<Bytes>>(pki, account, served.address).await;
    let answer = sender.send_request(empty(request)).await.unwrap();
    let (status, _, body) = read(answer).await;
    (status, body)
}

/// H-09: rules about the source judge the caller that a trusted proxy names. The peer stays the proxy, and a caller without an identity is
/// not the proxy.
#[tokio::test]
async fn rules_judge_the_caller_of_a_trusted_proxy() {
    let pki = pki();
    let (_, served) = allowing(&pki, "web").await;
    let expected = "cluster.local/ns/default/sa/web via cluster.local/ns/default/sa/gateway; \
         peer cluster.local/ns/default/sa/gateway";

    let named = ask(
        &pki,
        "gateway",
        &served,
        get("/").header(XFCC, element("web")),
    )
    .await;
    assert_eq!(named, (200, expected.to_owned()));
    let other = ask(
        &pki,
        "gateway",
        &served,
        get("/").header(XFCC, element("desk")),
    )
    .await;
    assert_eq!(other.0, 403, "{other:?}");
    let nobody = ask(&pki, "gateway", &served, get("/")).await;
    assert_eq!(nobody.0, 403, "{nobody:?}");

    let mut sender = http2::<Full<Bytes>>(&pki, "gateway", served.address).await;
    for (account, status) in [("web", 200), ("desk", 403)] {
        let request = empty(get2("/").header(XFCC, element(account)));
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), status, "{account}, on one connection");
    }
}

/// H-09: a caller without an identity has not the rights of the proxy that lets it in.
#[tokio::test]
async fn a_proxy_lends_its_identity_to_nobody() {
    let pki = pki();
    let (_, served) = allowing(&pki, "gateway").await;
    let by_cert = format!(r#"By={GATEWAY};Hash={HASH};Subject="CN=stranger""#);
    for request in [
        get("/"),
        get("/").header(XFCC, ""),
        get("/").header(XFCC, by_cert),
    ] {
        let answer = ask(&pki, "gateway", &served, request).await;
        assert_eq!(answer.0, 403, "{answer:?}");
    }
}

/// H-09: what a caller says of others counts from the proxies that are named, and from no other identity.
#[tokio::test]
async fn nobody_else_speaks_for_a_caller() {
    let pki = pki();
    let (_, served) = allowing(&pki, "web").await;
    let own = element("web").replace("sa/gateway", "sa/desk");
    for forged in [element("web"), own] {
        let answer = ask(&pki, "desk", &served, get("/").header(XFCC, forged)).await;
        assert_eq!(answer.0, 403, "{answer:?}");
    }
    let itself = ask(&pki, "web", &served, get("/").header(XFCC, element("desk"))).await;
    let expected = "-; peer cluster.local/ns/default/sa/web".to_owned();
    assert_eq!(itself, (200, expected));
}

/// H-09: the elements before the last one are what the proxy's caller said.
#[tokio::test]
async fn the_last_element_is_the_word_of_the_proxy() {
    let pki = pki();
    let (_, served) = allowing(&pki, "web").await;
    let said = "By=spiffe://cluster.local/ns/default/sa/other;URI=";
    let web = format!("{said}spiffe://cluster.local/ns/default/sa/web");
    let desk = format!("{said}spiffe://cluster.local/ns/default/sa/desk");
    for (before, last, status) in [(&web, "desk", 403), (&desk, "web", 200)] {
        let last = element(last);
        let joined = get("/").header(XFCC, format!("{before},{last}"));
        let two_lines = get("/").header(XFCC, before).header(XFCC, &last);
        for request in [joined, two_lines] {
            let answer = ask(&pki, "gateway", &served, request).await;
            assert_eq!(answer.0, status, "{answer:?}");
        }
    }
}

/// H-07, H-08, H-09: a word that may not be the proxy's is refused, counted and logged. It is not taken for a caller without an identity,
/// as a DENY would pass that one.
#[tokio::test]
async fn a_word_that_cannot_be_believed_is_refused() {
    let pki = pki();
    let (log, _guard) = Log::listen(Level::INFO);
    let rules = "[{from: [{source: {principals: [cluster.local/ns/default/sa/evil]}}]}]";
    let mesh = build(trusting(&pki, &policy("p", "DENY", rules))).await;
    let served = serve(&mesh, seen()).await;
    let passes = ask(&pki, "gateway", &served, get("/")).await;
    assert_eq!(passes.0, 200, "{passes:?}");

    let evil = element("evil");
    // The certificate has one URI, which Envoy writes as it is: `spiffe://td/a,By=..;URI=..`.
    let in_uri = format!("{},By={GATEWAY};URI=spiffe://td/good", element("a"));
    for (reason, bad) in [
        ("unreadable", format!("{evil};x")),
        ("unreadable", format!(r#""{evil}"#)),
        ("unreadable", format!("{evil};Hash=1")),
        ("unreadable", vec![evil.as_str(); 65].join(",")),
        ("other_proxy", evil.replace("sa/gateway", "sa/other")),
        ("other_proxy", evil.replace(&format!("By={GATEWAY};"), "")),
        (
            "other_proxy",
            format!("{evil},By=evil;URI=spiffe://td/good"),
        ),
        ("split", in_uri),
        ("not_one_id", format!("{evil};URI=spiffe://td/good")),
        (
            "not_one_id",
            evil.replace(
                "spiffe://cluster.local/ns/default/sa/evil",
                "https://a.example",
            ),
        ),
    ] {
        let count = || lines(&mesh, "mesh_trusted_proxy_refused_total", &[reason]);
        let before = count();
        let answer = ask(&pki, "gateway", &served, get("/").header(XFCC, &bad)).await;
        assert_eq!(answer.0, 400, "{bad}");
        assert_ne!(count(), before, "{bad}");
        let details = format!("reason=trusted_proxy_{reason}");
        let via = "peer=none via cluster.local/ns/default/sa/gateway";
        let told = log.with(&["request refused", &details, via]);
        assert!(!told.is_empty(), "{bad}: {}", log.text());
    }
    assert!(
        !log.text().contains("a.example"),
        "the log repeats the header"
    );
    let denied = ask(&pki, "gateway", &served, get("/").header(XFCC, evil)).await;
    assert_eq!(denied.0, 403, "{denied:?}");
}

/// H-09, H-17: a caller cannot have its name removed by a header that a proxy may pass on.
#[tokio::test]
async fn a_connection_header_does_not_remove_the_caller() {
    let pki = pki();
    let rules = "[{from: [{source: {principals: [cluster.local/ns/default/sa/evil]}}]}]";
    let mesh = build(trusting(&pki, &policy("p", "DENY", rules))).await;
    let served = serve(&mesh, seen()).await;
    let request = get("/")
        .header(XFCC, element("evil"))
        .header("connection", XFCC);
    let answer = ask(&pki, "gateway", &served, request).await;
    assert_eq!(answer.0, 403, "{answer:?}");
}

/// H-09: a refusal and an explanation name the caller and the proxy.
#[tokio::test]
async fn the_log_and_explanations_print_a_via_b() {
    let pki = pki();
    let (log, _guard) = Log::listen(Level::INFO);
    let via = "cluster.local/ns/default/sa/desk via cluster.local/ns/default/sa/gateway";
    let (_, served) = allowing(&pki, "web").await;
    let refused = ask(
        &pki,
        "gateway",
        &served,
        get("/").header(XFCC, element("desk")),
    )
    .await;
    assert_eq!(refused.0, 403);
    let told = log.with(&["request refused", &format!("peer={via}")]);
    assert_eq!(told.len(), 1, "{}", log.text());

    let engine = trusting(
        &pki,
        &policy("p", "ALLOW", "[{from: [{source: {principals: [x]}}]}]"),
    );
    let engine = build(engine).await.engine();
    let mesh = build(trusting(&pki, "")).await;
    let explain = Router::new().fallback(any(move |request: axum::extract::Request| async move {
        let (mut head, _) = request.into_parts();
        let exchange = tower_mesh::context::Exchange::from_request(&mut head);
        let why = RequestAttributes::new(&head, &exchange).map(|facts| engine.explain(&facts));
        why.unwrap().to_string()
    }));
    let served = serve(&mesh, explain).await;
    for (header, saw) in [(element("desk"), via), (String::new(), "none via")] {
        let why = ask(&pki, "gateway", &served, get("/").header(XFCC, header))
            .await
            .1;
        assert!(why.contains(&format!("saw \"{saw}")), "{why}");
    }
}

/// H-09: the log, readiness and metrics show that a proxy is trusted.
#[tokio::test]
async fn a_trusted_proxy_is_shown() {
    let pki = pki();
    let (log, _guard) = Log::listen(Level::WARN);
    let mesh = build(trusting(&pki, "")).await;
    let name = "cluster.local/ns/default/sa/gateway";
    assert_eq!(
        log.with(&["WARN", "trusted proxy", name]).len(),
        1,
        "{}",
        log.text()
    );
    let readiness = mesh.readiness();
    assert!(readiness.is_ready());
    assert_eq!(
        readiness.to_string(),
        format!("ready; trusted proxies: {name}")
    );
    let shown = lines(
        &mesh,
        "mesh_trusted_proxy{",
        &[r#"kind="identity""#, name, " 1"],
    );
    assert_eq!(shown.len(), 1);

    let plain = build(app(&pki)).await;
    assert_eq!(plain.readiness().to_string(), "ready");
    assert!(lines(&plain, "mesh_trusted_proxy", &[]).is_empty());
}

/// Mistakes of the option are told all at once.
#[tokio::test]
async fn a_trusted_proxy_is_named_exactly() {
    let pki = pki();
    let builder = app(&pki)
        .danger()
        .trusted_proxy(TrustedProxy::identities([
            "spiffe://cluster.local/*",
            "cluster.local/ns/default/sa/gateway",
            "spiffe://cluster.local",
        ]))
        .danger()
        .trusted_proxy(TrustedProxy::identities([] as [&str; 0]));
    let error = builder.build().await.map(drop).unwrap_err();
    let mistakes = error.mistakes();
    assert_eq!(mistakes.len(), 4, "{mistakes:#?}");
    for (mistake, piece) in mistakes.iter().zip([
        "\"spiffe://cluster.local/*\"",
        "starts with",
        "path",
        "empty",
    ]) {
        assert!(
            mistake.starts_with("MeshBuilder::danger().trusted_proxy: identities"),
            "{mistake}"
        );
        assert!(mistake.contains(piece), "{mistake}");
    }

    let plaintext = Mesh::danger().plaintext(tower_mesh::Workload::new("default", "app"));
    let plaintext = plaintext
        .danger()
        .trusted_proxy(TrustedProxy::identities([GATEWAY]));
    let error = plaintext.build().await.map(drop).unwrap_err();
    assert!(error.to_string().contains("plaintext"), "{error}");
}
