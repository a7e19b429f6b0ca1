//! Limits that a rate limit service counts: what it is asked, and what becomes of its answers.

use std::time::Duration;

use tower_mesh::message::ResponseFlags;
use tower_mesh::policy::limit::{Action, Limit, Local, ServiceLimit, TokenBucket};

use super::stub::{OK, OVER_LIMIT, READS, Reply, Stub, Ward, code, get, header, quota};
use crate::messages::{CurrentLimit, DescriptorStatus, RateLimitResponse, Timestamp};
use crate::support::mesh::{lines, proven, unproven};

/// What the service was asked, as text.
fn shown(stub: &Stub) -> Vec<String> {
    let asked = stub.asked().into_iter().map(|request| {
        let descriptors = request.descriptors.iter().map(|descriptor| {
            let entries = descriptor.entries.iter();
            let entries = entries.map(|entry| format!("{}={}", entry.key, entry.value));
            entries.collect::<Vec<_>>().join(",")
        });
        let descriptors: Vec<_> = descriptors.collect();
        format!("{}: {}", request.domain, descriptors.join(" | "))
    });
    asked.collect()
}

fn answer(overall_code: i32) -> RateLimitResponse {
    RateLimitResponse {
        overall_code,
        ..RateLimitResponse::default()
    }
}

#[tokio::test]
async fn all_descriptors_go_in_one_call() {
    let stub = Stub::new(code(OK)).await;
    let limits = quota(
        "",
        "  rateLimits:
  - actions: [{method: {}}, {path: {templates: [/health, '/patients/{*}']}}]
  - actions: [{requestHeaders: {headerName: x-tenant, descriptorKey: tenant}}]
  - actions: [{remoteAddress: {}}, {principal: {}}, {host: {}}]
  - actions: [{maskedRemoteAddress: {v4PrefixMaskLen: 8}}, {sourceCluster: {}}]
  - actions: [{headerValueMatch: {descriptorValue: yes-tenant, headers: [{name: x-tenant, presentMatch: true}]}}]
  - actions: [{queryParameters: {queryParameterName: ward, descriptorKey: ward}}, {destinationCluster: {}}]
",
    );
    let ward = Ward::new(&limits, stub.address()).await;
    let request = get("/patients/7?ward=a%20b").header("x-tenant", "north");
    assert_eq!(ward.ask(request).await.0, 200);
    let expected = "clinic: method=GET,path=/patients/{*} | tenant=north | \
        remote_address=10.0.0.1,principal=cluster.local/ns/default/sa/desk,host=app.default | \
        masked_remote_address=10.0.0.0/8,source_cluster=app.default | header_match=yes-tenant | \
        ward=a b,destination_cluster=inbound|2||";
    assert_eq!(shown(&stub), [expected]);
}

