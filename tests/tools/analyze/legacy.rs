//! Random resources of 2018 over small vocabularies, and requests that could come in under them.

use serde_json::{Map, Value, json};
use tower_mesh::istio::MtlsMode;
use tower_mesh::policy::Engine;

use crate::random::Random;

const ISSUERS: [&str; 2] = ["https://a.example", "https://b.example"];
const PEERS: &[&str] = &[
    "*",
    "allUsers",
    "allAuthenticatedUsers",
    "cluster.local/ns/foo/sa/alice",
    "cluster.local/ns/bar/sa/bob",
    "cluster.local/ns/foo/*",
    "*/sa/alice",
    "td2/ns/foo/sa/alice",
];
const NAMESPACES: &[&str] = &["foo", "bar", "f*o", "*"];
const RANGES: &[&str] = &["127.0.0.0/8", "127.0.0.2/32", "10.0.0.0/8", "::/0"];
const WORDS: &[&str] = &["admin", "read", "*", "ad*", "*n", "alice"];
const END_USERS: &[&str] = &[
    "*",
    "https://a.example/alice",
    "https://a.example/*",
    "https://a.example/al*",
    "*/alice",
    "*ice",
    "https://a*",
    "https://*",
    "alice",
    "https://b.example/alice",
];
const SERVICES: &[&str] = &[
    "*",
    "*",
    "web.foo.svc.cluster.local",
    "web.foo.svc.cluster.local",
    "admin.foo.svc.cluster.local",
    "web*",
    "*.foo.svc.cluster.local",
    "web.bar.svc.cluster.local",
    "web",
];
const PATHS: &[&str] = &["/a", "/a/*", "*.txt", "*", "/a?x=1", "*x=1", "/b*"];
const HOSTS: &[&str] = &["app.example", "*.example", "App.example", "*"];
const METHODS: &[&str] = &["GET", "POST", "P*", "*", "OPTIONS"];

/// Resources of the namespace `foo` and of the mesh; now and then, of the namespace that is the mesh's root today.
pub(crate) fn resources(random: &mut Random, has_aliases: bool) -> Vec<Value> {
    let mut resources = Vec::new();
    let policy = |kind: &str, name: &str, spec: Value| {
        let mut policy = json!({"apiVersion": "authentication.istio.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        if kind == "Policy" {
            policy["metadata"]["namespace"] = "foo".into();
        }
        policy
    };
    if random.percent(50) {
        resources.push(policy("MeshPolicy", "default", spec(random)));
    }
    if random.percent(30) {
        resources.push(policy("Policy", "default", spec(random)));
    }
    for service in ["web", "admin"] {
        if random.percent(30) {
            let mut spec = spec(random);
            let port = if service == "web" { 8080 } else { 9090 };
            let ports = match random.below(3) {
                0 => json!([{"number": port}]),
                _ => json!([]),
            };
            spec["targets"] = json!([{"name": service, "ports": ports}]);
            resources.push(policy("Policy", service, spec));
        }
    }
    resources.extend(switch(random));
    for index in 0..=random.below(3) {
        let role = format!("role-{index}");
        let rules: Vec<_> = (0..=random.below(2)).map(|_| rule(random)).collect();
        resources.push(rbac("ServiceRole", &role, &json!({"rules": rules})));
        for binding in 0..=random.below(2) {
            let subjects: Vec<_> = (0..=random.below(3))
                .map(|_| subject(random, has_aliases))
                .collect();
            let spec = json!({
                "subjects": subjects,
                "roleRef": {"kind": "ServiceRole", "name": role},
                "mode": random.pick(&["ENFORCED", "ENFORCED", "ENFORCED", "PERMISSIVE"]),
            });
            resources.push(rbac(
                "ServiceRoleBinding",
                &format!("{role}-{binding}"),
                &spec,
            ));
        }
    }
    if random.percent(10) {
        let index = random.below(resources.len());
        let is_of_mesh = resources[index]["metadata"]["namespace"].is_null();
        if !is_of_mesh {
            resources[index]["metadata"]["namespace"] = "istio-system".into();
        }
    }
    resources
}

fn rbac(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "rbac.istio.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "foo"},
        "spec": spec,
    })
}

