use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Request};

use super::{Limits, judge};
use crate::context::{Exchange, Peer};
use crate::identity::Workload;
use crate::message::{GrpcStatus, LocalReply, ResponseFlags};
use crate::policy::limit::{Action, Limit, Local, ServiceLimit, Stage, TokenBucket};
use crate::rate_limit::bucket::Tick;
use crate::rate_limit::changes::Change;
use crate::rate_limit::counts::Outcome;

fn bucket(tokens: u32) -> TokenBucket {
    TokenBucket::new(tokens, Duration::from_secs(3_600))
}

/// A limit by tenant.
fn by_tenant(name: &str, tokens: u32) -> Limit {
    Limit::new(name)
        .descriptor([Action::header("x-tenant", "tenant")])
        .local(Local::default().descriptor([("tenant", "")], bucket(tokens)))
}

fn workload() -> Workload {
    Workload::new("clinic", "patients")
}

fn running(limits: &[Limit]) -> Limits {
    Limits::default().next(limits, &workload())
}

fn request(tenant: &str) -> (Parts, Exchange) {
    let address = "192.0.2.7:4711".parse().unwrap();
    let request = Request::get("/").header("x-tenant", tenant);
    let request = request
        .extension(Peer::plaintext(address, address))
        .body(());
    let (mut head, ()) = request.unwrap().into_parts();
    let exchange = Exchange::from_request(&mut head);
    (head, exchange)
}

/// Judges a request at the first second, by the early limits.
fn ask(limits: &Limits, tenant: &str) -> (Result<(), LocalReply>, HeaderMap, HeaderMap) {
    let (mut head, exchange) = request(tenant);
    let now = Tick::after(Duration::from_secs(1));
    let verdict = judge(limits.of(Stage::Early), &mut head, None, &exchange, now);
    let mut shown = HeaderMap::new();
    exchange.put_response_headers(&mut shown);
    (verdict, shown, head.headers)
}

fn passed(limits: &Limits, tenant: &str) -> usize {
    (0..10).filter(|_| ask(limits, tenant).0.is_ok()).count()
}

/// Envoy's answer: its status, text, flag and details.
#[test]
fn a_refusal_is_envoys() {
    for (status, exhausted, http, grpc) in [
        (429, false, 429, 14),
        (429, true, 429, 8),
        (503, false, 503, 14),
        (200, false, 429, 14),
        (0, true, 429, 8),
    ] {
        let mut limit = by_tenant("reads", 1).status(status);
        limit.spec.as_resource_exhausted = exhausted;
        limit.spec.response_headers = vec![("x-why".to_owned(), "budget".to_owned())];
        let limits = running(&[limit]);
        assert!(ask(&limits, "north").0.is_ok());
        let reply = ask(&limits, "north").0.unwrap_err();
        assert_eq!(reply.status(), http);
        assert_eq!(reply.response_flags(), ResponseFlags::RATE_LIMITED);
        assert_eq!(&**reply.details(), "local_rate_limited");
        let mut head = HeaderMap::new();
        let to = |head: &HeaderMap| {
            let reply = reply.clone();
            reply.into_response::<http_body_util::Empty<bytes::Bytes>>(&http::Method::GET, head)
        };
        assert_eq!(to(&head).headers()["x-why"], "budget");
        assert_eq!(to(&head).headers()["content-length"], "18");
        head.insert("content-type", "application/grpc".parse().unwrap());
        let response = to(&head);
        assert_eq!(response.status(), 200);
        assert_eq!(
            GrpcStatus::from_headers(response.headers()),
            Some(GrpcStatus::new(grpc))
        );
        assert_eq!(response.headers()["grpc-message"], "local_rate_limited");
    }
}

/// All limits have to admit a request, and those behind one that refuses count nothing.
#[test]
fn the_first_limit_that_refuses_ends_the_judging() {
    let limits = running(&[
        by_tenant("one", 3),
        by_tenant("two", 2),
        by_tenant("three", 9),
    ]);
    assert_eq!(passed(&limits, "north"), 2);
    let counts: Vec<_> = limits
        .iter()
        .map(|limit| Outcome::ALL.map(|outcome| limit.counts().count(outcome)))
        .collect();
    assert_eq!(counts, [[3, 7, 0, 0], [2, 1, 0, 0], [2, 0, 0, 0]]);
}

#[test]
fn a_limit_that_only_reports_counts_and_refuses_nothing() {
    let mut limit = by_tenant("trial", 4).report_only();
    limit.spec.not_enforced_headers = vec![("x-over".to_owned(), "yes".to_owned())];
    let limits = running(&[limit, by_tenant("real", 8)]);
    let brought: Vec<_> = (0..10)
        .map(|_| ask(&limits, "north").2.contains_key("x-over"))
        .collect();
    assert_eq!(brought.iter().filter(|over| **over).count(), 6);
    let counts = |limit: &str| {
        let mut limits = limits.iter();
        let limit = limits
            .find(|running| running.limit().name == limit)
            .unwrap();
        Outcome::ALL.map(|outcome| limit.counts().count(outcome))
    };
    assert_eq!(counts("trial"), [4, 0, 6, 0]);
    assert_eq!(counts("real"), [8, 2, 0, 0]);
}

