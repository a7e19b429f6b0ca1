//! The tables of selection and merge, row by row.

use super::{EffectiveTelemetry, ModeTelemetry, SpanProvider};
use crate::Workload;
use crate::istio::{Metric, TagOverride, parse, parse_mesh_config};

const MESH: &str = "
accessLogFile: /dev/stderr
extensionProviders:
- {name: zip, zipkin: {service: zipkin.istio-system.svc, port: 9411}}
- {name: otel, opentelemetry: {service: otel.istio-system.svc, port: 4317}}
- {name: prom2, prometheus: {}}
- {name: file, envoyFileAccessLog: {path: /tmp/a.log}}
- {name: json, envoyFileAccessLog: {path: /tmp/b.log, logFormat: {labels: {}}}}
- {name: als, envoyOtelAls: {service: als, port: 1}}
- {name: hals, envoyHttpAls: {service: als, port: 1}}
- {name: authz, envoyExtAuthzGrpc: {service: authz, port: 1}}
";

/// Who is meant: the mesh, the namespace, the workload, or none of them.
#[derive(Clone, Copy, Debug)]
enum For {
    Mesh,
    Namespace,
    Workload,
    OtherWorkload,
    OtherNamespace,
}
use For::{Mesh, Namespace, OtherNamespace, OtherWorkload, Workload as Own};

/// Resources: for whom each is, and the rest of its spec.
type Resources = &'static [(For, &'static str)];

fn document(index: usize, place: For, spec: &str) -> String {
    let namespace = match place {
        Mesh => "istio-system",
        Namespace | Own | OtherWorkload => "default",
        OtherNamespace => "else",
    };
    let selector = match place {
        Own => "  selector: {matchLabels: {app: patients}}\n",
        OtherWorkload => "  selector: {matchLabels: {app: desk}}\n",
        _ => "",
    };
    format!(
        "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\n\
         metadata: {{name: t{index}, namespace: {namespace}}}\nspec:\n{selector}  {spec}\n---\n"
    )
}

fn merged_in(mesh: &str, written: &[(For, &str)]) -> EffectiveTelemetry {
    let documents = written.iter().enumerate();
    let text: String = documents
        .map(|(index, (place, spec))| document(index, *place, spec))
        .collect();
    merged_text(mesh, &text)
}

fn merged_text(mesh: &str, text: &str) -> EffectiveTelemetry {
    let resources = parse("t.yaml", text, "default").unwrap();
    let mesh = parse_mesh_config("mesh.yaml", mesh).unwrap();
    let workload = Workload::new("default", "patients").label("app", "patients");
    EffectiveTelemetry::compile(&resources, &mesh, &workload)
}

fn merged(written: &[(For, &str)]) -> EffectiveTelemetry {
    merged_in(MESH, written)
}

/// What one direction's spans are, in a line.
fn spans(mode: &ModeTelemetry) -> String {
    let tracing = &mode.tracing;
    let provider = match &tracing.provider {
        SpanProvider::Application => "app",
        SpanProvider::Zipkin(_) => "zipkin",
        SpanProvider::OpenTelemetry(_) => "otel",
        SpanProvider::Missing => "missing",
    };
    let switch = if tracing.is_off { "off" } else { "on" };
    let mut line = format!("{provider} {switch}");
    if let Some(share) = tracing.sampling {
        line += &format!(" {share}");
    }
    let tags: Vec<_> = tracing.custom_tags.keys().map(String::as_str).collect();
    if !tags.is_empty() {
        line += &format!(" tags={}", tags.join("+"));
    }
    for (name, choice) in [
        ("id", tracing.uses_request_id),
        ("istio", tracing.has_istio_tags),
        ("sends", tracing.propagates_context),
    ] {
        if let Some(choice) = choice {
            line += &format!(" {name}={choice}");
        }
    }
    line
}

