//! What a workload's spans say of the process as a whole: OpenTelemetry's resource.

use std::borrow::Cow;

use crate::identity::Workload;
use crate::matcher::query;

/// The attributes of the resource, in order: of two with one name, the later counts.
pub(in crate::propagation) fn attributes(workload: &Workload) -> Vec<(Cow<'static, str>, String)> {
    let label = |key: &str| workload.labels().get(key).map(String::as_str);
    let namespace = workload.namespace();
    let mut attributes = Vec::with_capacity(8);
    let mut add = |name: &'static str, value: String| {
        attributes.push((Cow::Borrowed(name), value));
    };
    add(SERVICE_NAME, workload.trace_service());
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
    if let Some(pod) = workload.pod_name() {
        add("k8s.namespace.name", namespace.to_owned());
        add("k8s.pod.name", pod.to_owned());
        add("k8s.cluster.name", workload.cluster_id().to_owned());
    }
    if let Some(region) = workload.region() {
        add("cloud.region", region.to_owned());
    }
    if let Some(zone) = workload.zone() {
        add("cloud.availability_zone", zone.to_owned());
    }
    if let Some(text) = env("OTEL_RESOURCE_ATTRIBUTES") {
        let told = read_attributes(&text);
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

/// Reads `key=value,key=value`, percent-encoded. By OpenTelemetry's specification of resources
/// ("Specifying resource information via an environment variable") nothing of it counts where some
/// of it cannot be read.
fn read_attributes(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    let all: Option<Vec<_>> = pairs.map(pair).collect();
    all.unwrap_or_else(|| {
        // The text may be anybody's: it is not for the log.
        tracing::warn!(
            "OTEL_RESOURCE_ATTRIBUTES is not used: it is no list of `key=value`, percent-encoded, with commas between"
        );
        Vec::new()
    })
}

fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let (key, value) = (decoded(key.trim())?, decoded(value.trim())?);
    (!key.is_empty()).then_some((key, value))
}

fn decoded(text: &str) -> Option<String> {
    let mut escapes = text.split('%').skip(1).map(str::as_bytes);
    let is_escape = |rest: &[u8]| {
        let digits = rest.iter().take(2);
        digits.filter(|byte| byte.is_ascii_hexdigit()).count() == 2
    };
    if !escapes.all(is_escape) {
        return None;
    }
    String::from_utf8(query::percent_decode(text.as_bytes()).into_owned()).ok()
}

const SERVICE_NAME: &str = "service.name";
