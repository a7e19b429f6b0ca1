use std::time::Duration;

use super::*;

fn document(spec: &str) -> String {
    format!(
        "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {{name: t}}\nspec: {spec}\n"
    )
}

fn read(spec: &str) -> Telemetry {
    let resources = parse("f", &document(spec), "foo").unwrap();
    let [telemetry] = resources.telemetries.as_slice() else {
        panic!("{resources:?}");
    };
    (**telemetry).clone()
}

#[test]
fn what_a_telemetry_says_is_kept_with_its_place() {
    let telemetry = read(
        "
  selector: {matchLabels: {app: patients}}
  tracing:
  - match: {mode: CLIENT}
    providers: [{name: zipkin}]
    randomSamplingPercentage: 12.345
    disableSpanReporting: false
    useRequestIdForTraceSampling: false
    enableIstioTags: false
    disableContextPropagation: true
    customTags:
      a: {literal: {value: x}}
      b: {environment: {name: POD, defaultValue: none}}
      c: {header: {name: x-tenant}}
      d: {formatter: {value: '%REQ(x-a)%'}}
  metrics:
  - providers: [{name: prometheus}]
    reportingInterval: 10s
    overrides:
    - match: {metric: REQUEST_COUNT, mode: SERVER}
      tagOverrides:
        host: {value: request.host}
        source_app: {operation: REMOVE}
    - match: {customMetric: mine}
      disabled: true
    - disabled: false
  accessLogging:
  - match: {mode: SERVER}
    providers: [{name: envoy}]
    disabled: false
    filter: {expression: response.code >= 400}
",
    );
    assert_eq!(&*telemetry.selector.match_labels["app"], "patients");
    let [tracing] = telemetry.tracing.as_slice() else {
        panic!("{telemetry:?}");
    };
    assert_eq!(tracing.mode, TelemetryMode::Client);
    assert_eq!(tracing.providers, [Text::from("zipkin")]);
    assert_eq!(
        tracing.random_sampling_percentage.unwrap().hundredths(),
        1235
    );
    assert_eq!(tracing.disable_span_reporting, Some(false));
    assert_eq!(tracing.use_request_id_for_trace_sampling, Some(false));
    assert_eq!(tracing.enable_istio_tags, Some(false));
    assert_eq!(tracing.disable_context_propagation, Some(true));
    let tags = tracing.custom_tags.as_ref().unwrap();
    assert_eq!(tags["a"], CustomTag::Literal("x".into()));
    assert_eq!(
        tags["b"],
        CustomTag::Environment {
            name: "POD".into(),
            default_value: "none".to_owned()
        }
    );
    assert_eq!(
        tags["c"],
        CustomTag::Header {
            name: "x-tenant".into(),
            default_value: String::new()
        }
    );
    assert_eq!(tags["d"], CustomTag::Formatter("%REQ(x-a)%".into()));
    let [metrics] = telemetry.metrics.as_slice() else {
        panic!("{telemetry:?}");
    };
    assert_eq!(metrics.reporting_interval, Some(Duration::from_secs(10)));
    let [count, mine, all] = metrics.overrides.as_slice() else {
        panic!("{metrics:?}");
    };
    assert_eq!(count.metric, MetricSelector::Metric(Metric::RequestCount));
    assert_eq!(count.mode, TelemetryMode::Server);
    assert_eq!(
        count.tag_overrides["host"],
        TagOverride::Upsert("request.host".into())
    );
    assert_eq!(count.tag_overrides["host"].at().to_string(), "f:25:23");
    assert!(matches!(
        count.tag_overrides["source_app"],
        TagOverride::Remove(_)
    ));
    assert_eq!(mine.metric, MetricSelector::Custom("mine".into()));
    assert_eq!(
        (&all.metric, all.disabled),
        (&MetricSelector::All, Some(false))
    );
    let [log] = telemetry.access_logging.as_slice() else {
        panic!("{telemetry:?}");
    };
    assert_eq!(
        (log.mode, log.disabled),
        (TelemetryMode::Server, Some(false))
    );
    assert_eq!(log.filter.as_deref(), Some("response.code >= 400"));
    assert_eq!(log.at.line, 31);
}