#[test]
fn tracing_is_merged_field_by_field_and_per_mode() {
    #[rustfmt::skip] // one row a line
    let rows: &[(Resources, &str, &str)] = &[
        // Nothing is set.
        (&[], "app on", "app on"),
        (&[(Mesh, "tracing: [{}]")], "app on", "app on"),
        // The order: mesh, namespace, workload.
        (&[(Mesh, "tracing: [{randomSamplingPercentage: 5}]")], "app on 5%", "app on 5%"),
        (&[(Mesh, "tracing: [{randomSamplingPercentage: 5}]"), (Namespace, "tracing: [{randomSamplingPercentage: 7}]")], "app on 7%", "app on 7%"),
        (&[(Namespace, "tracing: [{randomSamplingPercentage: 7}]"), (Mesh, "tracing: [{randomSamplingPercentage: 5}]")], "app on 7%", "app on 7%"),
        (&[(Own, "tracing: [{randomSamplingPercentage: 9}]"), (Namespace, "tracing: [{randomSamplingPercentage: 7}]"), (Mesh, "tracing: [{randomSamplingPercentage: 5}]")], "app on 9%", "app on 9%"),
        // Others are not meant.
        (&[(OtherWorkload, "tracing: [{randomSamplingPercentage: 9}]"), (OtherNamespace, "tracing: [{randomSamplingPercentage: 8}]")], "app on", "app on"),
        // Only fields that are set win.
        (&[(Mesh, "tracing: [{randomSamplingPercentage: 5, enableIstioTags: false}]"), (Namespace, "tracing: [{disableContextPropagation: true}]")], "app on 5% istio=false sends=false", "app on 5% istio=false sends=false"),
        (&[(Mesh, "tracing: [{useRequestIdForTraceSampling: false}]"), (Namespace, "tracing: [{useRequestIdForTraceSampling: true}]")], "app on id=true", "app on id=true"),
        (&[(Mesh, "tracing: [{randomSamplingPercentage: 5}]"), (Namespace, "tracing: [{randomSamplingPercentage: 0}]")], "app on 0%", "app on 0%"),
        // Several entries of one list.
        (&[(Mesh, "tracing: [{randomSamplingPercentage: 5}, {randomSamplingPercentage: 6}]")], "app on 6%", "app on 6%"),
        // Modes.
        (&[(Mesh, "tracing: [{match: {mode: CLIENT}, randomSamplingPercentage: 5}]")], "app on", "app on 5%"),
        (&[(Mesh, "tracing: [{match: {mode: SERVER}, randomSamplingPercentage: 5}, {match: {mode: CLIENT}, randomSamplingPercentage: 6}]")], "app on 5%", "app on 6%"),
        (&[(Mesh, "tracing: [{match: {mode: CLIENT_AND_SERVER}, randomSamplingPercentage: 5}]"), (Own, "tracing: [{match: {mode: SERVER}, disableSpanReporting: true}]")], "app off 5%", "app on 5%"),
        // customTags replace as a whole.
        (&[(Mesh, "tracing: [{customTags: {a: {literal: {value: x}}, b: {literal: {value: x}}}}]"), (Namespace, "tracing: [{customTags: {c: {literal: {value: x}}}}]")], "app on tags=c", "app on tags=c"),
        (&[(Mesh, "tracing: [{customTags: {a: {literal: {value: x}}}}]"), (Namespace, "tracing: [{customTags: {}}]")], "app on", "app on"),
        // Providers: the first counts; one that is not found switches off.
        (&[(Mesh, "tracing: [{providers: [{name: zip}, {name: otel}]}]")], "zipkin on", "zipkin on"),
        (&[(Mesh, "tracing: [{providers: [{name: ZIP}]}]")], "zipkin on", "zipkin on"),
        (&[(Mesh, "tracing: [{providers: [{name: zip}]}]"), (Own, "tracing: [{match: {mode: CLIENT}, providers: [{name: otel}]}]")], "zipkin on", "otel on"),
        (&[(Mesh, "tracing: [{providers: [{name: nobody}]}]")], "missing off", "missing off"),
        (&[(Mesh, "tracing: [{providers: [{name: file}]}]")], "missing off", "missing off"),
        (&[(Mesh, "tracing: [{providers: [{name: nobody}]}]"), (Namespace, "tracing: [{providers: [{name: zip}]}]")], "zipkin on", "zipkin on"),
        // disableSpanReporting.
        (&[(Mesh, "tracing: [{disableSpanReporting: true}]")], "app off", "app off"),
        (&[(Mesh, "tracing: [{disableSpanReporting: true}]"), (Namespace, "tracing: [{disableSpanReporting: false}]")], "app on", "app on"),
        (&[(Mesh, "tracing: [{disableSpanReporting: true}]"), (Namespace, "tracing: [{randomSamplingPercentage: 5}]")], "app off 5%", "app off 5%"),
    ];
    for (written, server, client) in rows {
        let found = merged(written);
        assert_eq!(spans(&found.server), *server, "requests: {written:?}");
        assert_eq!(spans(&found.client), *client, "calls: {written:?}");
    }
}

