//! One host: the authority that policy judged is the one that the application reads, however the request names it.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::any;
use http::header::HOST;
use http::{Request, Version};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::live::Live;
use tower_mesh::policy::Engine;
use tower_mesh::rbac::RbacLayer;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::tls::Protocol;
use tower_mesh::{Mesh, Workload};

use crate::support::mesh::{app, build, dial, policy, read, serve, unproven};

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

fn closed() -> String {
    policy(
        "closed",
        "DENY",
        "[{to: [{operation: {hosts: [secret.example, 'secret.example:*']}}]}]",
    )
}

fn engine() -> Engine {
    let workload = Workload::new("default", "app");
    let engine = Engine::builder(&workload).yaml(&closed());
    engine.build().unwrap()
}

async fn mesh(pki: &Pki) -> Mesh {
    build(app(pki).config(Fixed::yaml("p.yaml", closed()))).await
}

/// Says each `Host` line, and the authority in the target.
fn heard() -> Router {
    Router::new().fallback(any(|request: Request<AxumBody>| async move {
        let lines = request.headers().get_all(HOST).iter();
        let lines: Vec<_> = lines.map(|line| line.to_str().unwrap()).collect();
        let named = request
            .uri()
            .authority()
            .map_or("-", |named| named.as_str());
        format!("{} {named}", lines.join("|"))
    }))
}

fn request(version: Version, target: &str, hosts: &[&str]) -> Request<AxumBody> {
    let request = Request::get(target).version(version).extension(unproven());
    let request = hosts
        .iter()
        .fold(request, |request, host| request.header(HOST, *host));
    request.body(AxumBody::empty()).unwrap()
}

const ONE: Version = Version::HTTP_11;
const TWO: Version = Version::HTTP_2;

/// In front of the router the host is made one, as Envoy makes it.
#[tokio::test]
async fn the_application_reads_the_host_that_policy_judged() {
    let mesh = mesh(&pki()).await;
    for (version, target, hosts, status, seen) in [
        (ONE, "/", &["open.example"][..], 200, "open.example -"),
        (ONE, "/", &["SECRET.example"], 403, ""),
        // The absolute form replaces the header.
        (
            ONE,
            "http://open.example/",
            &["secret.example"],
            200,
            "open.example open.example",
        ),
        (ONE, "http://secret.example/", &["open.example"], 403, ""),
        (ONE, "http://secret.example:80/", &["open.example"], 403, ""),
        (
            ONE,
            "http://open.example/",
            &[],
            200,
            "open.example open.example",
        ),
        (
            ONE,
            "https://open.example/",
            &["secret.example"],
            200,
            "open.example open.example",
        ),
        (
            ONE,
            "http://OPEN.example/",
            &["open.example"],
            200,
            "OPEN.example OPEN.example",
        ),
        (
            ONE,
            "http://open.example:80/",
            &["open.example"],
            200,
            "open.example:80 open.example:80",
        ),
        (
            ONE,
            "http://open.example./",
            &["open.example"],
            200,
            "open.example. open.example.",
        ),
        // Whom the request names is no part of the host.
        (
            ONE,
            "http://user:pw@open.example/",
            &["open.example"],
            200,
            "open.example open.example",
        ),
        (
            ONE,
            "http://user:pw@secret.example/",
            &["open.example"],
            403,
            "",
        ),
        (
            ONE,
            "http://open.example@secret.example/",
            &["open.example"],
            403,
            "",
        ),
        (
            ONE,
            "http://a@open.example@secret.example/",
            &["a"],
            400,
            "",
        ),
        (
            ONE,
            "http://a@secret.example@open.example/",
            &["a"],
            400,
            "",
        ),
        (ONE, "/", &["user@secret.example"], 403, ""),
        (ONE, "/", &["a@open.example@secret.example"], 403, ""),
        (ONE, "/", &["user@open.example"], 200, "open.example -"),
        (ONE, "/", &["user@"], 400, ""),
        // Several, none, and what is none.
        (ONE, "/", &["open.example", "open.example"], 400, ""),
        (
            ONE,
            "http://open.example/",
            &["open.example", "secret.example"],
            400,
            "",
        ),
        (ONE, "/", &[""], 200, " -"),
        (
            Version::HTTP_10,
            "/",
            &["open.example"],
            200,
            "open.example -",
        ),
        (ONE, "ftp://open.example/", &["open.example"], 400, ""),
        (ONE, "http://a_b/", &["a_b"], 400, ""),
        (ONE, "http://secret.example:/", &["open.example"], 400, ""),
        (ONE, "secret.example", &["open.example"], 400, ""),
        // HTTP/2 names it in `:authority`.
        (TWO, "http://open.example/", &[], 200, " open.example"),
        (
            TWO,
            "http://open.example/",
            &["open.example"],
            200,
            "open.example open.example",
        ),
        (
            TWO,
            "http://open.example/",
            &["secret.example"],
            200,
            "open.example open.example",
        ),
        (
            TWO,
            "http://open.example/",
            &["Open.example"],
            200,
            "open.example open.example",
        ),
        (
            TWO,
            "http://open.example:8443/",
            &["open.example"],
            200,
            "open.example:8443 open.example:8443",
        ),
        (TWO, "http://secret.example/", &["open.example"], 403, ""),
        (
            TWO,
            "http://open.example/",
            &["open.example", "secret.example"],
            400,
            "",
        ),
        (TWO, "/", &["secret.example"], 403, ""),
        (TWO, "/", &["open.example"], 200, "open.example -"),
        (TWO, "http://user@open.example/", &[], 400, ""),
        (TWO, "http://open.example@secret.example/", &[], 400, ""),
        (TWO, "http://a@open.example@secret.example/", &[], 400, ""),
        (TWO, "http://open.example/", &["user@open.example"], 400, ""),
        (TWO, "/", &["user@secret.example"], 400, ""),
    ] {
        let guarded = mesh.protect(heard()).of(unproven());
        let response = guarded
            .oneshot(request(version, target, hosts))
            .await
            .unwrap();
        let (got, _, body) = read(response).await;
        let case = format!("{version:?} {target} {hosts:?}");
        assert_eq!(got, status, "{case}");
        if status == 200 {
            assert_eq!(body, seen, "{case}");
        }
    }
}

