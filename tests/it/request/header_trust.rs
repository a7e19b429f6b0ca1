//! Which headers of callers the composed mesh believes: at an edge, and inside.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Version};
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;
use tower_mesh::context::TlsFacts;
use tower_mesh::gate::forwarded_client_cert::read as read_elements;
use tower_mesh::gate::{Edge, ForwardClientCert, Profile};
use tower_mesh::identity::{PeerCertificate, SpiffeId};
use tower_mesh::mesh::ClientBody;
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, Leaf, Pki};
use tower_mesh::tls::{Credentials, Identity, Settings};
use tower_mesh::{Mesh, MeshBuilder, Peer, Workload};
use tracing::Level;

use crate::support::log::Log;
use crate::support::mesh::{ISSUER, app, build, policy, proven, read, serve, unproven};

const CLIENT_CERT: &str = "x-forwarded-client-cert";
const DESK: &str = "spiffe://cluster.local/ns/default/sa/desk";
const APP: &str = "spiffe://cluster.local/ns/default/sa/app";

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

/// Answers with the lines of the request's head.
fn heard() -> Router {
    Router::new().fallback(any(|headers: HeaderMap| async move {
        let line = |(name, value): (&http::HeaderName, &HeaderValue)| {
            format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
        };
        headers.iter().map(line).collect::<String>()
    }))
}

/// Sends these headers as this caller: the status, and the values of what the application sees.
async fn send(mesh: &Mesh, caller: &Peer, headers: &[(&str, &str)]) -> (u16, Heard) {
    let request = Request::get("/").header("host", "app");
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    let request = request.extension(caller.clone()).body(AxumBody::empty());
    let answer = mesh.protect(heard()).oneshot(request.unwrap()).await;
    let (status, _, text) = read(answer.unwrap()).await;
    (status, Heard(text))
}

/// The head of a request as the application got it.
struct Heard(String);

impl Heard {
    fn all(&self, wanted: &str) -> Vec<&str> {
        let lines = self.0.lines().filter_map(|line| line.split_once(": "));
        let lines = lines.filter(|(name, _)| *name == wanted);
        lines.map(|(_, value)| value).collect()
    }

    fn one(&self, wanted: &str) -> Option<&str> {
        let all = self.all(wanted);
        assert!(all.len() < 2, "{all:?}");
        all.first().copied()
    }
}

/// The caller `desk` with a certificate of this hash.
fn desk(hash: [u8; 32]) -> Peer {
    let mut facts = TlsFacts::default();
    facts.certificate = Some(PeerCertificate::from_spiffe_id(
        SpiffeId::new(DESK).unwrap(),
    ));
    facts.certificate_sha256 = Some(hash);
    let ends: [SocketAddr; 2] = [([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], 2).into()];
    Peer::tls(ends[0], ends[1], facts)
}

fn in_mode(builder: MeshBuilder, mode: ForwardClientCert) -> MeshBuilder {
    match mode {
        ForwardClientCert::AlwaysForwardOnly => builder.danger().always_forward_client_cert(),
        mode => builder.listener(|listener| listener.forward_client_cert(mode)),
    }
}