#[test]
fn the_settings_of_the_mesh_count_where_no_resource_does() {
    #[rustfmt::skip] // one row a line
    let rows: &[(&str, Resources, &str)] = &[
        ("enableTracing: false", &[], "app off"),
        ("enableTracing: true", &[], "app on"),
        ("enableTracing: false", &[(Mesh, "tracing: [{disableSpanReporting: false}]")], "app on"),
        ("defaultConfig: {tracing: {sampling: 3, customTags: {m: {literal: {value: x}}}}}", &[], "app on 3% tags=m"),
        ("defaultConfig: {tracing: {sampling: 3, customTags: {m: {literal: {value: x}}}}}", &[(Mesh, "tracing: [{randomSamplingPercentage: 4, customTags: {n: {literal: {value: x}}}}]")], "app on 4% tags=n"),
        ("defaultConfig: {tracing: {sampling: 200}}", &[], "app on 1%"),
        ("{defaultProviders: {tracing: [z]}, extensionProviders: [{name: z, zipkin: {service: z, port: 1}}]}", &[], "zipkin on"),
        ("{defaultProviders: {tracing: [z]}}", &[], "missing off"),
        // A provider makes the older switch pointless.
        ("{enableTracing: false, defaultProviders: {tracing: [z]}, extensionProviders: [{name: z, zipkin: {service: z, port: 1}}]}", &[], "zipkin on"),
        // The root namespace is what MeshConfig says.
        ("rootNamespace: else", &[(OtherNamespace, "tracing: [{randomSamplingPercentage: 5}]"), (Mesh, "tracing: [{randomSamplingPercentage: 6}]")], "app on 5%"),
        // The workload's own may be the root.
        ("rootNamespace: default", &[(Namespace, "tracing: [{randomSamplingPercentage: 5}]")], "app on 5%"),
    ];
    for (mesh, written, expected) in rows {
        let found = merged_in(mesh, written);
        assert_eq!(spans(&found.server), *expected, "{mesh} {written:?}");
    }
}

/// The metrics of a direction that are not as they are without resources.
fn counted(mode: &ModeTelemetry) -> String {
    let metrics = &mode.metrics;
    let mut words = Vec::new();
    if metrics.is_off {
        words.push("off".to_owned());
    }
    if let Some(interval) = metrics.reporting_interval {
        words.push(format!("{interval:?}"));
    }
    for metric in Metric::ALL {
        let one = metrics.get(metric);
        let tags = one.tags.iter().map(|(label, tag)| match tag {
            TagOverride::Upsert(value) => format!("{label}={value}"),
            TagOverride::Remove(_) => format!("-{label}"),
        });
        let tags: Vec<_> = tags.collect();
        let disabled = if one.is_disabled { "!" } else { "" };
        if one.is_disabled || !tags.is_empty() {
            let tags = tags.join(",");
            words.push(format!("{disabled}{}[{tags}]", metric.as_str()));
        }
    }
    words.join(" ")
}

