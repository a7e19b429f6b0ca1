use serde_json::{Value, json};

use super::normal::normal;
use super::world::{routing, routing_with, try_routing, virtual_service};
use crate::istio::traffic::{ConsistentHash, HashAlgorithm, HashKey};
use crate::istio::{Position, Text};
use crate::routing::route::{Call, HeaderEdit};
use crate::routing::{HashLookup, RoutingOptions, envoy};

/// The first route to `a`, as it is printed.
fn printed(http: &str) -> Value {
    let routing = routing(
        "client",
        &virtual_service("x", &format!("http: [{{{http}}}]")),
    );
    let table = routing.table(80).unwrap();
    normal(&envoy::route(
        &table.virtual_host("a.srv").unwrap().routes[0],
    ))
}

const B: &str = "route: [{destination: {host: b}}]";

#[test]
fn a_route_without_more_is_retried_and_never_times_out() {
    let expected = json!({
        "match": {"prefix": "/"},
        "route": {"cluster": "outbound|80||b.srv.svc.cluster.local", "retry_policy": "STD"},
    });
    assert_eq!(printed(B), expected);
    let named =
        printed("route: [{destination: {host: b, subset: v1, port: {number: 9}}}], timeout: 1.5s");
    assert_eq!(
        named["route"]["cluster"],
        "outbound|9|v1|b.srv.svc.cluster.local"
    );
    assert_eq!(named["route"]["timeout"], "1.500s");
}

#[test]
fn weights_of_nothing_are_left_out_and_one_destination_needs_none() {
    let one = printed("route: [{destination: {host: b}, weight: 0}]");
    assert_eq!(
        one["route"]["cluster"],
        "outbound|80||b.srv.svc.cluster.local"
    );
    let split = printed(
        "route: [{destination: {host: b}, weight: 300}, {destination: {host: a}, weight: 0}]",
    );
    let clusters = json!([{"name": "outbound|80||b.srv.svc.cluster.local", "weight": 300}]);
    assert_eq!(split["route"]["weighted_clusters"]["clusters"], clusters);
}

#[test]
fn retries_replace_the_meshs_whole() {
    let policy = |retries: &str| printed(&format!("{B}, retries: {{{retries}}}"))["route"].clone();
    assert_eq!(policy("attempts: 0").get("retry_policy"), None);
    let codes = &policy("attempts: 3, retryOn: '503'")["retry_policy"];
    assert_eq!(codes["retry_on"], ",retriable-status-codes");
    assert_eq!(codes["retriable_status_codes"], json!([503]));
    let all = policy(
        "attempts: 1, perTryTimeout: 300ms, retryIgnorePreviousHosts: false, retryRemoteLocalities: true, backoff: 100ms",
    );
    let all = &all["retry_policy"];
    assert_eq!(all["per_try_timeout"], "0.300s");
    assert_eq!(all.get("retry_host_predicate"), None);
    assert_eq!(all["retry_priority"]["typed_config"]["update_frequency"], 2);
    assert_eq!(all["retry_back_off"]["base_interval"], "0.100s");

    let mesh = "defaultHttpRetryPolicy: {attempts: 5, retryOn: 5xx, perTryTimeout: 2s}";
    let yaml = virtual_service(
        "x",
        "http: [{match: [{uri: {prefix: /own}}], retries: {attempts: 3}, route: [{destination: {host: b}}]},
          {route: [{destination: {host: b}}]}]",
    );
    let routing = try_routing("client", &yaml, mesh).unwrap();
    let retry = |path: &str| {
        let call = Call::get(&format!("http://a.srv{path}"));
        let forward = routing.choose(80, &call).unwrap().forward().unwrap();
        let retry = forward.retry.clone().unwrap();
        (
            retry.retries,
            retry.retry_on,
            retry.per_try_timeout.is_some(),
        )
    };
    let built_in = crate::routing::route::RetryPolicy::BUILT_IN.to_owned();
    assert_eq!(retry("/own"), (3, built_in, false));
    assert_eq!(retry("/"), (5, "5xx".to_owned(), true));
}

#[test]
fn a_hashed_destination_is_asked_again() {
    struct ByUser;
    impl HashLookup for ByUser {
        fn hash(&self, host: &str, _: &str, _: u16, _: bool) -> Option<ConsistentHash> {
            (host == "b.srv.svc.cluster.local").then(|| ConsistentHash {
                key: HashKey::HttpHeader(Text::new("x-user", Position::default())),
                algorithm: HashAlgorithm::RingHash(1024),
                at: Position::default(),
            })
        }
    }
    let yaml = virtual_service("x", &format!("http: [{{{B}}}]"));
    let options = RoutingOptions::default();
    let routing = routing_with("client", &yaml, "", &ByUser, &options).unwrap();
    for (host, avoids_previous) in [("a.srv", false), ("b.srv", true)] {
        let call = Call::get(&format!("http://{host}/"));
        let forward = routing.choose(80, &call).unwrap().forward().unwrap();
        assert_eq!(forward.hash.len(), 1);
        let retry = forward.retry.as_ref().unwrap();
        assert_eq!(retry.avoid_previous_hosts, avoids_previous, "{host}");
    }
}

