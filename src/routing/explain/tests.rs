//! Explanations of small meshes in YAML.

use serde_json::json;

use super::{DomainMatch, Explanation, Outcome};
use crate::identity::Workload;
use crate::istio::{MeshConfig, parse, parse_mesh_config};
use crate::routing::route::Call;
use crate::routing::{Routing, RoutingOptions};

const SHOP: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {clusterIP: 10.96.0.5, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: ratings, namespace: shop}
spec: {clusterIP: 10.96.0.6, ports: [{name: http, port: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews, '*.reviews.test', 'reviews.example.com']
  http:
  - name: write
    match: [{method: {exact: POST}}]
    directResponse: {status: 503}
  - name: old
    match: [{uri: {prefix: /old/}}]
    redirect: {uri: /new, redirectCode: 308}
  - name: testers
    match:
    - uri: {prefix: /charts/}
      headers: {end-user: {regex: 'j.*'}}
      withoutHeaders: {x-bot: {}}
      queryParams: {beta: {exact: '1'}}
    rewrite: {uri: /, authority: charts.test}
    timeout: 2s
    retries: {attempts: 3, perTryTimeout: 500ms, retryOn: '5xx,429'}
    route:
    - {destination: {host: reviews, subset: v1}, weight: 90}
    - {destination: {host: reviews, subset: v2}, weight: 10}
  - name: charts
    match: [{uri: {exact: /charts, }, ignoreUriCase: true}]
    route: [{destination: {host: ratings.shop.svc.cluster.local, port: {number: 8080}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ratings, namespace: shop}
spec:
  parentRefs: [{group: '', kind: Service, name: ratings}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /stars}}]
    backendRefs: [{name: ratings, port: 8080}]
";

fn explain_with(mesh: &str, port: u16, call: &Call) -> Explanation {
    let resources = parse("shop.yaml", SHOP, "shop").unwrap();
    let mesh = match mesh {
        "" => MeshConfig::default(),
        text => parse_mesh_config("mesh.yaml", text).unwrap(),
    };
    let workload = Workload::new("shop", "web");
    let options = RoutingOptions::default();
    let routing = Routing::new(&workload, &mesh, &resources.traffic, &(), &options).unwrap();
    let explanation = routing.explain(port, call);
    // What takes the call is what is chosen for it.
    let chosen = routing.choose(port, call);
    let taken = explanation.routes.last().filter(|route| route.matched);
    assert_eq!(
        chosen.map(|choice| choice.route.name.clone()),
        taken.map(|route| route.route.clone()),
    );
    explanation
}

fn explain(port: u16, call: &Call) -> Explanation {
    explain_with("", port, call)
}

#[test]
fn each_route_before_the_taken_one_says_what_it_missed() {
    let call = Call::get("http://reviews.shop/charts/7?beta=1&x=y").header("End-User", "jason");
    assert_eq!(
        explain(80, &call).to_string(),
        "\
routed: outbound|80|v1|reviews.shop.svc.cluster.local (90 of 100), outbound|80|v2|reviews.shop.svc.cluster.local (10 of 100)
  host \"reviews.shop\" is of reviews.shop.svc.cluster.local:80: the exact domain reviews.shop
  route write of VirtualService shop/reviews (shop.yaml:18): no match
    method is not {exact: POST}: saw \"GET\"
  route old of VirtualService shop/reviews (shop.yaml:21): no match
    uri is not {prefix: /old/}: saw \"/charts/7\"
  route testers of VirtualService shop/reviews (shop.yaml:24): match
    uri is {prefix: /charts/}
    headers[end-user] is {regex: j.*}
    withoutHeaders[x-bot] is not {present}
    queryParams[beta] is {exact: 1}
  path rewritten to \"/7?beta=1&x=y\"
  host rewritten to \"charts.test\" for outbound|80|v1|reviews.shop.svc.cluster.local
  host rewritten to \"charts.test\" for outbound|80|v2|reviews.shop.svc.cluster.local
  timeout 2s
  retries 3 on 5xx,retriable-status-codes (429), 500ms each
"
    );
}

#[test]
fn programs_get_the_same_as_json() {
    let call = Call::get("http://reviews/charts/7?beta=1").header("end-user", "jason");
    let json = serde_json::to_value(explain(80, &call)).unwrap();
    assert_eq!(json["routed"], true);
    assert_eq!(
        json["virtual_host"],
        json!({"name": "reviews.shop.svc.cluster.local:80", "known": true, "domain": "reviews", "by": "exact"})
    );
    assert_eq!(
        json["routes"][0],
        json!({
            "route": "write",
            "resource": {
                "kind": "VirtualService", "namespace": "shop", "name": "reviews",
                "file": "shop.yaml", "line": 18,
            },
            "asks": ["uri is {prefix: /}", "method is {exact: POST}"],
            "matched": false,
            "failed": {"field": "method", "negated": false, "expected": "exact: POST", "saw": "GET"},
        })
    );
    let outcome = &json["outcome"];
    assert_eq!(
        outcome["clusters"][1],
        json!({
            "cluster": "outbound|80|v2|reviews.shop.svc.cluster.local",
            "host": "reviews.shop.svc.cluster.local", "port": 80, "subset": "v2",
            "weight": 10, "host_rewrite": "charts.test",
        })
    );
    assert_eq!(outcome["action"], "forward");
    assert_eq!(outcome["timeout_ms"], 2000);
    assert_eq!(outcome["rewritten"], "/7?beta=1");
    assert_eq!(
        outcome["retries"],
        json!({
            "attempts": 3, "retry_on": "5xx,retriable-status-codes", "status_codes": [429],
            "per_try_timeout_ms": 500,
        })
    );
}

#[test]
fn the_first_test_that_fails_is_named_with_what_the_call_had() {
    let missed = |call: Call| {
        let explanation = explain(80, &call);
        let testers = &explanation.routes[2];
        assert_eq!(testers.route.as_deref(), Some("testers"));
        testers.failed.as_ref().unwrap().to_string()
    };
    let call = || Call::get("http://reviews/charts/7?beta=2&beta=1");
    assert_eq!(
        missed(call()),
        "headers[end-user] is not {regex: j.*}: saw nothing"
    );
    let twice = call().header("end-user", "kim").header("end-user", "bob");
    assert_eq!(
        missed(twice),
        "headers[end-user] is not {regex: j.*}: saw \"kim | bob\""
    );
    let jason = || call().header("end-user", "jason");
    assert_eq!(
        missed(jason().header("x-bot", "")),
        "withoutHeaders[x-bot] is {present}: saw \"\""
    );
    assert_eq!(
        missed(jason()),
        "queryParams[beta] is not {exact: 1}: saw \"2\""
    );
    let charts = explain(80, &Call::get("http://reviews/chart"));
    let failed = charts.routes[3].failed.as_ref().unwrap();
    assert_eq!(
        failed.to_string(),
        "uri is not {exact: /charts, in any case}: saw \"/chart\""
    );
}

#[test]
fn a_known_host_none_of_whose_routes_fits_is_not_routed() {
    let explanation = explain(80, &Call::get("http://reviews/nothing"));
    assert!(!explanation.routed);
    assert_eq!(explanation.outcome, None);
    assert_eq!(explanation.routes.len(), 4);
    let text = explanation.to_string();
    let first = text.lines().next().unwrap();
    assert_eq!(
        first,
        "not routed: no route of reviews.shop.svc.cluster.local:80 takes it"
    );
}

#[test]
fn redirects_and_answers_are_told() {
    let redirect = explain(80, &Call::get("http://reviews/old/1?a=b"));
    let location = "http://reviews/new?a=b".to_owned();
    let expected = Outcome::Redirect {
        status: 308,
        location,
    };
    assert_eq!(redirect.outcome, Some(expected));
    assert!(redirect.routed);
    let answer = explain(80, &Call::new("POST", "http://reviews/"));
    assert!(
        answer
            .to_string()
            .starts_with("routed: answered with 503\n")
    );
}

#[test]
fn the_virtual_host_says_which_domain_made_it_the_one() {
    for (host, by, domain) in [
        (
            "Reviews.shop.svc:80",
            DomainMatch::Exact,
            "reviews.shop.svc",
        ),
        ("a.reviews.test", DomainMatch::Suffix, "*.reviews.test"),
        ("elsewhere.test", DomainMatch::Any, "*"),
    ] {
        let explanation = explain(80, &Call::get(&format!("http://{host}/charts")));
        let found = explanation.virtual_host.unwrap();
        assert_eq!((found.by, found.domain.as_str()), (by, domain), "{host}");
        assert_eq!(found.known, by != DomainMatch::Any, "{host}");
    }
}

#[test]
fn hosts_and_ports_that_nobody_knows_go_by_the_outbound_policy() {
    let strict = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}";
    let call = Call::get("http://elsewhere.test/");
    assert_eq!(
        explain_with("", 80, &call).to_string(),
        "\
routed: PassthroughCluster
  host \"elsewhere.test\" is of allow_any: nobody knows it
  route allow_any: match
    uri is {prefix: /}
  timeout none
  retries none
"
    );
    let refused = explain_with(strict, 80, &call);
    assert!(!refused.routed);
    assert!(
        refused.to_string().starts_with(
            "not routed: nobody knows the host on port 80, and the outbound policy refuses it: \
             answered with 502\n"
        ),
        "{refused}"
    );
    let open = explain_with("", 9, &call);
    assert!(open.routed && open.virtual_host.is_none());
    let refused = explain_with(strict, 9, &call);
    assert!(!refused.routed);
    assert_eq!(
        refused.to_string(),
        "not routed: no service has port 9, and the outbound policy refuses it\n"
    );
}

#[test]
fn routes_of_the_gateway_api_are_told_as_such() {
    let explanation = explain(8080, &Call::get("http://ratings:8080/starship"));
    let report = &explanation.routes[0];
    let resource = report.resource.as_ref().unwrap();
    assert_eq!(
        resource.to_string(),
        "HTTPRoute shop/ratings (shop.yaml:46)"
    );
    assert_eq!(
        report.failed.as_ref().unwrap().to_string(),
        "uri is not {prefix of whole segments: /stars}: saw \"/starship\""
    );
    assert!(!explanation.routed);
}
