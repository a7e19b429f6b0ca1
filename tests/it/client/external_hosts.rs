//! The client's ways out: to hosts outside the mesh, and under other clients than ours.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::transport::Endpoint;
use tower::{Service, ServiceExt};
use tower_mesh::context::RequestFacts;
use tower_mesh::mesh::{ClientBody, ClientError, ExternalHost};
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{Protocol, Reason};
use tower_mesh::{Mesh, Peer, Workload};

use crate::support::mesh::{app, build, caller, pass, read, serve};
use crate::tls::support::{chain, server_config};

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

/// An ordinary HTTPS server for `localhost`, both HTTP versions.
async fn https(outside: &Pki) -> SocketAddr {
    let issued = outside
        .issue(&Leaf::without_uri().dns("localhost"))
        .unwrap();
    let mut config = server_config(chain(&issued));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = socket.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(tcp).await {
                    bare(stream).await;
                }
            });
        }
    });
    address
}

/// An ordinary HTTP server.
async fn http() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = socket.accept().await {
            tokio::spawn(bare(tcp));
        }
    });
    address
}

async fn bare<T>(stream: T)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let app = Router::new().fallback(any(|request: axum::extract::Request| async move {
        format!("{:?}", request.version())
    }));
    let serving = auto::Builder::new(TokioExecutor::new());
    let serving = serving
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app))
        .into_owned();
    let _ = serving.await;
}

async fn ask(mesh: &Mesh, uri: &str, version: Version) -> Result<String, ClientError> {
    let request = Request::get(uri).version(version);
    let request = request.body(ClientBody::empty()).unwrap();
    Ok(read(mesh.client().request(request).await?).await.2)
}

#[tokio::test]
async fn a_host_outside_is_reached_by_tls_only_where_that_is_said() {
    let (inside, outside) = (pki(), Pki::new("outside").unwrap());
    let address = https(&outside).await;
    let trusting = |roots: &Pki| ExternalHost::tls_with_roots(roots.root_pem()).at([address]);
    let mesh = build(
        app(&inside)
            .outside("localhost", trusting(&outside))
            // The certificate is not of this name, or of these roots.
            .outside("other.example", trusting(&outside))
            .outside("localhost:444", trusting(&inside)),
    )
    .await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        // Istio originates TLS for `http`, too.
        for uri in ["https://localhost/", "http://localhost/"] {
            assert_eq!(
                ask(&mesh, uri, version).await.unwrap(),
                format!("{version:?}"),
                "{uri}"
            );
        }
        for uri in ["https://other.example/", "https://localhost:444/"] {
            let error = ask(&mesh, uri, version).await.unwrap_err();
            let reason = error.handshake().map(|error| error.reason());
            assert_eq!(reason, Some(Reason::BadCertificate), "{uri}: {error}");
        }
        let error = ask(&mesh, "https://unknown.example/", version)
            .await
            .unwrap_err();
        assert!(error.is_unknown_host(), "{error}");
    }
}

#[tokio::test]
async fn plaintext_leaves_only_for_a_host_that_is_configured_so() {
    let inside = pki();
    let address = http().await;
    let mesh = build(
        app(&inside)
            .outside("legacy.example", ExternalHost::plaintext().at([address]))
            .outside(
                &format!("localhost:{}", address.port()),
                ExternalHost::plaintext(),
            ),
    )
    .await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let text = ask(&mesh, "http://legacy.example/", version).await.unwrap();
        assert_eq!(text, format!("{version:?}"));
    }
    // By DNS.
    let found = format!("http://localhost:{}/", address.port());
    assert_eq!(
        ask(&mesh, &found, Version::HTTP_11).await.unwrap(),
        "HTTP/1.1"
    );
    for scheme in ["https", "wss", "ws"] {
        let error = ask(
            &mesh,
            &format!("{scheme}://legacy.example/"),
            Version::HTTP_11,
        )
        .await
        .unwrap_err();
        assert!(
            error.is_unknown_host(),
            "{scheme} never goes in plaintext: {error}"
        );
    }
}

#[tokio::test]
async fn an_upstream_may_be_named_by_its_address() {
    let inside = pki();
    let served = serve(&build(app(&inside)).await, whom()).await;
    let expected = inside.identity("default", "app").unwrap();
    for host in ["10.0.0.1:8443", "[2001:db8::1]:8443"] {
        let desk = Mesh::builder(
            Workload::new("default", "desk"),
            inside.identity("default", "desk").unwrap(),
        )
        .upstream(
            host,
            [served.address],
            [expected.svid().spiffe_id().clone()],
        );
        let desk = build(desk).await;
        let uri = format!("http://{host}/");
        let text = ask(&desk, &uri, Version::HTTP_2).await.unwrap();
        assert!(text.contains("desk"), "{host}: {text}");
    }
}

