//! Calls by clients that are not the mesh's: a channel of tonic, and reqwest.

use async_trait::async_trait;
use axum::Router;
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use reqwest::{Body, Request, Response, ResponseBuilderExt};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_mesh::message::{Begin, ResponseFlags};
use tower_mesh::propagation::{self, FinishedSpan, Propagation, SpanKind};

use super::support::{child_of_this, in_a_request, named, recording, sent};
use crate::request::layers_alone::grpc;

#[tokio::test]
async fn a_channel_of_tonic_calls_in_the_trace_of_its_request() {
    let (served, servers) = recording();
    let (propagation, spans) = recording();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder()
        .layer(served.server_layer())
        .add_service(grpc::PatientsServer)
        .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener));
    let server = tokio::spawn(server);
    let channel = tonic::transport::Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let channel = ServiceBuilder::new()
        .layer(propagation.client_layer())
        .service(channel);
    in_a_request(&propagation, 1, async {
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<grpc::ReadRequest, grpc::Patient>::default();
        let request = tonic::Request::new(grpc::ReadRequest { id: 7 });
        let call = client.unary(request, grpc::READ.parse().unwrap(), codec);
        let patient = propagation::span("read patient").within(call).await;
        assert_eq!(patient.unwrap().into_inner().name, "patient 7");
    })
    .await;
    let spans: Vec<_> = spans.try_iter().collect();
    let by_kind = |kind| spans.iter().find(|span| span.kind == kind).unwrap();
    let [server_span, client] = [SpanKind::Server, SpanKind::Client].map(by_kind);
    let by_hand = named(&spans, "read patient");
    assert_eq!(
        by_hand.trace.parent_span_id,
        Some(server_span.trace.span_id)
    );
    assert_eq!(client.trace.parent_span_id, Some(by_hand.trace.span_id));
    assert_eq!(client.tag("grpc.path"), Some(grpc::READ));
    assert_eq!(client.tag("grpc.status_code"), Some("0"));
    let called: FinishedSpan = servers.recv().unwrap();
    assert_eq!(called.trace.parent_span_id, Some(client.trace.span_id));
    server.abort();
}

/// As on the page about tracing.
struct InTrace(Propagation);

#[async_trait]
impl Middleware for InTrace {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut http::Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let request = http::Request::<Body>::try_from(request)?;
        let (request, mut record) = self.0.client_spans().begin(request);
        let response = match next.run(request.try_into()?, extensions).await {
            Ok(response) => response,
            Err(error) => {
                record.failed(StatusCode::SERVICE_UNAVAILABLE, ResponseFlags::none());
                return Err(error);
            }
        };
        let url = http::response::Builder::new().url(response.url().clone());
        let response = record.answer(http::Response::<Body>::from(response));
        let mut response = response.map(Body::wrap);
        if let Ok(url) = url.body(()) {
            response
                .extensions_mut()
                .extend(url.into_parts().0.extensions);
        }
        Ok(response.into())
    }
}

fn reqwest(propagation: &Propagation) -> ClientWithMiddleware {
    ClientBuilder::new(reqwest::Client::new())
        .with(InTrace(propagation.clone()))
        .build()
}

#[tokio::test]
async fn reqwest_calls_in_the_trace_of_its_request() {
    let (propagation, spans) = recording();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/charts/7", listener.local_addr().unwrap());
    let echo = get(|headers: HeaderMap| async { (headers, "a chart") });
    let app = Router::new().route("/charts/{id}", echo);
    let server = tokio::spawn(axum::serve(listener, app).into_future());
    let client = reqwest(&propagation);
    in_a_request(&propagation, 1, async {
        let response = client.get(&url).send().await.unwrap();
        assert_eq!(sent(response.headers()), child_of_this());
        assert_eq!(response.url().as_str(), url);
        assert_eq!(response.text().await.unwrap(), "a chart");

        let inside = async {
            let response = client.post(&url).body("what nobody reads").send().await;
            response.unwrap().status()
        };
        let status = propagation::span("in a span").within(inside).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        server.abort();
        assert!(client.get("http://127.0.0.1:1/").send().await.is_err());
    })
    .await;
    let spans: Vec<_> = spans.try_iter().collect();
    let calls: Vec<_> = spans
        .iter()
        .filter(|span| span.kind == SpanKind::Client)
        .collect();
    let [good, refused, failed] = calls[..] else {
        panic!("{spans:#?}")
    };
    let status = |span: &FinishedSpan| span.tag("http.status_code").map(str::to_owned);
    assert_eq!(good.tag("http.url"), Some(&*url));
    assert_eq!(good.tag("response_size"), Some("7"));
    assert_eq!(
        (status(good).as_deref(), good.is_error),
        (Some("200"), false)
    );
    let parent = named(&spans, "in a span").trace.span_id;
    assert_eq!(refused.trace.parent_span_id, Some(parent));
    assert_eq!(
        (status(refused).as_deref(), refused.is_error),
        (Some("405"), true)
    );
    assert_eq!(
        (status(failed).as_deref(), failed.is_error),
        (Some("503"), true)
    );
}
