//! Random policy sets and requests over small vocabularies, so that they meet.

use serde_json::{Map, Value, json};

use crate::world::{Issuers, World, authentication, policy};

/// Numbers from a seed; the same everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Random(fastrand::Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.0.u64(..100) < percent
    }

    pub(crate) fn pick<'v, T: ?Sized>(&mut self, values: &[&'v T]) -> &'v T {
        values[self.below(values.len())]
    }

    /// One to three different values.
    pub(crate) fn some(&mut self, values: &[&str]) -> Vec<String> {
        let mut picked: Vec<String> = Vec::new();
        for _ in 0..=self.below(3) {
            let value = self.pick(values).to_owned();
            if !picked.contains(&value) {
                picked.push(value);
            }
        }
        picked
    }
}

const PRINCIPALS: &[&str] = &[
    "*",
    "cluster.local/ns/foo/sa/alice",
    "cluster.local/ns/foo/sa/alice",
    "cluster.local/ns/bar/sa/bob",
    "td2/ns/foo/sa/alice",
    "cluster.local/ns/foo/*",
    "*/sa/alice",
    "*/ns/bar/sa/bob",
    "old-td/ns/foo/sa/alice",
    "cluster.local/ns/foo/sa/ali*",
    "spiffe://cluster.local/ns/foo/sa/alice",
    "*.example",
    "*carol",
];
const NAMESPACES: &[&str] = &["foo", "bar", "f*o", "*", "fo*", "b.r", "foo/sa"];
const ACCOUNTS: &[&str] = &["alice", "foo/alice", "bar/bob", "bob", "foo/alice-admin"];
const DOMAINS: &[&str] = &["cluster.local", "td2", "*", "td*", "*local", "old-td"];
const REQUEST_PRINCIPALS: &[&str] = &[
    "*",
    "https://a.example/alice",
    "https://a.example/*",
    "*/alice",
    "*alice",
    "https://a*",
    "https://b.example/x/y",
    "https://b.example/",
    "https://b.example",
    "*/x/y",
];
const RANGES: &[&str] = &[
    "127.0.0.1",
    "127.0.0.0/8",
    "127.0.0.2/32",
    "127.0.0.3/31",
    "::/0",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "9.9.9.0/24",
    "2001:db8::/32",
];
const HOSTS: &[&str] = &[
    "app.example",
    "*.example",
    "APP.Example",
    "app.example:8080",
    "app*",
    "*",
    "b.example",
];
const METHODS: &[&str] = &["GET", "POST", "P*", "*T", "*", "DELETE", "get"];
const PATHS: &[&str] = &[
    "/a",
    "/a/*",
    "*.txt",
    "/a/b",
    "/admin*",
    "*",
    "/",
    "*/b",
    "/foo/{*}",
    "/foo/{**}",
    "/foo/{**}/",
    "/{*}/b",
    "/foo/{*}/bar/{**}",
    "/{**}/b",
    "/a*b",
    "/a%2Fb",
];
const PORTS: &[&str] = &["PORT", "PORT", "9999", "80"];
const HEADER_VALUES: &[&str] = &[
    "admin",
    "user",
    "ad*",
    "*er",
    "*",
    "a,b",
    "admin,user",
    "a*",
    "/a",
    "GET",
    "app.example",
    "*x=1",
];
const CLAIM_VALUES: &[&str] = &[
    "admin",
    "read",
    "*",
    "ad*",
    "*n",
    "read write",
    "5",
    "true",
    "alice",
];

/// A random set with so many requests.
pub(crate) fn world(random: &mut Random, issuers: &Issuers, name: &str, requests: usize) -> World {
    let is_tcp = random.percent(12);
    let has_tokens = !is_tcp && random.percent(50);
    let mut resources: Vec<_> = (0..=random.below(5))
        .map(|index| random_policy(random, index, has_tokens, is_tcp))
        .collect();
    if has_tokens {
        resources.push(authentication(issuers));
    }
    let world = World::of(name, &resources).mesh(mesh(random));
    let world = if is_tcp { world.tcp() } else { world };
    let requests: Vec<_> = (0..requests)
        .map(|_| match is_tcp {
            true => connection(random),
            false => request(random, has_tokens),
        })
        .collect();
    world.ask(requests)
}

