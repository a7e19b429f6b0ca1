//! Several tokens in one request: rules, places, lines and kinds of tokens at random, with policies on claims and on what rules fill.
//!
//! Our side is the guards themselves, as `tower-mesh check` is told claims and not tokens.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use http::request::Parts;
use serde_json::{Value, json};
use tower_mesh::Workload;
use tower_mesh::context::{Exchange, Peer};
use tower_mesh::jwt::{Authenticator, Keyring};
use tower_mesh::message::LocalReply;
use tower_mesh::policy::Engine;
use tower_mesh::rbac::PolicyCheck;
use tower_mesh::testing::Issuer;

use crate::compare::Tally;
use crate::random::Random;
use crate::server::Server;
use crate::wire::Callers;
use crate::world::{World, policy};

/// Headers whose first line Envoy's access log shows: what rules fill, and where tokens stand.
pub(crate) const SHOWN: [&str; 13] = [
    "x-id",
    "x-id-0",
    "x-id-1",
    "x-id-2",
    "x-id-3",
    "x-user",
    "x-user-0",
    "x-user-1",
    "x-user-2",
    "x-user-3",
    "x-jwt",
    "x-token",
    "authorization",
];

/// What came of the comparison.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    pub(crate) tally: Tally,
    /// Requests that a token refused.
    pub(crate) by_token: usize,
    /// Requests of which policy saw claims.
    pub(crate) with_claims: usize,
    /// Requests where Envoy's headers and claims are of different tokens, which ours never are.
    pub(crate) of_two: usize,
    /// Those of them whose policies read such a header: only they may end otherwise.
    pub(crate) undecided: usize,
}

impl Tokens {
    pub(crate) fn add(&mut self, more: Self) {
        self.tally.add(more.tally);
        self.by_token += more.by_token;
        self.with_claims += more.with_claims;
        self.of_two += more.of_two;
        self.undecided += more.undecided;
    }

    pub(crate) fn report(&self, what: &str) {
        eprintln!(
            "{what}: {} refused for a token, {} with claims, {} where Envoy's headers are not of the token whose claims it has \
             ({} of them with a policy on such a header)",
            self.by_token, self.with_claims, self.of_two, self.undecided
        );
        self.tally.report(what);
    }
}

/// The parties: two that rules know, one that none knows.
pub(crate) struct Parties([Issuer; 3]);

impl Parties {
    pub(crate) fn new() -> Self {
        Self(
            [
                "https://a.example",
                "https://b.example",
                "https://c.example",
            ]
            .map(Issuer::es256),
        )
    }

    /// A token of a random kind; `number` is its `jti`.
    fn token(&self, random: &mut Random, number: usize) -> String {
        let issuer = &self.0[random.below(2)];
        let mut token = issuer.token().claim("jti", format!("t{number}"));
        if random.percent(92) {
            token = token.subject(random.pick(&["u1", "u2", "u3"]));
        }
        if random.percent(70) {
            token = token.audience(random.pick(&["one", "one", "two"]));
        }
        if random.percent(40) {
            token = token.claim("role", random.pick(&["admin", "user"]));
        }
        let far = Duration::from_secs(1000);
        match random.below(34) {
            0 => token.tampered(),
            1 => token.expired_ago(far).sign(),
            2 => token.expired_ago(Duration::from_secs(20)).sign(),
            3 => {
                let later = SystemTime::now() + far;
                let later = later.duration_since(SystemTime::UNIX_EPOCH).unwrap();
                token.claim("nbf", later.as_secs()).sign()
            }
            4 => self.0[2].token().claim("jti", format!("t{number}")).sign(),
            5 => "garbage".to_owned(),
            6 => random.pick(&["", ".", "a.b.c", "a..b"]).to_owned(),
            7 => format!("{}{}", token.sign(), random.pick(&["=", "==", "==="])),
            8 => token.sign().replacen('.', "..", 1),
            9 => token.claim("aud", json!([5])).sign(),
            _ => token.sign(),
        }
    }

