//! Decodes Telemetry, and the parts that MeshConfig shares with it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::meta::{no_dry_run, selector, target_refs};
use super::value::header_name;
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;
use crate::istio::{
    CustomTag, Meta, Metric, MetricSelector, MetricsOverride, Percentage, TagOverride, Telemetry,
    TelemetryAccessLogging, TelemetryMetrics, TelemetryMode, TelemetryTracing, Text,
};

const SPEC: &[&str] = &[
    "selector",
    "targetRef",
    "targetRefs",
    "tracing",
    "metrics",
    "accessLogging",
];
const TRACING: &[&str] = &[
    "match",
    "providers",
    "randomSamplingPercentage",
    "disableSpanReporting",
    "customTags",
    "useRequestIdForTraceSampling",
    "enableIstioTags",
    "disableContextPropagation",
];
const METRICS: &[&str] = &["providers", "reportingInterval", "overrides"];
const OVERRIDE: &[&str] = &["match", "disabled", "tagOverrides"];
const ACCESS_LOGGING: &[&str] = &["match", "providers", "disabled", "filter"];

const MODES: &[(&str, TelemetryMode)] = &[
    ("CLIENT_AND_SERVER", TelemetryMode::ClientAndServer),
    ("CLIENT", TelemetryMode::Client),
    ("SERVER", TelemetryMode::Server),
];
const ALL_METRICS: &str = "ALL_METRICS";

/// `Telemetry`, `spec`.
pub(in crate::istio) fn telemetry(meta: Meta, spec: &Cursor<'_, '_>) -> Option<Telemetry> {
    no_dry_run(&meta, spec);
    let fields = spec.fields(SPEC)?;
    Some(Telemetry {
        selector: selector(fields),
        target_refs: target_refs(fields),
        tracing: entries(fields, "tracing", tracing),
        metrics: entries(fields, "metrics", metrics),
        access_logging: entries(fields, "accessLogging", access_logging),
        meta,
    })
}

fn tracing(at: &Cursor<'_, '_>) -> Option<TelemetryTracing> {
    let fields = at.fields(TRACING)?;
    let providers = providers(fields);
    if let (Some(list), true) = (fields.get("providers"), providers.len() > 1) {
        list.note("only the first provider counts");
    }
    Some(TelemetryTracing {
        mode: mode(fields),
        providers,
        random_sampling_percentage: fields
            .get("randomSamplingPercentage")
            .and_then(|at| percentage(&at)),
        disable_span_reporting: choice(fields, "disableSpanReporting"),
        custom_tags: fields.get("customTags").map(|tags| custom_tags(&tags)),
        use_request_id_for_trace_sampling: choice(fields, "useRequestIdForTraceSampling"),
        enable_istio_tags: choice(fields, "enableIstioTags"),
        disable_context_propagation: choice(fields, "disableContextPropagation"),
        at: at.at(),
    })
}

/// `match` with nothing but a mode.
fn mode(fields: Fields<'_, '_>) -> TelemetryMode {
    let Some(at) = fields.get("match") else {
        return TelemetryMode::default();
    };
    at.fields(&["mode"])
        .map_or_else(TelemetryMode::default, |fields| fields.word("mode", MODES))
}

fn choice(fields: Fields<'_, '_>, name: &'static str) -> Option<bool> {
    fields.get(name)?.boolean()
}

fn providers(fields: Fields<'_, '_>) -> Vec<Text> {
    entries(fields, "providers", |at| {
        let fields = at.fields(&["name"])?;
        let message = "is missing; write the name of one of MeshConfig's extensionProviders";
        fields.demand("name", message)?.filled()
    })
}

/// A number from 0 to 100.
fn percentage(at: &Cursor<'_, '_>) -> Option<Percentage> {
    let found = hundredths(at).filter(|hundredths| *hundredths <= 10_000);
    if found.is_none() {
        at.wrong("is no percentage; write a number from 0 to 100, such as 12.5");
    }
    found.map(Percentage::from_hundredths)
}

