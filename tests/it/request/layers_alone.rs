//! Each layer by itself: on a bare service, under axum's `Router::layer`, under hyper, and around a client.

use std::convert::Infallible;
use std::io;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::any;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_mesh::context::TlsFacts;
use tower_mesh::jwt::{Authenticator, JwtLayer, Keyring};
use tower_mesh::live::Live;
use tower_mesh::metrics::{Format, MetricsLayer, Registry};
use tower_mesh::policy::Engine;
use tower_mesh::propagation::Propagation;
use tower_mesh::rbac::RbacLayer;
use tower_mesh::testing::Issuer;
use tower_mesh::{Claims, Peer, TraceContext, Workload, context};

use crate::support::mesh::{ISSUER, authentication, policy, proven};

fn workload() -> Workload {
    Workload::new("default", "app").service("app", 8443)
}

fn peer() -> Peer {
    Peer::plaintext("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap())
}

fn request(path: &str) -> Request<Full<Bytes>> {
    let request = Request::get(path).header("host", "app").extension(peer());
    request.body(Full::from("ping")).unwrap()
}

fn rbac() -> RbacLayer {
    let workload = workload();
    let rules = "[{to: [{operation: {paths: [/closed]}}]}]";
    let engine = Engine::builder(&workload).yaml(&policy("p", "DENY", rules));
    RbacLayer::new(Live::new(engine.build().unwrap()))
}

fn jwt(issuer: &Issuer) -> JwtLayer {
    let workload = workload();
    let engine = Engine::builder(&workload).yaml(&authentication(issuer));
    let engine = engine.build().unwrap();
    let rules = engine.authentication(2);
    JwtLayer::new(Live::new(
        Authenticator::compile(rules, &mut Keyring::new()).unwrap(),
    ))
}

async fn text<B: Body<Error: std::fmt::Debug>>(response: Response<B>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A service of any body, that may fail with its own error.
async fn bare<B>(request: Request<B>) -> io::Result<Response<Full<Bytes>>>
where
    B: Body<Error: std::fmt::Debug>,
{
    if request.uri().path() == "/fails" {
        return Err(io::Error::other("its own"));
    }
    let trace = context::current_trace();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let traced = if trace.is_some() { " traced" } else { "" };
    let answer = String::from_utf8_lossy(&body).into_owned() + traced;
    Ok(Response::new(Full::from(answer)))
}

/// The error of a service behind any layer is the service's own, and its answer comes through.
async fn passes<S, B>(name: &str, mut service: S, expected: &str)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = io::Error>,
    B: Body<Error: std::fmt::Debug>,
{
    let called = service.ready().await.unwrap().call(request("/open"));
    assert_eq!(text(called.await.unwrap()).await, expected, "{name}");
    let called = service.ready().await.unwrap().call(request("/fails"));
    let error: io::Error = called.await.err().unwrap();
    assert_eq!(error.to_string(), "its own", "{name}");
}

#[tokio::test]
async fn every_layer_stands_alone_on_a_bare_service() {
    let registry = Registry::new();
    let issuer = Issuer::es256(ISSUER);
    let propagation = Propagation::new();
    let metrics = MetricsLayer::new(registry.server(&workload()));
    let client_metrics = MetricsLayer::new(registry.client(&workload()));
    passes(
        "propagation",
        propagation.server_layer().layer(service_fn(bare)),
        "ping traced",
    )
    .await;
    passes("metrics", metrics.layer(service_fn(bare)), "ping").await;
    passes("jwt", jwt(&issuer).layer(service_fn(bare)), "ping").await;
    passes("rbac", rbac().layer(service_fn(bare)), "ping").await;
    // A call that belongs to no request begins a trace, but nothing runs inside it that could ask.
    let client = propagation.client_layer().layer(service_fn(bare));
    let answer = client.oneshot(request("/open")).await.unwrap();
    assert!(text(answer).await.starts_with("ping"));
    passes(
        "client metrics",
        client_metrics.layer(service_fn(bare)),
        "ping",
    )
    .await;
    let counted = registry.render(Format::Text);
    let counted = counted
        .lines()
        .filter(|line| line.starts_with("istio_requests_total{"));
    assert_eq!(counted.count(), 4, "two reporters, answered and failed");
}

#[tokio::test]
async fn every_layer_goes_under_a_router() {
    let registry = Registry::new();
    let issuer = Issuer::es256(ISSUER);
    let user = any(|request: Request<AxumBody>| async move {
        let exchange = context::Exchange::from_extensions(&mut request.into_parts().0.extensions);
        let subject = exchange
            .claims()
            .and_then(Claims::subject)
            .map(str::to_owned);
        let trace: Option<TraceContext> = context::current_trace();
        format!("{} {}", subject.unwrap_or_default(), trace.is_some())
    });
    // `layer` wraps what is there: the last is the outermost.
    let app: Router = Router::new()
        .fallback(user)
        .layer(rbac())
        .layer(jwt(&issuer))
        .layer(MetricsLayer::new(registry.server(&workload())))
        .layer(Propagation::new().server_layer());
    let ask = |path: &str, token: Option<String>| {
        let mut request = request(path).map(AxumBody::new);
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
        }
        app.clone().oneshot(request)
    };
    let token = || issuer.token().subject("alice");
    let answer = ask("/open", Some(token().sign())).await.unwrap();
    assert_eq!(text(answer).await, "alice true");
    assert_eq!(text(ask("/open", None).await.unwrap()).await, " true");
    let refused = ask("/open", Some(token().tampered())).await.unwrap();
    assert_eq!(refused.status(), 401);
    let refused = ask("/closed", Some(token().sign())).await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), text(refused).await.as_str()),
        (403, "RBAC: access denied")
    );
}

