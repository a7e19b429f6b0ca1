//! OpenTelemetry: the application's own spans between those of the mesh.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::channel;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use opentelemetry::trace::{SpanId, Status, TracerProvider};
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, InMemorySpanExporterBuilder, SdkTracerProvider, SimpleSpanProcessor,
    SpanData,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::Workload;
use tower_mesh::context::{self};
use tower_mesh::propagation::{OpenTelemetry, Propagation};
use tracing::{Event, Instrument, Subscriber, info_span};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use super::propagation::{get, text, traceparent};

/// An application's OpenTelemetry, its mesh, and what both exported.
struct App {
    exporter: InMemorySpanExporter,
    propagation: Propagation,
    provider: SdkTracerProvider,
}

impl App {
    fn new(percent: f64) -> Self {
        let workload = Workload::new("default", "patients");
        let exporter = InMemorySpanExporterBuilder::new().build();
        let resource = OpenTelemetry::resource(&workload);
        let spans = OpenTelemetry::new(SimpleSpanProcessor::new(exporter.clone()), &resource);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_span_processor(spans.clone())
            .build();
        let propagation = Propagation::new()
            .sample_percent(percent)
            .workload(&workload)
            .export_to(spans);
        Self {
            exporter,
            propagation,
            provider,
        }
    }

    fn spans(&self) -> Vec<SpanData> {
        self.exporter.get_finished_spans().unwrap()
    }
}

/// One request through a server whose handler opens spans of its own and calls another server.
async fn one_request(app: &App, is_activating: bool, headers: &[(&str, &str)]) -> Response<()> {
    let tracer = app.provider.tracer("app");
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_context_activation(is_activating);
    let _default = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let charts =
        app.propagation
            .server_layer()
            .layer(service_fn(async |_: Request<Empty<Bytes>>| {
                async {
                    tokio::task::yield_now().await;
                    Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                }
                .instrument(info_span!("read chart"))
                .await
            }));
    // Another service is another task, even in one process.
    let charts =
        app.propagation
            .client_layer()
            .layer(service_fn(move |call: Request<Empty<Bytes>>| {
                let answer = tokio::spawn(charts.clone().oneshot(call));
                async { answer.await.unwrap() }
            }));
    let patients =
        app.propagation
            .server_layer()
            .layer(service_fn(move |_: Request<Empty<Bytes>>| {
                let charts = charts.clone();
                async move {
                    tokio::task::yield_now().await;
                    async {
                        tokio::task::yield_now().await;
                        charts.oneshot(get("http://charts.default/7")).await
                    }
                    .instrument(info_span!("read patient"))
                    .await
                }
            }));
    let mut request = get("http://patients.default/7");
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let response = patients.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    body.collect().await.unwrap();
    Response::from_parts(head, ())
}

#[tokio::test]
async fn spans_of_the_application_nest_between_those_of_the_mesh() {
    for (is_activating, parent) in [(true, None), (false, None), (true, Some(traceparent(5)))] {
        let app = App::new(100.0);
        let headers: Vec<_> = parent
            .iter()
            .map(|value| ("traceparent", &**value))
            .collect();
        one_request(&app, is_activating, &headers).await;
        let spans = app.spans();
        let find = |name: &str| {
            spans
                .iter()
                .filter(|span| span.name == name)
                .collect::<Vec<_>>()
        };
        let [read_patient] = find("read patient")[..] else {
            panic!("{spans:#?}")
        };
        let [read_chart] = find("read chart")[..] else {
            panic!("{spans:#?}")
        };
        let servers = find("ingress");
        let [client] = find("egress charts.default")[..] else {
            panic!("{spans:#?}")
        };
        let by_id = |id: SpanId| {
            servers
                .iter()
                .find(|span| span.span_context.span_id() == id)
        };
        let outer = by_id(read_patient.parent_span_id).expect("nests under the server span");
        let inner = by_id(read_chart.parent_span_id).expect("nests under the server span");
        // Without activation, OpenTelemetry does not know which span of the application is entered.
        let caller = if is_activating { read_patient } else { outer };
        assert_eq!(client.parent_span_id, caller.span_context.span_id());
        assert_eq!(inner.parent_span_id, client.span_context.span_id());
        assert!(inner.parent_span_is_remote && !client.parent_span_is_remote);
        let is_root = parent.is_none();
        assert_eq!(outer.parent_span_id == SpanId::INVALID, is_root);
        assert_eq!(outer.parent_span_is_remote, !is_root);
        let trace = outer.span_context.trace_id();
        assert!(
            spans
                .iter()
                .all(|span| span.span_context.trace_id() == trace)
        );
        assert_eq!(spans.len(), 5);
        assert_eq!(outer.instrumentation_scope.name(), "tower-mesh");
        assert_eq!(outer.status, Status::Unset);
        assert!(outer.start_time <= outer.end_time);
    }
}

