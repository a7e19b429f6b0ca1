use super::world::{routes, routing, virtual_service};
use crate::routing::route::{Call, CallHead};

/// A route of `a` from this namespace.
fn route(kind: &str, meta: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{{meta}}}\n\
         spec: {{parentRefs: [{{group: '', kind: Service, name: a, namespace: srv}}], rules: [{rules}]}}\n"
    )
}

const A: &str = "http://a.srv/";

#[test]
fn a_producers_route_is_for_all_and_a_consumers_for_its_own_namespace() {
    let producer = route(
        "HTTPRoute",
        "name: prod, namespace: srv",
        "{backendRefs: [{name: b, port: 80}]}",
    );
    let consumer = route(
        "HTTPRoute",
        "name: cons, namespace: client",
        "{backendRefs: [{name: b, namespace: srv, port: 80}]}",
    );
    let all = producer + &consumer;
    assert_eq!(
        routes(&routing("other", &all), A),
        ["srv.prod.0 / -> outbound|80||b"]
    );
    // No ReferenceGrant lets it name a Service of another namespace.
    assert_eq!(
        routes(&routing("client", &all), A),
        ["client.cons.0 / -> UnknownService"]
    );
    let grant = "---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: srv}
spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: client}], to: [{group: '', kind: Service}]}
";
    let granted = routing("client", &(all + grant));
    assert_eq!(routes(&granted, A), ["client.cons.0 / -> outbound|80||b"]);
}

#[test]
fn beside_a_virtual_service_the_older_counts_but_for_its_own_namespace() {
    let service = virtual_service(
        "vs",
        "http: [{name: vs, route: [{destination: {host: c}}]}]",
    )
    .replace(
        "name: vs, namespace",
        "creationTimestamp: '2024-01-01T00:00:00Z', name: vs, namespace",
    );
    let route = route(
        "HTTPRoute",
        "name: prod, namespace: srv, creationTimestamp: '2024-02-01T00:00:00Z'",
        "{backendRefs: [{name: b, port: 80}]}",
    );
    let all = service + &route;
    assert_eq!(
        routes(&routing("client", &all), A),
        ["vs / -> outbound|80||c"]
    );
    assert_eq!(
        routes(&routing("srv", &all), A),
        ["srv.prod.0 / -> outbound|80||b"]
    );
}

#[test]
fn rules_are_sorted_by_how_specific_they_are() {
    let b = "backendRefs: [{name: b, port: 80}]";
    let of_path = |name: &str, kind: &str, path: &str, more: &str| {
        format!("{{name: {name}, matches: [{{path: {{type: {kind}, value: {path}}}{more}}}], {b}}}")
    };
    let rules = [
        of_path("regex", "RegularExpression", "'/a.*'", ""),
        of_path("short", "PathPrefix", "/a", ""),
        of_path(
            "query",
            "PathPrefix",
            "/a",
            ", queryParams: [{name: q, value: '1'}]",
        ),
        of_path(
            "header",
            "PathPrefix",
            "/a",
            ", headers: [{name: x, value: '1'}]",
        ),
        of_path("method", "PathPrefix", "/a", ", method: GET"),
        of_path("long", "PathPrefix", "/a/b", ""),
        of_path("exact", "Exact", "/a", ""),
    ];
    let yaml = route("HTTPRoute", "name: r, namespace: srv", &rules.join(", "));
    let names: Vec<_> = routes(&routing("client", &yaml), A)
        .iter()
        .map(|shown| shown.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "exact", "long", "method", "header", "query", "short", "regex"
        ]
    );
}

#[test]
fn a_method_of_grpc_is_a_path() {
    let of_method = |method: &str| {
        format!("{{matches: [{{method: {{{method}}}}}], backendRefs: [{{name: b, port: 80}}]}}")
    };
    let rules = [
        of_method("service: pkg.S, method: M"),
        of_method("service: pkg.S"),
        of_method("method: M"),
        of_method("type: RegularExpression, service: 'p.*', method: 'M.*'"),
    ];
    let yaml = route("GRPCRoute", "name: r, namespace: srv", &rules.join(", "));
    let expected = [
        "srv.r.0 =/pkg.S/M -> outbound|80||b",
        "srv.r.1 /pkg.S/ -> outbound|80||b",
        "srv.r.3 ~/p.*/M.* -> outbound|80||b",
        "srv.r.2 ~/[^/]+/M -> outbound|80||b",
    ];
    let mut found = routes(&routing("client", &yaml), A);
    let mut expected = expected.map(str::to_owned);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn filters_timeouts_and_weights_are_converted() {
    let rule = |rest: &str| {
        let rule = format!("{{matches: [{{path: {{type: PathPrefix, value: /p}}}}], {rest}}}");
        routing(
            "client",
            &route("HTTPRoute", "name: r, namespace: srv", &rule),
        )
    };
    let b = "backendRefs: [{name: b, port: 80}]";
    let target = |rest: &str, path: &str| {
        let routing = rule(rest);
        let call = Call::get(&format!("http://a.srv{path}"));
        let drawn = routing.choose(80, &call).unwrap().draw(0).unwrap();
        drawn
            .target(&call)
            .unwrap_or_else(|| call.path().to_owned())
    };
    let prefix = |to: &str| {
        format!(
            "filters: [{{type: URLRewrite, urlRewrite: {{path: {{type: ReplacePrefixMatch, replacePrefixMatch: {to}}}}}}}], {b}"
        )
    };
    assert_eq!(target(&prefix("/"), "/p/x"), "/x");
    assert_eq!(target(&prefix("/"), "/p"), "/");
    assert_eq!(target(&prefix("/q/"), "/p/x?a"), "/q/x?a");
    let full = format!(
        "filters: [{{type: URLRewrite, urlRewrite: {{path: {{type: ReplaceFullPath, replaceFullPath: /new}}}}}}], {b}"
    );
    assert_eq!(target(&full, "/p/x"), "/new");
    assert_eq!(
        routes(&rule("backendRefs: [{name: b, port: 80, weight: 0}]"), A),
        ["srv.r.0 /p/ -> 500"]
    );
    assert!(rule(b).choose(80, &Call::get("http://a.srv/px")).is_none());

    let limits = |rest: &str| {
        let routing = rule(&format!("{rest}, {b}"));
        let call = Call::get("http://a.srv/p");
        let forward = routing.choose(80, &call).unwrap().forward().unwrap();
        assert_eq!(forward.cluster_not_found, 500);
        let retry = forward.retry.as_ref();
        let seconds = |it: Option<std::time::Duration>| it.map(|it| it.as_secs());
        let per_try = seconds(retry.and_then(|retry| retry.per_try_timeout));
        (
            seconds(forward.timeout),
            per_try,
            retry.map(|retry| retry.retries),
        )
    };
    let both = "timeouts: {request: 10s, backendRequest: 3s}";
    assert_eq!(limits(both), (Some(3), None, Some(2)));
    assert_eq!(
        limits(&format!("{both}, retry: {{codes: [500]}}")),
        (Some(10), Some(3), Some(2))
    );
    assert_eq!(limits("timeouts: {request: 0s}"), (None, None, Some(2)));
    assert_eq!(limits("retry: {attempts: 0}"), (None, None, None));
}