#[test]
fn the_default_port_of_a_redirect_is_not_written() {
    let port = |redirect: &str| printed(&format!("redirect: {{{redirect}}}"))["redirect"].clone();
    assert_eq!(port("uri: /n"), json!({"path_redirect": "/n"}));
    let table = [
        ("scheme: http, port: 80", None),
        ("scheme: https, port: 443", None),
        ("scheme: http, port: 443", Some(443)),
        ("authority: x.test, port: 80", None),
        ("authority: x.test, port: 8443", Some(8443)),
        ("authority: x.test, derivePort: FROM_REQUEST_PORT", None),
        ("scheme: https, derivePort: FROM_PROTOCOL_DEFAULT", None),
    ];
    for (redirect, expected) in table {
        let found = port(redirect).get("port_redirect").and_then(Value::as_u64);
        assert_eq!(found, expected, "{redirect}");
    }
    assert_eq!(
        port("uri: /n, redirectCode: 308")["response_code"],
        "PERMANENT_REDIRECT"
    );
}

/// Lines that stay in order.
#[derive(Default)]
struct Lines(Vec<(String, String)>);

impl HeaderEdit for Lines {
    fn remove(&mut self, name: &str) {
        self.0.retain(|(of_line, _)| of_line != name);
    }

    fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.add(name, value);
    }

    fn add(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }
}

#[test]
fn of_one_destination_the_destination_wins_and_of_several_the_route() {
    let of_route =
        "headers: {request: {set: {s: route, host: route.test}, add: {d: route}, remove: [z]}}";
    let of_destination =
        "headers: {request: {set: {s: dest, z: dest, host: dest.test}, add: {d: dest}}}";
    let drawn = |route: &str| {
        let http = format!("http: [{{{of_route}, route: [{route}]}}]");
        let routing = routing("client", &virtual_service("x", &http));
        let choice = routing.choose(80, &Call::get("http://a.srv/")).unwrap();
        let drawn = choice.draw(0).unwrap();
        let mut lines = Lines::default();
        drawn.change_request(&mut lines);
        let lines = lines
            .0
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let mut lines: Vec<_> = lines.collect();
        lines.sort();
        assert_eq!(drawn.host(), Some("route.test"));
        lines
    };
    let one = format!("{{destination: {{host: b}}, {of_destination}}}");
    assert_eq!(drawn(&one), ["d=dest", "d=route", "s=dest", "z=dest"]);
    let several = format!(
        "{{destination: {{host: b}}, weight: 1, {of_destination}}}, {{destination: {{host: c}}, weight: 0}}"
    );
    assert_eq!(drawn(&several), ["d=dest", "d=route", "s=route"]);
}

#[test]
fn a_call_is_rewritten_and_mirrored_on_the_way() {
    let http = "http: [{match: [{uri: {prefix: /api/}}], rewrite: {uri: /, authority: new.test},
        mirrors: [{destination: {host: c}}, {destination: {host: a}, percentage: {value: 0}}],
        route: [{destination: {host: b}}]}]";
    let routing = routing("client", &virtual_service("x", http));
    let call = Call::get("http://a.srv:80/api/x?q=1");
    let drawn = routing.choose(80, &call).unwrap().draw(7).unwrap();
    assert_eq!(drawn.target(&call).as_deref(), Some("/x?q=1"));
    assert_eq!(drawn.host(), Some("new.test"));
    let forward = routing.choose(80, &call).unwrap().forward().unwrap();
    let [mirror] = forward.mirrors.as_slice() else {
        panic!("{forward:?}");
    };
    assert_eq!(
        mirror.cluster.to_string(),
        "outbound|80||c.srv.svc.cluster.local"
    );
    assert!(
        routing
            .choose(80, &Call::get("http://a.srv/other"))
            .is_none()
    );
}

#[test]
fn faults_and_cors_are_data() {
    let faulty = printed(&format!(
        "{B}, fault: {{delay: {{fixedDelay: 5s}}, abort: {{httpStatus: 555, percentage: {{value: 12.34567}}}}}}"
    ));
    let fault = &faulty["typed_per_filter_config"]["envoy.filters.http.fault"];
    // Without a percentage it never happens.
    assert_eq!(fault["delay"], json!({"fixed_delay": "5s"}));
    let share = json!({"millionths": 123_456});
    assert_eq!(
        fault["abort"],
        json!({"http_status": 555, "percentage": share})
    );

    let shared = printed(&format!(
        "{B}, corsPolicy: {{allowOrigins: [{{exact: 'https://a'}}], allowMethods: [GET, POST], maxAge: 24h, unmatchedPreflights: IGNORE}}"
    ));
    let cors = &shared["typed_per_filter_config"]["envoy.filters.http.cors"];
    assert_eq!(cors["allow_methods"], "GET,POST");
    assert_eq!(cors["max_age"], "86400");
    assert_eq!(cors["forward_not_matching_preflights"], false);
}