#[test]
fn metrics_are_merged_per_provider_mode_metric_and_tag() {
    #[rustfmt::skip] // one row a line
    let rows: &[(Resources, &str, &str)] = &[
        (&[], "", ""),
        // One metric, one mode.
        (&[(Mesh, "metrics: [{overrides: [{match: {metric: REQUEST_COUNT}, disabled: true}]}]")], "!REQUEST_COUNT[]", "!REQUEST_COUNT[]"),
        (&[(Mesh, "metrics: [{overrides: [{match: {metric: REQUEST_COUNT, mode: CLIENT}, disabled: true}]}]")], "", "!REQUEST_COUNT[]"),
        (&[(Mesh, "metrics: [{overrides: [{match: {customMetric: requests_total}, disabled: true}]}]")], "!REQUEST_COUNT[]", "!REQUEST_COUNT[]"),
        (&[(Mesh, "metrics: [{overrides: [{match: {customMetric: unheard}, disabled: true}]}]")], "", ""),
        // disabled is replaced singly.
        (&[(Mesh, "metrics: [{overrides: [{match: {metric: REQUEST_COUNT}, disabled: true}]}]"), (Namespace, "metrics: [{overrides: [{match: {metric: REQUEST_COUNT}, disabled: false}]}]")], "", ""),
        (&[(Mesh, "metrics: [{overrides: [{match: {metric: REQUEST_COUNT}, disabled: true}]}]"), (Namespace, "metrics: [{overrides: [{match: {metric: REQUEST_COUNT}, tagOverrides: {a: {value: b}}}]}]")], "!REQUEST_COUNT[a=b]", "!REQUEST_COUNT[a=b]"),
        // Each tag is replaced singly.
        (&[(Mesh, "metrics: [{overrides: [{match: {metric: REQUEST_SIZE}, tagOverrides: {a: {value: b}, c: {value: d}}}]}]"), (Own, "metrics: [{overrides: [{match: {metric: REQUEST_SIZE}, tagOverrides: {a: {value: x}, source_app: {operation: REMOVE}}}]}]")], "REQUEST_SIZE[a=x,c=d,-source_app]", "REQUEST_SIZE[a=x,c=d,-source_app]"),
        (&[(Mesh, "metrics: [{overrides: [{match: {metric: REQUEST_SIZE}, tagOverrides: {source_app: {operation: REMOVE}}}]}]"), (Own, "metrics: [{overrides: [{match: {metric: REQUEST_SIZE}, tagOverrides: {source_app: {value: x}}}]}]")], "REQUEST_SIZE[source_app=x]", "REQUEST_SIZE[source_app=x]"),
        // REMOVE of standard labels only: one that an override has added goes, another changes nothing.
        (&[(Mesh, "metrics: [{overrides: [{match: {metric: REQUEST_SIZE}, tagOverrides: {a: {value: b}}}]}]"), (Own, "metrics: [{overrides: [{match: {metric: REQUEST_SIZE}, tagOverrides: {a: {operation: REMOVE}, z: {operation: REMOVE}}}]}]")], "", ""),
        (&[(Mesh, "metrics: [{overrides: [{match: {metric: TCP_SENT_BYTES}, tagOverrides: {response_code: {operation: REMOVE}, response_flags: {operation: REMOVE}}}]}]")], "TCP_SENT_BYTES[-response_flags]", "TCP_SENT_BYTES[-response_flags]"),
        // ALL_METRICS, or no match, switches a mode off.
        (&[(Mesh, "metrics: [{overrides: [{match: {metric: ALL_METRICS}, disabled: true}]}]")], "off", "off"),
        (&[(Mesh, "metrics: [{overrides: [{disabled: true}]}]")], "off", "off"),
        (&[(Mesh, "metrics: [{overrides: [{match: {mode: CLIENT}, disabled: true}]}]")], "", "off"),
        // Any later override for the mode switches it on again.
        (&[(Mesh, "metrics: [{overrides: [{disabled: true}]}]"), (Namespace, "metrics: [{overrides: [{match: {metric: REQUEST_SIZE, mode: SERVER}, tagOverrides: {a: {value: b}}}]}]")], "REQUEST_SIZE[a=b]", "off"),
        (&[(Mesh, "metrics: [{overrides: [{disabled: true}, {disabled: false}]}]")], "", ""),
        (&[(Mesh, "metrics: [{overrides: [{disabled: false}, {disabled: true}]}]")], "off", "off"),
        // Providers.
        (&[(Mesh, "metrics: [{providers: [{name: prometheus}], overrides: [{disabled: true}]}]")], "off", "off"),
        (&[(Mesh, "metrics: [{providers: [{name: PROM2}], reportingInterval: 7s}]")], "7s", "7s"),
        (&[(Mesh, "metrics: [{providers: [{name: nobody}]}]")], "off", "off"),
        // A set list replaces; overrides for providers that are no longer listed are ignored.
        (&[(Mesh, "metrics: [{providers: [{name: prometheus}], overrides: [{match: {metric: REQUEST_COUNT}, disabled: true}]}]"), (Namespace, "metrics: [{providers: [{name: prom2}], overrides: [{match: {metric: REQUEST_SIZE}, disabled: true}]}]")], "!REQUEST_SIZE[]", "!REQUEST_SIZE[]"),
        (&[(Mesh, "metrics: [{providers: [{name: prometheus}], overrides: [{match: {metric: REQUEST_COUNT}, disabled: true}]}]"), (Namespace, "metrics: [{overrides: [{match: {metric: REQUEST_SIZE}, disabled: true}]}]")], "!REQUEST_COUNT[] !REQUEST_SIZE[]", "!REQUEST_COUNT[] !REQUEST_SIZE[]"),
        // The interval.
        (&[(Mesh, "metrics: [{reportingInterval: 7s}]"), (Own, "metrics: [{reportingInterval: 9s}]")], "9s", "9s"),
    ];
    for (written, server, client) in rows {
        let found = merged(written);
        assert_eq!(counted(&found.server), *server, "requests: {written:?}");
        assert_eq!(counted(&found.client), *client, "calls: {written:?}");
    }
    // An empty list of defaults counts nothing; a resource brings metrics back.
    let none = "defaultProviders: {metrics: []}";
    assert_eq!(counted(&merged_in(none, &[]).server), "off");
    let named = merged_in(
        none,
        &[(Mesh, "metrics: [{providers: [{name: prometheus}]}]")],
    );
    assert_eq!(counted(&named.server), "");
}