#[test]
fn v1alpha1_and_an_empty_spec_are_good() {
    let text = document("{}").replace("/v1\n", "/v1alpha1\n");
    let resources = parse("f", &text, "foo").unwrap();
    assert_eq!(resources.telemetries.len(), 1);
    assert_eq!(resources.skipped, []);
    assert_eq!(resources.metas().count(), 1);
}

#[test]
fn mistakes_are_told_with_their_place_and_a_remedy() {
    #[rustfmt::skip] // one row a line
    let rows = [
        ("{^trace: []}", "spec.trace", "unknown field"),
        ("{selector: {matchLabels: {a: b}}, targetRefs: ^[{kind: Service, name: s}]}", "spec.targetRefs", "only one of"),
        ("{targetRefs: [^{kind: Pod, name: s}]}", "spec.targetRefs[0]", "`Pod`"),
        ("{tracing: ^{}}", "spec.tracing", "write a list"),
        ("{tracing: [^null]}", "spec.tracing[0]", "null"),
        ("{tracing: [{^sampling: 5}]}", "spec.tracing[0].sampling", "unknown field"),
        ("{tracing: [{match: {mode: ^BOTH}}]}", "spec.tracing[0].match.mode", "CLIENT_AND_SERVER, CLIENT, SERVER"),
        ("{tracing: [{match: {^metric: x}}]}", "spec.tracing[0].match.metric", "unknown field"),
        ("{tracing: [{providers: [^{}]}]}", "spec.tracing[0].providers[0].name", "missing"),
        ("{tracing: [{providers: [{name: ^''}]}]}", "spec.tracing[0].providers[0].name", "empty"),
        ("{tracing: [{randomSamplingPercentage: ^100.01}]}", "spec.tracing[0].randomSamplingPercentage", "0 to 100"),
        ("{tracing: [{randomSamplingPercentage: ^-1}]}", "spec.tracing[0].randomSamplingPercentage", "0 to 100"),
        ("{tracing: [{randomSamplingPercentage: ^.nan}]}", "spec.tracing[0].randomSamplingPercentage", "0 to 100"),
        ("{tracing: [{randomSamplingPercentage: ^many}]}", "spec.tracing[0].randomSamplingPercentage", "0 to 100"),
        ("{tracing: [{disableSpanReporting: ^'yes'}]}", "spec.tracing[0].disableSpanReporting", "true or false"),
        ("{tracing: [{customTags: ^[]}]}", "spec.tracing[0].customTags", "write a map"),
        ("{tracing: [{customTags: {a: ^{}}}]}", "spec.tracing[0].customTags[a]", "no value"),
        ("{tracing: [{customTags: {a: {^value: x}}}]}", "spec.tracing[0].customTags[a].value", "unknown field"),
        ("{tracing: [{customTags: {a: {literal: ^{}}}}]}", "spec.tracing[0].customTags[a].literal.value", "missing"),
        ("{tracing: [{customTags: {a: {literal: {value: x}, header: ^{name: b}}}}]}", "spec.tracing[0].customTags[a].header", "second source"),
        ("{tracing: [{customTags: {a: {header: {name: ^'b c'}}}}]}", "spec.tracing[0].customTags[a].header.name", "header name"),
        ("{tracing: [{customTags: {'a b': ^{literal: {value: x}}}}]}", "spec.tracing[0].customTags[a b]", "tag's name"),
        ("{metrics: [{reportingInterval: ^5}]}", "spec.metrics[0].reportingInterval", "5s"),
        ("{metrics: [{reportingInterval: ^0s}]}", "spec.metrics[0].reportingInterval", "less than a millisecond"),
        ("{metrics: [{overrides: [{match: {metric: ^REQUESTS}}]}]}", "spec.metrics[0].overrides[0].match.metric", "REQUEST_COUNT"),
        ("{metrics: [{overrides: [{match: {metric: REQUEST_COUNT, customMetric: ^x}}]}]}", "spec.metrics[0].overrides[0].match.customMetric", "cannot be combined"),
        ("{metrics: [{overrides: [{tagOverrides: {a: ^{}}}]}]}", "spec.metrics[0].overrides[0].tagOverrides[a].value", "missing"),
        ("{metrics: [{overrides: [{tagOverrides: {a: {operation: ^ADD, value: x}}}]}]}", "spec.metrics[0].overrides[0].tagOverrides[a].operation", "UPSERT, REMOVE"),
        ("{metrics: [{overrides: [{tagOverrides: {a: {operation: REMOVE, value: ^x}}}]}]}", "spec.metrics[0].overrides[0].tagOverrides[a].value", "no value"),
        ("{metrics: [{overrides: [{tagOverrides: {a-b: ^{value: x}}}]}]}", "spec.metrics[0].overrides[0].tagOverrides[a-b]", "no label"),
        ("{metrics: [{overrides: [{tagOverrides: {le: ^{value: x}}}]}]}", "spec.metrics[0].overrides[0].tagOverrides[le]", "no label"),
        ("{accessLogging: [{disabled: ^1}]}", "spec.accessLogging[0].disabled", "true or false"),
        ("{accessLogging: [{filter: ^{}}]}", "spec.accessLogging[0].filter.expression", "missing"),
        ("{accessLogging: [{filter: {expression: ^''}}]}", "spec.accessLogging[0].filter.expression", "empty"),
        ("{accessLogging: [{filter: ^x}]}", "spec.accessLogging[0].filter", "write a map"),
    ];
    for (marked, field, piece) in rows {
        let spec = marked.replace('^', "");
        let column = "spec: ".len() + marked.find('^').expect("a mark") + 1;
        let place = format!("4:{column}: {field}: ");
        let problem = only_problem(&document(&spec));
        assert!(
            problem.starts_with(&place) && problem.contains(piece),
            "{spec}\n     due: {place}..{piece}..\nreported: {problem}"
        );
    }
}