/// H-01, H-02, H-03, H-04, H-05: what the application and policy see in each mode.
#[tokio::test]
async fn each_mode_shows_what_envoys_does() {
    let hash = [0xab; 32];
    let own = format!("By={APP};Hash={};Subject=\"\";URI={DESK}", "ab".repeat(32));
    let said = "By=a;URI=b";
    let both = format!("{said},{own}");
    let (own, both) = (own.as_str(), both.as_str());
    let pki = pki();
    for (mode, with_both, with_certificate, with_header) in [
        (ForwardClientCert::Sanitize, None, None, None),
        (ForwardClientCert::ForwardOnly, Some(said), None, None),
        (
            ForwardClientCert::AppendForward,
            Some(both),
            Some(own),
            None,
        ),
        (ForwardClientCert::SanitizeSet, Some(own), Some(own), None),
        (
            ForwardClientCert::AlwaysForwardOnly,
            Some(said),
            None,
            Some(said),
        ),
    ] {
        let mesh = build(in_mode(app(&pki), mode)).await;
        let header = [(CLIENT_CERT, said)];
        let forged = [(CLIENT_CERT, said), ("x_forwarded_client_cert", "URI=evil")];
        for (caller, headers, expected) in [
            (desk(hash), &header[..], with_both),
            (desk(hash), &forged, with_both),
            (desk(hash), &[], with_certificate),
            (unproven(), &header, with_header),
            (unproven(), &forged, with_header),
            (unproven(), &[], None),
        ] {
            let (status, heard) = send(&mesh, &caller, headers).await;
            assert_eq!(status, 200);
            assert_eq!(heard.one(CLIENT_CERT), expected, "{mode:?} {headers:?}");
            assert_eq!(heard.one("x_forwarded_client_cert"), None, "{mode:?}");
            if mode == ForwardClientCert::Sanitize {
                continue;
            }
            // What the application would see, policy refuses; and only that.
            for (value, status) in [(expected, 403), (Some("By=other"), 200)] {
                let Some(value) = value else { continue };
                let value = value.replace('"', "\\\"");
                let when =
                    format!("{{key: 'request.headers[{CLIENT_CERT}]', values: [\"{value}\"]}}");
                let denied = policy("p", "DENY", &format!("[{{when: [{when}]}}]"));
                let builder = app(&pki).config(Fixed::yaml("p.yaml", denied));
                let mesh = build(in_mode(builder, mode)).await;
                assert_eq!(
                    send(&mesh, &caller, headers).await.0,
                    status,
                    "{mode:?} {value}"
                );
            }
        }
    }
}

/// H-03: a header behind which the own element would be swallowed is refused.
#[tokio::test]
async fn a_header_that_cannot_be_read_is_not_appended_to() {
    let mode = ForwardClientCert::AppendForward;
    let mesh = build(in_mode(app(&pki()), mode)).await;
    for (said, status) in [("URI=\"a", 400), ("a", 400), ("URI=a", 200)] {
        let got = send(&mesh, &desk([0; 32]), &[(CLIENT_CERT, said)]).await.0;
        assert_eq!(got, status, "{said}");
    }
}

/// H-05: every caller may speak for others only where the builder names the danger.
#[tokio::test]
async fn always_forward_only_is_a_mistake_outside_danger() {
    let mode = ForwardClientCert::AlwaysForwardOnly;
    let builder = app(&pki()).listener(|listener| listener.forward_client_cert(mode));
    let mistake = builder.build().await.unwrap_err().to_string();
    assert!(
        mistake.contains("danger().always_forward_client_cert()"),
        "{mistake}"
    );
    let (log, _guard) = Log::listen(Level::WARN);
    build(in_mode(app(&pki()), mode)).await;
    let warnings = log.with(&["always_forward_client_cert"]);
    assert_eq!(warnings.len(), 1, "{}", log.text());
}

/// H-06: over a real handshake the element says who called whom, with which certificate.
#[tokio::test]
async fn the_element_is_of_the_handshake() {
    let pki = pki();
    let mode = ForwardClientCert::AppendForward;
    let served = serve(&build(in_mode(app(&pki), mode)).await, heard()).await;
    let svid = pki.issue(&Leaf::workload(DESK)).unwrap().svid().unwrap();
    let leaf = svid.chain()[0].clone();
    let identity = Identity::new(svid, pki.bundles().unwrap());
    let credentials = Credentials::new(&identity, Settings::default()).unwrap();
    let desk = Mesh::builder(Workload::new("default", "desk"), credentials).upstream(
        "app.default",
        [served.address],
        [SpiffeId::new(APP).unwrap()],
    );
    let desk = build(desk).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for sent in [None, Some("By=spiffe://td/a;URI=spiffe://td/b")] {
            let mut request = Request::get("http://app.default/").version(version);
            if let Some(sent) = sent {
                request = request.header(CLIENT_CERT, sent);
            }
            let request = request.body(ClientBody::empty()).unwrap();
            let (status, _, text) = read(desk.client().request(request).await.unwrap()).await;
            assert_eq!(status, 200);
            let heard = Heard(text);
            let elements = read_elements([heard.one(CLIENT_CERT).unwrap().as_bytes()]).unwrap();
            assert_eq!(elements.len(), 1 + usize::from(sent.is_some()));
            let own = elements.last().unwrap();
            assert_eq!(own.by, [APP]);
            assert_eq!(own.uris, [DESK]);
            assert_eq!(own.subject.as_deref(), Some(""));
            let expected = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &leaf);
            assert_eq!(own.hash.unwrap(), expected.as_ref());
        }
    }
}