    /// Hand-written: a bad line in front of a good one, with one rule and with two, and every form of padding in every segment.
    pub(crate) fn table(&self) -> Vec<World> {
        let [a, b, _] = &self.0;
        let rule = |issuer: &Issuer, header: &str, forwards: bool| {
            json!({
                "issuer": issuer.name(),
                "jwks": issuer.jwks(),
                "fromHeaders": [{"name": header, "prefix": ""}],
                "outputClaimToHeaders": [{"claim": "jti", "header": "x-id"}],
                "forwardOriginalToken": forwards,
            })
        };
        let deny = json!([{"from": [{"source": {"requestPrincipals": ["https://a.example/u1"]}}]}]);
        let mut worlds = Vec::new();
        for (name, forwards, count) in [
            ("two rules", false, 2),
            ("forwarded", true, 2),
            ("one rule", false, 1),
        ] {
            let rules = [rule(a, "x-jwt", forwards), rule(b, "x-token", forwards)];
            let resources = [authentication(&rules[..count]), policy("p", "DENY", &deny)];
            let world = World::of(name, &resources);
            worlds.push(world.ask(self.lines().chain(self.paddings())));
        }
        worlds
    }

    /// Each order of two or three lines.
    fn lines(&self) -> impl Iterator<Item = Value> {
        let [a, b, _] = &self.0;
        let token = |user: &str| a.token().subject(user).claim("jti", user);
        let known = [
            token("u1").sign(),
            token("u2").sign(),
            token("u1").tampered(),
            token("u1").expired_ago(Duration::from_secs(1000)).sign(),
            b.token().subject("u1").claim("jti", "b").sign(),
            "garbage".to_owned(),
        ];
        let mut requests = Vec::new();
        for first in &known {
            for second in &known {
                requests.push(json!({"x-jwt": [first, second]}));
                requests.push(json!({"x-jwt": [first], "x-token": [second]}));
                requests.push(json!({"x-jwt": ["garbage", first], "x-token": [second]}));
                requests.push(json!({"x-jwt": ["garbage", first, second]}));
            }
        }
        requests.into_iter().map(|headers| get(&headers))
    }