/// M-29: a workload of the mesh is never called in another way, even if it would answer in plaintext.
#[tokio::test]
async fn a_host_of_the_mesh_is_never_called_in_plaintext() {
    let inside = pki();
    let address = http().await;
    let desk = caller(&inside, "desk", address).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let error = ask(&desk, "http://app.default/", version)
            .await
            .unwrap_err();
        assert!(error.is_connect(), "{error}");
    }
}

/// Also where its name reads like that of a service of the mesh.
#[tokio::test]
async fn a_host_outside_is_not_told_who_we_are() {
    let inside = pki();
    let names = Router::new().fallback(any(|request: axum::extract::Request| async move {
        let ours = request.headers().keys().map(http::HeaderName::as_str);
        ours.filter(|name| name.starts_with("x-envoy-peer-metadata"))
            .collect::<Vec<_>>()
            .join(" ")
    }));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let legacy = tokio::spawn(async move { axum::serve(socket, names).await });
    let there = ExternalHost::plaintext().at([address]);
    let mesh = build(app(&inside).outside("legacy.default", there)).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let told = ask(&mesh, "http://legacy.default/", version).await;
        assert_eq!(told.unwrap(), "");
    }
    legacy.abort();
}

#[tokio::test]
async fn a_host_cannot_be_both_inside_and_outside() {
    let inside = pki();
    let address = "127.0.0.1:9".parse::<SocketAddr>().unwrap();
    let expected = inside.identity("default", "app").unwrap();
    let builder = app(&inside)
        .upstream(
            "app.default",
            [address],
            [expected.svid().spiffe_id().clone()],
        )
        .outside("APP.default", ExternalHost::plaintext());
    let error = builder.build().await.unwrap_err().to_string();
    assert!(error.contains("given before"), "{error}");
    let garbage = app(&inside).outside("a.example", ExternalHost::tls_with_roots("garbage"));
    assert!(garbage.build().await.is_err());
}

/// Whom the server met.
fn whom() -> Router {
    Router::new().fallback(any(|peer: Peer| async move {
        peer.principal().unwrap().to_owned()
    }))
}

/// M-28: Istio's server name holds the port that is called, which a scheme may stand for.
#[tokio::test]
async fn the_server_name_holds_the_port_of_the_call() {
    let pki = pki();
    let sni = Router::new().fallback(any(|peer: Peer| async move {
        let facts = peer.tls_facts().unwrap();
        facts.sni.as_deref().unwrap().to_owned()
    }));
    let served = serve(&build(app(&pki)).await, sni).await;
    let desk = caller(&pki, "desk", served.address).await;
    for (uri, port) in [
        ("http://app.default/", 80),
        ("https://app.default/", 443),
        ("https://app.default:8443/", 8443),
    ] {
        let asked = ask(&desk, uri, Version::HTTP_11).await.unwrap();
        let istios = format!("outbound_.{port}_._.app.default.svc.cluster.local");
        assert_eq!(asked, istios, "{uri}");
    }
}

#[tokio::test]
async fn the_connector_serves_hypers_own_client() {
    let pki = pki();
    let served = serve(&build(app(&pki)).await, whom()).await;
    let desk = caller(&pki, "desk", served.address).await;
    for (protocol, version) in [
        (Protocol::Http1, Version::HTTP_11),
        (Protocol::Http2, Version::HTTP_2),
        (Protocol::Either, Version::HTTP_2),
    ] {
        let client = Client::builder(TokioExecutor::new()).build(desk.connector(protocol));
        let request = Request::get("http://app.default/").body(Empty::<Bytes>::new());
        let response = client.request(request.unwrap()).await.unwrap();
        assert_eq!(response.version(), version, "{protocol:?}");
        let peer = response.extensions().get::<Peer>().unwrap();
        assert_eq!(peer.principal(), Some("cluster.local/ns/default/sa/app"));
        assert_eq!(read(response).await.2, "cluster.local/ns/default/sa/desk");
        let unknown = Request::get("http://unknown.default/").body(Empty::new());
        let error = client.request(unknown.unwrap()).await.unwrap_err();
        assert!(error.is_connect());
    }
    // Whoever a URI names is repeated in no error.
    let named = "http://user:secret@app.default/".parse().unwrap();
    let error = desk.connector(Protocol::Http1).call(named).await.err();
    let said = error.unwrap().to_string();
    assert!(said.contains("without a user"), "{said}");
    assert!(
        !said.contains("user:") && !said.contains("secret"),
        "{said}"
    );
}