/// The logs of a direction: provider, path and filter.
fn logs(mode: &ModeTelemetry) -> String {
    let logs = mode.access_logs.iter().map(|log| {
        let path = log.path.as_deref().unwrap_or("-");
        let filter = log.filter.as_deref();
        let filter = filter.map_or_else(String::new, |filter| format!(" if {filter}"));
        format!("{}@{path}{filter}", log.provider)
    });
    logs.collect::<Vec<_>>().join(", ")
}

#[test]
fn access_logs_are_merged_per_provider_and_mode() {
    #[rustfmt::skip] // one row a line
    let rows: &[(Resources, &str, &str)] = &[
        // Nothing set: the mesh's file.
        (&[], "@/dev/stderr", "@/dev/stderr"),
        // Providers replace it; `envoy` has the mesh's path.
        (&[(Mesh, "accessLogging: [{providers: [{name: file}]}]")], "file@/tmp/a.log", "file@/tmp/a.log"),
        (&[(Mesh, "accessLogging: [{providers: [{name: Envoy}]}]")], "envoy@/dev/stderr", "envoy@/dev/stderr"),
        (&[(Mesh, "accessLogging: [{providers: [{name: json}, {name: file}]}]")], "file@/tmp/a.log, json@/tmp/b.log", "file@/tmp/a.log, json@/tmp/b.log"),
        (&[(Mesh, "accessLogging: [{providers: [{name: file}]}, {providers: [{name: json}]}]")], "file@/tmp/a.log, json@/tmp/b.log", "file@/tmp/a.log, json@/tmp/b.log"),
        (&[(Mesh, "accessLogging: [{providers: [{name: file}]}]"), (Namespace, "accessLogging: [{providers: [{name: json}]}]")], "json@/tmp/b.log", "json@/tmp/b.log"),
        // Where none is one of access logs, the mesh's file, as in istiod (`setHTTPAccessLog`).
        (&[(Mesh, "accessLogging: [{providers: [{name: nobody}, {name: authz}, {name: zip}], filter: {expression: a}}]")], "@/dev/stderr", "@/dev/stderr"),
        (&[(Mesh, "accessLogging: [{providers: [{name: nobody}], disabled: true}]")], "", ""),
        (&[(Mesh, "accessLogging: [{providers: [{name: nobody}, {name: hals}]}]")], "", ""),
        (&[(Mesh, "accessLogging: [{providers: [{name: nobody}, {name: als}]}]")], "als@-", "als@-"),
        // The same where there is none, unless the entry switches it off.
        (&[(Mesh, "accessLogging: [{filter: {expression: a}}]")], "@/dev/stderr", "@/dev/stderr"),
        (&[(Mesh, "accessLogging: [{match: {mode: CLIENT}, disabled: true}]")], "@/dev/stderr", ""),
        // Modes.
        (&[(Mesh, "accessLogging: [{match: {mode: CLIENT}, providers: [{name: file}]}]")], "@/dev/stderr", "file@/tmp/a.log"),
        (&[(Mesh, "accessLogging: [{providers: [{name: file}]}]"), (Own, "accessLogging: [{match: {mode: CLIENT}, disabled: true}]")], "file@/tmp/a.log", ""),
        // disabled on a later rule beats earlier ones, and a later rule without it re-enables.
        (&[(Mesh, "accessLogging: [{providers: [{name: file}]}]"), (Namespace, "accessLogging: [{disabled: true}]")], "", ""),
        (&[(Mesh, "accessLogging: [{providers: [{name: file}]}]"), (Namespace, "accessLogging: [{disabled: true}]"), (Own, "accessLogging: [{}]")], "file@/tmp/a.log", "file@/tmp/a.log"),
        (&[(Mesh, "accessLogging: [{providers: [{name: file}, {name: json}]}]"), (Namespace, "accessLogging: [{providers: [{name: file}]}, {providers: [{name: json}], disabled: true}]")], "file@/tmp/a.log", "file@/tmp/a.log"),
        // The filter is kept per provider, and the last wins.
        (&[(Mesh, "accessLogging: [{providers: [{name: file}], filter: {expression: a}}]")], "file@/tmp/a.log if a", "file@/tmp/a.log if a"),
        (&[(Mesh, "accessLogging: [{providers: [{name: file}], filter: {expression: a}}]"), (Namespace, "accessLogging: [{filter: {expression: b}}]")], "file@/tmp/a.log if b", "file@/tmp/a.log if b"),
        (&[(Mesh, "accessLogging: [{providers: [{name: file}], filter: {expression: a}}]"), (Namespace, "accessLogging: [{disabled: true}]"), (Own, "accessLogging: [{disabled: false}]")], "file@/tmp/a.log if a", "file@/tmp/a.log if a"),
        (&[(Mesh, "accessLogging: [{providers: [{name: file}], filter: {expression: a}}]"), (Namespace, "accessLogging: [{providers: [{name: file}]}]")], "file@/tmp/a.log", "file@/tmp/a.log"),
        (&[(Mesh, "accessLogging: [{providers: [{name: file}], filter: {expression: a}}, {providers: [{name: json}], filter: {expression: b}}]")], "file@/tmp/a.log if a, json@/tmp/b.log if b", "file@/tmp/a.log if a, json@/tmp/b.log if b"),
        (&[(Mesh, "accessLogging: [{match: {mode: SERVER}, providers: [{name: file}], filter: {expression: a}}, {match: {mode: CLIENT}, providers: [{name: file}], filter: {expression: b}}]")], "file@/tmp/a.log if a", "file@/tmp/a.log if b"),
    ];
    for (written, server, client) in rows {
        let found = merged(written);
        assert_eq!(logs(&found.server), *server, "requests: {written:?}");
        assert_eq!(logs(&found.client), *client, "calls: {written:?}");
    }
    assert_eq!(logs(&merged_in("", &[]).server), "");
    let default = "defaultProviders: {accessLogging: [envoy]}";
    assert_eq!(logs(&merged_in(default, &[]).server), "envoy@-");
    let filtered = [(Mesh, "accessLogging: [{filter: {expression: a}}]")];
    assert_eq!(logs(&merged_in(default, &filtered).server), "envoy@- if a");
}