const SAID: [(&str, &str); 12] = [
    ("x-forwarded-for", "1.1.1.1, 2.2.2.2"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "said"),
    ("forwarded", "for=1.1.1.1"),
    ("x-request-id", "7e5ab2d8-0000-4000-8000-000000000000"),
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
    ),
    ("baggage", "role=admin"),
    ("x-istio-attributes", "said"),
    ("x_istio_attributes", "said"),
    ("x-ext-authz-user", "said"),
    ("x_envoy_internal", "true"),
    ("x-role", "said"),
];

/// H-10, H-11, H-12, H-14, H-15: at an edge a caller from outside speaks for itself alone, and a
/// caller of the mesh as on any other listener.
#[tokio::test]
async fn an_edge_believes_only_callers_of_the_mesh() {
    let pki = pki();
    let inside = build(app(&pki)).await;
    let edge = inside
        .with_listener(|listener| listener.edge(Edge::new()))
        .unwrap();
    let (status, stranger) = send(&edge, &unproven(), &SAID).await;
    assert_eq!(status, 200);
    let forwarded = stranger.one("x-forwarded-for");
    assert_eq!(forwarded, Some("1.1.1.1, 2.2.2.2,10.0.0.1"));
    assert_eq!(stranger.one("x-forwarded-proto"), Some("http"));
    assert_eq!(stranger.one("x-role"), Some("said"));
    for gone in [
        "x-forwarded-host",
        "forwarded",
        "baggage",
        "x-istio-attributes",
        "x_istio_attributes",
        "x-ext-authz-user",
        "x_envoy_internal",
    ] {
        assert_eq!(stranger.one(gone), None, "{gone}");
    }
    for anew in ["x-request-id", "traceparent"] {
        let said = SAID.iter().find(|(name, _)| *name == anew).unwrap().1;
        let seen = stranger.one(anew).unwrap();
        assert!(
            seen.len() == said.len() && seen[..36] != said[..36],
            "{seen}"
        );
    }
    for mesh in [&edge, &inside] {
        let (status, seen) = send(mesh, &proven("desk"), &SAID).await;
        assert_eq!(status, 200);
        for (name, said) in SAID {
            match name {
                "x_envoy_internal" => assert_eq!(seen.one(name), None),
                "traceparent" => assert_eq!(seen.one(name).unwrap()[..36], said[..36]),
                name => assert_eq!(seen.one(name), Some(said), "{name}"),
            }
        }
    }
}

/// H-10: rules on addresses test the client behind the proxies that the operator counts.
#[tokio::test]
async fn rules_on_addresses_test_the_client_of_an_edge() {
    let pki = pki();
    let rule = "[{from: [{source: {remoteIpBlocks: [2.2.2.2]}}]}]";
    let rules = Fixed::yaml("p.yaml", policy("p", "ALLOW", rule));
    let inside = build(app(&pki).config(rules)).await;
    let edge = |hops| {
        let edge = Edge::new().trusted_hops(hops);
        inside
            .with_listener(|listener| listener.edge(edge))
            .unwrap()
    };
    let (outside, desk) = (unproven(), proven("desk"));
    for (mesh, caller, forwarded, status) in [
        (&edge(1), &outside, "1.1.1.1, 2.2.2.2", 200),
        (&edge(1), &outside, "2.2.2.2, 1.1.1.1", 403),
        (&edge(1), &outside, "2.2.2.2:7", 403),
        (&edge(2), &outside, "2.2.2.2, 1.1.1.1", 200),
        (&edge(2), &outside, "2.2.2.2", 403),
        // Without proxies the header says nothing.
        (&edge(0), &outside, "2.2.2.2", 403),
        // The mesh counts as a sidecar does, and so does an edge for callers of the mesh.
        (&edge(0), &desk, "1.1.1.1, 2.2.2.2", 200),
        (&inside, &desk, "1.1.1.1, 2.2.2.2", 200),
        (&inside, &desk, "2.2.2.2, 1.1.1.1", 403),
    ] {
        let got = send(mesh, caller, &[("x-forwarded-for", forwarded)])
            .await
            .0;
        assert_eq!(got, status, "{forwarded}");
    }
}