/// A layer that may stand behind a router cannot rewrite, and refuses where two readers could disagree.
#[tokio::test]
async fn a_layer_refuses_a_request_of_two_hosts() {
    let mesh = mesh(&pki()).await;
    let engine = engine();
    let alone = heard().layer(RbacLayer::new(Live::new(engine)));
    let composed = heard().layer(mesh.server());
    for (version, target, hosts, status) in [
        (ONE, "/", &["open.example"][..], 200),
        (ONE, "/", &["secret.example"], 403),
        (ONE, "/", &["user@open.example"], 400),
        (ONE, "/", &["user@secret.example"], 400),
        (ONE, "http://open.example/", &["open.example"], 200),
        (ONE, "http://open.example/", &["secret.example"], 400),
        (ONE, "http://open.example/", &["open.example:80"], 400),
        (ONE, "http://open.example/", &["open.example."], 400),
        (ONE, "http://user@open.example/", &["open.example"], 400),
        (
            ONE,
            "http://a@open.example@secret.example/",
            &["open.example"],
            400,
        ),
        (ONE, "secret.example", &["open.example"], 400),
        (TWO, "http://open.example/", &[], 200),
        (TWO, "http://open.example/", &["open.example"], 200),
        (TWO, "http://open.example/", &["secret.example"], 400),
        (TWO, "http://secret.example/", &["open.example"], 400),
        (TWO, "http://secret.example/", &[], 403),
        (TWO, "http://user@open.example/", &[], 400),
        (TWO, "/", &["user@open.example"], 400),
    ] {
        for (name, router) in [("alone", &alone), ("composed", &composed)] {
            let asked = request(version, target, hosts);
            let answer = router.clone().oneshot(asked).await.unwrap();
            let case = format!("{name} {version:?} {target} {hosts:?}");
            assert_eq!(answer.status(), status, "{case}");
        }
    }
}

/// In front of every router the policy layer makes the host one, too.
#[tokio::test]
async fn a_layer_in_front_of_the_router_rewrites_the_host() {
    let engine = engine();
    let layer = RbacLayer::new(Live::new(engine)).in_front_of_router();
    let app = layer.layer(service_fn(|request: Request<AxumBody>| async move {
        let host = request.headers().get(HOST).unwrap().clone();
        Ok::<_, Infallible>(http::Response::new(Full::from(host.as_bytes().to_vec())))
    }));
    let asked = request(ONE, "http://user@open.example/", &["secret.example"]);
    let answer = app.oneshot(asked).await.unwrap();
    assert_eq!(read(answer).await.2, "open.example");
}

/// B-02, B-03: over a socket, byte for byte.
#[tokio::test]
async fn one_host_reaches_the_application_from_the_wire() {
    let pki = pki();
    let served = serve(&mesh(&pki).await, heard()).await;
    for (head, expected) in [
        (
            "GET http://user:pw@open.example/ HTTP/1.1\r\nhost: secret.example\r\n",
            "200 open.example open.example",
        ),
        (
            "GET http://open.example/ HTTP/1.1\r\nhost: user@secret.example\r\n",
            "200 open.example open.example",
        ),
        (
            "GET http://open.example@secret.example/ HTTP/1.1\r\nhost: open.example\r\n",
            "403 RBAC: access denied",
        ),
        (
            "GET / HTTP/1.1\r\nhost: user@secret.example\r\n",
            "403 RBAC: access denied",
        ),
        ("GET / HTTP/1.1\r\n", "400"),
        ("GET / HTTP/1.0\r\n", "400"),
        (
            "GET secret.example HTTP/1.1\r\nhost: open.example\r\n",
            "400",
        ),
    ] {
        let mut stream = dial(&pki, "desk", served.address, Protocol::Http1).await;
        let request = format!("{head}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8(answer).unwrap();
        let status = text.split(' ').nth(1).unwrap_or_default();
        let body = text.split_once("\r\n\r\n").unwrap_or_default().1;
        assert_eq!(format!("{status} {body}").trim(), expected, "{head}");
    }
}