/// A Telemetry of the namespace for all of its workloads.
fn aged(name: &str, created: Option<&str>, percent: u32) -> String {
    let created = created.map_or_else(String::new, |created| {
        format!(", creationTimestamp: '{created}'")
    });
    format!(
        "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\n\
         metadata: {{name: {name}, namespace: default{created}}}\n\
         spec: {{tracing: [{{randomSamplingPercentage: {percent}}}]}}\n---\n"
    )
}

#[test]
fn only_the_oldest_without_a_selector_counts() {
    let (old, new) = ("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
    for (text, expected, why) in [
        (
            aged("a", Some(new), 1) + &aged("b", Some(old), 2),
            "app on 2%",
            "b (at t.yaml:6:1) covers the same and is older",
        ),
        (
            aged("a", None, 1) + &aged("b", None, 2),
            "app on 1%",
            "a (at t.yaml:1:1) covers the same and is written first",
        ),
        (
            aged("b", None, 1) + &aged("a", None, 2),
            "app on 1%",
            "b (at t.yaml:1:1) covers the same and is written first",
        ),
    ] {
        let found = merged_text("", &text);
        assert_eq!(spans(&found.server), expected, "{text}");
        let [note] = found.notes.as_slice() else {
            panic!("{:?}", found.notes);
        };
        assert!(note.to_string().contains(why), "{note}");
        assert_eq!(found.resources, 1);
    }
}

/// Of several whose selector matches, the youngest wins.
#[test]
fn those_with_a_selector_are_applied_oldest_first() {
    let one = |name: &str, created: &str, percent: u32| {
        aged(name, Some(created), percent).replace(
            "spec: {",
            "spec: {selector: {matchLabels: {app: patients}}, ",
        )
    };
    let text = one("a", "2025-01-01T00:00:00Z", 1) + &one("b", "2024-01-01T00:00:00Z", 2);
    let found = merged_text("", &text);
    assert_eq!(
        (spans(&found.server).as_str(), found.resources),
        ("app on 1%", 2)
    );
    assert_eq!(found.notes, []);
}

/// A collector of lines needs the feature that has its sink.
#[test]
fn lines_go_to_a_collector_where_it_is_served() {
    let found = merged(&[(Mesh, "accessLogging: [{providers: [{name: als}]}]")]);
    let notes: Vec<_> = found.notes.iter().map(ToString::to_string).collect();
    match found.server.access_logs.as_slice() {
        [log] if cfg!(feature = "otlp") => {
            let collector = log.collector.as_ref().unwrap();
            assert_eq!((collector.service.as_str(), collector.port), ("als", 1));
            assert_eq!(notes, [""; 0]);
        }
        [] if !cfg!(feature = "otlp") => {
            assert!(notes[0].contains("needs the feature `otlp`"), "{notes:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_has_no_effect_is_noted_with_its_place() {
    #[rustfmt::skip] // one row a line
    let rows = [
        (Mesh, "tracing: [{providers: [{name: nobody}]}]", "t.yaml:5:33: ", "no `nobody`"),
        (Mesh, "metrics: [{providers: [{name: zip}]}]", "t.yaml:5:33: ", "is not for metrics"),
        (Mesh, "accessLogging: [{providers: [{name: hals}]}]", "t.yaml:5:39: ", "of the kind envoyHttpAls"),
        (Mesh, "tracing: [{providers: [{name: als}]}]", "t.yaml:5:33: ", "is not for tracing"),
        (Mesh, "accessLogging: [{providers: [{name: file}, {name: authz}]}]", "t.yaml:5:53: ", "is not for accessLogging"),
        (Mesh, "metrics: [{overrides: [{match: {customMetric: unheard}}]}]", "t.yaml:5:49: ", "no metric `unheard`"),
        (Mesh, "metrics: [{overrides: [{match: {metric: REQUEST_COUNT}, tagOverrides: {z: {operation: REMOVE}}}]}]", "t.yaml:5:77: ", "no metric has a label `z`"),
        (Namespace, "targetRefs: [{kind: Service, name: s}]", "t.yaml:5:16: ", "not for this workload"),
    ];
    for (place, spec, at, piece) in rows {
        let found = merged(&[(place, spec)]);
        let [note] = found.notes.as_slice() else {
            panic!("{spec}: {:?}", found.notes);
        };
        let note = note.to_string();
        assert!(
            note.starts_with(at) && note.contains(piece),
            "{spec}: {note}"
        );
    }
}

/// Each resource alone may be fine.
#[test]
fn more_labels_of_one_metric_than_a_scrape_can_bear_are_refused_with_the_resource() {
    let labels = |names: std::ops::Range<usize>| {
        let tags = names.map(|name| format!("l{name}: {{value: v}}"));
        let tags = tags.collect::<Vec<_>>().join(", ");
        format!("metrics: [{{overrides: [{{tagOverrides: {{{tags}}}}}]}}]")
    };
    let (most, again, more) = (labels(0..64), labels(0..10), labels(63..65));
    let good = merged(&[(Mesh, &most), (Own, &again)]);
    assert_eq!(good.problems, []);
    let bad = merged(&[(Mesh, &most), (Own, &more)]);
    let [problem] = bad.problems.as_slice() else {
        panic!("{:?}", bad.problems);
    };
    let problem = problem.to_string();
    assert!(problem.starts_with("t.yaml:"), "{problem}");
    assert!(problem.contains("the Telemetry `"), "{problem}");
    assert!(
        problem.contains("more than 64 labels of one metric; take some out"),
        "{problem}"
    );
    for metric in Metric::ALL {
        assert_eq!(bad.server.metrics.get(metric).tags.len(), 64);
    }
}

/// No log opens or closes in silence because its providers do not exist.
#[test]
fn what_is_written_where_no_provider_is_one_of_logs_is_noted() {
    let spec = [(Mesh, "accessLogging: [{providers: [{name: nobody}]}]")];
    let notes = |mesh: &str| {
        let found = merged_in(mesh, &spec);
        found
            .notes
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let [missing, instead] = &notes("accessLogFile: /dev/stderr")[..] else {
        panic!("{:?}", notes("accessLogFile: /dev/stderr"));
    };
    assert!(missing.contains("no `nobody`"), "{missing}");
    assert!(instead.starts_with("t.yaml:5:39: "), "{instead}");
    assert!(
        instead
            .ends_with("so MeshConfig's accessLogFile /dev/stderr is written instead, unfiltered"),
        "{instead}"
    );
    let none = notes("").pop().unwrap();
    assert!(none.ends_with("so no line is written"), "{none}");
    for (entry, piece) in [
        ("filter: {expression: a}", "is written as it is, unfiltered"),
        (
            "disabled: true",
            "takes the log of MeshConfig's accessLogFile /dev/stderr away",
        ),
    ] {
        let spec = format!("accessLogging: [{{{entry}}}]");
        let found = merged(&[(Mesh, &spec)]);
        let [note] = &found.notes[..] else {
            panic!("{:?}", found.notes);
        };
        let note = note.to_string();
        assert!(
            note.starts_with("t.yaml:") && note.contains(piece),
            "{note}"
        );
    }
}

#[test]
fn target_refs_attach_to_the_gateway_alone() {
    let spec = "{targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge}], \
                tracing: [{randomSamplingPercentage: 5}]}";
    let text = format!(
        "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\n\
         metadata: {{name: t, namespace: default}}\nspec: {spec}\n"
    );
    let resources = parse("t.yaml", &text, "default").unwrap();
    let mesh = parse_mesh_config("mesh.yaml", "").unwrap();
    let of = |gateway: &str| {
        let workload = Workload::new("default", "edge")
            .label("gateway.networking.k8s.io/gateway-name", gateway);
        let found = EffectiveTelemetry::compile(&resources, &mesh, &workload);
        spans(&found.server)
    };
    assert_eq!(
        (of("edge").as_str(), of("other").as_str()),
        ("app on 5%", "app on")
    );
}