#[tokio::test]
async fn the_connector_alone_gives_a_stream_and_says_who_answers() {
    let pki = pki();
    let served = serve(&build(app(&pki)).await, whom()).await;
    let desk = caller(&pki, "desk", served.address).await;
    let mut connector = desk.connector(Protocol::Http1);
    let stream = connector
        .call("http://app.default/".parse().unwrap())
        .await
        .unwrap();
    let peer = stream.peer().unwrap();
    assert_eq!(peer.service_account(), Some("app"));
    assert_eq!(peer.trust_domain().unwrap().as_str(), "cluster.local");
    let mut stream = TokioIo::new(stream);
    let request = b"GET / HTTP/1.1\r\nhost: app.default\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(
        answer.ends_with("cluster.local/ns/default/sa/desk"),
        "{answer}"
    );
    let unknown = connector.call("http://unknown/".parse().unwrap()).await;
    assert!(unknown.unwrap_err().is_unknown_host());
}

/// A gRPC method, in its simplest form: tells what its request knows.
async fn method(request: tonic::Request<()>) -> String {
    let peer = request.peer().unwrap().principal().unwrap().to_owned();
    let claims = request.claims().is_some();
    format!("{peer} {claims} {}", request.trace().is_some())
}

#[tokio::test]
async fn the_connector_carries_tonics_channel_and_its_requests_tell_the_facts() {
    let pki = pki();
    let told = any(|request: axum::extract::Request| async move {
        let (head, _) = request.into_parts();
        let request = tonic::Request::from_parts(
            tonic::metadata::MetadataMap::from_headers(head.headers),
            head.extensions,
            (),
        );
        method(request).await
    });
    let served = serve(&build(app(&pki)).await, Router::new().fallback(told)).await;
    let desk = caller(&pki, "desk", served.address).await;
    let endpoint = Endpoint::from_static("http://app.default");
    let channel = endpoint.connect_with_connector(desk.connector(Protocol::Http2));
    let mut channel = channel.await.unwrap();
    let request = Request::post("/a.B/C").header("content-type", "application/grpc");
    let request = request.body(tonic::body::Body::empty()).unwrap();
    let response = channel.ready().await.unwrap().call(request).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&body[..], b"cluster.local/ns/default/sa/desk false true");
    // A host that is not configured is an error of the channel, never a connection.
    let endpoint = Endpoint::from_static("http://unknown.default");
    let refused = endpoint.connect_with_connector(desk.connector(Protocol::Http2));
    assert!(refused.await.is_err());
}

/// The mesh's own client under a generated one: tonic takes any such service.
#[tokio::test]
async fn the_client_itself_is_a_service_for_generated_clients() {
    let pki = pki();
    let served = serve(&build(app(&pki)).await, whom()).await;
    let desk = caller(&pki, "desk", served.address).await;
    let request = Request::post("http://app.default/a.B/C").version(Version::HTTP_2);
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let response = desk.client().clone().oneshot(request).await.unwrap();
    assert_eq!(read(response).await.2, "cluster.local/ns/default/sa/desk");
}

/// A server that takes the connection and says nothing holds a call for as long as `connect_timeout` says.
#[tokio::test]
async fn a_silent_server_is_given_up_in_time() {
    let pki = pki();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let expected = pki.identity("default", "app").unwrap();
    let expected = [expected.svid().spiffe_id().clone()];
    let desk = Mesh::builder(
        Workload::new("default", "desk"),
        pki.identity("default", "desk").unwrap(),
    )
    .client(|client| client.connect_timeout(Duration::from_secs(3)))
    .upstream("app.default", [address], expected);
    let desk = build(desk).await;
    let call =
        tokio::spawn(async move { ask(&desk, "http://app.default/", Version::HTTP_11).await });
    let (_held, _) = silent.accept().await.unwrap();
    for _ in 0..2 {
        pass(Duration::from_secs(1)).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!call.is_finished());
    }
    pass(Duration::from_secs(2)).await;
    let error = call.await.unwrap().unwrap_err();
    let reason = error.handshake().map(|error| error.reason());
    assert_eq!(reason, Some(Reason::Timeout), "{error}");
}