#[tokio::test]
async fn the_layers_compose_under_hyper() {
    let registry = Registry::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = ServiceBuilder::new()
        .map_request(|mut request: Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer());
            request
        })
        .layer(Propagation::new().server_layer())
        .layer(MetricsLayer::new(registry.server(&workload())))
        .layer(jwt(&Issuer::es256(ISSUER)))
        .layer(rbac())
        .service(service_fn(bare));
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let http = hyper::server::conn::http1::Builder::new();
        let service = TowerToHyperService::new(service);
        let _ = http.serve_connection(TokioIo::new(tcp), service).await;
    });
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp))
        .await
        .unwrap();
    tokio::spawn(connection);
    let answer = sender.send_request(request("/open")).await.unwrap();
    assert_eq!(text(answer).await, "ping traced");
    let answer = sender.send_request(request("/closed")).await.unwrap();
    assert_eq!(answer.status(), 403);
    server.abort();
}

#[path = "../../../examples/patients/grpc.rs"]
#[allow(unreachable_pub, reason = "an example's module")]
pub(crate) mod grpc;

/// In tonic's own server, without a mesh, asked by tonic's own client: who is refused reads a gRPC status.
#[tokio::test]
async fn the_layers_compose_under_tonic() {
    let (registry, issuer) = (Registry::new(), Issuer::es256(ISSUER));
    let workload = workload();
    let rules = "[{from: [{source: {notRequestPrincipals: ['*']}}]}]";
    let engine = Engine::builder(&workload).yaml(&policy("p", "DENY", rules));
    let stack = ServiceBuilder::new()
        .map_request(|mut request: Request<tonic::body::Body>| {
            request.extensions_mut().insert(peer());
            request
        })
        .layer(Propagation::new().server_layer())
        .layer(MetricsLayer::new(registry.server(&workload)))
        .layer(jwt(&issuer))
        .layer(RbacLayer::new(Live::new(engine.build().unwrap())))
        .into_inner();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder()
        .layer(stack)
        .add_service(grpc::PatientsServer)
        .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener));
    let server = tokio::spawn(server);
    let channel = tonic::transport::Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let ask = async |token: Option<String>| {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let mut request = tonic::Request::new(grpc::ReadRequest { id: 7 });
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        let codec = tonic_prost::ProstCodec::<grpc::ReadRequest, grpc::Patient>::default();
        let answer = client
            .unary(request, grpc::READ.parse().unwrap(), codec)
            .await;
        answer.map(|patient| patient.into_inner().name)
    };
    let token = issuer.token().subject("alice");
    assert_eq!(ask(Some(token.sign())).await.unwrap(), "patient 7");
    let refused = ask(None).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (tonic::Code::PermissionDenied, "RBAC: access denied")
    );
    let refused = ask(Some(token.tampered())).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (tonic::Code::Unauthenticated, "Jwt verification fails")
    );
    for status in ["0", "7", "16"] {
        let labels = format!(
            r#"request_protocol="grpc",response_code="200",grpc_response_status="{status}""#
        );
        crate::support::mesh::until("the count", || {
            registry.render(Format::Text).contains(&labels)
        })
        .await;
    }
    server.abort();
}

