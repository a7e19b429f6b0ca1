//! What calls carry of the request that they are made for, and to whom.

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::Path;
use axum::routing::any;
use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use http::{HeaderMap, Request};
use tower::ServiceExt;
use tower_mesh::gate::ForwardClientCert;
use tower_mesh::identity::{SpiffeId, TrustDomain};
use tower_mesh::mesh::ExternalHost;
use tower_mesh::propagation::{Format, Propagation};
use tower_mesh::source::Fixed;
use tower_mesh::testing::Issuer;
use tower_mesh::{Mesh, MeshBuilder, Workload};

use crate::support::mesh::{ISSUER, build, proven, read, unproven};

const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const TENANT: HeaderName = HeaderName::from_static("x-tenant");
const USER: HeaderName = HeaderName::from_static("x-user");

/// A server that answers with what it was sent of these headers.
async fn server() -> std::net::SocketAddr {
    let app = Router::new().fallback(any(|headers: HeaderMap| async move {
        let names = [
            "authorization",
            "baggage",
            "cookie",
            "uberctx-user",
            "x-forwarded-client-cert",
            "x-tenant",
            "x-user",
        ];
        let sent = names.into_iter().filter(|name| headers.contains_key(*name));
        sent.collect::<Vec<_>>().join(" ")
    }));
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(socket, app).await });
    address
}

/// A mesh without TLS that may call a host of its own trust domain, two of others, and one that is
/// outside.
fn calling(address: std::net::SocketAddr, propagation: Propagation) -> MeshBuilder {
    let id = |domain: &str| SpiffeId::new(&format!("spiffe://{domain}/ns/default/sa/x")).unwrap();
    let names = [AUTHORIZATION, COOKIE, CLIENT_CERT, TENANT, USER];
    let propagation = propagation.forward(names);
    Mesh::danger()
        .plaintext(Workload::new("default", "app"))
        .upstream("home", [address], [id("cluster.local")])
        .upstream("partner", [address], [id("partner.test")])
        .upstream("mixed", [address], [id("cluster.local"), id("other.test")])
        .outside("outside", ExternalHost::plaintext().at([address]))
        .telemetry(|telemetry| telemetry.propagation(propagation))
}

/// What a server gets of a request that it is called for.
async fn carried(mesh: &Mesh, host: &str, request: http::request::Builder) -> String {
    let client = mesh.client().clone();
    let app = Router::new().route(
        "/{host}",
        any(move |Path(host): Path<String>| async move {
            let answer = client.get(format!("http://{host}/")).await.unwrap();
            read(answer).await.2
        }),
    );
    let request = request.uri(format!("/{host}")).header("host", "app");
    let request = request.body(AxumBody::empty()).unwrap();
    let answer = mesh.protect(app).oneshot(request).await.unwrap();
    let (status, _, text) = read(answer).await;
    assert_eq!(status, 200);
    text
}

fn telling() -> http::request::Builder {
    Request::builder()
        .extension(proven("desk"))
        .header("authorization", "Basic a")
        .header("cookie", "a=1")
        .header("baggage", "a=1")
        .header("x-tenant", "a")
}

/// H-18: what tells of the user stays in the trust domain, unless another is listed.
#[tokio::test]
async fn what_tells_of_the_user_stays_in_the_trust_domain() {
    let address = server().await;
    let (all, rest) = ("authorization baggage cookie x-tenant", "x-tenant");
    let partner = TrustDomain::new("partner.test").unwrap();
    for (propagation, to_partner) in [
        (Propagation::new(), rest),
        (Propagation::new().forward_to([partner]), all),
    ] {
        let mesh = build(calling(address, propagation)).await;
        for (host, expected) in [
            ("home", all),
            ("partner", to_partner),
            // Any of its identities may answer.
            ("mixed", rest),
            ("outside", rest),
        ] {
            assert_eq!(carried(&mesh, host, telling()).await, expected, "{host}");
        }
    }
}

/// H-18: Jaeger's baggage goes where `baggage` goes.
#[tokio::test]
async fn jaegers_baggage_stays_in_the_trust_domain() {
    let address = server().await;
    let jaeger = Propagation::new().formats([Format::W3c, Format::Jaeger]);
    for (propagation, at_home) in [(jaeger, "uberctx-user"), (Propagation::new(), "")] {
        let mesh = build(calling(address, propagation)).await;
        for (host, expected) in [
            ("home", at_home),
            ("partner", ""),
            ("mixed", ""),
            ("outside", ""),
        ] {
            let request = Request::builder().extension(proven("desk"));
            let request = request.header("uberctx-user", "anna");
            assert_eq!(carried(&mesh, host, request).await, expected, "{host}");
        }
    }
}

/// H-18: what the application does not see of earlier callers does not go along.
#[tokio::test]
async fn a_client_certificate_goes_along_only_where_it_is_shown() {
    let address = server().await;
    let request = |caller| {
        let request = Request::builder().extension(caller);
        request.header(CLIENT_CERT, "By=a;URI=b")
    };
    for (mode, expected) in [
        (ForwardClientCert::Sanitize, ""),
        (ForwardClientCert::ForwardOnly, CLIENT_CERT.as_str()),
    ] {
        let mesh = calling(address, Propagation::new());
        let mesh = mesh.listener(|listener| listener.forward_client_cert(mode));
        let mesh = build(mesh).await;
        for (host, caller, expected) in [
            ("home", proven("desk"), expected),
            ("home", unproven(), ""),
            ("outside", proven("desk"), ""),
        ] {
            let got = carried(&mesh, host, request(caller)).await;
            assert_eq!(got, expected, "{mode:?} {host}");
        }
    }
}

/// H-16: a header that only a guard writes does not go along from a caller.
#[tokio::test]
async fn a_forged_identity_header_does_not_go_along() {
    let address = server().await;
    let issuer = Issuer::es256(ISSUER);
    let rules = format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: users}}\nspec:\n  jwtRules:\n  - issuer: {}\n    jwks: '{}'\n    outputPayloadToHeader: x-user\n",
        issuer.name(),
        issuer.jwks()
    );
    let mesh = calling(address, Propagation::new()).config(Fixed::yaml("u.yaml", rules));
    let mesh = build(mesh).await;
    let request = telling().header("x-user", "root");
    let expected = "authorization baggage cookie x-tenant";
    assert_eq!(carried(&mesh, "home", request).await, expected);
}
