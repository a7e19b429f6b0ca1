//! Spans as an OpenTelemetry collector gets them, over gRPC and over HTTP.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};
use tower_mesh::Workload;
use tower_mesh::propagation::{Otlp, Propagation};

use super::collector::{Bad, Collector, bad, request, silent_port};

const T: &str = "0af7651916cd43dd8448eb211c80319c";
const S: &str = "b7ad6b7169203331";

const SOON: Duration = Duration::from_secs(20);

/// The collector of the protocol's own code: keeps what it gets, and answers with this code.
struct OverGrpc {
    received: mpsc::UnboundedSender<ExportTraceServiceRequest>,
    code: Code,
}

#[tonic::async_trait]
impl TraceService for OverGrpc {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let _ = self.received.send(request.into_inner());
        match self.code {
            Code::Ok => Ok(Response::new(ExportTraceServiceResponse::default())),
            code => Err(Status::new(code, "no")),
        }
    }
}

fn serve(listener: TcpListener, code: Code) -> mpsc::UnboundedReceiver<ExportTraceServiceRequest> {
    let (received, requests) = mpsc::unbounded_channel();
    let service = TraceServiceServer::new(OverGrpc { received, code });
    let server = Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    requests
}

async fn grpc(code: Code) -> (String, mpsc::UnboundedReceiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (url, serve(listener, code))
}

fn to(otlp: &Otlp) -> Propagation {
    let workload = Workload::new("clinic", "desk").label("app", "patients");
    Propagation::new()
        .sample_percent(100.0)
        .semantic_conventions()
        .workload(&workload)
        .export_to(otlp.clone())
}

fn value(attributes: &[KeyValue], key: &str) -> Option<any_value::Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.clone()?.value
}