    /// None, a part, the whole and too much of it, behind texts of every length, and between them.
    fn paddings(&self) -> impl Iterator<Item = Value> {
        let [a, ..] = &self.0;
        let mut requests = Vec::new();
        for blanks in 0..3 {
            let blanks = " ".repeat(blanks);
            let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"ES256"{blanks}}}"#));
            let payload = format!(r#"{{"iss":"https://a.example","sub":"u2","jti":"p"{blanks}}}"#);
            let payload = URL_SAFE_NO_PAD.encode(payload);
            for padding in ["", "=", "==", "===", "====", "= =", "=\t", "==A", "=A="] {
                let sign = |header: &str, payload: &str| a.token().sign_segments(header, payload);
                requests.push(sign(&format!("{header}{padding}"), &payload));
                requests.push(sign(&header, &format!("{payload}{padding}")));
                requests.push(sign(&header, &format!("{padding}{payload}")));
                let token = sign(&header, &payload);
                let (start, signature) = token.split_at(token.len() - 10);
                requests.push(format!("{start}{padding}{signature}"));
                requests.push(format!("{token}{padding}"));
            }
        }
        requests
            .into_iter()
            .map(|token| get(&json!({"x-jwt": [token]})))
    }

    fn rule(&self, random: &mut Random, index: usize) -> Value {
        let issuer = &self.0[random.below(2)];
        let keys = match random.percent(6) {
            true => &self.0[random.below(2)],
            false => issuer,
        };
        let mut rule = json!({
            "issuer": issuer.name(),
            "jwks": keys.jwks(),
            "forwardOriginalToken": random.percent(40),
        });
        if random.percent(35) {
            rule["audiences"] = json!(random.some(&["one", "two"]));
        }
        let mut headers = Vec::new();
        for (name, prefix, percent) in [
            ("x-jwt", "", 60),
            ("x-token", "P ", 25),
            ("x-token", "Q ", 15),
            ("authorization", "Bearer ", 30),
        ] {
            if random.percent(percent) {
                headers.push(json!({"name": name, "prefix": prefix}));
            }
        }
        // Without any place a rule looks in two of its own.
        if random.percent(80) {
            for (field, value, percent) in [
                ("fromHeaders", json!(headers), 85),
                ("fromParams", json!(random.some(&["q", "r"])), 35),
                ("fromCookies", json!(["c"]), 25),
            ] {
                if value != json!([]) && random.percent(percent) {
                    rule[field] = value;
                }
            }
        }
        if random.percent(85) {
            let own = match random.percent(60) {
                true => format!("-{index}"),
                false => String::new(),
            };
            rule["outputClaimToHeaders"] = json!([
                {"header": format!("x-id{own}"), "claim": "jti"},
                {"header": format!("x-user{own}"), "claim": "sub"},
            ]);
        }
        rule
    }

    /// A random set with so many requests.
    pub(crate) fn world(&self, random: &mut Random, name: &str, requests: usize) -> World {
        let rules: Vec<_> = (0..=random.below(4))
            .map(|index| self.rule(random, index))
            .collect();
        let mut resources = vec![authentication(&rules)];
        let policies = 0..random.below(4);
        resources.extend(policies.map(|index| random_policy(random, index)));
        let requests: Vec<_> = (0..requests).map(|_| self.request(random)).collect();
        World::of(name, &resources).ask(requests)
    }

    fn request(&self, random: &mut Random) -> Value {
        let mut headers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut query = vec!["a=1".to_owned()];
        let mut cookies = Vec::new();
        for number in 0..random.below(5) {
            let token = self.token(random, number);
            let mut line = |name, line| headers.entry(name).or_default().push(line);
            match random.below(12) {
                0..5 => line("x-jwt", token),
                5 => line("x-token", format!("P {token}")),
                6 => line(
                    "x-token",
                    format!("{} {token}", random.pick(&["P", "Q", "R"])),
                ),
                7 | 8 => {
                    let scheme = random.pick(&["Bearer", "Bearer", "Bearer", "bearer", "Basic"]);
                    line("authorization", format!("{scheme} {token}"));
                }
                9 => query.push(format!(
                    "{}={token}",
                    random.pick(&["q", "r", "access_token"])
                )),
                10 => query.push(format!(
                    "{}={token}",
                    random.pick(&["q", "%71", "access_token"])
                )),
                _ => cookies.push(format!("c={token}")),
            }
        }
        if random.percent(8) {
            headers
                .entry("authorization")
                .or_default()
                .push(String::new());
        }
        if random.percent(15) {
            // What only a rule may say.
            headers.insert("x-user", vec!["u1".to_owned()]);
            headers.insert("x-user-0", vec!["u2".to_owned()]);
        }
        match random.percent(70) {
            _ if cookies.is_empty() => {}
            true => drop(headers.insert("cookie", vec![cookies.join("; ")])),
            false => drop(headers.insert("cookie", cookies)),
        }
        let is_preflight = random.percent(4);
        if is_preflight {
            headers.insert("origin", vec!["https://a.example".to_owned()]);
            headers.insert("access-control-request-method", vec!["PUT".to_owned()]);
        }
        query.push("z=2".to_owned());
        json!({
            "method": if is_preflight { "OPTIONS" } else { "GET" },
            "path": format!("/a?{}", query.join("&")),
            "headers": headers,
        })
    }
}

fn random_policy(random: &mut Random, index: usize) -> Value {
    let action = random.pick(&["ALLOW", "ALLOW", "DENY", "DENY", "DENY"]);
    let rules: Vec<_> = (0..=random.below(2)).map(|_| condition(random)).collect();
    policy(&format!("p{index}"), action, &json!(rules))
}

fn condition(random: &mut Random) -> Value {
    let principals = [
        "*",
        "https://a.example/u1",
        "https://a.example/u2",
        "https://a.example/*",
        "https://b.example/*",
        "*/u1",
    ];
    let negates = random.percent(30);
    if random.percent(30) {
        let field = if negates {
            "notRequestPrincipals"
        } else {
            "requestPrincipals"
        };
        return json!({"from": [{"source": {field: random.some(&principals)}}]});
    }
    let users = ["u1", "u2", "u*", "*"];
    let (key, values): (_, &[&str]) = match random.below(10) {
        0..3 => ("request.auth.claims[sub]", &users),
        3 => ("request.auth.claims[role]", &["admin", "user", "*"]),
        4 => ("request.auth.audiences", &["one", "two", "*"]),
        5 => ("request.headers[x-user]", &users),
        6 => ("request.headers[x-user-0]", &users),
        7 => ("request.headers[x-user-1]", &users),
        8 => ("request.headers[x-jwt]", &["*", "garbage"]),
        _ => ("request.headers[authorization]", &["*"]),
    };
    let field = if negates { "notValues" } else { "values" };
    json!({"when": [{"key": key, field: random.some(values)}]})
}

