//! The exporter of spans that MeshConfig's providers describe.

use std::sync::Arc;

use crate::identity::Workload;
use crate::istio::{Problem, Text, TracingService};
use crate::propagation::SpanSink;
use crate::source::Configuration;
use crate::telemetry::{EffectiveTelemetry, SpanProvider};

/// The exporter for the provider that counts for the workload at the start: that of its requests,
/// else that of its calls, else MeshConfig's `defaultConfig.tracing.zipkin`. `None` if none is named,
/// or if the feature for it is not built in.
///
/// # Errors
/// An address that cannot be used.
pub(in crate::mesh) fn exporter(
    configuration: &Configuration,
    workload: &Workload,
) -> Result<Option<Arc<dyn SpanSink>>, Problem> {
    let (resources, mesh) = (&configuration.resources, &configuration.mesh_config);
    let found = EffectiveTelemetry::compile(resources, mesh, workload);
    for side in [&found.server, &found.client] {
        match &side.tracing.provider {
            SpanProvider::Zipkin(service) => return zipkin(&url(service), &service.service),
            SpanProvider::OpenTelemetry(service) => return otlp(&url(service), &service.service),
            _ => {}
        }
    }
    let settings = &mesh.telemetry;
    match &settings.zipkin_address {
        Some(address) if settings.enable_tracing != Some(false) => {
            zipkin(&format!("http://{address}"), address)
        }
        _ => Ok(None),
    }
}

/// The address of a service, `[namespace/]host`.
pub(super) fn url(service: &TracingService) -> String {
    let named = service.service.as_str();
    let host = named.rsplit('/').next().unwrap_or(named);
    let path = service.path.as_deref().unwrap_or_default();
    format!("http://{host}:{}{path}", service.port)
}

#[cfg(any(feature = "otlp", feature = "zipkin"))]
fn made<S: SpanSink>(
    sink: Result<S, crate::propagation::EndpointError>,
    written: &Text,
) -> Result<Option<Arc<dyn SpanSink>>, Problem> {
    match sink {
        Ok(sink) => Ok(Some(Arc::new(sink))),
        Err(error) => Err(Problem::new(
            written.at().clone(),
            "service",
            error.to_string(),
        )),
    }
}

#[cfg(feature = "zipkin")]
fn zipkin(url: &str, written: &Text) -> Result<Option<Arc<dyn SpanSink>>, Problem> {
    made(crate::propagation::Zipkin::to(url), written)
}

#[cfg(not(feature = "zipkin"))]
#[expect(clippy::unnecessary_wraps, reason = "as the one with the feature")]
fn zipkin(_: &str, _: &Text) -> Result<Option<Arc<dyn SpanSink>>, Problem> {
    Ok(None)
}

#[cfg(feature = "otlp")]
fn otlp(url: &str, written: &Text) -> Result<Option<Arc<dyn SpanSink>>, Problem> {
    made(crate::propagation::Otlp::to(url), written)
}

#[cfg(not(feature = "otlp"))]
#[expect(clippy::unnecessary_wraps, reason = "as the one with the feature")]
fn otlp(_: &str, _: &Text) -> Result<Option<Arc<dyn SpanSink>>, Problem> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Fixed;

    #[test]
    #[cfg(all(feature = "zipkin", feature = "otlp"))]
    fn the_provider_in_use_makes_the_exporter() {
        let telemetry = |provider: &str| {
            format!(
                "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\n\
                 metadata: {{name: t, namespace: istio-system}}\n\
                 spec: {{tracing: [{{providers: [{{name: {provider}}}]}}]}}\n"
            )
        };
        let settings = "extensionProviders: [{name: z, zipkin: {service: tracing/zipkin.svc, port: 9411}}, {name: o, opentelemetry: {service: otel.svc, port: 4317}}]";
        let workload = Workload::new("default", "app");
        let of = |text: &str, settings: &str| {
            let files = Fixed::yaml("t.yaml", text).mesh_config("mesh.yaml", settings);
            exporter(&files.load("default").unwrap(), &workload).unwrap()
        };
        let formats = |sink: Option<Arc<dyn SpanSink>>| sink.map(|sink| sink.usual_formats().len());
        assert_eq!(formats(of(&telemetry("z"), settings)), Some(2));
        assert!(of(&telemetry("o"), settings).is_some());
        assert!(of(&telemetry("nobody"), settings).is_none());
        assert!(of("", settings).is_none());
        let address = "defaultConfig: {tracing: {zipkin: {address: 'zipkin:9411'}}}";
        assert!(of("", address).is_some());
        let off = format!("{{enableTracing: false, {address}}}");
        assert!(of("", &off).is_none());
    }

    #[test]
    fn a_service_may_have_a_namespace() {
        let service = |service: &str, path: Option<&str>| TracingService {
            service: service.into(),
            port: 4318,
            path: path.map(str::to_owned),
        };
        assert_eq!(url(&service("a/b.svc", None)), "http://b.svc:4318");
        assert_eq!(
            url(&service("b", Some("/v1/traces"))),
            "http://b:4318/v1/traces"
        );
    }
}