/// H-13: who has not proven an identity is told nothing of ours.
#[tokio::test]
async fn the_metrics_layer_tells_who_we_are_to_a_proven_identity_only() {
    let registry = Registry::new();
    let metrics = MetricsLayer::new(registry.server(&workload()));
    let (remote, local) = (peer().remote_addr(), peer().local_addr());
    for (peer, told) in [
        (Some(proven("desk")), 2),
        (Some(Peer::tls(remote, local, TlsFacts::default())), 0),
        (Some(peer()), 0),
        (None, 0),
    ] {
        let mut asked = request("/open");
        asked.extensions_mut().remove::<Peer>();
        if let Some(peer) = peer {
            asked.extensions_mut().insert(peer);
        }
        for name in ["x-envoy-peer-metadata", "x-envoy-peer-metadata-id"] {
            asked.headers_mut().insert(name, "a".parse().unwrap());
        }
        let answer = metrics
            .layer(service_fn(bare))
            .oneshot(asked)
            .await
            .unwrap();
        let names = answer.headers().keys();
        let names = names.filter(|name| name.as_str().starts_with("x-envoy-peer-metadata"));
        assert_eq!(names.count(), told);
    }
}

/// The client layers inside a server layer: the call is a child of the request, with nothing said by the handler.
#[tokio::test]
async fn a_client_layer_finds_the_request_that_it_is_called_for() {
    let propagation = Propagation::new();
    let registry = Registry::new();
    let upstream = service_fn(|request: Request<_>| async move {
        let (head, _): (_, tower_mesh::message::CountingBody<Full<Bytes>>) = request.into_parts();
        let sent = head.headers.get("traceparent").cloned().unwrap();
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::copy_from_slice(
            sent.as_bytes(),
        ))))
    });
    let client = ServiceBuilder::new()
        .layer(propagation.client_layer())
        .layer(MetricsLayer::new(registry.client(&workload())))
        .service(upstream);
    let handler = service_fn(move |_: Request<Full<Bytes>>| {
        let client = client.clone();
        async move {
            tokio::task::yield_now().await;
            client.oneshot(request("http://next/")).await
        }
    });
    let app = propagation.server_layer().layer(handler);
    let mut asked = request("/");
    // A caller without identity is outside the mesh, and what it says of traces is not believed.
    asked.extensions_mut().remove::<Peer>();
    let id = "0af7651916cd43dd8448eb211c80319c";
    let header = format!("00-{id}-b7ad6b7169203331-01").parse().unwrap();
    asked.headers_mut().insert("traceparent", header);
    let sent = text(app.oneshot(asked).await.unwrap()).await;
    assert!(
        sent.contains(id) && !sent.contains("b7ad6b7169203331"),
        "{sent}"
    );
}