fn switch(random: &mut Random) -> Option<Value> {
    let mode = random.pick(&["ON", "ON", "ON_WITH_INCLUSION", "ON_WITH_EXCLUSION", "OFF"]);
    let target = match random.below(4) {
        0 => json!({"namespaces": [random.pick(&["foo", "foo", "bar", "bar", "istio-system"])]}),
        3 => json!({"services": ["web.foo.svc.cluster.local", "admin.foo.svc.cluster.local"]}),
        1 => {
            json!({"services": [random.pick(&["web.foo.svc.cluster.local", "admin.foo.svc.cluster.local"])]})
        }
        _ => json!({"namespaces": ["bar"], "services": ["web.foo.svc.cluster.local", "nowhere"]}),
    };
    let mut spec = json!({"mode": mode});
    match mode {
        "ON_WITH_INCLUSION" => spec["inclusion"] = target,
        "ON_WITH_EXCLUSION" => spec["exclusion"] = target,
        _ => {}
    }
    if random.percent(15) {
        spec["enforcement_mode"] = "PERMISSIVE".into();
    }
    let config = json!({
        "apiVersion": "rbac.istio.io/v1alpha1",
        "kind": "ClusterRbacConfig",
        "metadata": {"name": "default"},
        "spec": spec,
    });
    random.percent(95).then_some(config)
}

fn spec(random: &mut Random) -> Value {
    let mut spec = json!({});
    match random.below(4) {
        0 => {}
        1 => spec["peers"] = json!([{"mtls": {}}]),
        _ => spec["peers"] = json!([{"mtls": {"mode": "PERMISSIVE"}}]),
    }
    let mut origins = Vec::new();
    for issuer in ISSUERS {
        if random.percent(40) {
            let mut jwt = json!({"issuer": issuer, "jwksUri": format!("{issuer}/keys")});
            if random.percent(30) {
                let exact = json!({"exact": random.pick(&["/a", "/health"])});
                let prefix = json!({"prefix": random.pick(&["/a", "/b"])});
                let suffix = json!({"suffix": ".txt"});
                let regex = json!({"regex": random.pick(&["/a.*", ".*txt", "/b"])});
                let all = [exact, prefix, suffix, regex];
                let some = |random: &mut Random| {
                    let count = random.below(3);
                    (0..count)
                        .map(|_| all[random.below(4)].clone())
                        .collect::<Vec<_>>()
                };
                jwt["triggerRules"] =
                    json!([{"excludedPaths": some(random), "includedPaths": some(random)}]);
            }
            origins.push(json!({"jwt": jwt}));
        }
    }
    if !origins.is_empty() && random.percent(25) {
        spec["originIsOptional"] = true.into();
    }
    spec["origins"] = origins.into();
    spec["principalBinding"] = random
        .pick(&["USE_PEER", "USE_ORIGIN", "USE_ORIGIN"])
        .into();
    if spec["origins"] == json!([]) && random.percent(80) {
        spec["principalBinding"] = "USE_PEER".into();
    }
    spec
}

fn rule(random: &mut Random) -> Value {
    let mut rule = Map::new();
    rule.insert("services".into(), json!(random.some(SERVICES)));
    for (field, values) in [("paths", PATHS), ("methods", METHODS), ("hosts", HOSTS)] {
        if random.percent(35) {
            rule.insert(field.into(), json!(random.some(values)));
        }
        let name = format!("not{}{}", field[..1].to_uppercase(), &field[1..]);
        if random.percent(12) && !(field == "methods" && rule.contains_key("methods")) {
            rule.insert(name, json!(random.some(values)));
        }
    }
    if random.percent(15) {
        let field = random.pick(&["ports", "notPorts"]);
        rule.insert(
            field.into(),
            [json!([8080]), json!([9090]), json!([80, 7070])][random.below(3)].clone(),
        );
    }
    let mut constraints = Vec::new();
    for (key, values) in [
        ("request.headers[x-role]", &["admin", "ad*", "*"][..]),
        ("destination.ip", RANGES),
        ("destination.namespace", &["foo", "bar", "f*"]),
        ("destination.name", &["web", "admin", "w*", "*"]),
        ("destination.labels[version]", &["v1", "v2"]),
        ("destination.labels[app]", &["web", "db"]),
        ("connection.sni", &["a.example", "*", "*.example"]),
    ] {
        if random.percent(8) {
            constraints.push(json!({"key": key, "values": random.some(values)}));
        }
    }
    rule.insert("constraints".into(), json!(constraints));
    rule.into()
}