/// H-15: an edge begins traces anew, also in a mesh without identities, which continues them
/// elsewhere.
#[tokio::test]
async fn an_edge_without_identities_begins_traces_anew() {
    let workload = Workload::new("default", "app");
    let mesh = build(Mesh::danger().plaintext(workload)).await;
    let edge = mesh
        .with_listener(|listener| listener.edge(Edge::new()))
        .unwrap();
    for (mesh, is_continued) in [(&mesh, true), (&edge, false)] {
        let (_, heard) = send(mesh, &unproven(), &SAID).await;
        let trace = &heard.one("traceparent").unwrap()[3..35];
        assert_eq!(trace == "0af7651916cd43dd8448eb211c80319c", is_continued);
    }
}

/// H-13: peer metadata is for metrics alone, from whoever it comes and however it is spelled.
#[tokio::test]
async fn peer_metadata_does_not_reach_the_application() {
    let mesh = build(app(&pki())).await;
    let names = [
        "x-envoy-peer-metadata",
        "x-envoy-peer-metadata-id",
        "x_envoy_peer_metadata",
        "x-envoy-peer_metadata_id",
    ];
    let sent = names.map(|name| (name, "said"));
    for caller in [unproven(), proven("desk")] {
        let (status, heard) = send(&mesh, &caller, &sent).await;
        assert_eq!(status, 200);
        for name in names {
            assert_eq!(heard.one(name), None, "{name}");
        }
    }
}

/// Rules that write two headers from a token.
fn writing(issuer: &Issuer) -> Fixed {
    let rules = format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: users}}\nspec:\n  jwtRules:\n  - issuer: {}\n    jwks: '{}'\n    outputPayloadToHeader: x-user\n    outputClaimToHeaders: [{{header: x-subject, claim: sub}}]\n",
        issuer.name(),
        issuer.jwks()
    );
    Fixed::yaml("users.yaml", rules)
}

/// H-16: only a token fills the headers that a guard writes, also where none is sent or looked for.
#[tokio::test]
async fn only_a_guard_writes_its_headers() {
    let issuer = Issuer::es256(ISSUER);
    let mesh = build(app(&pki()).config(writing(&issuer))).await;
    let token = format!("Bearer {}", issuer.token().subject("alice").sign());
    let forged = ["x-user", "X-Subject", "x_user", "x_Subject"].map(|name| (name, "root"));
    let preflight = [
        ("origin", "https://a"),
        ("access-control-request-method", "GET"),
    ];
    let with_token = [("authorization", token.as_str())];
    for (method, more, subject) in [
        ("GET", &with_token[..], Some("alice")),
        ("GET", &[], None),
        ("OPTIONS", &preflight, None),
    ] {
        let mut request = Request::builder()
            .method(method)
            .uri("/")
            .header("host", "app");
        for (name, value) in forged.iter().chain(&forged).chain(more) {
            request = request.header(*name, *value);
        }
        let request = request.extension(proven("desk")).body(AxumBody::empty());
        let answer = mesh.protect(heard()).oneshot(request.unwrap()).await;
        let (status, _, text) = read(answer.unwrap()).await;
        assert_eq!(status, 200);
        assert!(!text.contains("root"), "{method}: {text}");
        assert_eq!(Heard(text).one("x-subject"), subject, "{method}");
    }
}