/// A descriptor whose action has no value is dropped; without any, the service is not asked.
#[tokio::test]
async fn a_request_without_a_descriptor_asks_nobody() {
    let stub = Stub::new(code(OVER_LIMIT)).await;
    let limits = quota(
        "",
        "  rateLimits:
  - actions: [{genericKey: {descriptorValue: a}}, {requestHeaders: {headerName: x-tenant, descriptorKey: tenant}}]
  - actions: [{requestHeaders: {headerName: x-tenant, descriptorKey: tenant, skipIfAbsent: true}}]
",
    );
    let ward = Ward::new(&limits, stub.address()).await;
    assert_eq!(ward.ask(get("/")).await.0, 200);
    assert_eq!(stub.asked(), []);
    assert_eq!(ward.ask(get("/").header("x-tenant", "north")).await.0, 429);
    assert_eq!(
        shown(&stub),
        ["clinic: generic_key=a,tenant=north | tenant=north"]
    );
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused_as_by_envoy() {
    let over = RateLimitResponse {
        raw_body: b"later".to_vec(),
        response_headers_to_add: vec![header("x-why", "a"), header("x-why", "b")],
        request_headers_to_add: vec![header("x-plan", "gold")],
        ..answer(OVER_LIMIT)
    };
    let stub = Stub::new(Reply::Answer(over)).await;
    let more = "  responseHeadersToAdd: [{name: x-limited-by, value: clinic}]\n";
    let ward = Ward::new(&quota("", &format!("{READS}{more}")), stub.address()).await;
    let (status, headers, body) = ward.ask(get("/")).await;
    assert_eq!((status, body.as_str()), (429, "later"));
    let named = |name: &str| {
        let values = headers.get_all(name).iter();
        let values = values.map(|value| value.to_str().unwrap());
        values.collect::<Vec<_>>().join(",")
    };
    assert_eq!(named("content-type"), "text/plain");
    assert_eq!(named("x-why"), "a,b");
    assert_eq!(named("x-limited-by"), "clinic");
    assert_eq!(named("x-envoy-ratelimited"), "true");
    let seen = &ward.seen.wait(1).await[0];
    assert_eq!(seen.flags, ResponseFlags::RATE_LIMITED);
    assert_eq!(seen.details.as_deref(), Some("request_rate_limited"));
    let counts = lines(
        &ward.mesh,
        "mesh_rate_limit_total",
        &["outcome=\"limited\""],
    );
    assert_eq!(counts.len(), 1, "{counts:?}");
    assert!(
        counts[0].contains("limit=\"default/quota\"") && counts[0].ends_with(" 1"),
        "{counts:?}"
    );
}

#[tokio::test]
async fn the_refusal_is_as_the_limit_wants_it() {
    let stub = Stub::new(code(OVER_LIMIT)).await;
    let grpc = || get("/").header("content-type", "application/grpc");
    for (service, more, status, grpc_status, marked) in [
        ("", "", 429, "14", true),
        (
            ", disableXEnvoyRatelimitedHeader: true",
            "",
            429,
            "14",
            false,
        ),
        ("", "  rateLimitedStatus: 503\n", 503, "14", true),
        ("", "  rateLimitedStatus: 302\n", 429, "14", true),
        ("", "  rateLimitedStatus: 403\n", 403, "7", true),
        (
            "",
            "  rateLimitedAsResourceExhausted: true\n",
            429,
            "8",
            true,
        ),
    ] {
        let ward = Ward::new(&quota(service, &format!("{READS}{more}")), stub.address()).await;
        let (found, headers, body) = ward.ask(get("/")).await;
        assert_eq!((found, body.as_str()), (status, ""), "{service}{more}");
        assert_eq!(headers.contains_key("x-envoy-ratelimited"), marked);
        assert!(!headers.contains_key("content-type"));
        let (found, headers, _) = ward.ask(grpc()).await;
        assert_eq!(
            (found, headers["grpc-status"] == grpc_status),
            (200, true),
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn headers_of_a_good_answer_go_both_ways() {
    let good = RateLimitResponse {
        response_headers_to_add: vec![header("x-left", "3")],
        request_headers_to_add: vec![header("x-plan", "gold"), header("x-tenant", "two")],
        raw_body: b"ignored".to_vec(),
        ..answer(OK)
    };
    let stub = Stub::new(Reply::Answer(good)).await;
    let ward = Ward::new(&quota("", READS), stub.address()).await;
    let (status, headers, body) = ward.ask(get("/").header("x-tenant", "one")).await;
    assert_eq!(status, 200);
    assert_eq!(headers["x-left"], "3");
    assert!(!headers.contains_key("x-envoy-ratelimited"));
    assert_eq!(body, "x-plan: gold\nx-tenant: one\nx-tenant: two");
}

fn status(requests: u32, unit: i32, name: &str, left: u32, seconds: i64) -> DescriptorStatus {
    DescriptorStatus {
        code: OK,
        current_limit: Some(CurrentLimit {
            requests_per_unit: requests,
            unit,
            name: name.to_owned(),
            unit_multiplier: None,
        }),
        limit_remaining: left,
        duration_until_reset: Some(Timestamp { seconds, nanos: 0 }),
    }
}

#[tokio::test]
async fn windows_are_shown_if_they_are_wanted() {
    let statuses = vec![status(10, 1, "", 4, 1), status(1000, 3, "perh", 2, 7)];
    let shows = "  enableXRatelimitHeaders: DRAFT_VERSION_03\n";
    for overall in [OK, OVER_LIMIT] {
        let reply = RateLimitResponse {
            statuses: statuses.clone(),
            ..answer(overall)
        };
        let stub = Stub::new(Reply::Answer(reply)).await;
        let ward = Ward::new(&quota("", &format!("{READS}{shows}")), stub.address()).await;
        let (_, headers, _) = ward.ask(get("/")).await;
        assert_eq!(
            headers["x-ratelimit-limit"],
            "1000, 10;w=1, 1000;w=3600;name=\"perh\""
        );
        assert_eq!(headers["x-ratelimit-remaining"], "2");
        assert_eq!(headers["x-ratelimit-reset"], "7");
        let ward = Ward::new(&quota("", READS), stub.address()).await;
        let (_, headers, _) = ward.ask(get("/")).await;
        assert!(!headers.contains_key("x-ratelimit-limit"));
    }
}

/// This process and a service count one request: what is nearest to a refusal is shown.
#[tokio::test]
async fn of_local_limits_and_services_the_least_left_is_shown() {
    let stub = Stub::new(code(OK)).await;
    let local = "  local: {tokenBucket: {maxTokens: 5, fillInterval: 3600s}}
  enableXRatelimitHeaders: DRAFT_VERSION_03
";
    let hourly = |tokens| TokenBucket::new(tokens, Duration::from_secs(3_600));
    // Judged behind the service.
    let late = Limit::new("late")
        .descriptor([Action::principal_or("none")])
        .local(Local::default().descriptor([("principal", "")], hourly(4)))
        .x_ratelimit_headers();
    let ward = Ward::with(&quota("", &format!("{READS}{local}")), |builder| {
        let host = tower_mesh::mesh::ExternalHost::plaintext().at([stub.address()]);
        let builder = builder.outside("ratelimit.platform:8081", host);
        builder.rate_limit(late)
    })
    .await;
    let (own, service, behind) = ("5", "10, 10;w=60", "4");
    for (overall, left, status_due, limit, remaining) in [
        (OK, 9, 200, behind, "3"),
        (OK, 1, 200, service, "1"),
        (OVER_LIMIT, 0, 429, service, "0"),
        (OK, 9, 200, own, "1"),
        // The last token of the process, and the service refuses.
        (OVER_LIMIT, 0, 429, service, "0"),
        (OK, 9, 429, own, "0"),
    ] {
        stub.replies(Reply::Answer(RateLimitResponse {
            statuses: vec![status(10, 2, "", left, 3)],
            ..answer(overall)
        }));
        let (seen, headers, _) = ward.ask(get("/")).await;
        let shown = |name: &str| headers[name].to_str().unwrap();
        let shown = (shown("x-ratelimit-limit"), shown("x-ratelimit-remaining"));
        assert_eq!((seen, shown), (status_due, (limit, remaining)));
        for name in [
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
        ] {
            assert_eq!(headers.get_all(name).iter().count(), 1, "{headers:?}");
        }
    }
}

/// Of the limits of one stage, that of a service with less left; and of one that refuses, its own.
#[tokio::test]
async fn of_several_services_the_least_left_is_shown() {
    for (first, second, limit) in [
        ((OK, 5), (OK, 4), "20, 20;w=60"),
        ((OK, 4), (OK, 5), "10, 10;w=60"),
        ((OK, 4), (OK, 4), "10, 10;w=60"),
        ((OK, 0), (OVER_LIMIT, 0), "20, 20;w=60"),
        ((OVER_LIMIT, 0), (OK, 0), "10, 10;w=60"),
        ((OVER_LIMIT, 0), (OVER_LIMIT, 0), "10, 10;w=60"),
    ] {
        let reply = |(overall, left), requests| {
            Reply::Answer(RateLimitResponse {
                statuses: vec![status(requests, 2, "", left, 3)],
                ..answer(overall)
            })
        };
        let stubs = [
            Stub::new(reply(first, 10)).await,
            Stub::new(reply(second, 20)).await,
        ];
        let shows = "  enableXRatelimitHeaders: DRAFT_VERSION_03\n";
        let other = ServiceLimit::new("other.platform", 8081, "other");
        let other = Limit::new("other")
            .service(other.timeout(Duration::from_secs(30)))
            .descriptor([Action::Method])
            .x_ratelimit_headers();
        let ward = Ward::with(&quota("", &format!("{READS}{shows}")), |builder| {
            let host =
                |stub: &Stub| tower_mesh::mesh::ExternalHost::plaintext().at([stub.address()]);
            let builder = builder.outside("ratelimit.platform:8081", host(&stubs[0]));
            builder
                .outside("other.platform:8081", host(&stubs[1]))
                .rate_limit(other)
        })
        .await;
        let (_, headers, _) = ward.ask(get("/")).await;
        assert_eq!(headers["x-ratelimit-limit"], limit, "{first:?} {second:?}");
    }
}

#[tokio::test]
async fn a_limit_that_only_reports_refuses_nothing() {
    let stub = Stub::new(code(OVER_LIMIT)).await;
    let more = "  reportOnly: true
  requestHeadersToAddWhenNotEnforced: [{name: x-over, value: 'true'}]
  responseHeadersToAdd: [{name: x-limited-by, value: clinic}]
";
    let ward = Ward::new(&quota("", &format!("{READS}{more}")), stub.address()).await;
    let (status, headers, body) = ward.ask(get("/")).await;
    assert_eq!((status, body.as_str()), (200, "x-over: true"));
    assert!(!headers.contains_key("x-limited-by"));
    let counts = lines(
        &ward.mesh,
        "mesh_rate_limit_total",
        &["outcome=\"report_only\""],
    );
    assert_eq!(counts.len(), 1, "{counts:?}");
    stub.replies(code(OK));
    assert_eq!(ward.ask(get("/")).await.2, "");
}

/// A limit of what the request says counts also what policies refuse; one of the caller does not.
#[tokio::test]
async fn early_limits_count_what_policies_refuse_and_late_ones_do_not() {
    let nobody = "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody}
spec: {}
";
    for (actions, asked) in [
        ("{method: {}}", 1),
        ("{principal: {defaultValue: none}}", 0),
    ] {
        let stub = Stub::new(code(OK)).await;
        let limits = quota(
            "",
            &format!("  rateLimits: [{{actions: [{actions}]}}]\n{nobody}"),
        );
        let ward = Ward::new(&limits, stub.address()).await;
        assert_eq!(ward.status().await, 403);
        assert_eq!(stub.asked().len(), asked, "{actions}");
    }
}

/// Callers without an identity share the default value: a dropped descriptor would let them all
/// pass.
#[tokio::test]
async fn callers_without_an_identity_share_the_default_value() {
    let stub = Stub::new(code(OK)).await;
    let limits = quota(
        "",
        "  rateLimits:
  - actions: [{principal: {defaultValue: anybody}}, {claim: {path: [org], defaultValue: none}}]
",
    );
    let ward = Ward::new(&limits, stub.address()).await;
    for peer in [proven("desk"), unproven()] {
        ward.ask_from(peer, get("/")).await;
    }
    let expected = [
        "clinic: principal=cluster.local/ns/default/sa/desk,org=none",
        "clinic: principal=anybody,org=none",
    ];
    assert_eq!(shown(&stub), expected);
}

/// Two limits of one stage: both services are asked, and the first that refuses answers.
#[tokio::test]
async fn several_limits_all_apply() {
    let stub = Stub::new(code(OK)).await;
    let service = ServiceLimit::new("ratelimit.platform", 8081, "other");
    let service = service.timeout(Duration::from_secs(30));
    let own = Limit::new("own")
        .service(service)
        .descriptor([Action::Method])
        .status(503);
    let ward = Ward::with(&quota("", READS), |builder| {
        let host = tower_mesh::mesh::ExternalHost::plaintext().at([stub.address()]);
        builder
            .outside("ratelimit.platform:8081", host)
            .rate_limit(own)
    })
    .await;
    assert_eq!(ward.status().await, 200);
    let mut asked = shown(&stub);
    asked.sort();
    assert_eq!(asked, ["clinic: generic_key=reads", "other: method=GET"]);
    stub.replies(code(OVER_LIMIT));
    assert_eq!(ward.status().await, 429);
    assert_eq!(stub.asked().len(), 4);
}