#[test]
fn target_refs_are_sixteen_at_most() {
    let refs = |count| {
        let refs = vec!["{kind: Service, name: s}"; count].join(", ");
        document(&format!("{{targetRefs: [{refs}]}}"))
    };
    assert!(parse("f", &refs(16), "foo").is_ok());
    assert!(only_problem(&refs(17)).contains("more than 16"));
}

fn settings(text: &str) -> MeshTelemetry {
    parse_mesh_config("mesh.yaml", text).unwrap().telemetry
}

#[test]
fn mesh_config_tells_what_counts_without_resources() {
    let found = settings(
        "
accessLogFile: /dev/stdout
accessLogEncoding: JSON
accessLogFormat: '{\"code\": \"%RESPONSE_CODE%\"}'
enableTracing: false
defaultProviders: {tracing: [zipkin], metrics: [], accessLogging: [envoy]}
defaultConfig:
  tracingServiceName: CANONICAL_NAME_ONLY
  tracing:
    sampling: 12.5
    customTags: {a: {literal: {value: x}}}
    zipkin: {address: zipkin.istio-system:9411}
",
    );
    assert_eq!(found.access_log_file.as_deref(), Some("/dev/stdout"));
    let labels = vec![("code".into(), "%RESPONSE_CODE%".into())];
    assert_eq!(found.access_log_format, FileLogFormat::Labels(labels));
    assert_eq!(found.enable_tracing, Some(false));
    assert_eq!(found.default_tracing, [Text::from("zipkin")]);
    assert_eq!(found.default_metrics, Some(Vec::new()));
    assert_eq!(found.default_access_logging, [Text::from("envoy")]);
    assert_eq!(found.sampling.unwrap().to_string(), "12.5%");
    assert_eq!(
        found.custom_tags.unwrap()["a"],
        CustomTag::Literal("x".into())
    );
    assert_eq!(
        found.zipkin_address.as_deref(),
        Some("zipkin.istio-system:9411")
    );
    assert_eq!(
        found.tracing_service_name,
        Some(TracingServiceName::CanonicalNameOnly)
    );

    assert_eq!(settings("accessLogFile: ''"), MeshTelemetry::default());
    let json = settings("accessLogEncoding: JSON").access_log_format;
    assert_eq!(json, FileLogFormat::DefaultJson);
    let text = settings("accessLogFormat: '%PROTOCOL%'").access_log_format;
    assert_eq!(text, FileLogFormat::Text("%PROTOCOL%".into()));
    // As Istio reads it.
    let over = settings("defaultConfig: {tracing: {sampling: 101}}").sampling;
    assert_eq!(over.unwrap().to_string(), "1%");
}