/// H-16: trailers, which no guard has judged, say nothing of who asks.
#[tokio::test]
async fn trailers_of_a_request_carry_no_identity() {
    let issuer = Issuer::es256(ISSUER);
    let mesh = build(app(&pki()).config(writing(&issuer))).await;
    let app = Router::new().fallback(any(|body: AxumBody| async move {
        let body = body.collect().await.unwrap();
        let trailers = format!("{:?}", body.trailers());
        format!("{} {trailers}", body.to_bytes().len())
    }));
    let forged = ["x-user", "x_subject", "authorization", CLIENT_CERT];
    for (kept, expected) in [
        (Some("x-sum"), r#"3 Some({"x-sum": "42"})"#),
        (None, "3 None"),
    ] {
        let mut trailers = HeaderMap::new();
        for name in forged.into_iter().chain(kept) {
            trailers.append(name, HeaderValue::from_static("42"));
        }
        let body = Full::new(Bytes::from("abc"));
        let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
        let request = Request::post("/")
            .header("host", "app")
            .extension(proven("desk"));
        let request = request.body(AxumBody::new(body)).unwrap();
        let answer = mesh.protect(app.clone()).oneshot(request).await;
        assert_eq!(read(answer.unwrap()).await.2, expected);
    }
}

/// H-17: `Connection` removes nothing that the mesh sets.
#[tokio::test]
async fn a_connection_header_takes_off_nothing_that_is_set_behind_it() {
    let mesh = build(in_mode(app(&pki()), ForwardClientCert::AppendForward)).await;
    let sent = [
        ("connection", "close, x-forwarded-client-cert, x-request-id"),
        (CLIENT_CERT, "By=a"),
    ];
    let (status, heard) = send(&mesh, &desk([1; 32]), &sent).await;
    assert_eq!(status, 200);
    let element = heard.one(CLIENT_CERT).unwrap();
    assert!(element.starts_with(&format!("By={APP};")), "{element}");
    assert!(heard.one("x-request-id").is_some());
}

/// H-10: the event of a refusal names the client behind the proxies, and the proxy.
#[tokio::test]
async fn a_refusal_at_an_edge_names_the_client() {
    let nobody = Fixed::yaml("p.yaml", policy("p", "ALLOW", "[]"));
    let inside = build(app(&pki()).config(nobody)).await;
    let edge = Edge::new().trusted_hops(1);
    let edge = inside
        .with_listener(|listener| listener.edge(edge))
        .unwrap();
    for (mesh, has_client) in [(&edge, true), (&inside, false)] {
        let (log, _guard) = Log::listen(Level::INFO);
        let sent = [("x-forwarded-for", "1.1.1.1, 2.2.2.2")];
        assert_eq!(send(mesh, &unproven(), &sent).await.0, 403);
        let bad = [sent[0], ("transfer-encoding", "gzip")];
        assert_eq!(send(mesh, &unproven(), &bad).await.0, 400);
        let lines = log.with(&["request refused", "remote=10.0.0.1"]);
        assert_eq!(lines.len(), 2, "{}", log.text());
        for line in lines {
            assert_eq!(line.contains("client=2.2.2.2"), has_client, "{line}");
        }
    }
}

/// At an edge the gate is strict, and elsewhere as in Istio, unless the builder says otherwise.
#[tokio::test]
async fn the_gate_of_an_edge_is_strict() {
    let pki = pki();
    for (builder, at_edge, elsewhere) in [
        (app(&pki), 400, 200),
        (app(&pki).gate(Profile::Istio), 200, 200),
        (app(&pki).gate(Profile::Strict), 400, 400),
    ] {
        let inside = build(builder).await;
        let edge = inside.with_listener(|listener| listener.edge(Edge::new()));
        for (mesh, expected) in [(edge.unwrap(), at_edge), (inside, elsewhere)] {
            let request = Request::get("/a%2fb").header("host", "app");
            let request = request.extension(unproven()).body(AxumBody::empty());
            let answer = mesh.protect(heard()).oneshot(request.unwrap()).await;
            assert_eq!(answer.unwrap().status(), expected);
        }
    }
}

/// H-03, H-10, H-17: a mesh inside another settles nothing again: guards have written headers since.
#[tokio::test]
async fn headers_are_settled_once() {
    let pki = pki();
    let mode = ForwardClientCert::AppendForward;
    let mesh = build(in_mode(app(&pki), mode)).await;
    let mesh = mesh.with_listener(|listener| listener.edge(Edge::new()).forward_client_cert(mode));
    let mesh = mesh.unwrap();
    for (caller, header) in [
        (desk([1; 32]), CLIENT_CERT),
        (unproven(), "x-forwarded-for"),
    ] {
        let twice = mesh.protect(heard().layer(mesh.server()));
        let request = Request::get("/").header("host", "app").extension(caller);
        let request = request.body(AxumBody::empty()).unwrap();
        let (status, _, text) = read(twice.oneshot(request).await.unwrap()).await;
        assert_eq!(status, 200);
        let seen = Heard(text);
        let value = seen.one(header).unwrap();
        assert!(!value.contains(','), "{value}");
    }
}
