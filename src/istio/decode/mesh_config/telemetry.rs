//! Decodes what MeshConfig says about telemetry.

use crate::istio::decode::telemetry::{custom_tags, hundredths};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;
use crate::istio::{
    FileLogFormat, MeshTelemetry, Percentage, TelemetryProvider, Text, TracingService,
    TracingServiceName,
};

/// The fields that this file reads whole.
pub(super) const FIELDS: [&str; 5] = [
    "accessLogFile",
    "accessLogFormat",
    "accessLogEncoding",
    "defaultProviders",
    "enableTracing",
];

/// The kinds of providers that only telemetry uses, and that this crate does not serve.
const UNSERVED: [&str; 8] = [
    "envoyHttpAls",
    "envoyTcpAls",
    "stackdriver",
    "datadog",
    "skywalking",
    "lightstep",
    "opencensus",
    "sds",
];

const SERVICE_NAMES: &[(&str, TracingServiceName)] = &[
    (
        "APP_LABEL_AND_NAMESPACE",
        TracingServiceName::AppLabelAndNamespace,
    ),
    ("CANONICAL_NAME_ONLY", TracingServiceName::CanonicalNameOnly),
    (
        "CANONICAL_NAME_AND_NAMESPACE",
        TracingServiceName::CanonicalNameAndNamespace,
    ),
];

/// The settings of the mesh.
pub(super) fn mesh_telemetry(fields: Fields<'_, '_>) -> MeshTelemetry {
    let names = |at: &Cursor<'_, '_>| at.filled();
    let defaults = fields.get("defaultProviders");
    let defaults = defaults.as_ref().and_then(Cursor::any_fields);
    let list = |name| defaults.map_or_else(Vec::new, |defaults| defaults.each(name, names));
    let is_listed = |name| defaults.is_some_and(|defaults| defaults.get(name).is_some());
    let config = fields.get("defaultConfig");
    let config = config.as_ref().and_then(Cursor::any_fields);
    let tracing = config.and_then(|config| config.get("tracing"));
    let tracing = tracing.as_ref().and_then(Cursor::any_fields);
    let zipkin = tracing.and_then(|tracing| tracing.get("zipkin"));
    let zipkin = zipkin.as_ref().and_then(Cursor::any_fields);
    let tags = tracing.and_then(|tracing| tracing.get("customTags"));
    MeshTelemetry {
        access_log_file: fields.text("accessLogFile").filter(|file| !file.is_empty()),
        access_log_format: access_log_format(fields),
        default_tracing: list("tracing"),
        default_metrics: is_listed("metrics").then(|| list("metrics")),
        default_access_logging: list("accessLogging"),
        enable_tracing: fields.get("enableTracing").and_then(|at| at.boolean()),
        sampling: tracing
            .and_then(|tracing| tracing.get("sampling"))
            .and_then(|at| sampling(&at)),
        custom_tags: tags.map(|tags| custom_tags(&tags)),
        zipkin_address: zipkin.and_then(|zipkin| zipkin.filled("address")),
        tracing_service_name: config
            .and_then(|config| config.get("tracingServiceName"))
            .and_then(|at| at.word(SERVICE_NAMES)),
    }
}

/// Whether `defaultConfig` has fields that nothing reads.
pub(super) fn has_unused_defaults(fields: Fields<'_, '_>) -> bool {
    let config = fields.get("defaultConfig");
    let config = config.as_ref().and_then(Cursor::any_fields);
    config.is_some_and(|config| {
        !config
            .other_than(&["tracing", "tracingServiceName"])
            .is_empty()
    })
}

fn sampling(at: &Cursor<'_, '_>) -> Option<Percentage> {
    let found = hundredths(at);
    match found {
        None => {
            at.wrong("is no percentage; write a number from 0 to 100, such as 12.5");
            None
        }
        // As Istio reads it.
        Some(hundredths) if hundredths > 10_000 => {
            at.note("is more than 100, which Istio reads as 1; write a number from 0 to 100");
            Some(Percentage::from_hundredths(100))
        }
        Some(hundredths) => Some(Percentage::from_hundredths(hundredths)),
    }
}

fn access_log_format(fields: Fields<'_, '_>) -> FileLogFormat {
    let is_json = fields.word("accessLogEncoding", &[("TEXT", false), ("JSON", true)]);
    let at = fields.get("accessLogFormat");
    let text = at.as_ref().and_then(|at| at.text());
    match (text.filter(|text| !text.is_empty()), is_json) {
        (None, false) => FileLogFormat::Default,
        (None, true) => FileLogFormat::DefaultJson,
        (Some(text), false) => FileLogFormat::Text(text),
        (Some(text), true) => json_labels(&text).map_or_else(
            || {
                if let Some(at) = at {
                    at.wrong("is no JSON object of texts, which accessLogEncoding: JSON needs");
                }
                FileLogFormat::DefaultJson
            },
            FileLogFormat::Labels,
        ),
    }
}