fn text(value: &str) -> Option<any_value::Value> {
    Some(any_value::Value::StringValue(value.to_owned()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What one request with a parent must have become.
fn check(export: &ExportTraceServiceRequest) {
    assert_eq!(export.resource_spans.len(), 1);
    let of_resource = &export.resource_spans[0];
    let resource = &of_resource.resource.as_ref().unwrap().attributes;
    assert_eq!(value(resource, "service.name"), text("patients.clinic"));
    assert_eq!(value(resource, "telemetry.sdk.name"), text("tower-mesh"));
    let of_scope = &of_resource.scope_spans[0];
    assert_eq!(of_scope.scope.as_ref().unwrap().name, "tower-mesh");
    let spans: Vec<&Span> = of_resource
        .scope_spans
        .iter()
        .flat_map(|of_scope| &of_scope.spans)
        .collect();
    assert_eq!(spans.len(), 2);
    let server = spans.iter().find(|span| span.kind == 2).unwrap();
    let client = spans.iter().find(|span| span.kind == 3).unwrap();
    assert_eq!(hex(&server.trace_id), T);
    assert_eq!(hex(&server.parent_span_id), S);
    assert_eq!(client.trace_id, server.trace_id);
    assert_eq!(client.parent_span_id, server.span_id);
    for span in [server, client] {
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        let status = value(&span.attributes, "http.response.status_code");
        assert_eq!(status, Some(any_value::Value::IntValue(200)));
        assert_eq!(value(&span.attributes, "http.status_code"), text("200"));
    }
}

#[tokio::test]
async fn spans_go_over_grpc() {
    let (url, mut requests) = grpc(Code::Ok).await;
    for otlp in [Otlp::grpc(&url).unwrap(), Otlp::to(&url).unwrap()] {
        let parent = format!("00-{T}-{S}-01");
        request(&to(&otlp), &[("traceparent", &parent)]).await;
        assert!(otlp.flush(SOON).await);
        assert_eq!(otlp.counts().exported, 2);
        check(&requests.try_recv().unwrap());
    }
}

#[tokio::test]
async fn spans_go_over_http_as_protobuf() {
    let mut collector = Collector::start().await;
    collector.answer(200);
    for url in [collector.url(), format!("{}/v1/traces", collector.url())] {
        let otlp = Otlp::http(&url).unwrap();
        let parent = format!("00-{T}-{S}-01");
        request(&to(&otlp), &[("traceparent", &parent)]).await;
        assert!(otlp.flush(SOON).await);
        assert_eq!(otlp.counts().exported, 2);
        let posted = collector.take();
        assert_eq!(posted.len(), 1);
        assert_eq!(
            (posted[0].method().as_str(), posted[0].uri().path()),
            ("POST", "/v1/traces")
        );
        assert_eq!(
            posted[0].headers()["content-type"],
            "application/x-protobuf"
        );
        check(&ExportTraceServiceRequest::decode(posted[0].body().clone()).unwrap());
    }
}

#[tokio::test]
async fn a_collector_may_come_later() {
    for is_grpc in [true, false] {
        let (socket, address) = silent_port();
        let url = format!("http://{address}");
        let otlp = match is_grpc {
            true => Otlp::grpc(&url),
            false => Otlp::http(&url),
        };
        let otlp = otlp.unwrap();
        let propagation = to(&otlp);
        request(&propagation, &[]).await;
        assert!(otlp.flush(SOON).await);
        assert_eq!((otlp.counts().failed, otlp.counts().failed_batches), (2, 1));

        let listener = socket.listen(16).unwrap();
        let _keeps: Box<dyn std::any::Any> = match is_grpc {
            true => Box::new(serve(listener, Code::Ok)),
            false => {
                let collector = Collector::on(listener);
                collector.answer(200);
                Box::new(collector)
            }
        };
        request(&propagation, &[]).await;
        assert!(otlp.flush(SOON).await);
        assert_eq!(otlp.counts().exported, 2, "gRPC: {is_grpc}");
    }
}

#[tokio::test]
async fn a_collector_that_refuses_gets_a_batch_once_and_one_that_is_busy_again() {
    for (code, sent) in [(Code::InvalidArgument, 1), (Code::Unavailable, 4)] {
        let (url, mut requests) = grpc(code).await;
        let otlp = Otlp::grpc(&url).unwrap();
        request(&to(&otlp), &[]).await;
        assert!(otlp.flush(SOON).await);
        assert_eq!(otlp.counts().failed, 2, "{code:?}");
        let mut count = 0;
        while requests.try_recv().is_ok() {
            count += 1;
        }
        assert_eq!(count, sent, "{code:?}");
    }
    for (status, sent) in [(400, 1), (500, 1), (503, 4)] {
        let mut collector = Collector::start().await;
        collector.answer(status);
        let otlp = Otlp::http(&collector.url()).unwrap();
        request(&to(&otlp), &[]).await;
        assert!(otlp.flush(SOON).await);
        assert_eq!(otlp.counts().failed, 2, "{status}");
        assert_eq!(collector.take().len(), sent, "{status}");
    }
}

#[tokio::test]
async fn a_collector_that_is_no_good_fails_the_batch_alone() {
    for kind in [Bad::Hangs, Bad::NeverEnds, Bad::TalksNonsense, Bad::Closes] {
        let (url, _connections) = bad(kind).await;
        for otlp in [Otlp::grpc(&url), Otlp::http(&url)] {
            let otlp = otlp.unwrap().timeout(Duration::from_millis(50)).queue(4);
            let propagation = to(&otlp);
            request(&propagation, &[]).await;
            assert!(otlp.flush(SOON).await, "{kind:?}");
            let counts = otlp.counts();
            assert_eq!((counts.failed, counts.queued), (2, 0), "{kind:?} {otlp:?}");
        }
    }
}

/// They come by the application's tracer provider, whose resource counts where no workload is named.
#[tokio::test]
async fn the_applications_own_spans_go_along() {
    use opentelemetry::trace::{Tracer, TracerProvider};

    let (url, mut requests) = grpc(Code::Ok).await;
    let otlp = Otlp::grpc(&url).unwrap();
    let resource = opentelemetry_sdk::Resource::builder_empty()
        .with_service_name("app")
        .build();
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder()
        .with_resource(resource)
        .with_span_processor(otlp.clone())
        .build();
    provider.tracer("own").in_span("read chart", |_| ());
    assert!(otlp.flush(SOON).await);
    let export = requests.try_recv().unwrap();
    let resource = export.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(value(&resource.attributes, "service.name"), text("app"));
    assert_eq!(
        export.resource_spans[0].scope_spans[0].spans[0].name,
        "read chart"
    );

    // And with a mesh's workload, that.
    let propagation = to(&otlp);
    provider.tracer("own").in_span("read chart", |_| ());
    assert!(otlp.flush(SOON).await);
    let export = requests.try_recv().unwrap();
    let resource = export.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(
        value(&resource.attributes, "service.name"),
        text("patients.clinic")
    );
    drop(propagation);
}

/// Outside a runtime a provider's shutdown waits for the export.
#[test]
fn a_provider_flushes_and_shuts_down_outside_the_runtime() {
    use opentelemetry::trace::{Tracer, TracerProvider};

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (url, mut requests) = runtime.block_on(grpc(Code::Ok));
    let otlp = Otlp::grpc(&url).unwrap();
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder()
        .with_span_processor(otlp.clone())
        .build();
    runtime.block_on(async { provider.tracer("own").in_span("one", |_| ()) });
    provider.force_flush().unwrap();
    assert_eq!(otlp.counts().exported, 1);
    runtime.block_on(async { provider.tracer("own").in_span("two", |_| ()) });
    provider.shutdown().unwrap();
    assert_eq!(otlp.counts().exported, 2);
    assert!(requests.try_recv().is_ok());
}

/// A collector that takes a batch and rejects some of it.
#[tokio::test]
async fn spans_that_a_collector_rejects_are_counted_apart() {
    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 1,
            error_message: "no".to_owned(),
        }),
    };
    let app = axum::Router::new().fallback(move || async move { partial.encode_to_vec() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let otlp = Otlp::http(&url).unwrap();
    request(&to(&otlp), &[]).await;
    assert!(otlp.flush(SOON).await);
    let counts = otlp.counts();
    assert_eq!((counts.exported, counts.rejected), (1, 1), "{counts:?}");
    assert_eq!((counts.queued, counts.failed), (0, 0), "{counts:?}");
}

/// The connection that has died without a word is not used again.
#[tokio::test]
async fn a_dead_connection_costs_one_batch() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let otlp = Otlp::grpc(&url).unwrap().timeout(Duration::from_secs(2));
    let propagation = to(&otlp);
    request(&propagation, &[]).await;
    let (is_done, dead) = tokio::join!(otlp.flush(SOON), listener.accept());
    let _dead = dead.unwrap();
    assert!(is_done);
    assert_eq!(otlp.counts().failed, 2);
    let mut requests = serve(listener, Code::Ok);
    request(&propagation, &[]).await;
    assert!(otlp.flush(SOON).await);
    assert_eq!(otlp.counts().exported, 2);
    assert!(requests.try_recv().is_ok());
}