/// A decimal number without sign in hundredths, of which it has at most so many as 32 bits hold.
pub(super) fn hundredths(at: &Cursor<'_, '_>) -> Option<u32> {
    let text = &at.node().scalar()?.text;
    let is_plain =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+');
    let starts = text
        .bytes()
        .next()
        .is_some_and(|first| first.is_ascii_digit() || first == b'.');
    if !starts || !text.bytes().all(is_plain) {
        return None;
    }
    let hundredths = (text.parse::<f64>().ok()? * 100.0).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the bounds of the type"
    )]
    (0.0..=f64::from(u32::MAX))
        .contains(&hundredths)
        .then_some(hundredths as u32)
}

/// `customTags`, of Telemetry and of MeshConfig.
pub(super) fn custom_tags(at: &Cursor<'_, '_>) -> BTreeMap<String, CustomTag> {
    let mut tags = BTreeMap::new();
    for (name, tag) in at.pairs() {
        if !is_tag_name(name) {
            tag.wrong("a tag's name has 1 to 128 printable characters of ASCII without blanks");
            continue;
        }
        if tags.len() == MAX_TAGS {
            at.wrong(format!("has more than {MAX_TAGS} tags; take some out"));
            break;
        }
        if let Some(value) = custom_tag(&tag) {
            tags.insert(name.to_owned(), value);
        }
    }
    tags
}

/// More tags on a span help nobody.
const MAX_TAGS: usize = 64;

fn is_tag_name(name: &str) -> bool {
    (1..=128).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn custom_tag(at: &Cursor<'_, '_>) -> Option<CustomTag> {
    const KINDS: &[&str] = &["literal", "environment", "header", "formatter"];
    let fields = at.fields(KINDS)?;
    let mut written = KINDS.iter().filter_map(|kind| fields.get(kind));
    let (first, second) = (written.next(), written.next());
    if let Some(second) = second {
        second.wrong(
            "is a second source of one tag; keep one of literal, environment, header and formatter",
        );
        return None;
    }
    if first.is_none() && fields.other_than(KINDS).is_empty() {
        at.wrong("has no value; write literal, environment, header or formatter");
    }
    first?;
    let value = |kind: &'static str| {
        let at = fields.get(kind)?;
        let message = "is missing; write the tag's value";
        at.fields(&["value"])?.demand("value", message)?.filled()
    };
    let named = |kind: &'static str| {
        let at = fields.get(kind)?;
        let fields = at.fields(&["name", "defaultValue"])?;
        let at = fields.demand("name", "is missing; write a name")?;
        let name = at.filled()?;
        if kind == "header" {
            header_name(&at, &name);
        }
        Some((name, fields.string("defaultValue")))
    };
    if let Some((name, default_value)) = named("header") {
        return Some(CustomTag::Header {
            name,
            default_value,
        });
    }
    if let Some((name, default_value)) = named("environment") {
        return Some(CustomTag::Environment {
            name,
            default_value,
        });
    }
    let literal = value("literal").map(CustomTag::Literal);
    literal.or_else(|| value("formatter").map(CustomTag::Formatter))
}

fn metrics(at: &Cursor<'_, '_>) -> Option<TelemetryMetrics> {
    let fields = at.fields(METRICS)?;
    Some(TelemetryMetrics {
        providers: providers(fields),
        reporting_interval: fields.get("reportingInterval").and_then(|at| interval(&at)),
        overrides: entries(fields, "overrides", metrics_override),
        at: at.at(),
    })
}

fn interval(at: &Cursor<'_, '_>) -> Option<Duration> {
    let interval = at.duration()?;
    if interval < Duration::from_millis(1) {
        at.wrong("is less than a millisecond; write for example 5s");
    }
    Some(interval)
}

