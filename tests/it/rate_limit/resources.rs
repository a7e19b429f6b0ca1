//! `mesh.tower/v1` RateLimit: what it may say, where it applies, and what is said about mistakes.

use std::collections::BTreeSet;
use std::fs;

use tower_mesh::Workload;
use tower_mesh::istio::{self, MeshConfig, RateLimitAction, Resources};
use tower_mesh::policy::limit::{Action, Fallback, Stage};
use tower_mesh::policy::{Program, compile};

fn document(spec: &str) -> String {
    format!("apiVersion: mesh.tower/v1\nkind: RateLimit\nmetadata: {{name: a}}\nspec: {spec}\n")
}

/// What is wrong with a document.
fn problems(text: &str) -> Vec<String> {
    match istio::parse("limits.yaml", text, "clinic") {
        Ok(resources) => match compile_for(&resources, &workload()) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.into_iter().map(|one| one.to_string()).collect(),
        },
        Err(problems) => problems.into_iter().map(|one| one.to_string()).collect(),
    }
}

fn workload() -> Workload {
    Workload::new("clinic", "patients").label("app", "patients")
}

fn compile_for(resources: &Resources, workload: &Workload) -> Result<Program, istio::Problems> {
    compile(resources, &MeshConfig::default(), workload)
}

fn program(text: &str) -> Program {
    let resources = istio::parse("limits.yaml", text, "clinic").unwrap();
    compile_for(&resources, &workload()).unwrap()
}

