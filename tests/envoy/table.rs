//! Hand-written sets: one for each field at least.

use serde_json::{Value, json};

use crate::world::{Issuers, World, authentication, policy};

/// One set for each field, its negation included.
pub(crate) fn worlds(issuers: &Issuers) -> Vec<World> {
    let mut worlds = Vec::new();
    for (name, rule) in RULES {
        let rule: Value =
            serde_json::from_str(rule).unwrap_or_else(|error| panic!("{name}: {error}"));
        for action in ["ALLOW", "DENY"] {
            let policies = [policy("p", action, &json!([rule])), authentication(issuers)];
            worlds.push(World::of(&format!("{name}, {action}"), &policies).ask(requests()));
        }
    }
    worlds
}

/// Sets that hold a negation which some request of theirs meets.
pub(crate) fn negative(issuers: &Issuers) -> Vec<World> {
    let mut worlds = worlds(issuers);
    worlds.retain(|world| world.name.starts_with("not ") && world.name.ends_with("ALLOW"));
    assert!(worlds.len() >= 5);
    worlds
}

/// Rules by what they show.
const RULES: &[(&str, &str)] = &[
    ("everything", "{}"),
    (
        "principals",
        r#"{"from": [{"source": {"principals": ["cluster.local/ns/foo/sa/alice"]}}]}"#,
    ),
    (
        "any principal",
        r#"{"from": [{"source": {"principals": ["*"]}}]}"#,
    ),
    (
        "principal by suffix",
        r#"{"from": [{"source": {"principals": ["*/sa/alice"]}}]}"#,
    ),
    (
        "principal by prefix",
        r#"{"from": [{"source": {"principals": ["cluster.local/ns/foo/*"]}}]}"#,
    ),
    (
        "not principals",
        r#"{"from": [{"source": {"notPrincipals": ["cluster.local/ns/foo/sa/alice"]}}]}"#,
    ),
    (
        "namespaces",
        r#"{"from": [{"source": {"namespaces": ["f*o"]}}]}"#,
    ),
    (
        "not namespaces",
        r#"{"from": [{"source": {"notNamespaces": ["foo"]}}]}"#,
    ),
    (
        "service accounts",
        r#"{"from": [{"source": {"serviceAccounts": ["alice"]}}]}"#,
    ),
    (
        "not service accounts",
        r#"{"from": [{"source": {"notServiceAccounts": ["foo/alice"]}}]}"#,
    ),
    (
        "trust domains",
        r#"{"from": [{"source": {"trustDomains": ["cluster.local"]}}]}"#,
    ),
    (
        "not trust domains",
        r#"{"from": [{"source": {"notTrustDomains": ["cluster*"]}}]}"#,
    ),
    (
        "request principals",
        r#"{"from": [{"source": {"requestPrincipals": ["https://a.example/alice"]}}]}"#,
    ),
    (
        "any request principal",
        r#"{"from": [{"source": {"requestPrincipals": ["*"]}}]}"#,
    ),
    (
        "not request principals",
        r#"{"from": [{"source": {"notRequestPrincipals": ["*"]}}]}"#,
    ),
    (
        "ip blocks",
        r#"{"from": [{"source": {"ipBlocks": ["127.0.0.1"]}}]}"#,
    ),
    (
        "not ip blocks",
        r#"{"from": [{"source": {"notIpBlocks": ["127.0.0.2/31"]}}]}"#,
    ),
    (
        "remote ip blocks",
        r#"{"from": [{"source": {"remoteIpBlocks": ["9.9.9.0/24"]}}]}"#,
    ),
    (
        "not remote ip blocks",
        r#"{"from": [{"source": {"notRemoteIpBlocks": ["9.9.9.0/24"]}}]}"#,
    ),
    (
        "hosts",
        r#"{"to": [{"operation": {"hosts": ["App.Example"]}}]}"#,
    ),
    (
        "hosts by suffix",
        r#"{"to": [{"operation": {"hosts": ["*.example"]}}]}"#,
    ),
    (
        "not hosts",
        r#"{"to": [{"operation": {"notHosts": ["app.example"]}}]}"#,
    ),
    (
        "methods",
        r#"{"to": [{"operation": {"methods": ["GET"]}}]}"#,
    ),
    (
        "not methods",
        r#"{"to": [{"operation": {"notMethods": ["GET"]}}]}"#,
    ),
    ("paths", r#"{"to": [{"operation": {"paths": ["/a"]}}]}"#),
    (
        "paths below",
        r#"{"to": [{"operation": {"paths": ["/a/*"]}}]}"#,
    ),
    (
        "not paths",
        r#"{"to": [{"operation": {"notPaths": ["/a", "/a/*"]}}]}"#,
    ),
    (
        "path template",
        r#"{"to": [{"operation": {"paths": ["/foo/{*}"]}}]}"#,
    ),
    (
        "long path template",
        r#"{"to": [{"operation": {"paths": ["/foo/{*}/bar/{**}"]}}]}"#,
    ),
    (
        "not path template",
        r#"{"to": [{"operation": {"notPaths": ["/foo/{**}"]}}]}"#,
    ),
    ("ports", r#"{"to": [{"operation": {"ports": ["PORT"]}}]}"#),
    (
        "not ports",
        r#"{"to": [{"operation": {"notPorts": ["PORT"]}}]}"#,
    ),
    (
        "header",
        r#"{"when": [{"key": "request.headers[X-Role]", "values": ["admin"]}]}"#,
    ),
    (
        "header is there",
        r#"{"when": [{"key": "request.headers[x-role]", "values": ["*"]}]}"#,
    ),
    (
        "not header",
        r#"{"when": [{"key": "request.headers[x-role]", "notValues": ["admin"]}]}"#,
    ),
    (
        "joined header",
        r#"{"when": [{"key": "request.headers[accept]", "values": ["a"]}]}"#,
    ),
    (
        "path as header",
        r#"{"when": [{"key": "request.headers[:path]", "values": ["/a"]}]}"#,
    ),
    (
        "source.ip",
        r#"{"when": [{"key": "source.ip", "values": ["127.0.0.2"]}]}"#,
    ),
    (
        "remote.ip",
        r#"{"when": [{"key": "remote.ip", "values": ["9.9.9.9"]}]}"#,
    ),
    (
        "source.namespace",
        r#"{"when": [{"key": "source.namespace", "values": ["foo"]}]}"#,
    ),
    (
        "source.principal",
        r#"{"when": [{"key": "source.principal", "notValues": ["*/sa/bob"]}]}"#,
    ),
    (
        "source.serviceAccount",
        r#"{"when": [{"key": "source.serviceAccount", "values": ["bar/bob"]}]}"#,
    ),
    (
        "source.trustDomain",
        r#"{"when": [{"key": "source.trustDomain", "values": ["td*"]}]}"#,
    ),
    (
        "request.auth.principal",
        r#"{"when": [{"key": "request.auth.principal", "values": ["https://a.example/*"]}]}"#,
    ),
    (
        "request.auth.audiences",
        r#"{"when": [{"key": "request.auth.audiences", "values": ["one"]}]}"#,
    ),
    (
        "request.auth.presenter",
        r#"{"when": [{"key": "request.auth.presenter", "values": ["desk"]}]}"#,
    ),
    (
        "claim",
        r#"{"when": [{"key": "request.auth.claims[g]", "values": ["admin"]}]}"#,
    ),
    (
        "claim is there",
        r#"{"when": [{"key": "request.auth.claims[g]", "values": ["*"]}]}"#,
    ),
    (
        "not claim",
        r#"{"when": [{"key": "request.auth.claims[g]", "notValues": ["admin"]}]}"#,
    ),
    (
        "nested claim",
        r#"{"when": [{"key": "request.auth.claims[a][b]", "values": ["c"]}]}"#,
    ),
    (
        "scope",
        r#"{"when": [{"key": "request.auth.claims[scope]", "values": ["read"]}]}"#,
    ),
    (
        "destination.ip",
        r#"{"when": [{"key": "destination.ip", "values": ["127.0.0.0/8"]}]}"#,
    ),
    (
        "destination.port",
        r#"{"when": [{"key": "destination.port", "values": ["PORT"]}]}"#,
    ),
    (
        "connection.sni",
        r#"{"when": [{"key": "connection.sni", "values": ["a.example"]}]}"#,
    ),
    (
        "not connection.sni",
        r#"{"when": [{"key": "connection.sni", "notValues": ["a.example"]}]}"#,
    ),
    (
        "experimental",
        r#"{"when": [{"key": "experimental.envoy.filters.http.rbac[x]", "notValues": ["a", "[b]"]}]}"#,
    ),
    (
        "scheme of the caller",
        r#"{"when": [{"key": "request.headers[x-forwarded-proto]", "values": ["http"]}]}"#,
    ),
    (
        "request id is there",
        r#"{"when": [{"key": "request.headers[x-request-id]", "values": ["*"]}]}"#,
    ),
    (
        "header of proxies",
        r#"{"when": [{"key": "request.headers[x-envoy-retry-on]", "values": ["*"]}]}"#,
    ),
    (
        "header of internal callers",
        r#"{"when": [{"key": "request.headers[x-envoy-internal]", "values": ["*"]}]}"#,
    ),
    (
        "original path",
        r#"{"when": [{"key": "request.headers[x-envoy-original-path]", "values": ["/q"]}]}"#,
    ),
    (
        "host before a proxy",
        r#"{"when": [{"key": "request.headers[x-forwarded-host]", "values": ["q"]}]}"#,
    ),
    (
        "timeout of proxies",
        r#"{"when": [{"key": "request.headers[x-envoy-upstream-rq-timeout-ms]", "values": ["*"]}]}"#,
    ),
    (
        "forced trace",
        r#"{"when": [{"key": "request.headers[x-envoy-force-trace]", "values": ["*"]}]}"#,
    ),
    (
        "service of the caller",
        r#"{"when": [{"key": "request.headers[x-envoy-downstream-service-cluster]", "values": ["*"]}]}"#,
    ),
    (
        "joined: fetch of a private network",
        r#"{"when": [{"key": "request.headers[access-control-request-private-network]", "values": ["q"]}]}"#,
    ),
    (
        "joined: encoding of grpc",
        r#"{"when": [{"key": "request.headers[grpc-accept-encoding]", "values": ["q"]}]}"#,
    ),
    (
        "joined: age condition",
        r#"{"when": [{"key": "request.headers[if-modified-since]", "values": ["q"]}]}"#,
    ),
    (
        "joined: range condition",
        r#"{"when": [{"key": "request.headers[if-range]", "values": ["q"]}]}"#,
    ),
    (
        "joined: trace of the client",
        r#"{"when": [{"key": "request.headers[x-client-trace-id]", "values": ["q"]}]}"#,
    ),
    (
        "joined: attempt of proxies",
        r#"{"when": [{"key": "request.headers[x-envoy-attempt-count]", "values": ["q"]}]}"#,
    ),
    (
        "joined: address before a proxy",
        r#"{"when": [{"key": "request.headers[x-envoy-external-address]", "values": ["q"]}]}"#,
    ),
    (
        "joined: port before a proxy",
        r#"{"when": [{"key": "request.headers[x-forwarded-port]", "values": ["q"]}]}"#,
    ),
    (
        "referer that is one",
        r#"{"when": [{"key": "request.headers[referer]", "values": ["*"]}]}"#,
    ),
    (
        "what trailers are asked for",
        r#"{"when": [{"key": "request.headers[te]", "values": ["trailers"]}]}"#,
    ),
    (
        "nothing asked of te",
        r#"{"when": [{"key": "request.headers[te]", "notValues": ["*"]}]}"#,
    ),
    (
        "scheme",
        r#"{"when": [{"key": "request.headers[:scheme]", "values": ["https"]}]}"#,
    ),
    (
        "certificate before a proxy",
        r#"{"when": [{"key": "request.headers[x-forwarded-client-cert]", "notValues": ["*"]}]}"#,
    ),
    (
        "stream duration of proxies",
        r#"{"when": [{"key": "request.headers[x-envoy-upstream-stream-duration-ms]", "values": ["*"]}]}"#,
    ),
];

/// Requests that meet every rule above in some way.
fn requests() -> Vec<Value> {
    let mut requests: Vec<_> = [
        json!({}),
        json!({"source": {"principal": "cluster.local/ns/foo/sa/alice"}}),
        json!({"source": {"principal": "cluster.local/ns/bar/sa/bob"}, "sni": "a.example"}),
        json!({"source": {"principal": "td2/ns/foo/sa/alice"}}),
        json!({"source": {"uri_sans": ["spiffe://x/ns/y/sa/z", "spiffe://cluster.local/ns/foo/sa/alice"]}}),
        json!({"source": {"dns_sans": ["a.example"]}}),
        json!({"source": {"subject": "CN=alice"}}),
        json!({"source": {"ip": "127.0.0.2"}}),
        json!({"headers": {"x-forwarded-for": "1.1.1.1, 9.9.9.9"}}),
        json!({"headers": {"x-forwarded-for": "9.9.9.9:55"}}),
        json!({"headers": {"x-role": "admin"}}),
        json!({"headers": {"x-role": ["user", "admin"]}}),
        json!({"headers": {"x-role": ""}}),
        json!({"headers": {"accept": ["a", "b"]}}),
        json!({"headers": {"accept": "a"}}),
        json!({"headers": {"x-forwarded-proto": "https", "x-request-id": "abc", "x-forwarded-host": "q", "x-envoy-internal": "true"}}),
        json!({"headers": {"x-envoy-retry-on": "5xx", "x-envoy-original-path": "/q", "x-envoy-upstream-rq-timeout-ms": "5"}}),
        json!({"headers": {"x-envoy-force-trace": "true", "x-envoy-downstream-service-cluster": "q"}}),
        json!({"headers": {"access-control-request-private-network": ["q", "q2"]}}),
        json!({"headers": {"access-control-request-private-network": ["q", ""]}}),
        json!({"headers": {"grpc-accept-encoding": ["q", "q2"]}}),
        json!({"headers": {"grpc-accept-encoding": ["q", ""]}}),
        json!({"headers": {"if-modified-since": ["q", "q2"]}}),
        json!({"headers": {"if-modified-since": ["q", ""]}}),
        json!({"headers": {"if-range": ["q", "q2"]}}),
        json!({"headers": {"if-range": ["q", ""]}}),
        json!({"headers": {"x-client-trace-id": ["q", "q2"]}}),
        json!({"headers": {"x-client-trace-id": ["q", ""]}}),
        json!({"headers": {"x-envoy-attempt-count": ["q", "q2"]}}),
        json!({"headers": {"x-envoy-attempt-count": ["q", ""]}}),
        json!({"headers": {"x-envoy-external-address": ["q", "q2"]}}),
        json!({"headers": {"x-envoy-external-address": ["q", ""]}}),
        json!({"headers": {"x-forwarded-port": ["q", "q2"]}}),
        json!({"headers": {"x-forwarded-port": ["q", ""]}}),
        json!({"headers": {"referer": "http://u@a/b", "te": "gzip, trailers", "x-forwarded-client-cert": "q"}}),
        json!({"headers": {"referer": "/a:b", "te": "Trailers", "x-envoy-upstream-stream-duration-ms": "5"}}),
        json!({"headers": {"referer": ["a", "b"], "te": ["", ""], "x-forwarded-for": ["9.9.9.9", ""]}}),
        json!({"headers": {"te": "gzip,"}}),
        json!({"headers": {"te": ["", "gzip"]}}),
        json!({"headers": {"connection": "upgrade, http2-settings", "upgrade": "h2c", "http2-settings": "AA"}}),
        json!({"headers": {"x-forwarded-for": "2001:db8::1%1", "x-forwarded-proto": "HTTPS"}}),
        json!({"authority": "a/b"}),
        json!({"authority": "a|b"}),
        json!({"headers": {"x-role": "a\u{1}b"}}),
        json!({"authority": "APP.example"}),
        json!({"authority": "app.example:80"}),
        json!({"method": "POST"}),
        json!({"method": "HEAD"}),
    ]
    .into();
    for path in [
        "/a?x",
        "/b/../a",
        "/%61",
        "/a/",
        "//a",
        "/a;x=1",
        "/A",
        "/a%2f",
        "/a#f",
        "/foo/x",
        "/foo/",
        "/foo",
        "/foo/x/bar/",
        "/foo/x/bar/y/z",
        "/foo/[x]",
        "http://other.test/a",
        "/..;/a",
        "/x\\..;/a",
        "/x/..;b\\c/a",
        "//",
        "/%5c?x",
        "https://other.test/a",
        "http://u:p@app.example/a",
        "http://app_example/a",
        "http://app.example:99999/a",
        "http:///a",
        "/a%00",
        "/a%zz",
    ] {
        requests.push(json!({"path": path}));
    }
    for claims in [
        json!({"sub": "alice"}),
        json!({}),
        json!({"sub": "x/y", "aud": ["one", "two"], "azp": "desk"}),
        json!({"sub": "bob", "aud": "one", "g": "admin", "scope": "write read"}),
        json!({"sub": "bob", "g": ["x", "admin"], "a": {"b": "c"}, "scope": ["write read"]}),
        json!({"sub": "bob", "g": 5, "a": {"b": ["c"]}}),
        json!({"sub": "", "g": [""]}),
    ] {
        let mut claims = claims;
        claims["iss"] = "https://a.example".into();
        requests.push(json!({"claims": claims}));
    }
    for request in &mut requests {
        for (key, value) in [("method", "GET"), ("path", "/a")] {
            if request.get(key).is_none() {
                request[key] = value.into();
            }
        }
    }
    requests
}
