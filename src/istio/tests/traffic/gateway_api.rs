//! The routes of the Gateway API.

use std::time::Duration;

use super::*;
use crate::istio::traffic::gateway_api::{HttpRouteFilter, PathMatch, PathModifier};

#[test]
fn an_http_route_is_read() {
    let read = read(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{kind: Service, group: '', name: a, namespace: srv, port: 80}, {name: g, sectionName: h}]
  hostnames: [a.test, '*.b.test']
  rules:
  - name: first
    matches:
    - {path: {type: Exact, value: /a}, method: GET, headers: [{name: x, value: z, type: RegularExpression}], queryParams: [{name: q, value: '1'}]}
    - {path: {value: /b}}
    filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}], remove: [c]}}
    - {type: RequestMirror, requestMirror: {backendRef: {name: m, port: 80}, fraction: {numerator: 1, denominator: 3}}}
    - {type: URLRewrite, urlRewrite: {hostname: h.test, path: {type: ReplaceFullPath, replaceFullPath: /z}}}
    - {type: CORS, cors: {allowOrigins: ['https://*.b'], allowCredentials: true}}
    backendRefs: [{name: a, port: 80}, {name: b, namespace: other, port: 81, weight: 0}]
    timeouts: {request: 10s, backendRequest: 0s}
    retry: {codes: [503], backoff: 100ms}
  - filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]
",
    );
    let route = &read.http_routes[0];
    assert_eq!(
        (route.parents[0].is_service(), route.parents[1].is_service()),
        (true, false)
    );
    assert_eq!(
        (&*route.parents[1].group, &*route.parents[1].kind),
        ("gateway.networking.k8s.io", "Gateway")
    );
    let rule = &route.rules[0];
    let [exact, prefix] = &rule.matches[..] else {
        panic!("{:?}", rule.matches)
    };
    assert!(matches!(&exact.path, Some(PathMatch::Exact(path)) if &**path == "/a"));
    assert!(matches!(&prefix.path, Some(PathMatch::PathPrefix(path)) if &**path == "/b"));
    assert_eq!(
        (exact.method.as_deref(), exact.headers[0].is_regex),
        (Some("GET"), true)
    );
    let [
        _,
        HttpRouteFilter::RequestMirror(mirror),
        HttpRouteFilter::UrlRewrite(rewrite),
        HttpRouteFilter::Cors(cors),
    ] = &rule.filters[..]
    else {
        panic!("{:?}", rule.filters)
    };
    assert_eq!(mirror.percentage.unwrap().millionths(), 333_333);
    assert!(matches!(&rewrite.path, Some(PathModifier::ReplaceFullPath(path)) if &**path == "/z"));
    assert_eq!(cors.max_age, Duration::from_secs(5), "the schema's default");
    assert_eq!(
        rule.backends.iter().map(|to| to.weight).collect::<Vec<_>>(),
        [1, 0]
    );
    assert_eq!(
        (rule.request_timeout, rule.backend_request_timeout),
        (Some(Duration::from_secs(10)), Some(Duration::ZERO))
    );
    let retry = rule.retry.as_ref().unwrap();
    assert_eq!((&*retry.codes, retry.attempts), (&[503][..], None));
    let [HttpRouteFilter::RequestRedirect(redirect)] = &route.rules[1].filters[..] else {
        panic!("{:?}", route.rules[1].filters)
    };
    assert_eq!(redirect.status_code, 302, "the schema's default");
}

#[test]
fn grpc_routes_and_grants_are_read() {
    let read = read(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: r}
spec:
  parentRefs: [{kind: Service, group: '', name: a}]
  rules:
  - {matches: [{method: {service: clinic.Patients, method: Get}}, {method: {type: RegularExpression, method: 'G.*'}}, {headers: [{name: x, value: z}]}], backendRefs: [{name: a, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g}
spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: srv}], to: [{group: '', kind: Service}]}
",
    );
    let matches = &read.grpc_routes[0].rules[0].matches;
    assert_eq!(
        (matches[0].service.as_deref(), matches[0].method.as_deref()),
        (Some("clinic.Patients"), Some("Get"))
    );
    assert!(matches[1].is_regex && matches[1].service.is_none());
    assert_eq!(&*matches[2].headers[0].value, "z");
    let grant = &read.reference_grants[0];
    assert_eq!(
        (&*grant.from[0].namespace, &*grant.to[0].kind),
        ("srv", "Service")
    );
    assert_eq!(grant.to[0].name, None);
}