/// The spec, with `^` before what is to blame; the field; a piece of the message.
type Row = (&'static str, &'static str, &'static str);

#[test]
fn every_mistake_is_told_with_its_place() {
    #[rustfmt::skip] // one row a line
    let rows: &[Row] = &[
        ("^{}", "spec.local", "write at least one of them"),
        ("{local: {tokenBucket: {maxTokens: 1, fillInterval: 1s}}, ^lokal: 1}", "spec.lokal", "did you mean `local`?"),
        ("{local: ^{}}", "spec.local.tokenBucket", "missing"),
        ("{local: ^[]}", "spec.local", "write a map"),
        ("{local: {tokenBucket: {maxTokens: ^0, fillInterval: 1s}}}", "spec.local.tokenBucket.maxTokens", "from 1 to"),
        ("{local: {tokenBucket: {maxTokens: ^many, fillInterval: 1s}}}", "spec.local.tokenBucket.maxTokens", "`many`"),
        ("{local: {tokenBucket: ^{fillInterval: 1s}}}", "spec.local.tokenBucket.maxTokens", "missing"),
        ("{local: {tokenBucket: ^{maxTokens: 1}}}", "spec.local.tokenBucket.fillInterval", "missing"),
        ("{local: {tokenBucket: {maxTokens: 1, fillInterval: ^49ms}}}", "spec.local.tokenBucket.fillInterval", "50ms"),
        ("{local: {tokenBucket: {maxTokens: 1, fillInterval: ^soon}}}", "spec.local.tokenBucket.fillInterval", "no duration"),
        ("{local: {tokenBucket: {maxTokens: 1, fillInterval: 1s, tokensPerFill: ^0}}}", "spec.local.tokenBucket.tokensPerFill", "from 1 to"),
        ("{local: {tokenBucket: ^{maxTokens: 4000000000, fillInterval: 1h}}}", "spec.local.tokenBucket", "ten years"),
        ("{local: {tokenBucket: {maxTokens: 1, fillInterval: 1s}, maxKeys: ^0}}", "spec.local.maxKeys", "from 1 to"),
        ("{local: {tokenBucket: {maxTokens: 1, fillInterval: 1s}, perConnection: ^maybe}}", "spec.local.perConnection", "true or false"),
        ("^{local: {descriptors: [{entries: [{key: a}], tokenBucket: {maxTokens: 1, fillInterval: 1s}}]}}", "spec.rateLimits", "match only"),
        ("{local: {descriptors: [^{tokenBucket: {maxTokens: 1, fillInterval: 1s}}]}, rateLimits: [{actions: [{method: {}}]}]}", "spec.local.descriptors[0].entries", "missing"),
        ("{local: {descriptors: [^{entries: [{key: method}]}]}, rateLimits: [{actions: [{method: {}}]}]}", "spec.local.descriptors[0].tokenBucket", "missing"),
        ("{local: {descriptors: [{entries: [^{value: a}], tokenBucket: {maxTokens: 1, fillInterval: 1s}}]}, rateLimits: [{actions: [{method: {}}]}]}", "spec.local.descriptors[0].entries[0].key", "missing"),
        ("^{service: {host: h, port: 1, domain: d}}", "spec.rateLimits", "counts only"),
        ("{service: ^{port: 1, domain: d}, rateLimits: [{actions: [{method: {}}]}]}", "spec.service.host", "missing"),
        ("{service: ^{host: h, domain: d}, rateLimits: [{actions: [{method: {}}]}]}", "spec.service.port", "missing"),
        ("{service: ^{host: h, port: 1}, rateLimits: [{actions: [{method: {}}]}]}", "spec.service.domain", "missing"),
        ("{service: {host: h, port: ^0, domain: d}, rateLimits: [{actions: [{method: {}}]}]}", "spec.service.port", "1 to 65535"),
        ("{service: {host: ^'http://h', port: 1, domain: d}, rateLimits: [{actions: [{method: {}}]}]}", "spec.service.host", "its name only"),
        ("{service: {host: h, port: 1, domain: d, timeout: ^fast}, rateLimits: [{actions: [{method: {}}]}]}", "spec.service.timeout", "no duration"),
        ("{service: {host: h, port: 1, domain: d, statusOnError: ^42}, rateLimits: [{actions: [{method: {}}]}]}", "spec.service.statusOnError", "from 200 to 599"),
        ("{service: {host: h, port: 1, domain: d}, rateLimits: [{actions: [{method: {}}]}], rateLimitedStatus: ^600}", "spec.rateLimitedStatus", "from 200 to 599"),
        ("{service: {host: h, port: 1, domain: d}, rateLimits: [{actions: [{method: {}}]}], enableXRatelimitHeaders: ^true}", "spec.enableXRatelimitHeaders", "text"),
        ("{service: {host: h, port: 1, domain: d}, rateLimits: [{actions: [{method: {}}]}], enableXRatelimitHeaders: ^DRAFT}", "spec.enableXRatelimitHeaders", "DRAFT_VERSION_03"),
        ("{service: {host: h, port: 1, domain: d}, rateLimits: [{actions: [{method: {}}]}], responseHeadersToAdd: [{name: ^connection, value: a}]}", "spec.responseHeadersToAdd[0].name", "cannot be added"),
        ("{service: {host: h, port: 1, domain: d}, rateLimits: [{actions: [{method: {}}]}], responseHeadersToAdd: [{name: x-a, value: ^\"a\\nb\"}]}", "spec.responseHeadersToAdd[0].value", "printable"),
        ("{service: {host: h, port: 1, domain: d}, rateLimits: [^{}]}", "spec.rateLimits[0].actions", "missing"),
        ("{service: {host: h, port: 1, domain: d}, ^targetRefs: [], rateLimits: [{actions: [{method: {}}]}]}", "spec.targetRefs", "unknown field"),
    ];
    for (spec, field, piece) in rows {
        check(spec, field, piece);
    }
}

#[test]
fn every_mistake_of_an_action_is_told_with_its_place() {
    #[rustfmt::skip] // one row a line
    let rows: &[Row] = &[
        ("^{}", "", "names no action"),
        ("^{method: null}", "", "names no action"),
        ("{^metod: {}}", ".metod", "did you mean `method`?"),
        ("{method: {}, host: ^{}}", ".host", "second action"),
        ("{method: {^a: 1}}", ".method.a", "unknown field"),
        ("{requestHeaders: ^{headerName: x-a}}", ".requestHeaders.descriptorKey", "missing"),
        ("{requestHeaders: ^{descriptorKey: a}}", ".requestHeaders.headerName", "missing"),
        ("{requestHeaders: {headerName: ^'x a', descriptorKey: a}}", ".requestHeaders.headerName", "no header name"),
        ("{requestHeaders: {headerName: ^':status', descriptorKey: a}}", ".requestHeaders.headerName", ":authority"),
        ("{requestHeaders: {headerName: x-a, descriptorKey: a, skipIfAbsent: ^maybe}}", ".requestHeaders.skipIfAbsent", "true or false"),
        ("{genericKey: ^{}}", ".genericKey.descriptorValue", "missing"),
        ("{maskedRemoteAddress: {v4PrefixMaskLen: ^33}}", ".maskedRemoteAddress.v4PrefixMaskLen", "from 0 to 32"),
        ("{maskedRemoteAddress: {v6PrefixMaskLen: ^129}}", ".maskedRemoteAddress.v6PrefixMaskLen", "from 0 to 128"),
        ("{headerValueMatch: ^{descriptorValue: a}}", ".headerValueMatch.headers", "missing"),
        ("{headerValueMatch: {descriptorValue: a, headers: [^{presentMatch: true}]}}", ".headerValueMatch.headers[0].name", "missing"),
        ("{headerValueMatch: {descriptorValue: a, headers: [{name: x-a, exactMatch: a, prefixMatch: ^a}]}}", ".headerValueMatch.headers[0].prefixMatch", "second test"),
        ("{headerValueMatch: {descriptorValue: a, headers: [{name: x-a, stringMatch: ^{}}]}}", ".headerValueMatch.headers[0].stringMatch", "needs one of"),
        ("{headerValueMatch: {descriptorValue: a, headers: [{name: x-a, stringMatch: {prefix: ^''}}]}}", ".headerValueMatch.headers[0].stringMatch.prefix", "empty"),
        ("{headerValueMatch: {descriptorValue: a, headers: [{name: x-a, stringMatch: {safeRegex: ^{regex: a}, ignoreCase: true}}]}}", ".headerValueMatch.headers[0].stringMatch.safeRegex", "ignoreCase"),
        ("{headerValueMatch: {descriptorValue: a, headers: [{name: x-a, stringMatch: {safeRegex: {regex: ^'('}}}]}}", ".safeRegex", "regex"),
        ("{headerValueMatch: {descriptorValue: a, headers: [{name: x-a, rangeMatch: {start: ^a}}]}}", ".headerValueMatch.headers[0].rangeMatch.start", "whole number"),
        ("{headerValueMatch: {descriptorValue: a, headers: [{name: x-a, rangeMatch: ^{start: 5}}]}}", ".headerValueMatch.headers[0].rangeMatch", "no number"),
        ("{queryParameterValueMatch: ^{descriptorValue: a}}", ".queryParameterValueMatch.queryParameters", "missing"),
        ("{queryParameterValueMatch: {descriptorValue: a, queryParameters: [{name: b, presentMatch: ^false}]}}", ".queryParameterValueMatch.queryParameters[0].presentMatch", "expectMatch"),
        ("{metadata: ^{descriptorKey: a}}", ".metadata.metadataKey", "missing"),
        ("{metadata: {descriptorKey: a, metadataKey: ^{key: f}}}", ".metadata.metadataKey.path", "missing"),
        ("{metadata: {descriptorKey: a, metadataKey: {key: f, path: [{key: p}]}, source: ^ROUTE_ENTRY}}", ".metadata.source", "DYNAMIC"),
        ("{path: ^{}}", ".path.templates", "missing"),
        ("{path: {templates: [^'/a/{id}']}}", ".path.templates[0]", "braces"),
        ("{claim: ^{}}", ".claim.path", "missing"),
    ];
    for (action, field, piece) in rows {
        let spec = format!(
            "{{service: {{host: h, port: 1, domain: d}}, rateLimits: [{{actions: [{action}]}}]}}"
        );
        check(
            &spec,
            &format!("spec.rateLimits[0].actions[0]{field}"),
            piece,
        );
    }
}

fn check(marked: &str, field: &str, piece: &str) {
    let column = "spec: ".len() + marked.find('^').expect("a mark") + 1;
    let text = document(&marked.replacen('^', "", 1));
    let due = format!("limits.yaml:4:{column}: {field}: ");
    let found = problems(&text);
    let [problem] = &found[..] else {
        panic!("{marked}\n{found:#?}");
    };
    assert!(
        problem.starts_with(&due) && problem.contains(piece),
        "{marked}\n     due: {due}..{piece}..\nreported: {problem}"
    );
}

#[test]
fn lists_are_bounded() {
    let many = |item: &str, count: usize| vec![item; count].join(", ");
    let service = "service: {host: h, port: 1, domain: d}";
    for (spec, field) in [
        (
            format!(
                "{{{service}, rateLimits: [{}]}}",
                many("{actions: [{method: {}}]}", 33)
            ),
            "spec.rateLimits",
        ),
        (
            format!(
                "{{{service}, rateLimits: [{{actions: [{}]}}]}}",
                many("{method: {}}", 17)
            ),
            "spec.rateLimits[0].actions",
        ),
    ] {
        let found = problems(&document(&spec));
        assert!(
            found
                .iter()
                .any(|one| one.contains(&format!("{field}: has "))),
            "{found:?}"
        );
    }
}

#[test]
fn the_group_and_the_kind_are_known() {
    for (head, piece) in [
        (
            "apiVersion: mesh.tower/v2\nkind: RateLimit",
            "write mesh.tower/v1",
        ),
        (
            "apiVersion: mesh.tower\nkind: RateLimit",
            "write mesh.tower/v1",
        ),
        ("apiVersion: mesh.towr/v1\nkind: RateLimit", "mesh.tower"),
        (
            "apiVersion: security.istio.io/v1\nkind: RateLimit",
            "write mesh.tower/v1",
        ),
        (
            "apiVersion: mesh.tower/v1\nkind: RateLimits",
            "did you mean RateLimit?",
        ),
    ] {
        let text = format!("{head}\nmetadata: {{name: a}}\nspec: {{}}\n");
        let found = problems(&text);
        assert!(
            found.iter().any(|one| one.contains(piece)),
            "{head}: {found:?}"
        );
    }
    let dry = document("{local: {tokenBucket: {maxTokens: 1, fillInterval: 1s}}}");
    let dry = dry.replace(
        "{name: a}",
        "{name: a, annotations: {istio.io/dry-run: 'true'}}",
    );
    assert!(problems(&dry)[0].contains("spec.reportOnly"));
}

#[test]
fn all_that_it_can_say_is_compiled() {
    let program = program(
        "
apiVersion: mesh.tower/v1
kind: RateLimit
metadata: {name: readers, namespace: clinic}
spec:
  selector: {matchLabels: {app: patients}}
  reportOnly: true
  local:
    tokenBucket: {maxTokens: 100, tokensPerFill: 10, fillInterval: 1s}
    perConnection: true
    maxKeys: 500
    alwaysConsumeDefaultTokenBucket: false
    descriptors:
    - entries: [{key: method, value: GET}, {key: tenant, value: ''}]
      tokenBucket: {maxTokens: 5, fillInterval: 50ms}
  service: {host: ratelimit.platform, port: 8081, domain: clinic, timeout: 50ms, failureModeDeny: true, statusOnError: 503, disableXEnvoyRatelimitedHeader: true}
  rateLimits:
  - actions: [{method: {}}, {requestHeaders: {headerName: X-Tenant, descriptorKey: tenant, skipIfAbsent: true}}]
  - actions: [{claim: {path: [realm, org], defaultValue: none}}]
  rateLimitedStatus: 503
  rateLimitedAsResourceExhausted: true
  enableXRatelimitHeaders: DRAFT_VERSION_03
  responseHeadersToAdd: [{name: X-A, value: b}]
  requestHeadersToAddWhenNotEnforced: [{name: x-over, value: 'true'}]
",
    );
    assert!(program.notes.is_empty(), "{:?}", program.notes);
    let [limit] = &program.limits[..] else {
        panic!("{:?}", program.limits)
    };
    assert_eq!(
        (limit.namespace.as_str(), limit.name.as_str()),
        ("clinic", "readers")
    );
    assert_eq!(limit.stage(), Stage::Late);
    let spec = &limit.spec;
    assert!(spec.report_only && spec.as_resource_exhausted && spec.x_ratelimit_headers);
    assert_eq!(spec.status, 503);
    assert_eq!(spec.response_headers, [("x-a".to_owned(), "b".to_owned())]);
    assert_eq!(
        spec.not_enforced_headers,
        [("x-over".to_owned(), "true".to_owned())]
    );
    let local = spec.local.as_ref().unwrap();
    assert_eq!(
        (
            local.per_connection,
            local.max_keys,
            local.always_consume_default
        ),
        (true, 500, false)
    );
    let bucket = local.bucket.unwrap();
    assert_eq!(
        (
            bucket.max_tokens,
            bucket.tokens_per_fill,
            bucket.fill_interval.as_secs()
        ),
        (100, 10, 1)
    );
    assert_eq!(
        local.descriptors[0].entries[1],
        ("tenant".to_owned(), String::new())
    );
    assert_eq!(local.descriptors[0].bucket.tokens_per_fill, 1);
    let service = spec.service.as_ref().unwrap();
    assert_eq!(
        (service.host.as_str(), service.port, service.domain.as_str()),
        ("ratelimit.platform", 8081, "clinic")
    );
    assert_eq!(service.timeout.map(|timeout| timeout.as_millis()), Some(50));
    assert_eq!(
        (
            service.failure_mode_deny,
            service.status_on_error,
            service.envoy_ratelimited_header
        ),
        (true, 503, false)
    );
    let tenant = Action::RequestHeader {
        name: "x-tenant".to_owned(),
        key: "tenant".to_owned(),
        fallback: Fallback::Skip,
    };
    assert_eq!(spec.descriptors[0].actions, [Action::Method, tenant]);
    assert_eq!(
        spec.descriptors[1].actions,
        [Action::claim_or(["realm", "org"], "none")]
    );
}

/// Twenty milliseconds; zero is none, as in Envoy.
#[test]
fn the_timeout_of_a_service_has_envoys_default() {
    for (timeout, expected) in [
        ("", Some(20)),
        (", timeout: 0s", None),
        (", timeout: 1s", Some(1_000)),
    ] {
        let spec = format!(
            "{{service: {{host: h, port: 1, domain: d{timeout}}}, rateLimits: [{{actions: [{{method: {{}}}}]}}]}}"
        );
        let program = program(&document(&spec));
        let service = program.limits[0].spec.service.as_ref().unwrap();
        assert_eq!(service.timeout.map(|timeout| timeout.as_millis()), expected);
        assert!(!service.failure_mode_deny && service.status_on_error == 500);
    }
}

#[test]
fn a_limit_selects_workloads_as_a_policy_does() {
    let limit = |name: &str, namespace: &str, selector: &str| {
        format!(
            "---\napiVersion: mesh.tower/v1\nkind: RateLimit\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{selector}local: {{tokenBucket: {{maxTokens: 1, fillInterval: 1s}}}}}}\n"
        )
    };
    let text = [
        limit("own", "clinic", ""),
        limit("root", "istio-system", ""),
        limit("other", "ward", ""),
        limit(
            "ours",
            "clinic",
            "selector: {matchLabels: {app: patients}}, ",
        ),
        limit("theirs", "clinic", "selector: {matchLabels: {app: desk}}, "),
    ];
    let names = program(&text.concat()).limits;
    let names: Vec<_> = names.iter().map(|limit| limit.name.as_str()).collect();
    assert_eq!(names, ["own", "root", "ours"]);
    let twice = [limit("own", "clinic", ""), limit("own", "clinic", "")].concat();
    assert!(problems(&twice)[0].contains("already written"));
}

#[test]
fn a_bucket_that_no_request_reaches_is_noted() {
    let notes = |key: &str, actions: &str| {
        let spec = format!(
            "{{local: {{descriptors: [{{entries: [{key}], tokenBucket: {{maxTokens: 1, fillInterval: 1s}}}}]}}, rateLimits: [{{actions: [{actions}]}}]}}"
        );
        program(&document(&spec)).notes.len()
    };
    let skips = "{requestHeaders: {headerName: x-a, descriptorKey: a, skipIfAbsent: true}}";
    for (keys, actions, count) in [
        ("{key: method}", "{method: {}}", 0),
        ("{key: metod}", "{method: {}}", 1),
        ("{key: method}, {key: host}", "{method: {}}, {host: {}}", 0),
        ("{key: host}, {key: method}", "{method: {}}, {host: {}}", 1),
        ("{key: method}", "{method: {}}, {host: {}}", 1),
        ("{key: method}", &format!("{skips}, {{method: {{}}}}"), 0),
        (
            "{key: a}, {key: method}",
            &format!("{skips}, {{method: {{}}}}"),
            0,
        ),
    ] {
        assert_eq!(notes(keys, actions), count, "{keys} of {actions}");
    }
}

/// Both spellings of proto3 JSON, and Envoy's own names.
#[test]
fn fields_may_be_written_in_snake_case() {
    let resources = istio::parse(
        "limits.yaml",
        &document(
            "{local: {token_bucket: {max_tokens: 1, fill_interval: 1s}}, rate_limits: [{actions: [{request_headers: {header_name: a, descriptor_key: b}}]}]}",
        ),
        "clinic",
    )
    .unwrap();
    let action = &resources.rate_limits[0].rate_limits[0].actions[0];
    assert!(
        matches!(action, RateLimitAction::RequestHeaders { .. }),
        "{action:?}"
    );
}

/// A manifest for Kubernetes names just the fields that are read.
#[test]
fn the_crd_has_the_fields_that_are_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/crds/ratelimits.yaml");
    let crd = fs::read_to_string(path).unwrap();
    let named: BTreeSet<&str> = properties(&crd).collect();
    // Each field alone is either read or an unknown field.
    let known = |at: &str, field: &str| {
        let text = document(&at.replace("FIELD", field));
        !problems(&text)
            .iter()
            .any(|one| one.contains("unknown field"))
    };
    let places: &[(&str, &[&str])] = &[
        (
            "{FIELD: null}",
            &[
                "selector",
                "reportOnly",
                "local",
                "service",
                "rateLimits",
                "rateLimitedStatus",
                "rateLimitedAsResourceExhausted",
                "enableXRatelimitHeaders",
                "responseHeadersToAdd",
                "requestHeadersToAddWhenNotEnforced",
            ],
        ),
        (
            "{local: {FIELD: null}}",
            &[
                "tokenBucket",
                "perConnection",
                "maxKeys",
                "alwaysConsumeDefaultTokenBucket",
                "descriptors",
            ],
        ),
        (
            "{service: {FIELD: null}}",
            &[
                "host",
                "port",
                "domain",
                "timeout",
                "failureModeDeny",
                "statusOnError",
                "disableXEnvoyRatelimitedHeader",
            ],
        ),
        (
            "{rateLimits: [{actions: [{FIELD: null}]}]}",
            &[
                "sourceCluster",
                "destinationCluster",
                "requestHeaders",
                "queryParameters",
                "queryParameterValueMatch",
                "remoteAddress",
                "maskedRemoteAddress",
                "genericKey",
                "headerValueMatch",
                "metadata",
                "method",
                "host",
                "path",
                "principal",
                "requestPrincipal",
                "claim",
            ],
        ),
    ];
    let mut all = BTreeSet::new();
    for (place, fields) in places {
        for field in *fields {
            assert!(known(place, field), "{place}: {field}");
            assert!(named.contains(field), "the manifest lacks {field}");
            all.insert(*field);
        }
        // The decoder names all that it knows in a place.
        let told = problems(&document(&place.replace("FIELD", "zzzzzzzzzz")));
        let told = told
            .iter()
            .find(|one| one.contains("known here: "))
            .unwrap();
        let told: BTreeSet<&str> = told
            .split("known here: ")
            .last()
            .unwrap()
            .split(", ")
            .collect();
        assert_eq!(told, fields.iter().copied().collect(), "{place}");
    }
    for name in &named {
        let deeper = [
            "matchLabels",
            "maxTokens",
            "tokensPerFill",
            "fillInterval",
            "entries",
            "key",
            "value",
            "name",
            "actions",
            "headerName",
            "descriptorKey",
            "descriptorValue",
            "skipIfAbsent",
            "queryParameterName",
            "expectMatch",
            "stringMatch",
            "presentMatch",
            "rangeMatch",
            "start",
            "end",
            "exactMatch",
            "prefixMatch",
            "suffixMatch",
            "containsMatch",
            "safeRegexMatch",
            "invertMatch",
            "treatMissingHeaderAsEmpty",
            "headers",
            "exact",
            "prefix",
            "suffix",
            "contains",
            "safeRegex",
            "regex",
            "ignoreCase",
            "v4PrefixMaskLen",
            "v6PrefixMaskLen",
            "metadataKey",
            "defaultValue",
            "source",
            "templates",
            "spec",
            "status",
            "apiVersion",
            "kind",
            "metadata",
        ];
        assert!(
            all.contains(name) || deeper.contains(name),
            "nobody reads {name}"
        );
    }
}

/// The names under `properties:` of a manifest, by their indentation.
fn properties(manifest: &str) -> impl Iterator<Item = &str> {
    let mut places: Vec<usize> = Vec::new();
    manifest.lines().filter_map(move |line| {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if text.is_empty() || text.starts_with('#') {
            return None;
        }
        places.retain(|place| *place < indent);
        let is_name = places.last().is_some_and(|place| *place + 2 == indent);
        if text == "properties:" {
            places.push(indent);
        }
        let name = text.split(':').next().unwrap_or_default();
        is_name.then_some(name)
    })
}