fn json_labels(text: &Text) -> Option<Vec<(Text, Text)>> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let labels = object.into_iter().map(|(key, value)| {
        let at = || text.at().clone();
        Some((Text::new(key, at()), Text::new(value.as_str()?, at())))
    });
    labels.collect()
}

/// A provider that telemetry can name; `None` if it is of no such kind.
pub(super) fn provider(fields: Fields<'_, '_>) -> Option<Option<TelemetryProvider>> {
    if fields.get("prometheus").is_some() {
        return Some(Some(TelemetryProvider::Prometheus));
    }
    if let Some(at) = fields.get("envoyFileAccessLog") {
        return Some(file_access_log(&at));
    }
    if let Some(at) = fields.get("envoyOtelAls") {
        return Some(otel_access_log(&at));
    }
    if let Some(at) = fields.get("zipkin") {
        let service = service(&at, |fields| fields.filled("path").map(String::from));
        return Some(service.map(TelemetryProvider::Zipkin));
    }
    if let Some(at) = fields.get("opentelemetry") {
        let path = |fields: Fields<'_, '_>| {
            let http = fields.get("http")?;
            let path = http.any_fields()?.filled("path").map(String::from);
            Some(path.unwrap_or_else(|| "/v1/traces".to_owned()))
        };
        return Some(service(&at, path).map(TelemetryProvider::OpenTelemetry));
    }
    let mut unserved = UNSERVED.iter().filter(|kind| fields.get(kind).is_some());
    let kind = unserved.next()?;
    Some(Some(TelemetryProvider::Unserved((*kind).to_owned())))
}

fn file_access_log(at: &Cursor<'_, '_>) -> Option<TelemetryProvider> {
    let fields = at.any_fields()?;
    let format = fields.get("logFormat");
    let format = match &format {
        Some(at) => log_format(at)?,
        None => FileLogFormat::Default,
    };
    Some(TelemetryProvider::FileAccessLog {
        path: fields.text("path").filter(|path| !path.is_empty()),
        format,
        omit_empty_values: fields.boolean("omitEmptyValues"),
    })
}

fn otel_access_log(at: &Cursor<'_, '_>) -> Option<TelemetryProvider> {
    let collector = service(at, |_| None)?;
    let format = at.any_fields()?.get("logFormat");
    let format = match &format {
        Some(at) => body_format(at)?,
        None => FileLogFormat::Default,
    };
    Some(TelemetryProvider::OtelAccessLog { collector, format })
}

/// The format of a record's body. Beside a text, Istio makes the labels attributes.
fn body_format(at: &Cursor<'_, '_>) -> Option<FileLogFormat> {
    let fields = at.fields(&["text", "labels"])?;
    match (fields.get("text"), fields.get("labels")) {
        (Some(_), Some(labels)) => {
            labels.note(
                "are no attributes of log records here, and are left out beside a text; write \
                 them into the text",
            );
            Some(text_format(fields))
        }
        _ => log_format(at),
    }
}

fn text_format(fields: Fields<'_, '_>) -> FileLogFormat {
    let text = fields.text("text").filter(|text| !text.is_empty());
    text.map_or(FileLogFormat::Default, FileLogFormat::Text)
}

fn log_format(at: &Cursor<'_, '_>) -> Option<FileLogFormat> {
    let fields = at.fields(&["text", "labels"])?;
    let Some(labels) = fields.get("labels") else {
        return Some(text_format(fields));
    };
    if let Some(text) = fields.get("text") {
        text.wrong("cannot be combined with labels; keep one");
        return None;
    }
    let labels = labels.pairs().filter_map(|(key, value)| {
        let text = value.text()?;
        Some((Text::new(key, value.at()), text))
    });
    let labels: Vec<_> = labels.collect();
    // Istio writes its own object where nothing is listed.
    Some(match labels.is_empty() {
        true => FileLogFormat::DefaultJson,
        false => FileLogFormat::Labels(labels),
    })
}

fn service(
    at: &Cursor<'_, '_>,
    path: impl FnOnce(Fields<'_, '_>) -> Option<String>,
) -> Option<TracingService> {
    let fields = at.any_fields()?;
    let message = "is missing; write the host of the service, or NAMESPACE/HOST";
    let service = fields.demand("service", message)?.filled()?;
    let port = fields.demand("port", "is missing; write the service's port")?;
    Some(TracingService {
        service,
        port: port.port()?,
        path: path(fields),
    })
}