#[test]
fn a_route_without_rules_takes_everything() {
    let read = read(
        "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r}, spec: {}}",
    );
    let rules = &read.http_routes[0].rules;
    assert_eq!((rules.len(), rules[0].matches.len()), (1, 0));
}

#[test]
#[rustfmt::skip] // one row a line
fn what_the_schema_refuses_is_refused() {
    for (kind, rule, said) in [
        ("HTTPRoute", "matches: [{path: {value: a}}]", "matches[0].path.value: `a` is no path"),
        ("HTTPRoute", "matches: [{path: {type: Suffix, value: /}}]", "matches[0].path.type: `Suffix` is not one of"),
        ("HTTPRoute", "matches: [{path: {type: RegularExpression, value: '('}}]", "matches[0].path.value: `(` is no RE2"),
        ("HTTPRoute", "matches: [{method: get}]", "matches[0].method: `get` is not one of"),
        ("HTTPRoute", "matches: [{headers: [{name: a}]}]", "matches[0].headers[0].value: is missing"),
        ("HTTPRoute", "backendRefs: [{name: a}]", "backendRefs[0].port: is missing"),
        ("HTTPRoute", "backendRefs: [{name: a, port: 80, weight: -1}]", "backendRefs[0].weight: this is `-1`"),
        ("HTTPRoute", "filters: [{type: Gzip}]", "filters[0].type: `Gzip` is not one of"),
        ("HTTPRoute", "filters: [{type: CORS}]", "filters[0].cors: is missing"),
        ("HTTPRoute", "filters: [{type: CORS, cors: {}, urlRewrite: {}}]", "filters[0].urlRewrite: does not belong to this type"),
        ("HTTPRoute", "filters: [{type: CORS, cors: {}}, {type: CORS, cors: {}}]", "filters[1].type: is a second filter"),
        ("HTTPRoute", "filters: [{type: RequestRedirect, requestRedirect: {statusCode: 304}}]", "filters[0].requestRedirect.statusCode: 304 is no code"),
        ("HTTPRoute", "backendRefs: [{name: a, port: 80}], filters: [{type: RequestRedirect, requestRedirect: {}}]", "backendRefs: cannot be combined"),
        ("HTTPRoute", "matches: [{path: {type: Exact, value: /a}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]", ": replacePrefixMatch replaces a prefix"),
        ("HTTPRoute", "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 80}, fraction: {numerator: 3, denominator: 2}}}]", "filters[0].requestMirror.fraction: is more than all"),
        ("HTTPRoute", "timeouts: {request: 1s, backendRequest: 2s}", ": timeouts: backendRequest is longer"),
        ("HTTPRoute", "retry: {codes: [200]}", "retry.codes[0]: this is `200`"),
        ("HTTPRoute", "sessionPersistence: {}", "sessionPersistence: is not supported"),
        ("GRPCRoute", "matches: [{method: {}}]", "matches[0].method: matches every call"),
        ("GRPCRoute", "matches: [{method: {service: a/b}}]", "matches[0].method.service: `a/b` is no name"),
        ("GRPCRoute", "filters: [{type: CORS, cors: {}}]", "filters[0].type: is not a filter of a GRPCRoute"),
    ] {
        let text = format!("apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{rules: [{{{rule}}}]}}\n");
        let problem = only_problem(&text);
        assert!(problem.starts_with("4:") && problem.contains(&format!("spec.rules[0]{}{said}", if said.starts_with(':') { "" } else { "." })), "{rule}: {problem}");
    }
    let parent = "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: a}, spec: {parentRefs: [{kind: Service}]}}";
    assert!(only_problem(parent).contains("spec.parentRefs[0].name: is missing"));
}