fn authentication(rules: &[Value]) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "RequestAuthentication",
        "metadata": {"name": "users", "namespace": "foo"},
        "spec": {"jwtRules": rules},
    })
}

fn get(headers: &Value) -> Value {
    json!({"method": "GET", "path": "/a", "headers": headers})
}

/// Compares every answer, and of every request what policy and the application are told.
pub(crate) fn compare(envoy: &Path, worlds: &[World], callers: &mut Callers) -> Tokens {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(envoy, directory.path(), worlds, callers.pki(), |_| {});
    let mut tokens = Tokens::default();
    let mut sent = Vec::new();
    for (world, port) in worlds.iter().zip(&server.ports) {
        let guards = Guards::of(world, *port);
        tokens.tally.sets += 1;
        for request in &world.requests {
            tokens.tally.requests += 1;
            let case = tokens.tally.requests;
            let ours = guards.answer(request, *port);
            let status = callers.send(request, *port, case);
            sent.push((case, world, request, ours, status));
        }
    }
    let cases: Vec<_> = sent.iter().map(|(case, ..)| *case).collect();
    let seen = server.seen(&cases);
    for (case, world, request, ours, status) in sent {
        let theirs = Told::by_envoy(status, &seen[&case]);
        tokens.note(world, &ours, &theirs);
        if let Some(what) = ours.difference(&theirs, world) {
            let name = &world.name;
            let resources = json!(world.resources);
            tokens.tally.differences.push(format!(
                "{name}: {what}\nours:  {ours:?}\nEnvoy: {theirs:?}\nrequest: {request}\nresources: {resources}"
            ));
        }
    }
    tokens
}

impl Tokens {
    fn note(&mut self, world: &World, ours: &Told, theirs: &Told) {
        self.tally.allowed += usize::from(ours.status == 200);
        self.tally.denied += usize::from(ours.status != 200);
        self.by_token += usize::from(ours.is_refused_for_a_token());
        self.with_claims += usize::from(ours.id.is_some());
        if theirs.is_of_two_tokens() || ours.is_taken_back(theirs) {
            self.of_two += 1;
            self.undecided += usize::from(reads_outputs(world));
        }
    }
}

/// Whether a policy reads what a rule fills.
fn reads_outputs(world: &World) -> bool {
    json!(world.resources)
        .to_string()
        .contains("request.headers[x-user")
}

/// What one side made of a request.
#[derive(Debug)]
struct Told {
    status: u16,
    details: Option<String>,
    /// `jti` of the claims that policy sees.
    id: Option<String>,
    /// The first line of each header that is compared.
    headers: BTreeMap<String, String>,
    /// The parameters of the query, sorted: Envoy sorts them when it takes one out.
    query: Vec<String>,
}

impl Told {
    fn by_envoy(status: u16, log: &Value) -> Self {
        let headers = log["seen"].as_object().unwrap().iter();
        let headers = headers.filter_map(|(name, line)| {
            let line = line.as_str()?.to_owned();
            Some((name.clone(), line))
        });
        let details = log["details"].as_str().map(str::to_owned);
        let id = log.pointer("/jwt/payload/jti").and_then(Value::as_str);
        let mut told = Self {
            status,
            details: details.filter(|_| status != 200),
            id: id.map(str::to_owned),
            headers: headers.collect(),
            query: parameters(log["path"].as_str().unwrap_or_default()),
        };
        if told.is_refused_for_a_token() {
            // Nobody sees what was noted of tokens before.
            told.id = None;
        }
        told
    }

    fn is_refused_for_a_token(&self) -> bool {
        let details = self.details.as_deref().unwrap_or_default();
        details.starts_with("jwt_authn")
    }

    /// Whether some header is of another token than the claims.
    fn is_of_two_tokens(&self) -> bool {
        let mut headers = self.headers.iter();
        !self.is_refused_for_a_token()
            && headers.any(|(name, id)| name.starts_with("x-id") && Some(id) != self.id.as_ref())
    }

    /// Whether Envoy took its headers off when it looked for the token again and found it gone, while its claims stayed.
    fn is_taken_back(&self, theirs: &Self) -> bool {
        let has_id = |told: &Self| told.headers.keys().any(|name| name.starts_with("x-id"));
        has_id(self) && !has_id(theirs)
    }

