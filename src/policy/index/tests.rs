//! The index answers as the reference does, over random rules and requests.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Index, View};
use crate::identity::{PeerCertificate, Workload};
use crate::matcher::{Cidr, PathTemplate, StringMatcher};
use crate::policy::ir::{
    HeaderMatcher, HeaderTest, MetadataMatcher, Permission, Policy, Principal, Rbac, RbacAction,
    ValueMatcher,
};
use crate::policy::{Engine, PolicyId, Request, eval};

/// A small generator (SplitMix64): the same seed, the same rules and requests, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn list<T>(
        &mut self,
        least: usize,
        most: usize,
        mut make: impl FnMut(&mut Self) -> T,
    ) -> Vec<T> {
        let length = least + self.below(most - least + 1);
        (0..length).map(|_| make(self)).collect()
    }
}

const METHODS: &[&str] = &["GET", "POST", "PUT", "get"];
const PATHS: &[&str] = &[
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a/b/c.txt",
    "/b",
    "/A",
    "/data/[x]",
    "/data/1",
    "//a",
    "/a\nb",
];
const QUERIES: &[&str] = &["", "", "", "?", "?x=1", "?x=/../b"];
const HOSTS: &[&str] = &["a.com", "A.com", "b.a.com", "a.com:80", "B.A.COM", ""];
const NAMES: &[&str] = &[
    "td/ns/foo/sa/a",
    "td/ns/foo/sa/b",
    "td/ns/bar/sa/a",
    "td2/ns/foo/sa/a",
    "td/ns/foo/z/q/sa/a/rev/1",
    "td/x",
];
const WORDS: &[&str] = &["a", "b", "ab", "ba", "", "A", "a\nb", "5", "-7", "read"];
const HEADERS: &[&str] = &["x", "y", "accept", "x-n"];
const CLAIMS: &[&str] = &["iss", "sub", "aud", "g", "scope"];
const ADDRESSES: &[&str] = &[
    "127.0.0.1",
    "10.0.0.1",
    "10.1.2.3",
    "9.9.9.9",
    "::1",
    "fd00::1",
    "::ffff:10.0.0.1",
];
const RANGES: &[&str] = &[
    "10.0.0.0/8",
    "10.0.0.1",
    "0.0.0.0/0",
    "::/0",
    "fd00::/8",
    "127.0.0.0/30",
    "10.0.0.0/16",
];

fn string(random: &mut Random, texts: &[&str]) -> StringMatcher {
    let text = random.pick(texts);
    let cut = |at: usize| {
        text.char_indices()
            .map(|(index, _)| index)
            .nth(at)
            .unwrap_or(text.len())
    };
    let (head, tail) = (
        &text[..cut(1 + random.below(6))],
        &text[cut(random.below(4))..],
    );
    let matcher = match random.below(12) {
        0..5 => StringMatcher::exact(text),
        5..7 => StringMatcher::prefix(head),
        7..9 => StringMatcher::suffix(tail),
        9 => StringMatcher::contains(head),
        10 => StringMatcher::non_empty(),
        _ => StringMatcher::regex(&match random.below(3) {
            0 => format!(".*{}", regex::escape(tail)),
            1 => format!("{}[^/]*", regex::escape(head)),
            _ => format!("{}.*", regex::escape(head)),
        })
        .unwrap(),
    };
    if random.chance(15) {
        matcher.ignoring_case()
    } else {
        matcher
    }
}

fn peer(random: &mut Random) -> StringMatcher {
    let regex = |text: String| StringMatcher::regex(&text).unwrap();
    let name = random.pick(NAMES);
    match random.below(8) {
        0..3 => StringMatcher::exact(format!("spiffe://{name}")),
        3 => StringMatcher::prefix(format!("spiffe://{}", &name[..random.below(name.len())])),
        4 => regex(format!(".*/ns/{}/.*", random.pick(&["foo", "bar", "f.*o"]))),
        5 => regex(format!(
            "spiffe://.+/ns/{}/(.+/|)sa/{}(/.+)?",
            random.pick(&["foo", "bar"]),
            random.pick(&["a", "b"])
        )),
        6 => regex(format!("spiffe://.*{}", &name[random.below(name.len())..])),
        _ => string(random, &["", "CN=x", "dns.name", "spiffe://td/x"]),
    }
}

