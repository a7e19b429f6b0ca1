//! What a workload's spans say of the process as a whole: OpenTelemetry's resource.

use std::borrow::Cow;

use super::resource_attributes;
use crate::identity::Workload;

/// The attributes of the resource, in order: of two with one name, the later counts.
pub(in crate::propagation) fn attributes(workload: &Workload) -> Vec<(Cow<'static, str>, String)> {
    let label = |key: &str| workload.labels().get(key).map(String::as_str);
    let namespace = workload.namespace();
    let app = label("app")
        .or_else(|| label("app.kubernetes.io/name"))
        .or_else(|| label("service.istio.io/canonical-name"))
        .unwrap_or_else(|| workload.workload_name());
    let mut attributes = Vec::with_capacity(8);
    let mut add = |name: &'static str, value: String| {
        attributes.push((Cow::Borrowed(name), value));
    };
    add(SERVICE_NAME, format!("{app}.{namespace}"));
    add("service.namespace", namespace.to_owned());
    add("telemetry.sdk.name", "tower-mesh".to_owned());
    add("telemetry.sdk.language", "rust".to_owned());
    add(
        "telemetry.sdk.version",
        env!("CARGO_PKG_VERSION").to_owned(),
    );
    let version = label("version").or_else(|| label("app.kubernetes.io/version"));
    if let Some(version) = version {
        add("service.version", version.to_owned());
    }
    if let Some(pod) = env("POD_NAME") {
        add("k8s.namespace.name", namespace.to_owned());
        add("k8s.pod.name", pod);
    }
    if let Some(text) = env("OTEL_RESOURCE_ATTRIBUTES") {
        let told = resource_attributes::read(&text);
        attributes.extend(told.into_iter().map(|(name, value)| (name.into(), value)));
    }
    if let Some(name) = env("OTEL_SERVICE_NAME") {
        attributes.push((Cow::Borrowed(SERVICE_NAME), name));
    }
    attributes
}

/// The name of the service alone.
#[cfg(feature = "zipkin")]
pub(in crate::propagation) fn service_name(workload: &Workload) -> String {
    let mut attributes = attributes(workload).into_iter().rev();
    let name = attributes.find(|(name, _)| name == SERVICE_NAME);
    name.map_or_else(String::new, |(_, value)| value)
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

const SERVICE_NAME: &str = "service.name";
