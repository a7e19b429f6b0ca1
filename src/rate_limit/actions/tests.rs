use std::net::IpAddr;

use serde_json::json;

use super::{Actions, LimitRequest, Made, Sink};
use crate::identity::Workload;
use crate::matcher::StringMatcher;
use crate::policy::Request;
use crate::policy::ir::{HeaderMatcher, HeaderTest};
use crate::policy::limit::{Action, Fallback, Limit, QueryMatcher, Stage};

/// The entries of a descriptor as text.
#[derive(Default)]
struct Seen(Vec<String>);

impl Sink for Seen {
    fn entry(&mut self, key: &str, value: &[u8]) {
        self.0.push(format!("{key}={}", value.escape_ascii()));
    }
}

/// What these actions make of a request; `None` if its descriptor is dropped.
fn made(actions: impl IntoIterator<Item = Action>, request: &Request) -> Option<String> {
    let limit = Limit::new("test").descriptor(actions);
    let workload = Workload::new("clinic", "patients").label("app", "patients");
    let mut seen = Seen::default();
    let descriptor = &limit.spec.descriptors[0];
    let made = Actions::new(descriptor, &workload).write(LimitRequest::new(request), &mut seen);
    (made == Made::Entries).then(|| seen.0.join(" "))
}

fn header(name: &str) -> Action {
    Action::header(name, "key")
}

fn header_or(name: &str, fallback: Fallback) -> Action {
    let (name, key) = (name.to_owned(), "key".to_owned());
    Action::RequestHeader {
        name,
        key,
        fallback,
    }
}

fn query(name: &str) -> Action {
    let (name, key) = (name.to_owned(), "key".to_owned());
    let fallback = Fallback::Drop;
    Action::QueryParameter {
        name,
        key,
        fallback,
    }
}

fn header_match(name: &str, value: &str, expect: bool) -> Action {
    let matcher = HeaderMatcher {
        name: name.to_owned(),
        test: HeaderTest::String(StringMatcher::exact(value)),
        invert: false,
        treat_missing_as_empty: false,
    };
    Action::HeaderMatch {
        key: "header_match".to_owned(),
        value: "yes".to_owned(),
        expect,
        headers: vec![matcher],
    }
}

fn query_match(name: &str, test: Option<&str>, expect: bool) -> Action {
    let parameters = vec![QueryMatcher {
        name: name.to_owned(),
        test: test.map(StringMatcher::exact),
    }];
    Action::QueryMatch {
        key: "query_match".to_owned(),
        value: "yes".to_owned(),
        expect,
        parameters,
    }
}

fn claim(path: &[&str]) -> Action {
    Action::Claim {
        key: path.join("."),
        path: path.iter().map(|name| (*name).to_owned()).collect(),
        fallback: Fallback::Drop,
    }
}

fn metadata(filter: &str, path: &[&str], fallback: Fallback) -> Action {
    Action::Metadata {
        key: "key".to_owned(),
        filter: filter.to_owned(),
        path: path.iter().map(|name| (*name).to_owned()).collect(),
        fallback,
    }
}

fn masked(v4: u8, v6: u8) -> Action {
    Action::MaskedRemoteAddress { v4, v6 }
}

fn request() -> Request {
    Request::new()
        .get("/patients/7/chart?ward=a%20b&ward=c&empty=#part")
        .authority("Patients.Clinic:8080")
        .header("x-tenant", "north")
        .header("x-list", "a")
        .header("x-list", "b")
        .header("x-raw", b"\xff")
        .remote_ip("10.1.2.3".parse::<IpAddr>().unwrap())
        .port(8080)
        .from("cluster.local/ns/clinic/sa/desk")
        .user("https://issuer", "alice")
        .claim("org", json!({"unit": "er", "size": 7, "night": true}))
        .claim("roles", json!(["nurse", 1, "admin"]))
}

#[test]
fn each_action_makes_its_entry() {
    let patterns = || Action::path(["/health", "/patients/{*}/chart", "/patients/*"]).unwrap();
    let principal = || Action::principal_or("none");
    for (action, entry) in [
        (Action::SourceCluster, "source_cluster=patients.clinic"),
        (
            Action::DestinationCluster,
            "destination_cluster=inbound|8080||",
        ),
        (header("x-tenant"), "key=north"),
        (header("X-Tenant"), "key=north"),
        (header("x-list"), "key=a"),
        (header("x-raw"), "key=\\xff"),
        (header(":method"), "key=GET"),
        (header(":authority"), "key=Patients.Clinic:8080"),
        (query("ward"), "key=a b"),
        (query("empty"), "key="),
        (query_match("ward", Some("a b"), true), "query_match=yes"),
        (query_match("ward", None, true), "query_match=yes"),
        (query_match("ward", Some("c"), false), "query_match=yes"),
        (Action::RemoteAddress, "remote_address=10.1.2.3"),
        (masked(24, 64), "masked_remote_address=10.1.2.0/24"),
        (masked(32, 128), "masked_remote_address=10.1.2.3/32"),
        (Action::generic("reads"), "generic_key=reads"),
        (header_match("x-tenant", "north", true), "header_match=yes"),
        (header_match("x-tenant", "south", false), "header_match=yes"),
        (
            metadata(
                "envoy.filters.http.jwt_authn",
                &["payload", "org", "unit"],
                Fallback::Drop,
            ),
            "key=er",
        ),
        (Action::Method, "method=GET"),
        (Action::Host, "host=patients.clinic"),
        (patterns(), "path=/patients/{*}/chart"),
        (principal(), "principal=cluster.local/ns/clinic/sa/desk"),
        (
            Action::request_principal_or("none"),
            "request_principal=https://issuer/alice",
        ),
        (claim(&["org", "unit"]), "org.unit=er"),
        (claim(&["org", "size"]), "org.size=7"),
        (claim(&["org", "night"]), "org.night=true"),
        (claim(&["roles"]), "roles=nurse,admin"),
    ] {
        assert_eq!(
            made([action.clone()], &request()).as_deref(),
            Some(entry),
            "{action:?}"
        );
    }
    let v6 = request().remote_ip("2001:db8:1:2:3::1".parse().unwrap());
    let network = made([masked(24, 64)], &v6);
    assert_eq!(
        network.as_deref(),
        Some("masked_remote_address=2001:db8:1:2::/64")
    );
}