fn header(random: &mut Random) -> HeaderMatcher {
    let (name, texts) = match random.below(8) {
        0..2 => (":method", METHODS),
        2 => (":path", PATHS),
        3 => (":authority", HOSTS),
        4 => ("host", HOSTS),
        _ => (random.pick(HEADERS), WORDS),
    };
    let test = match random.below(8) {
        0..6 => HeaderTest::String(string(random, texts)),
        6 => HeaderTest::Range {
            start: -10 + i64::try_from(random.below(10)).unwrap(),
            end: 6,
        },
        _ => HeaderTest::Present(random.chance(50)),
    };
    HeaderMatcher {
        name: name.to_owned(),
        test,
        invert: random.chance(12),
        treat_missing_as_empty: random.chance(12),
    }
}

fn value(random: &mut Random, depth: usize) -> ValueMatcher {
    match random.below(if depth == 0 { 7 } else { 10 }) {
        0..3 => ValueMatcher::String(string(random, WORDS)),
        3 => ValueMatcher::Present(random.chance(80)),
        4 if random.chance(50) => ValueMatcher::Null,
        4 => ValueMatcher::Bool(random.chance(50)),
        5 => ValueMatcher::DoubleExact(5.0),
        6 => ValueMatcher::DoubleRange {
            start: 1.0,
            end: 5.5,
        },
        7..9 => ValueMatcher::ListOneOf(Box::new(value(random, depth - 1))),
        _ => ValueMatcher::Or(random.list(2, 3, |random| value(random, depth - 1))),
    }
}

fn metadata(random: &mut Random) -> MetadataMatcher {
    let claim = random.pick(CLAIMS).to_owned();
    let (filter, path) = match random.below(10) {
        0..7 => (
            "envoy.filters.http.jwt_authn",
            vec!["payload".to_owned(), claim],
        ),
        7 => (
            "envoy.filters.http.jwt_authn",
            vec!["payload".to_owned(), "nested".to_owned(), claim],
        ),
        8 => (
            "istio_authn",
            vec![
                random
                    .pick(&[
                        "request.auth.principal",
                        "request.auth.audiences",
                        "request.auth.presenter",
                    ])
                    .to_owned(),
            ],
        ),
        _ => ("istio_authn", vec!["request.auth.claims".to_owned(), claim]),
    };
    let value = if random.chance(50) {
        let string = ValueMatcher::String(string(random, WORDS));
        ValueMatcher::Or(vec![
            ValueMatcher::ListOneOf(Box::new(string.clone())),
            string,
        ])
    } else {
        value(random, 2)
    };
    MetadataMatcher {
        filter: filter.to_owned(),
        path,
        value,
        invert: random.chance(12),
    }
}

fn cidr(random: &mut Random) -> Cidr {
    Cidr::parse(random.pick(RANGES)).unwrap()
}

fn permission(random: &mut Random, depth: usize) -> Permission {
    match random.below(if depth == 0 { 11 } else { 16 }) {
        0..3 => Permission::UrlPath(string(random, PATHS)),
        3..5 => Permission::Header(header(random)),
        5 => Permission::UriTemplate(
            PathTemplate::new(random.pick(&[
                "/a/{*}",
                "/{**}",
                "/data/{*}",
                "/a/{**}/c.txt",
                "/{*}",
            ]))
            .unwrap(),
        ),
        6 => Permission::DestinationPort(random.pick(&[80, 8080])),
        7 => Permission::DestinationPortRange {
            start: random.pick(&[0, 80, 81]),
            end: random.pick(&[80, 8081, 65536]),
        },
        8 => Permission::DestinationIp(cidr(random)),
        9 => Permission::RequestedServerName(string(random, &["", "a.com", "b.a.com"])),
        10 if random.chance(50) => Permission::Any,
        10 => Permission::Metadata(Box::new(metadata(random))),
        11..13 => Permission::And(random.list(0, 3, |random| permission(random, depth - 1))),
        13..15 => Permission::Or(random.list(0, 4, |random| permission(random, depth - 1))),
        _ => Permission::Not(Box::new(permission(random, depth - 1))),
    }
}

fn principal(random: &mut Random, depth: usize) -> Principal {
    match random.below(if depth == 0 { 11 } else { 16 }) {
        0..4 => Principal::Authenticated(Some(peer(random))),
        4 => Principal::Authenticated(None),
        5 => Principal::DirectRemoteIp(cidr(random)),
        6 => {
            if random.chance(50) {
                Principal::RemoteIp(cidr(random))
            } else {
                Principal::SourceIp(cidr(random))
            }
        }
        7 => Principal::Header(header(random)),
        8 => Principal::UrlPath(string(random, PATHS)),
        9 => Principal::Metadata(Box::new(metadata(random))),
        10 => Principal::Any,
        11..13 => Principal::And(random.list(0, 3, |random| principal(random, depth - 1))),
        13..15 => Principal::Or(random.list(0, 4, |random| principal(random, depth - 1))),
        _ => Principal::Not(Box::new(principal(random, depth - 1))),
    }
}