#[test]
fn mistakes_in_mesh_config_are_told() {
    for (text, piece) in [
        ("accessLogEncoding: XML", "TEXT, JSON"),
        (
            "{accessLogEncoding: JSON, accessLogFormat: '%A%'}",
            "no JSON object",
        ),
        ("enableTracing: 'no'", "true or false"),
        ("defaultConfig: {tracing: {sampling: -1}}", "0 to 100"),
        (
            "extensionProviders: [{name: z, zipkin: {service: z}}]",
            "port",
        ),
        (
            "extensionProviders: [{name: z, opentelemetry: {port: 4317}}]",
            "service",
        ),
        (
            "extensionProviders: [{name: l, envoyFileAccessLog: {logFormat: {text: a, labels: {b: c}}}}]",
            "cannot be combined",
        ),
    ] {
        let problems = parse_mesh_config("mesh.yaml", text)
            .unwrap_err()
            .to_string();
        assert!(problems.contains(piece), "{text}: {problems}");
    }
}

#[test]
fn the_kinds_of_providers_that_telemetry_names_are_known() {
    let text = "
extensionProviders:
- {name: p, prometheus: {}}
- {name: f, envoyFileAccessLog: {path: /var/log/a, logFormat: {labels: {a: '%PROTOCOL%'}}, omitEmptyValues: true}}
- {name: j, envoyFileAccessLog: {logFormat: {labels: {}}}}
- {name: o, opentelemetry: {service: o.ns.svc, port: 4317}}
- {name: h, opentelemetry: {service: o.ns.svc, port: 4318, http: {path: /v1/x, timeout: 5s}}}
- {name: s, stackdriver: {}}
- {name: new, somethingNew: {}}
";
    let config = parse_mesh_config("mesh.yaml", text).unwrap();
    let kinds: Vec<_> = config
        .extension_providers
        .iter()
        .map(|one| &one.kind)
        .collect();
    let of = |index: usize| match kinds[index] {
        ProviderKind::Telemetry(found) => (**found).clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(of(0), TelemetryProvider::Prometheus);
    let TelemetryProvider::FileAccessLog {
        path,
        format,
        omit_empty_values,
    } = of(1)
    else {
        panic!("{:?}", of(1));
    };
    assert_eq!(
        (path.as_deref(), omit_empty_values),
        (Some("/var/log/a"), true)
    );
    assert_eq!(
        format,
        FileLogFormat::Labels(vec![("a".into(), "%PROTOCOL%".into())])
    );
    let TelemetryProvider::FileAccessLog { format, .. } = of(2) else {
        panic!("{:?}", of(2));
    };
    assert_eq!(format, FileLogFormat::DefaultJson);
    let path = |index| match of(index) {
        TelemetryProvider::OpenTelemetry(service) => service.path,
        other => panic!("{other:?}"),
    };
    assert_eq!((path(3), path(4).as_deref()), (None, Some("/v1/x")));
    assert_eq!(of(5), TelemetryProvider::Unserved("stackdriver".to_owned()));
    assert_eq!(kinds[6], &ProviderKind::Other);
}