#[test]
fn an_action_without_a_value_drops_the_descriptor() {
    let bare = Request::new().get("/other").authority("h");
    let generic = || Action::generic("reads");
    for action in [
        header("x-tenant"),
        query("ward"),
        query_match("ward", None, true),
        header_match("x-tenant", "north", true),
        Action::path(["/patients/*"]).unwrap(),
        Action::Principal {
            fallback: Fallback::Drop,
        },
        Action::RequestPrincipal {
            fallback: Fallback::Drop,
        },
        claim(&["org", "unit"]),
        metadata("some.filter", &["unit"], Fallback::Drop),
    ] {
        assert_eq!(
            made([generic(), action.clone(), generic()], &bare),
            None,
            "{action:?}"
        );
    }
    // An object, an empty text and a missing step are no values either.
    for path in [
        &["org"][..],
        &["empty"],
        &["org", "unit", "deeper"],
        &["org", "other"],
    ] {
        let request = request().claim("empty", "");
        assert_eq!(made([claim(path)], &request), None, "{path:?}");
    }
}

#[test]
fn a_fallback_skips_the_entry_or_stands_in_for_it() {
    let bare = Request::new().get("/");
    let skipped = || header_or("x-tenant", Fallback::Skip);
    let both = made([Action::generic("a"), skipped()], &bare);
    assert_eq!(both.as_deref(), Some("generic_key=a"));
    // Envoy would send a descriptor without entries.
    assert_eq!(made([skipped()], &bare), None);
    assert_eq!(made([], &bare), None);
    let value = |value: &str| Fallback::Value(value.to_owned());
    for (action, entry) in [
        (header_or("x-tenant", value("none")), "key=none"),
        (Action::principal_or("anybody"), "principal=anybody"),
        (Action::request_principal_or("-"), "request_principal=-"),
        (Action::claim_or(["org"], "none"), "org=none"),
        (metadata("f", &["a"], value("d")), "key=d"),
    ] {
        assert_eq!(made([action], &bare).as_deref(), Some(entry));
    }
}

/// Entries keep the order of the actions: a rate limit service compares them in order.
#[test]
fn entries_come_in_the_order_of_the_actions() {
    let actions = [Action::Method, Action::generic("x"), header("x-tenant")];
    let entries = made(actions, &request());
    assert_eq!(
        entries.as_deref(),
        Some("method=GET generic_key=x key=north")
    );
}

#[test]
fn what_needs_a_caller_is_late() {
    let stage = |action| {
        Limit::new("x")
            .descriptor([Action::Method])
            .descriptor([action])
            .stage()
    };
    assert_eq!(stage(Action::RemoteAddress), Stage::Early);
    assert_eq!(stage(header("x")), Stage::Early);
    for late in [
        Action::principal_or("x"),
        Action::request_principal_or("x"),
        claim(&["org"]),
        metadata("f", &["a"], Fallback::Drop),
    ] {
        assert_eq!(stage(late), Stage::Late);
    }
}

/// An entry of usual length costs no allocation.
#[test]
fn usual_values_allocate_nothing() {
    struct Length(usize);
    impl Sink for Length {
        fn entry(&mut self, key: &str, value: &[u8]) {
            self.0 += key.len() + value.len();
        }
    }
    let limit = Limit::new("test").descriptor([
        Action::SourceCluster,
        Action::DestinationCluster,
        header("x-list"),
        Action::RemoteAddress,
        masked(24, 64),
        Action::Method,
        Action::Host,
        Action::path(["/patients/{*}/chart"]).unwrap(),
        Action::principal_or("none"),
        Action::request_principal_or("none"),
        claim(&["roles"]),
    ]);
    let actions = Actions::new(
        &limit.spec.descriptors[0],
        &Workload::new("clinic", "patients"),
    );
    let (request, mut sink) = (request(), Length(0));
    let counted = allocation_counter::measure(|| {
        assert_eq!(
            actions.write(LimitRequest::new(&request), &mut sink),
            Made::Entries
        );
    });
    assert_eq!(counted.count_total, 0);
    assert!(sink.0 > 100);
}
