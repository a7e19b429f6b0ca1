//! Merges `metrics`.

use std::collections::BTreeMap;

use super::effective::EffectiveMetrics;
use super::mode::Mode;
use super::providers::{Providers, Use, keys};
use crate::istio::{
    MeshConfig, Metric, MetricSelector, MetricsOverride, TagOverride, Telemetry, Text,
};

/// The metrics of the first provider that is served.
pub(super) fn merge(
    selected: &[&Telemetry],
    mesh: &MeshConfig,
    mode: Mode,
    providers: &mut Providers<'_>,
) -> EffectiveMetrics {
    let istios = [Text::from(PROMETHEUS)];
    let defaults = mesh.telemetry.default_metrics.as_deref().unwrap_or(&istios);
    let entries = || {
        let selected = selected.iter().copied();
        selected.flat_map(|resource| resource.metrics.iter().map(move |entry| (resource, entry)))
    };
    let mut listed = entries().map(|(_, entry)| entry.providers.as_slice());
    let last = listed.rfind(|providers| !providers.is_empty());
    let in_scope = keys(last.unwrap_or(defaults));
    let mut served = in_scope.iter();
    let served = served.find(|(_, name)| providers.find(name, Use::Metrics).is_some());
    let Some((served, _)) = served else {
        return EffectiveMetrics {
            is_off: true,
            ..EffectiveMetrics::default()
        };
    };
    let mut merged = EffectiveMetrics::default();
    let mut inherited = defaults;
    for (resource, entry) in entries() {
        if !entry.providers.is_empty() {
            inherited = &entry.providers;
        }
        if !keys(inherited).iter().any(|(key, _)| key == served) {
            continue;
        }
        merged.reporting_interval = entry.reporting_interval.or(merged.reporting_interval);
        for one in entry.overrides.iter().filter(|one| mode.is_of(one.mode)) {
            apply(&mut merged, one, resource, providers);
        }
    }
    merged
}

const PROMETHEUS: &str = "prometheus";

fn apply(
    merged: &mut EffectiveMetrics,
    one: &MetricsOverride,
    resource: &Telemetry,
    providers: &mut Providers<'_>,
) {
    if one.metric == MetricSelector::All && one.disabled == Some(true) {
        merged.is_off = true;
        return;
    }
    merged.is_off = false;
    let is_meant = |metric: Metric| match &one.metric {
        MetricSelector::All => true,
        MetricSelector::Metric(named) => metric == *named,
        MetricSelector::Custom(name) => is_named(metric, name),
    };
    if let MetricSelector::Custom(name) = &one.metric
        && !Metric::ALL.into_iter().any(is_meant)
    {
        let message = format!(
            "no metric `{name}` is counted here, so this changes nothing; name one of Istio's, \
             such as {}",
            Metric::RequestCount.as_str()
        );
        providers.note(name.at(), "metrics.overrides.match.customMetric", message);
    }
    for metric in Metric::ALL.into_iter().filter(|metric| is_meant(*metric)) {
        let Some(target) = merged.metrics.get_mut(metric.index()) else {
            continue;
        };
        if let Some(disabled) = one.disabled {
            target.is_disabled = disabled;
        }
        for (label, tag) in &one.tag_overrides {
            let is_new = !target.tags.contains_key(label);
            if is_new && target.tags.len() >= MAX_LABELS && matches!(tag, TagOverride::Upsert(_)) {
                let (namespace, name) = (&resource.meta.namespace, &resource.meta.name);
                let message = format!(
                    "the Telemetry `{namespace}/{name}` and those before it change more than \
                     {MAX_LABELS} labels of one metric; take some out"
                );
                providers.refuse(tag.at(), "metrics.overrides.tagOverrides", message);
                continue;
            }
            set(&mut target.tags, label, tag, metric, providers);
        }
    }
}

fn set(
    tags: &mut BTreeMap<String, TagOverride>,
    label: &str,
    tag: &TagOverride,
    metric: Metric,
    providers: &mut Providers<'_>,
) {
    if let TagOverride::Remove(at) = tag
        && !is_standard(label, metric)
    {
        // A new label that an earlier override has added goes; there is no other to remove.
        if tags.remove(label).is_none() {
            let message =
                format!("no metric has a label `{label}` of its own, so this removes nothing");
            providers.note(at, "metrics.overrides.tagOverrides", message);
        }
        return;
    }
    tags.insert(label.to_owned(), tag.clone());
}

/// The labels of one metric that resources may change in all, as many as one override may: each
/// costs every series of every scrape.
const MAX_LABELS: usize = 64;

/// Whether a metric is meant by the name that Prometheus shows, with Istio's prefix or without.
fn is_named(metric: Metric, name: &str) -> bool {
    let name = name.strip_prefix("istio_").unwrap_or(name);
    let own = match metric {
        Metric::RequestCount => "requests_total",
        Metric::RequestDuration => "request_duration_milliseconds",
        Metric::RequestSize => "request_bytes",
        Metric::ResponseSize => "response_bytes",
        Metric::GrpcRequestMessages => "request_messages_total",
        Metric::GrpcResponseMessages => "response_messages_total",
        Metric::TcpOpenedConnections => "tcp_connections_opened_total",
        Metric::TcpClosedConnections => "tcp_connections_closed_total",
        Metric::TcpSentBytes => "tcp_sent_bytes_total",
        Metric::TcpReceivedBytes => "tcp_received_bytes_total",
    };
    own == name
}

/// Whether a metric has this label without any override.
fn is_standard(label: &str, metric: Metric) -> bool {
    let of_requests = matches!(
        metric,
        Metric::RequestCount | Metric::RequestDuration | Metric::RequestSize | Metric::ResponseSize
    );
    let of_messages = matches!(
        metric,
        Metric::GrpcRequestMessages | Metric::GrpcResponseMessages
    );
    BASE.contains(&label)
        || of_requests && ["response_code", "grpc_response_status"].contains(&label)
        || !of_messages
            && [
                "request_protocol",
                "response_flags",
                "connection_security_policy",
            ]
            .contains(&label)
}

const BASE: [&str; 20] = [
    "reporter",
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
];