/// A random set of the resources of 2018.
pub(crate) fn legacy_world(random: &mut Random, name: &str, requests: usize) -> World {
    let object = |kind: &str, name: &str, spec: Value| {
        json!({
            "apiVersion": "rbac.istio.io/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": "foo"},
            "spec": spec,
        })
    };
    let mut resources = vec![
        json!({
            "apiVersion": "authentication.istio.io/v1alpha1",
            "kind": "MeshPolicy",
            "metadata": {"name": "default"},
            "spec": {"peers": [{"mtls": {"mode": "PERMISSIVE"}}]},
        }),
        json!({
            "apiVersion": "rbac.istio.io/v1alpha1",
            "kind": "ClusterRbacConfig",
            "metadata": {"name": "default"},
            "spec": {"mode": "ON", "enforcement_mode": random.pick(&["ENFORCED", "ENFORCED", "PERMISSIVE"])},
        }),
    ];
    for index in 0..=random.below(3) {
        let rules: Vec<_> = (0..=random.below(2)).map(|_| legacy_rule(random)).collect();
        let subjects: Vec<_> = (0..=random.below(2))
            .map(|_| legacy_subject(random))
            .collect();
        let role = format!("role-{index}");
        resources.push(object("ServiceRole", &role, json!({"rules": rules})));
        let binding = json!({
            "subjects": subjects,
            "roleRef": {"kind": "ServiceRole", "name": role},
            "mode": random.pick(&["ENFORCED", "ENFORCED", "PERMISSIVE"]),
        });
        resources.push(object(
            "ServiceRoleBinding",
            &format!("binding-{index}"),
            binding,
        ));
    }
    let requests: Vec<_> = (0..requests).map(|_| request(random, false)).collect();
    World::of(name, &resources).ask(requests)
}

fn legacy_rule(random: &mut Random) -> Value {
    let mut rule = Map::new();
    let services = random.some(&[
        "web.foo.svc.cluster.local",
        "*",
        "web*",
        "other.foo.svc.cluster.local",
    ]);
    rule.insert("services".into(), json!(services));
    let plain: Vec<_> = PATHS
        .iter()
        .filter(|path| !path.contains('{'))
        .copied()
        .collect();
    for (field, values) in [
        ("paths", plain.as_slice()),
        ("methods", METHODS),
        ("hosts", HOSTS),
    ] {
        if random.percent(40) {
            rule.insert(field.into(), json!(random.some(values)));
        }
        let name = format!("not{}{}", field[..1].to_uppercase(), &field[1..]);
        if random.percent(15) && !(field == "methods" && rule.contains_key("methods")) {
            rule.insert(name, json!(random.some(values)));
        }
    }
    let mut constraints = Vec::new();
    for (key, values) in [
        ("request.headers[x-role]", HEADER_VALUES),
        ("destination.ip", RANGES),
        ("destination.port", &["PORT", "80"]),
        ("destination.namespace", &["foo", "bar"]),
        ("connection.sni", &["a.example", "*"]),
    ] {
        if random.percent(10) {
            constraints.push(json!({"key": key, "values": random.some(values)}));
        }
    }
    if !constraints.is_empty() {
        rule.insert("constraints".into(), json!(constraints));
    }
    rule.into()
}

fn legacy_subject(random: &mut Random) -> Value {
    let mut subject = Map::new();
    if random.percent(50) {
        subject.insert("user".into(), json!(random.pick(PRINCIPALS)));
    }
    for (field, values) in [
        ("namespaces", NAMESPACES),
        ("notNamespaces", NAMESPACES),
        ("ips", RANGES),
        ("notIps", RANGES),
    ] {
        if random.percent(15) {
            subject.insert(field.into(), json!(random.some(values)));
        }
    }
    if subject.is_empty() || random.percent(20) {
        subject.insert(
            "properties".into(),
            json!({"request.headers[x-role]": random.pick(HEADER_VALUES)}),
        );
    }
    subject.into()
}

fn mesh(random: &mut Random) -> Value {
    let modes = [
        "DEFAULT",
        "NONE",
        "BASE",
        "MERGE_SLASHES",
        "DECODE_AND_MERGE_SLASHES",
    ];
    let mut aliases = Vec::new();
    if random.percent(30) {
        aliases = random.some(&["td2", "old-td", "*td", "cluster.local"]);
    }
    json!({
        "trustDomain": random.pick(&["cluster.local", "cluster.local", "td2"]),
        "trustDomainAliases": aliases,
        "pathNormalization": {"normalization": random.pick(&modes)},
        "extensionProviders": [{
            "name": "opa",
            "envoyExtAuthzHttp": {
                "service": "opa.opa.svc.cluster.local",
                "port": 80,
                "includeRequestHeadersInCheck": ["x-ca*"],
                "includeAdditionalHeadersInCheck": {"x-mesh": "foo"},
                "includeRequestBodyInCheck": {"maxRequestBytes": 64, "allowPartialMessage": true},
                "headersToUpstreamOnAllow": ["x-badge", "*-hint"],
                "headersToDownstreamOnDeny": ["x-why"],
                "headersToDownstreamOnAllow": ["x-why*"],
                "clearRouteCache": true,
            },
        }],
    })
}