    fn difference(&self, theirs: &Self, world: &World) -> Option<String> {
        if self.is_of_two_tokens() {
            return Some("our headers and claims are of different tokens".to_owned());
        }
        if self.id != theirs.id {
            return Some("other claims".to_owned());
        }
        // Where Envoy's own headers are not those of the claims, ours are: the one listed difference.
        let outputs = |told: &Self| -> Vec<(String, String)> {
            let all = told.headers.clone().into_iter();
            all.filter(|(name, _)| name.starts_with("x-id") || name.starts_with("x-user"))
                .collect()
        };
        let differs = theirs.is_of_two_tokens() || self.is_taken_back(theirs);
        if differs && reads_outputs(world) {
            return None;
        }
        if (self.status, &self.details) != (theirs.status, &theirs.details) {
            return Some("other answer".to_owned());
        }
        if self.is_refused_for_a_token() {
            return None;
        }
        if !differs && outputs(self) != outputs(theirs) {
            return Some("other output headers".to_owned());
        }
        let places = |told: &Self| -> Vec<Option<String>> {
            let names = ["x-jwt", "x-token", "authorization"].into_iter();
            names.map(|name| told.headers.get(name).cloned()).collect()
        };
        if places(self) != places(theirs) {
            return Some("other headers taken out".to_owned());
        }
        (self.query != theirs.query).then(|| "another query".to_owned())
    }
}

fn parameters(target: &str) -> Vec<String> {
    let (_, query) = target.split_once('?').unwrap_or_default();
    let mut parameters: Vec<_> = query
        .split('&')
        .map(|pair| pair.replace("%71", "q"))
        .collect();
    parameters.sort();
    parameters
}

/// Our guards for one set, in the order of the mesh.
struct Guards {
    engine: Engine,
    authenticator: Authenticator,
}

impl Guards {
    fn of(world: &World, port: u16) -> Self {
        let workload = Workload::new("foo", "web")
            .label("app", "web")
            .service("web", port);
        let list = json!({"apiVersion": "v1", "kind": "List", "items": world.resources});
        let text = list.to_string();
        let engine = Engine::builder(&workload).yaml(&text).build().unwrap();
        let rules = engine.authentication(port);
        let authenticator = Authenticator::compile(rules, &mut Keyring::new()).unwrap();
        Self {
            engine,
            authenticator,
        }
    }

    fn answer(&self, request: &Value, port: u16) -> Told {
        let mut builder = Request::builder()
            .method(request["method"].as_str().unwrap())
            .uri(request["path"].as_str().unwrap())
            .header("host", "app.example");
        for (name, lines) in request["headers"].as_object().into_iter().flatten() {
            for line in lines.as_array().unwrap() {
                builder = builder.header(name, line.as_str().unwrap().trim());
            }
        }
        let (mut head, ()) = builder.body(()).unwrap().into_parts();
        let exchange = Exchange::default();
        let local = ([127, 0, 0, 1], port).into();
        exchange.set_peer(Peer::plaintext(([127, 0, 0, 1], 9).into(), local));
        let verdict = self.judge(&mut head, &exchange);
        let id = exchange
            .claims()
            .and_then(|claims| claims.get("jti")?.as_str());
        let first = |name: &str| {
            let lines: Vec<_> = head.headers.get_all(name).iter().collect();
            let line = match (name, lines.as_slice()) {
                (_, []) => return None,
                // Stored once.
                ("authorization", lines) => {
                    let lines = lines.iter().map(|line| line.to_str().unwrap());
                    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
                    lines.join(",")
                }
                (_, [first, ..]) => first.to_str().unwrap().to_owned(),
            };
            Some((name.to_owned(), line))
        };
        Told {
            status: verdict
                .as_ref()
                .map_or_else(|reply| reply.status().as_u16(), |()| 200),
            details: verdict.err().map(|reply| reply.details().to_string()),
            id: id.map(str::to_owned),
            headers: SHOWN.into_iter().filter_map(first).collect(),
            query: parameters(&head.uri.to_string()),
        }
    }

    fn judge(&self, head: &mut Parts, exchange: &Exchange) -> Result<(), LocalReply> {
        let guard = PolicyCheck::new();
        guard.normalize(&self.engine, head)?;
        self.authenticator
            .authenticate(head, exchange, SystemTime::now())?;
        guard.check(&self.engine, head, exchange)
    }
}