fn rules(random: &mut Random, most: usize) -> Rbac {
    let policies = random.list(1, most, |random| Policy {
        permissions: random.list(1, 2, |random| {
            if random.chance(25) {
                Permission::Any
            } else {
                permission(random, 2)
            }
        }),
        principals: random.list(1, 2, |random| {
            if random.chance(15) {
                Principal::Any
            } else {
                principal(random, 2)
            }
        }),
    });
    let named = policies.into_iter().enumerate();
    Rbac {
        action: RbacAction::Allow,
        policies: named
            .map(|(index, policy)| (PolicyId::new(format!("rule[{index}]")), policy))
            .collect(),
    }
}

fn claim(random: &mut Random) -> Value {
    match random.below(9) {
        0..4 => json!(random.pick(WORDS)),
        4..6 => Value::Array(random.list(0, 3, |random| json!(random.pick(WORDS)))),
        6 => json!(5),
        7 if random.chance(30) => Value::Null,
        7 => json!([[random.pick(WORDS)], 5]),
        _ => json!({"g": random.pick(WORDS), "aud": ["a"]}),
    }
}

fn request(random: &mut Random) -> Request {
    let target = format!("{}{}", random.pick(PATHS), random.pick(QUERIES));
    let mut request = Request::new()
        .method(random.pick(METHODS), target)
        .port(random.pick(&[80, 8080, 9]));
    if random.chance(3) {
        request = Request::tcp();
    }
    if random.chance(80) {
        request = request.authority(random.pick(HOSTS));
    }
    for _ in 0..random.below(4) {
        request = request.header(random.pick(HEADERS), random.pick(WORDS));
    }
    let uri = |random: &mut Random| format!("spiffe://{}", random.pick(NAMES));
    request = match random.below(10) {
        0..6 => request.from(random.pick(NAMES)),
        6 => {
            let uris = random.list(0, 2, uri);
            let certificate =
                PeerCertificate::from_names(uris, vec!["dns.name".to_owned()], "CN=x".to_owned());
            request.certificate(certificate)
        }
        7 => request.anonymous_tls(),
        _ => request,
    };
    let address = |random: &mut Random| random.pick(ADDRESSES).parse::<IpAddr>().unwrap();
    request = request
        .source_ip(address(random))
        .destination_ip(address(random));
    if random.chance(50) {
        request = request.remote_ip(address(random));
    }
    if random.chance(30) {
        request = request.sni(random.pick(&["a.com", "b.a.com"]));
    }
    for _ in 0..random.below(4) {
        request = request.claim(random.pick(CLAIMS), claim(random));
    }
    if random.chance(20) {
        request = request.claim("nested", json!({"g": claim(random)}));
    }
    request
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a whole number"))
}

/// `TOWER_MESH_SEED` and `TOWER_MESH_PAIRS` choose other pairs, or more.
#[test]
fn the_index_answers_as_the_reference_does() {
    let seed = number("TOWER_MESH_SEED", 1);
    let pairs = number("TOWER_MESH_PAIRS", 120_000);
    let mut random = Random(seed);
    let mut counts = BTreeMap::from([("allowed", 0_u64), ("denied", 0), ("several", 0)]);
    let mut judged = 0;
    while judged < pairs {
        let most = random.pick(&[2, 2, 4, 8, 16, 40, 120]);
        let rules = rules(&mut random, most);
        let index = Index::new(&rules);
        let batch = if most > 20 { 100 } else { 250 };
        for _ in 0..batch {
            let request = request(&mut random);
            let expected: Vec<_> = eval::all_matches(&rules, &request).cloned().collect();
            let view = View::new(&request);
            assert_eq!(
                index.all(&view),
                expected,
                "seed {seed}: {request:?} {rules:#?}"
            );
            assert_eq!(
                index.first(&view),
                expected.first(),
                "seed {seed}: {request:?}"
            );
            *counts
                .entry(if expected.is_empty() {
                    "denied"
                } else {
                    "allowed"
                })
                .or_default() += 1;
            *counts.entry("several").or_default() += u64::from(expected.len() > 1);
            judged += 1;
        }
    }
    println!("seed {seed}: {judged} pairs, {counts:?}");
    for (what, count) in counts {
        assert!(count * 5 >= judged, "only {count} of {judged} pairs {what}");
    }
}

fn policy(permissions: Vec<Permission>, principals: Vec<Principal>) -> Policy {
    Policy {
        permissions,
        principals,
    }
}