/// A random AuthorizationPolicy.
pub(crate) fn random_policy(
    random: &mut Random,
    index: usize,
    has_tokens: bool,
    is_tcp: bool,
) -> Value {
    let actions = ["ALLOW", "ALLOW", "ALLOW", "DENY", "DENY", "AUDIT", "CUSTOM"];
    let mut action = random.pick(&actions);
    if is_tcp && action == "CUSTOM" {
        action = "DENY";
    }
    let is_custom = action == "CUSTOM";
    let rules: Vec<_> = (0..=random.below(3))
        .map(|_| rule(random, has_tokens, is_custom))
        .collect();
    let mut policy = policy(&format!("p{index}"), action, &json!(rules));
    if is_custom {
        policy["spec"]["provider"] = json!({"name": random.pick(&["opa", "opa", "opa", "nobody"])});
    }
    if action == "ALLOW" && random.percent(6) {
        policy["spec"].as_object_mut().unwrap().remove("rules");
    }
    if ["ALLOW", "DENY"].contains(&action) && random.percent(15) {
        policy["metadata"]["annotations"] = json!({"istio.io/dry-run": "true"});
    }
    if random.percent(15) {
        policy["metadata"]["namespace"] = random.pick(&["istio-system", "bar"]).into();
    }
    if random.percent(20) {
        policy["spec"]["selector"] =
            json!({"matchLabels": {"app": random.pick(&["web", "web", "db"])}});
    }
    policy
}

fn rule(random: &mut Random, has_tokens: bool, is_custom: bool) -> Value {
    let mut rule = Map::new();
    if random.percent(55) {
        let from: Vec<_> = (0..=random.below(2))
            .map(|_| json!({"source": source(random, has_tokens, is_custom)}))
            .collect();
        rule.insert("from".into(), from.into());
    }
    if random.percent(65) {
        let to: Vec<_> = (0..=random.below(2))
            .map(|_| json!({"operation": operation(random)}))
            .collect();
        rule.insert("to".into(), to.into());
    }
    if random.percent(45) {
        let when: Vec<_> = (0..=random.below(2))
            .map(|_| condition(random, has_tokens, is_custom))
            .collect();
        rule.insert("when".into(), when.into());
    }
    rule.into()
}

/// Fields, each with its list, its negative list or both; one at least.
fn fields(random: &mut Random, known: &[(&str, &[&str])]) -> Map<String, Value> {
    let mut chosen = Map::new();
    while chosen.is_empty() {
        for (field, values) in known {
            if random.percent(90 / known.len() as u64 + 8) {
                let is_negative = random.percent(30);
                let negative = format!("not{}{}", field[..1].to_uppercase(), &field[1..]);
                if !is_negative || random.percent(15) {
                    chosen.insert((*field).to_owned(), json!(random.some(values)));
                }
                if is_negative {
                    chosen.insert(negative, json!(random.some(values)));
                }
            }
        }
    }
    chosen
}

fn source(random: &mut Random, has_tokens: bool, is_custom: bool) -> Map<String, Value> {
    let mut known: Vec<(&str, &[&str])> = vec![("ipBlocks", RANGES), ("remoteIpBlocks", RANGES)];
    if !is_custom {
        match random.percent(25) {
            true => known.push(("serviceAccounts", ACCOUNTS)),
            false => known.extend([("principals", PRINCIPALS), ("namespaces", NAMESPACES)]),
        }
        known.push(("trustDomains", DOMAINS));
    }
    if has_tokens && !is_custom {
        known.extend([("requestPrincipals", REQUEST_PRINCIPALS); 2]);
    }
    fields(random, &known)
}

fn operation(random: &mut Random) -> Map<String, Value> {
    let known: [(&str, &[&str]); 4] = [
        ("hosts", HOSTS),
        ("methods", METHODS),
        ("paths", PATHS),
        ("ports", PORTS),
    ];
    fields(random, &known)
}