fn subject(random: &mut Random, has_aliases: bool) -> Value {
    let mut subject = Map::new();
    if random.percent(50) {
        subject.insert("user".into(), random.pick(PEERS).into());
    }
    for (field, values) in [
        ("groups", WORDS),
        ("notGroups", WORDS),
        ("namespaces", NAMESPACES),
        ("notNamespaces", NAMESPACES),
        ("ips", RANGES),
        ("notIps", RANGES),
    ] {
        if random.percent(10) {
            subject.insert(field.into(), json!(random.some(values)));
        }
    }
    // What is said of a trust domain here is another thing than in `principals`, which is noted.
    if !has_aliases {
        for field in ["names", "notNames"] {
            if random.percent(12) {
                subject.insert(field.into(), json!(random.some(&PEERS[1..])));
            }
        }
    }
    if random.percent(10) {
        subject.insert("group".into(), random.pick(WORDS).into());
    }
    let mut properties = Map::new();
    for (key, values) in [
        ("request.headers[x-role]", &["admin", "ad*", "*"][..]),
        ("request.auth.claims[scope]", WORDS),
        ("request.auth.claims[team]", WORDS),
        ("request.auth.audiences", &["one", "o*", "*"]),
        ("request.auth.presenter", WORDS),
        ("nobody.has[this]", &["x"]),
    ] {
        if random.percent(6) {
            properties.insert(key.into(), random.pick(values).into());
        }
    }
    if random.percent(15) && !has_aliases {
        properties.insert(
            "request.auth.principal".into(),
            random.pick(END_USERS).into(),
        );
    }
    if random.percent(8)
        && !["user", "names", "notNames"]
            .iter()
            .any(|name| subject.contains_key(*name))
    {
        properties.insert("source.principal".into(), random.pick(&PEERS[3..]).into());
    }
    if !properties.is_empty() {
        subject.insert("properties".into(), properties.into());
    }
    if subject.is_empty() {
        subject.insert("user".into(), "*".into());
    }
    subject.into()
}

/// A request that can come in: a caller only where mutual TLS lets one in, a token only of an issuer whose tokens are good, and none of
/// the odd tokens that notes speak of.
pub(crate) fn request(random: &mut Random, old: &Engine) -> (Value, u16) {
    let port = [8080, 8080, 9090, 7070][random.below(4)];
    let mut source = Map::new();
    let mut request = json!({
        "method": random.pick(&["GET", "GET", "POST", "PUT", "OPTIONS"]),
        "path": random.pick(&["/a", "/a?x=1", "/a/b", "/b.txt", "/b.txt?y", "/health", "/", "//a", "/x/../a"]),
        "authority": random.pick(&["app.example", "App.example", "b.test"]),
    });
    if old.mtls(port) != Some(MtlsMode::Disable) && random.percent(70) {
        let callers = [
            "cluster.local/ns/foo/sa/alice",
            "cluster.local/ns/bar/sa/bob",
            "td2/ns/foo/sa/alice",
        ];
        source.insert("principal".into(), random.pick(&callers).into());
        if random.percent(30) {
            request["sni"] = "a.example".into();
        }
    }
    source.insert(
        "ip".into(),
        random
            .pick(&["127.0.0.1", "127.0.0.2", "10.1.1.1", "::1"])
            .into(),
    );
    request["source"] = source.into();
    let mut headers = Map::new();
    for (name, values) in [
        ("x-role", &["admin", "user", ""][..]),
        ("origin", &["https://app.example"]),
        ("access-control-request-method", &["POST"]),
    ] {
        if random.percent(40) {
            headers.insert(name.into(), random.pick(values).into());
        }
    }
    request["headers"] = headers.into();
    let origins = old
        .authentication(port)
        .legacy
        .as_ref()
        .map(|policy| &policy.origins);
    let issuers: Vec<&str> = origins
        .into_iter()
        .flatten()
        .filter_map(|origin| origin.rule.issuer.as_deref())
        .collect();
    if !issuers.is_empty() && random.percent(80) {
        let mut claims = json!({"iss": random.pick(&issuers)});
        for (name, values) in [
            ("sub", vec![json!("alice"), json!("malice"), json!("al")]),
            (
                "groups",
                vec![
                    json!("admin"),
                    json!("read admin"),
                    json!(["admin", "x y"]),
                    json!(["read"]),
                ],
            ),
            (
                "scope",
                vec![json!("read"), json!("admin read"), json!(["read"])],
            ),
            (
                "team",
                vec![json!("alice admin"), json!("admin"), json!(["admin"])],
            ),
            ("aud", vec![json!("one"), json!(["two"])]),
            ("azp", vec![json!("admin"), json!("read")]),
        ] {
            if random.percent(65) {
                claims[name] = values[random.below(values.len())].clone();
            }
        }
        request["claims"] = claims;
    }
    (request, port)
}