fn named(policies: impl IntoIterator<Item = Policy>) -> Rbac {
    let named = policies.into_iter().enumerate();
    Rbac {
        action: RbacAction::Allow,
        policies: named
            .map(|(index, policy)| (PolicyId::new(format!("{index:05}")), policy))
            .collect(),
    }
}

/// A crowd in every dimension is told apart by pairs; more found texts than fit are kept all the
/// same.
#[test]
fn crowded_rules_are_found_by_pairs() {
    let path =
        |index: usize| Permission::UrlPath(StringMatcher::prefix("/p".repeat(1 + index % 40)));
    let caller = |index: usize| {
        Principal::Authenticated(Some(StringMatcher::exact(format!(
            "spiffe://td/ns/a/sa/s{}",
            index % 30
        ))))
    };
    let rules = named((0..1200).map(|index| policy(vec![path(index)], vec![caller(index)])));
    let index = Index::new(&rules);
    for target in ["/p/p/p", "/q", &"/p".repeat(45)] {
        for account in ["s0", "s29", "s30"] {
            let request = Request::new()
                .get(target)
                .from(&format!("td/ns/a/sa/{account}"));
            let expected: Vec<_> = eval::all_matches(&rules, &request).cloned().collect();
            assert_eq!(index.all(&View::new(&request)), expected);
        }
    }
}

/// Rules that cannot match are not met at all.
#[test]
fn a_request_meets_only_rules_that_could_match_it() {
    let rules = named((0..5000).map(|index| {
        policy(
            vec![Permission::UrlPath(StringMatcher::exact(format!(
                "/{index}"
            )))],
            vec![Principal::Any],
        )
    }));
    let index = Index::new(&rules);
    let mut met = 0;
    let request = Request::new().get("/77");
    index.each_candidate(&View::new(&request), &mut |_| met += 1);
    assert_eq!(met, 1);
}

/// The example in the documentation of [`Index::new`].
#[test]
fn the_worked_example_looks_up_one_text() {
    let workload = Workload::new("default", "w");
    let engine = Engine::builder(&workload).yaml(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p}
spec:
  rules:
  - from: [{source: {namespaces: [apps]}}]
    to: [{operation: {methods: [GET], paths: [/a/*]}}]
  - from: [{source: {principals: [td/ns/apps/sa/x]}}]
    to: [{operation: {methods: [GET]}}]
  - to: [{operation: {notPaths: [/b]}}]
  - to: [{operation: {notPaths: [/c]}}]
  - to: [{operation: {notPaths: [/d]}}]
",
    );
    let engine = engine.build().unwrap();
    let rules = engine.program().http.get(80).allow.enforced.clone();
    let index = Index::new(&rules.unwrap());
    let met = |request: &Request| {
        let mut met = Vec::new();
        index.each_candidate(&View::new(request), |rule| met.push(rule));
        met
    };
    let request = Request::new().get("/a/7").from("td/ns/apps/sa/web");
    assert_eq!(met(&request), [2, 3, 4, 0]);
    let request = Request::new().get("/else").from("td/ns/apps/sa/x");
    assert_eq!(met(&request), [2, 3, 4, 1]);
    assert_eq!(index.probes.len(), 2);
}

/// Long texts share a length in the filter, not a place in the table.
#[test]
fn long_texts_are_told_apart() {
    let path = |length: usize| format!("/{}", "x".repeat(length));
    let rules = named((60..80).map(|length| {
        let exact = StringMatcher::exact(path(length));
        policy(vec![Permission::UrlPath(exact)], vec![Principal::Any])
    }));
    let index = Index::new(&rules);
    for length in 58..82 {
        let request = Request::new().get(path(length));
        let view = View::new(&request);
        let expected = eval::first_match(&rules, &request);
        assert_eq!(index.first(&view), expected, "{length}");
    }
}

#[test]
fn port_ranges_of_any_numbers_are_judged() {
    let ranges = [
        (80, 81),
        (0, 0),
        (81, 80),
        (0, u32::MAX),
        (u32::MAX, 0),
        (u32::MAX, u32::MAX),
    ];
    let rules = named(ranges.map(|(start, end)| {
        let range = Permission::DestinationPortRange { start, end };
        policy(vec![range], vec![Principal::Any])
    }));
    let index = Index::new(&rules);
    for port in [0, 79, 80, 81, u16::MAX] {
        let request = Request::new().port(port);
        let expected: Vec<_> = eval::all_matches(&rules, &request).cloned().collect();
        assert_eq!(index.all(&View::new(&request)), expected, "{port}");
    }
}