fn condition(random: &mut Random, has_tokens: bool, is_custom: bool) -> Value {
    let mut known: Vec<(&str, &[&str])> = vec![
        ("request.headers[x-role]", HEADER_VALUES),
        ("request.headers[X-Role]", HEADER_VALUES),
        ("request.headers[accept]", HEADER_VALUES),
        ("request.headers[cookie]", HEADER_VALUES),
        ("request.headers[:path]", PATHS),
        ("request.headers[:authority]", HOSTS),
        ("request.headers[:method]", METHODS),
        ("request.headers[host]", HOSTS),
        ("request.headers[te]", &["*", "trailers"]),
        ("request.headers[referer]", &["*", "/a", "http*"]),
        ("request.headers[if-range]", HEADER_VALUES),
        ("request.headers[x-forwarded-port]", HEADER_VALUES),
        ("request.headers[:scheme]", &["http", "https", "*"]),
        ("request.headers[upgrade]", &["*"]),
        ("source.ip", RANGES),
        ("remote.ip", RANGES),
        ("destination.ip", RANGES),
        ("destination.port", PORTS),
        (
            "connection.sni",
            &["a.example", "*.example", "*", "A.example"],
        ),
    ];
    if !is_custom {
        known.extend([
            ("source.namespace", NAMESPACES),
            ("source.principal", PRINCIPALS),
            ("source.serviceAccount", ACCOUNTS),
            ("source.trustDomain", DOMAINS),
        ]);
    }
    if has_tokens && !is_custom && random.percent(60) {
        known = vec![
            ("request.auth.principal", REQUEST_PRINCIPALS),
            (
                "request.auth.audiences",
                &["one", "two", "o*", "*", "https://one"],
            ),
            ("request.auth.presenter", CLAIM_VALUES),
            ("request.auth.claims[g]", CLAIM_VALUES),
            ("request.auth.claims[scope]", CLAIM_VALUES),
            ("request.auth.claims[perms]", CLAIM_VALUES),
            ("request.auth.claims[a][b]", CLAIM_VALUES),
            ("request.auth.claims[a.b]", CLAIM_VALUES),
            ("request.auth.claims[iss]", &["https://a.example", "*"]),
        ];
    }
    let (key, values) = known[random.below(known.len())];
    let values: Vec<_> = match key {
        "request.headers[:path]" => values
            .iter()
            .filter(|path| !path.contains('{'))
            .copied()
            .collect(),
        _ => values.to_vec(),
    };
    let mut condition = Map::new();
    condition.insert("key".into(), key.into());
    let is_negative = random.percent(35);
    if !is_negative || random.percent(20) {
        condition.insert("values".into(), json!(random.some(&values)));
    }
    if is_negative {
        condition.insert("notValues".into(), json!(random.some(&values)));
    }
    condition.into()
}

const TARGETS: &[&str] = &[
    "/",
    "/a",
    "/a",
    "/a/",
    "/a/b",
    "/a?x=1",
    "/a/b?x=.txt",
    "/b/../a",
    "/%61",
    "//a",
    "/a;x=1",
    "/a%2fb",
    "/a%2Fb",
    "/a.txt",
    "/a/c.txt?q",
    "/foo/x",
    "/foo/",
    "/foo",
    "/foo/x/bar/",
    "/foo/x/bar/y",
    "/foo//b",
    "/admin",
    "/admin/x",
    "//admin/x",
    "/admin%2fx",
    "/x/..;/admin/x",
    "/..;/admin",
    "/%2e%2e/a",
    "/A",
    "/a#f",
    "/a%00",
    "/a%zz",
    "/foo/[x]",
    "/foo/a%20b",
    "/x/b",
    "/x/y/b",
    "/a*b",
    "/a\\b",
    "/a/./b",
    "/foo/bar/../x",
    "http://other.example/a",
    "/foo/\"x\"",
    "/a|b",
    "/%7ea",
    "//",
    "/a/..;x\\y/b",
    "/a\\..;/b",
    "/%5C..;/a",
    "http://app.example/b",
    "http://u@b.example/a",
];