fn metrics_override(at: &Cursor<'_, '_>) -> Option<MetricsOverride> {
    let fields = at.fields(OVERRIDE)?;
    let selected = fields.get("match");
    let (metric, mode) = match &selected {
        Some(at) => metric_match(at)?,
        None => (MetricSelector::All, TelemetryMode::default()),
    };
    let tags = fields.get("tagOverrides");
    let mut tag_overrides = BTreeMap::new();
    for (label, tag) in tags.iter().flat_map(Cursor::pairs) {
        if tag_overrides.len() == MAX_LABELS {
            at.wrong(format!(
                "overrides more than {MAX_LABELS} tags; take some out"
            ));
            break;
        }
        if let Some(one) = tag_override(label, &tag) {
            tag_overrides.insert(label.to_owned(), one);
        }
    }
    Some(MetricsOverride {
        metric,
        mode,
        disabled: choice(fields, "disabled"),
        tag_overrides,
        at: at.at(),
    })
}

fn metric_match(at: &Cursor<'_, '_>) -> Option<(MetricSelector, TelemetryMode)> {
    let fields = at.fields(&["metric", "customMetric", "mode"])?;
    let mode = fields.word("mode", MODES);
    let custom = fields.get("customMetric");
    let Some(at) = fields.get("metric") else {
        let custom = match custom {
            Some(at) => Some(at.filled()?),
            None => None,
        };
        return Some((
            custom.map_or(MetricSelector::All, MetricSelector::Custom),
            mode,
        ));
    };
    if let Some(custom) = custom {
        custom.wrong("cannot be combined with metric; keep one");
        return None;
    }
    let mut words = vec![(ALL_METRICS, None)];
    words.extend(Metric::ALL.map(|metric| (metric.as_str(), Some(metric))));
    let metric = at.word(&words)?;
    Some((
        metric.map_or(MetricSelector::All, MetricSelector::Metric),
        mode,
    ))
}

/// More labels help nobody, and each is a part of every series.
const MAX_LABELS: usize = 64;

fn tag_override(label: &str, at: &Cursor<'_, '_>) -> Option<TagOverride> {
    let fields = at.fields(&["operation", "value"])?;
    let removes = fields.word("operation", &[("UPSERT", false), ("REMOVE", true)]);
    if !is_label_name(label) {
        at.wrong(format!(
            "`{label}` is no label of Prometheus; write letters, digits and _, no digit first, \
             no __ at the start, at most 64, and not le"
        ));
        return None;
    }
    let value = fields.get("value");
    if removes {
        if let Some(value) = value.filter(|value| value.str() != Some("")) {
            value.wrong("REMOVE takes no value; leave it out, or write UPSERT");
        }
        return Some(TagOverride::Remove(at.at()));
    }
    let Some(value) = value else {
        at.missing(
            "value",
            "is missing; UPSERT needs an expression in CEL, such as request.host",
        );
        return None;
    };
    value.filled().map(TagOverride::Upsert)
}

fn is_label_name(label: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=64).contains(&label.len())
        && label.bytes().all(good)
        && !label.starts_with("__")
        && !label.starts_with(|first: char| first.is_ascii_digit())
        && label != "le"
}

fn access_logging(at: &Cursor<'_, '_>) -> Option<TelemetryAccessLogging> {
    let fields = at.fields(ACCESS_LOGGING)?;
    let filter = fields.get("filter").and_then(|at| {
        let message = "is missing; write a condition in CEL, such as response.code >= 400";
        at.fields(&["expression"])?
            .demand("expression", message)?
            .filled()
    });
    Some(TelemetryAccessLogging {
        mode: mode(fields),
        providers: providers(fields),
        disabled: choice(fields, "disabled"),
        filter,
        at: at.at(),
    })
}

/// A list of at most so many entries that no merge of several takes long.
fn entries<'t, T>(
    fields: Fields<'t, '_>,
    name: &'static str,
    decode: impl FnMut(&Cursor<'t, '_>) -> Option<T>,
) -> Vec<T> {
    if let Some(list) = fields.listed(name)
        && list.items().len() > MAX_ENTRIES
    {
        let written = list.items().len();
        list.wrong(format!(
            "has {written} entries, more than {MAX_ENTRIES}; take some out"
        ));
        return Vec::new();
    }
    fields.each(name, decode)
}

const MAX_ENTRIES: usize = 128;