/// Two calls at once from inside a span of the handler's own, one of them with a context that the handler kept from elsewhere.
#[tokio::test]
async fn calls_at_once_are_children_of_the_span_that_the_handler_opened() {
    let app = App::new(100.0);
    let layer = tracing_opentelemetry::layer().with_tracer(app.provider.tracer("app"));
    let _default = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let (sent, came) = channel();
    let charts =
        app.propagation
            .client_layer()
            .layer(service_fn(move |call: Request<Empty<Bytes>>| {
                let _ = sent.send(call.headers().clone());
                async {
                    tokio::task::yield_now().await;
                    Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                }
            }));
    let patients =
        app.propagation
            .server_layer()
            .layer(service_fn(move |_: Request<Empty<Bytes>>| {
                let charts = charts.clone();
                async move {
                    let mut copied = get("http://charts.default/8");
                    for (name, value) in [("traceparent", traceparent(66)), ("b3", "0".to_owned())]
                    {
                        copied.headers_mut().insert(name, value.parse().unwrap());
                    }
                    let plain = charts.clone().oneshot(get("http://charts.default/7"));
                    let both = async { tokio::try_join!(plain, charts.oneshot(copied)) };
                    both.instrument(info_span!("read patient")).await?;
                    Ok::<_, Infallible>(text("done"))
                }
            }));
    let response = patients.oneshot(get("http://patients/")).await.unwrap();
    response.into_body().collect().await.unwrap();

    let spans = app.spans();
    let of = |name| spans.iter().filter(move |span| span.name == name);
    let own = of("read patient").next().unwrap();
    let calls: Vec<_> = of("egress charts.default").collect();
    let [one, other] = calls[..] else {
        panic!("{spans:#?}")
    };
    assert_ne!(one.span_context.span_id(), other.span_context.span_id());
    for call in calls {
        assert_eq!(call.parent_span_id, own.span_context.span_id());
        assert_eq!(call.span_context.trace_id(), own.span_context.trace_id());
    }
    for (headers, _) in came.try_iter().zip(0..2) {
        let trace = own.span_context.trace_id().to_string();
        let sent = headers["traceparent"].to_str().unwrap();
        assert!(sent.contains(&trace), "{headers:?}");
        assert_eq!(headers.get_all("traceparent").iter().count(), 1);
        assert!(!headers.contains_key("b3"), "{headers:?}");
        assert_eq!(headers["x-b3-traceid"], trace);
    }
}

/// The formatter of the module's documentation, writing to memory.
#[derive(Clone, Default)]
struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct WithTrace<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        fields: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        if let Some(trace) = context::current_trace() {
            write!(line, "trace_id={} ", trace.trace_id)?;
        }
        self.0.format_event(fields, line, event)
    }
}

#[tokio::test]
async fn log_lines_inside_a_request_carry_its_trace_id() {
    let lines = Lines::default();
    let written = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .event_format(WithTrace(Format::default().with_ansi(false)))
        .with_writer(move || written.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let service = Propagation::new().server_layer().layer(service_fn(
        async |request: Request<Empty<Bytes>>| {
            let path = request.uri().path().to_owned();
            tracing::info!("begins {path}");
            tokio::task::yield_now().await;
            let span = info_span!("inner");
            async { tracing::warn!("goes on {path}") }
                .instrument(span)
                .await;
            Ok::<_, Infallible>(text("done"))
        },
    ));
    let ask = |path: &'static str, trace| {
        let mut request = get(path);
        let value = traceparent(trace).parse().unwrap();
        request.headers_mut().insert("traceparent", value);
        service.clone().oneshot(request)
    };
    tracing::info!("outside");
    let (one, other) = tokio::join!(ask("/one", 1), ask("/other", 2));
    drop((one, other));
    tracing::info!("outside");

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let seen: Vec<_> = text.lines().collect();
    assert_eq!(seen.len(), 6, "{text}");
    for line in seen {
        let id = match line {
            _ if line.contains("/one") => format!("trace_id={:032x} ", 1),
            _ if line.contains("/other") => format!("trace_id={:032x} ", 2),
            _ => String::new(),
        };
        assert_eq!(line.contains("trace_id="), !id.is_empty(), "{line}");
        assert!(line.starts_with(&id), "{line}");
    }
}

#[tokio::test]
async fn children_of_unrecorded_requests_are_neither_exported_nor_roots() {
    for headers in [
        vec![],
        vec![("b3", "0")],
        vec![(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        )],
    ] {
        let app = App::new(0.0);
        one_request(&app, true, &headers).await;
        assert_eq!(app.spans(), []);
    }
}

#[tokio::test]
async fn a_call_in_a_trace_of_the_applications_own_belongs_to_it() {
    let app = App::new(0.0);
    let tracer = app.provider.tracer("app");
    let layer = tracing_opentelemetry::layer().with_tracer(tracer);
    let _default = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let client =
        app.propagation
            .client_layer()
            .layer(service_fn(async |_: Request<Empty<Bytes>>| {
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }));
    let job = async { client.oneshot(get("http://charts/")).await.map(drop) };
    job.instrument(info_span!("nightly job")).await.unwrap();
    let spans = app.spans();
    let [call, job] = &spans[..] else {
        panic!("{spans:#?}")
    };
    assert_eq!(call.parent_span_id, job.span_context.span_id());
    assert_eq!(call.span_context.trace_id(), job.span_context.trace_id());
}