/// A random HTTP request.
pub(crate) fn request(random: &mut Random, has_tokens: bool) -> Value {
    let mut request = connection(random);
    let object = request.as_object_mut().unwrap();
    object.remove("protocol");
    object.insert(
        "method".into(),
        random
            .pick(&[
                "GET", "GET", "GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD",
            ])
            .into(),
    );
    object.insert("path".into(), random.pick(TARGETS).into());
    let authorities = [
        "app.example",
        "app.example",
        "APP.example",
        "app.example:8080",
        "b.example",
        "app.example.",
    ];
    object.insert("authority".into(), random.pick(&authorities).into());
    let mut headers = Map::new();
    let mut maybe = |random: &mut Random, percent, name: &str, values: &[&str]| {
        if random.percent(percent) {
            headers.insert(name.into(), json!(random.some(values)));
        }
    };
    maybe(
        random,
        40,
        "x-role",
        &["admin", "user", "", "admin,user", "a,b", " admin "],
    );
    maybe(random, 20, "accept", &["admin", "user", "a", "b"]);
    maybe(random, 10, "cookie", &["admin", "user", "a=b"]);
    maybe(
        random,
        25,
        "x-forwarded-for",
        &[
            "9.9.9.9",
            "10.1.2.3",
            "9.9.9.9, 1.1.1.1",
            "9.9.9.9:55",
            "2001:db8::1",
            "127.0.0.2",
            "9.9.9.9,",
            "unknown",
            "",
            "2001:db8::1%1",
        ],
    );
    maybe(random, 5, "te", &["trailers", "gzip", "gzip, trailers"]);
    maybe(
        random,
        5,
        "referer",
        &["/a", "http://a.example/a", "a#b", "", "http://u@a/"],
    );
    maybe(random, 10, "if-range", &["admin", "user", "", "a"]);
    maybe(random, 10, "x-forwarded-port", &["admin", "a", "b"]);
    if !headers.is_empty() {
        object.insert("headers".into(), headers.into());
    }
    if has_tokens && random.percent(75) {
        object.insert("claims".into(), claims(random).into());
    }
    request
}

/// A random connection.
pub(crate) fn connection(random: &mut Random) -> Value {
    let sources = [
        json!({}),
        json!({}),
        json!({"principal": "cluster.local/ns/foo/sa/alice"}),
        json!({"principal": "cluster.local/ns/foo/sa/alice"}),
        json!({"principal": "cluster.local/ns/bar/sa/bob"}),
        json!({"principal": "td2/ns/foo/sa/alice"}),
        json!({"principal": "old-td/ns/foo/sa/alice"}),
        json!({"principal": "cluster.local/ns/foo/sa/alice-admin"}),
        json!({"principal": "cluster.local/ns/foo/zone/z/sa/alice/rev/1"}),
        json!({"uri_sans": ["spiffe://cluster.local/ns/x/sa/y", "spiffe://cluster.local/ns/foo/sa/alice"]}),
        json!({"uri_sans": ["spiffe://evil/x/ns/foo/sa/a"]}),
        json!({"dns_sans": ["web.example"]}),
        json!({"subject": "CN=carol"}),
        json!({"principal": "cluster.local/ns/bar/sa/bob", "dns_sans": ["web.example"], "subject": "CN=carol"}),
    ];
    let mut source = sources[random.below(sources.len())].clone();
    let mut request = json!({"protocol": "tcp"});
    if source != json!({}) && random.percent(40) {
        request["sni"] = random
            .pick(&["a.example", "A.example", "other.test"])
            .into();
    }
    if random.percent(30) {
        source["ip"] = random.pick(&["127.0.0.2", "127.0.0.3", "127.1.2.3"]).into();
    }
    request["source"] = source;
    request
}

fn claims(random: &mut Random) -> Map<String, Value> {
    let mut claims = Map::new();
    claims.insert("iss".into(), random.pick(&Issuers::NAMES).into());
    let mut maybe = |random: &mut Random, percent, name: &str, values: &[Value]| {
        if random.percent(percent) {
            claims.insert(name.into(), values[random.below(values.len())].clone());
        }
    };
    let any = [
        json!("admin"),
        json!("alice"),
        json!(["x", "admin"]),
        json!(["read"]),
        json!("read write"),
        json!(["read write"]),
        json!(5),
        json!(true),
        json!(null),
        json!(""),
        json!([]),
        json!([""]),
        json!([5]),
        json!([["admin"]]),
        json!({"b": "admin"}),
        json!("a\nb"),
        json!("  "),
    ];
    maybe(
        random,
        85,
        "sub",
        &[
            json!("alice"),
            json!("alice"),
            json!("malice"),
            json!("x/y"),
            json!(""),
        ],
    );
    maybe(
        random,
        50,
        "aud",
        &[
            json!("one"),
            json!(["one", "two"]),
            json!("https://one"),
            json!([]),
        ],
    );
    maybe(random, 40, "azp", &any);
    maybe(random, 60, "g", &any);
    maybe(random, 50, "scope", &any);
    maybe(random, 30, "perms", &any);
    maybe(random, 20, "a.b", &any);
    if random.percent(50) {
        let inner = any[random.below(any.len())].clone();
        let values = [json!({"b": inner}), json!([{"b": "admin"}]), json!("admin")];
        claims.insert("a".into(), values[random.below(3)].clone());
    }
    claims
}