/// The headers are those of the bucket with the least left among the limits that want them.
#[test]
fn headers_show_the_least_that_is_left() {
    let limits = running(&[
        by_tenant("quiet", 2),
        by_tenant("wide", 9).x_ratelimit_headers(),
        by_tenant("narrow", 3).x_ratelimit_headers(),
    ]);
    let shown = || {
        let headers = ask(&limits, "north").1;
        let text = |name| {
            headers
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        [
            text("x-ratelimit-limit"),
            text("x-ratelimit-remaining"),
            text("x-ratelimit-reset"),
        ]
    };
    let some = |limit: &str, remaining: &str, reset: &str| {
        [limit, remaining, reset].map(|text| Some(text.to_owned()))
    };
    assert_eq!(shown(), some("3", "2", "0"));
    assert_eq!(shown(), some("3", "1", "0"));
    assert_eq!(
        shown(),
        [None, None, None],
        "the quiet limit refuses and shows nothing"
    );
    let limits = running(&[by_tenant("narrow", 1).x_ratelimit_headers()]);
    assert!(ask(&limits, "north").0.is_ok());
    let (verdict, headers, _) = ask(&limits, "north");
    assert!(verdict.is_err());
    assert_eq!(headers["x-ratelimit-remaining"], "0");
    assert_eq!(headers["x-ratelimit-reset"], "3600");
}

/// A reload keeps the buckets of a limit that it leaves alone, or changes in other respects only.
#[test]
fn a_reload_keeps_what_it_does_not_change() {
    let before = running(&[
        by_tenant("same", 2),
        by_tenant("stricter", 4),
        by_tenant("gone", 9),
    ]);
    assert_eq!(passed(&before, "north"), 2);
    let kept = before.next(&[by_tenant("same", 2).status(503)], &workload());
    assert_eq!(passed(&kept, "north"), 0);
    let changed = before.next(&[by_tenant("same", 5)], &workload());
    assert_eq!(passed(&changed, "north"), 5);
    let same = changed.iter().next().unwrap().counts();
    assert_eq!(same.count(Outcome::Ok), 2 + 5, "the counts go on");
}

#[test]
fn a_limit_that_reads_the_request_wants_a_peer() {
    let limits = running(&[by_tenant("reads", 1)]);
    let (mut head, ()) = Request::get("/").body(()).unwrap().into_parts();
    let exchange = Exchange::from_request(&mut head);
    let reply = limits.judge(Stage::Early, &mut head, None, &exchange);
    assert_eq!(reply.unwrap_err().status(), 500);
    let blind = running(&[Limit::new("all").local(Local::new(bucket(1)))]);
    assert!(
        blind
            .judge(Stage::Early, &mut head, None, &exchange)
            .is_ok()
    );
    let reply = blind.judge(Stage::Early, &mut head, None, &exchange);
    assert_eq!(reply.unwrap_err().status(), 429);
}

#[test]
fn limits_by_identity_are_judged_late() {
    let by_caller = Limit::new("callers")
        .descriptor([Action::principal_or("none")])
        .local(Local::default().descriptor([("principal", "")], bucket(1)));
    let limits = running(&[by_caller, by_tenant("tenants", 1)]);
    let names = |stage| {
        limits
            .of(stage)
            .iter()
            .map(|limit| limit.limit().name.clone())
    };
    assert_eq!(names(Stage::Early).collect::<Vec<_>>(), ["tenants"]);
    assert_eq!(names(Stage::Late).collect::<Vec<_>>(), ["callers"]);
}

/// A stage that has more left does not hide what an earlier one has shown.
#[test]
fn headers_show_the_least_of_both_stages() {
    let by_caller = |tokens| {
        Limit::new("callers")
            .descriptor([Action::principal_or("none")])
            .local(Local::default().descriptor([("principal", "")], bucket(tokens)))
            .x_ratelimit_headers()
    };
    for (early, late, shown) in [(3, 9, "2"), (9, 3, "2"), (4, 4, "3")] {
        let limits = running(&[
            by_tenant("tenants", early).x_ratelimit_headers(),
            by_caller(late),
        ]);
        let (mut head, exchange) = request("north");
        for stage in [Stage::Early, Stage::Late] {
            let verdict = limits.judge(stage, &mut head, None, &exchange);
            assert!(verdict.is_ok());
        }
        let mut headers = HeaderMap::new();
        exchange.put_response_headers(&mut headers);
        assert_eq!(headers["x-ratelimit-remaining"], shown);
    }
}

#[test]
fn what_a_reload_opens_is_told() {
    let service = || ServiceLimit::new("ratelimit.default", 8081, "clinic");
    let local = || by_tenant("limit", 2);
    let both = || local().service(service().failure_mode_deny());
    for (before, after, expected) in [
        (local(), None, Some(Change::Removed("limit"))),
        (local(), Some(local()), None),
        (
            local(),
            Some(local().report_only()),
            Some(Change::ReportsOnly("limit")),
        ),
        (
            local(),
            Some(local().status(503)),
            Some(Change::Changed("limit")),
        ),
        (
            local(),
            Some(by_tenant("limit", 3)),
            Some(Change::Replaced("limit")),
        ),
        (both(), Some(local()), Some(Change::CountsLess("limit"))),
        (
            both(),
            Some(local().service(service())),
            Some(Change::FailsOpen("limit")),
        ),
    ] {
        let (before, after) = (running(&[before]), running(after.as_slice()));
        let changes = before.changes(&after);
        assert_eq!(changes, Vec::from_iter(expected));
    }
}
