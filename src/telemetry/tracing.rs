//! Merges `tracing`.

use super::effective::{EffectiveTracing, SpanProvider};
use super::mode::Mode;
use super::providers::{Providers, Use};
use crate::istio::{MeshConfig, Telemetry, TelemetryProvider, Text};

/// Field by field: the last that is set counts.
pub(super) fn merge(
    selected: &[&Telemetry],
    mesh: &MeshConfig,
    mode: Mode,
    providers: &mut Providers<'_>,
) -> EffectiveTracing {
    let settings = &mesh.telemetry;
    let mut merged = EffectiveTracing {
        sampling: settings.sampling,
        custom_tags: settings.custom_tags.clone().unwrap_or_default(),
        ..EffectiveTracing::default()
    };
    let mut named: Option<&Text> = settings.default_tracing.first();
    let mut is_disabled = None;
    let entries = selected.iter().flat_map(|resource| &resource.tracing);
    for entry in entries.filter(|entry| mode.is_of(entry.mode)) {
        named = entry.providers.first().or(named);
        is_disabled = entry.disable_span_reporting.or(is_disabled);
        merged.sampling = entry.random_sampling_percentage.or(merged.sampling);
        merged.uses_request_id = entry
            .use_request_id_for_trace_sampling
            .or(merged.uses_request_id);
        merged.has_istio_tags = entry.enable_istio_tags.or(merged.has_istio_tags);
        let propagates = entry.disable_context_propagation.map(|disabled| !disabled);
        merged.propagates_context = propagates.or(merged.propagates_context);
        if let Some(tags) = &entry.custom_tags {
            merged.custom_tags.clone_from(tags);
        }
    }
    merged.provider = match named.map(|name| providers.find(name, Use::Tracing)) {
        None => SpanProvider::Application,
        Some(Some(TelemetryProvider::Zipkin(service))) => SpanProvider::Zipkin(service),
        Some(Some(TelemetryProvider::OpenTelemetry(service))) => {
            SpanProvider::OpenTelemetry(service)
        }
        Some(_) => SpanProvider::Missing,
    };
    // `enableTracing` is the older switch, which a provider makes pointless.
    let is_switched_off =
        merged.provider == SpanProvider::Application && settings.enable_tracing == Some(false);
    merged.is_off =
        is_disabled.unwrap_or(is_switched_off) || merged.provider == SpanProvider::Missing;
    merged
}
