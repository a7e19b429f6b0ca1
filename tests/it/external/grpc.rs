//! Providers over gRPC: what they are asked, and what follows from each of their answers.

use std::collections::HashMap;
use std::sync::Arc;

use http::request::Parts;
use tower_mesh::context::Exchange;
use tower_mesh::guard::{Guard, Verdict};
use tower_mesh::mesh::ExternalHost;
use tower_mesh::message::ResponseFlags;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Workload};

use super::answers::{answer, append, denied, ok, options, pair, reply};
use super::support::{Kind, Stub, Ward, answered, desk, grpc, next, status};
use crate::messages::{Allowed, CheckResponse, Denied, Http, Struct, Value};
use crate::support::mesh::{build, get2, serve};

#[tokio::test]
async fn a_provider_sees_the_request_and_both_identities() {
    let mut stub = Stub::new().await;
    let ward = Ward::asking(&stub, Kind::Grpc, ", timeout: 5s").await;
    let mut caller = ward.caller().await;
    let request = get2("/a%20b?q=1")
        .method("POST")
        .header("x-a", "1")
        .header("x-a", "2")
        .header("x-envoy-auth-partial-body", "true");
    let waiting = caller.send(request, "12345");
    let asked = stub.next().await;
    // Once the caller's deadline or the provider's timeout is over, the answer is of no use.
    let deadline = asked.head.headers["grpc-timeout"].to_str().unwrap();
    assert!(deadline.starts_with(['4', '5']), "{deadline}");
    let attributes = asked.check().attributes.unwrap();
    let account = |name: &str| format!("spiffe://cluster.local/ns/default/sa/{name}");
    assert_eq!(attributes.source.unwrap().principal, account("desk"));
    assert_eq!(attributes.destination.unwrap().principal, account("app"));
    let http = asked.http();
    let facts = [
        &*http.method,
        &http.path,
        &http.host,
        &http.protocol,
        &http.body,
    ];
    assert_eq!(facts, ["POST", "/a%20b?q=1", "app.default", "HTTP/2", ""]);
    assert_eq!((http.size, http.raw_body.len()), (0, 0));
    for (name, value) in [
        (":path", Some("/a%20b?q=1")),
        (":authority", Some("app.default")),
        ("x-a", Some("1,2")),
        ("x-forwarded-proto", Some("https")),
        ("x-envoy-auth-partial-body", None),
        ("host", None),
    ] {
        assert_eq!(http.headers.get(name).map(String::as_str), value, "{name}");
    }
    asked.answer(grpc(&CheckResponse::default()));
    assert_eq!(status(waiting).await, 200);
    assert_eq!(ward.called().body, "12345");
    // The question belongs to the trace of the request.
    assert_eq!(status(caller.get("/free")).await, 200);
    assert!(stub.is_idle());
}

#[tokio::test]
async fn each_answer_has_its_result() {
    let mut stub = Stub::new().await;
    let ward = Ward::asking(&stub, Kind::Grpc, ", timeout: 5s, statusOnError: '503'").await;
    let mut caller = ward.caller().await;
    let no_status = Denied {
        status: None,
        ..reply(0, &[], "down")
    };
    let denied_ok = Http::Denied(reply(401, &[], "no"));
    let rows: Vec<(&str, CheckResponse, u16, &str, Option<&str>)> = vec![
        ("nothing", CheckResponse::default(), 200, "hello", None),
        ("0", answer(0, None), 200, "hello", None),
        (
            "0 beside a denial",
            answer(0, Some(denied_ok)),
            200,
            "hello",
            None,
        ),
        ("7", answer(7, None), 403, "", Some("ext_authz_denied")),
        ("16", answer(16, None), 403, "", Some("ext_authz_denied")),
        (
            "7 beside an ok",
            answer(7, Some(Http::Ok(Allowed::default()))),
            403,
            "",
            Some("ext_authz_denied"),
        ),
        (
            "401",
            denied(401, &[], "no"),
            401,
            "no",
            Some("ext_authz_denied"),
        ),
        (
            "200",
            denied(200, &[], "no"),
            200,
            "no",
            Some("ext_authz_denied"),
        ),
        (
            "302",
            denied(302, &[], ""),
            302,
            "",
            Some("ext_authz_denied"),
        ),
        (
            "204",
            denied(204, &[], "no"),
            204,
            "",
            Some("ext_authz_denied"),
        ),
        (
            "none",
            denied(0, &[], "no"),
            403,
            "no",
            Some("ext_authz_denied"),
        ),
        (
            "no status of HTTP",
            denied(99, &[], ""),
            403,
            "",
            Some("ext_authz_denied"),
        ),
        (
            "an error with a status",
            answer(7, Some(Http::Error(reply(502, &[], "down")))),
            502,
            "down",
            Some("ext_authz_error"),
        ),
        (
            "an error without a status",
            answer(7, Some(Http::Error(no_status))),
            503,
            "down",
            Some("ext_authz_error"),
        ),
    ];
    for (number, (name, answer, expected, body, details)) in rows.into_iter().enumerate() {
        let waiting = caller.get("/a");
        stub.next().await.answer(grpc(&answer));
        let (status, headers, text) = answered(waiting).await;
        assert_eq!((status, &*text), (expected, body), "{name}");
        let seen = ward.seen(number).await;
        assert_eq!(seen.details.as_deref(), details, "{name}");
        let flags = match details {
            Some(_) => ResponseFlags::UNAUTHORIZED_EXTERNAL,
            None => ResponseFlags::none(),
        };
        assert_eq!(seen.flags, flags, "{name}");
        match details {
            None => drop(ward.called()),
            Some(_) => assert!(ward.is_uncalled(), "{name}"),
        }
        let is_text = headers
            .get("content-type")
            .is_some_and(|kind| kind == "text/plain");
        assert!(is_text || text.is_empty() || details.is_none(), "{name}");
    }
    let counts = ["allowed", "denied", "error", "failed_open"].map(|kind| ward.counted(kind));
    assert_eq!(counts, [3, 9, 2, 0]);
}

#[tokio::test]
async fn a_refusal_has_the_headers_of_the_provider() {
    let mut stub = Stub::new().await;
    let ward = Ward::asking(&stub, Kind::Grpc, ", timeout: 5s").await;
    let mut caller = ward.caller().await;
    let refusal = denied(
        302,
        &[
            ("location", "/login"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("content-type", "text/html"),
            ("content-length", "999"),
            ("connection", "close"),
        ],
        "<p>no",
    );
    let waiting = caller.get("/a");
    stub.next().await.answer(grpc(&refusal));
    let (status, headers, body) = answered(waiting).await;
    assert_eq!((status, &*body), (302, "<p>no"));
    assert_eq!(headers["location"], "/login");
    assert_eq!(headers["content-type"], "text/html");
    assert_eq!(headers["content-length"], "5");
    assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
    // A gRPC caller gets the same in its own form.
    for (code, grpc_status) in [(403, "7"), (401, "16"), (429, "14"), (302, "2")] {
        let request = get2("/a")
            .method("POST")
            .header("content-type", "application/grpc");
        let waiting = caller.send(request, "");
        let refusal = denied(code, &[("x-why", "a")], "no: 100%");
        stub.next().await.answer(grpc(&refusal));
        let (status, headers, body) = answered(waiting).await;
        assert_eq!((status, &*body), (200, ""));
        assert_eq!(headers["grpc-status"], grpc_status, "{code}");
        assert_eq!(headers["grpc-message"], "no: 100%25");
        assert_eq!(headers["content-type"], "application/grpc");
        assert_eq!(headers["x-why"], "a");
    }
}

#[tokio::test]
async fn an_allowed_request_is_changed() {
    let mut stub = Stub::new().await;
    let ward = Ward::asking(&stub, Kind::Grpc, ", timeout: 5s").await;
    let mut caller = ward.caller().await;
    let mut headers = options(&[("x-user", "alice"), ("x-user", "bob"), ("x-b", "2")]);
    headers.extend([append("x-c", "3"), append("x-none", "4")]);
    let changes = Allowed {
        headers,
        headers_to_remove: ["cookie", ":path", "host", "x-b"]
            .map(str::to_owned)
            .to_vec(),
        response_headers_to_add: options(&[("x-from", "opa"), ("set-cookie", "s=1")]),
        query_parameters_to_set: vec![pair("role", "x"), pair("new", "1")],
        query_parameters_to_remove: vec!["token".to_owned()],
    };
    let request = get2("/a?token=t&role=a&keep&role=b")
        .header("x-user", "forged")
        .header("x-c", "1")
        .header("x-c", "2")
        .header("cookie", "c=1");
    let waiting = caller.send(request, "");
    stub.next().await.answer(grpc(&ok(changes)));
    let (status, headers, _) = answered(waiting).await;
    assert_eq!(status, 200);
    let from: Vec<_> = headers.get_all("x-from").iter().collect();
    assert_eq!(from, ["app", "opa"]);
    assert_eq!(headers["set-cookie"], "s=1");
    let called = ward.called();
    for (name, lines) in [
        ("x-user", &["bob"][..]),
        ("x-b", &[]),
        ("x-c", &["1,3", "2"]),
        ("x-none", &[]),
        ("cookie", &[]),
    ] {
        assert_eq!(called.lines(name), lines, "{name}");
    }
    let target = called.head.uri.path_and_query().unwrap();
    assert_eq!(target, "/a?role=x&keep&new=1");
}

#[tokio::test]
async fn a_yes_is_not_the_last_word() {
    let mut stub = Stub::new().await;
    let ward = Ward::asking(&stub, Kind::Grpc, ", timeout: 5s").await;
    let mut caller = ward.caller().await;
    let waiting = caller.get("/denied");
    stub.next().await.answer(Kind::Grpc.yes());
    let (status, _, body) = answered(waiting).await;
    assert_eq!((status, &*body), (403, "RBAC: access denied"));
    assert!(ward.is_uncalled());
}

/// Shows in a header of the response what a provider has said.
struct Plan;

impl Guard for Plan {
    fn judge(&self, _: &mut Parts, exchange: &Exchange) -> Verdict {
        if let Some(facts) = exchange.metadata("envoy.filters.http.ext_authz") {
            let plan = facts["plan"].as_str().unwrap();
            assert!(facts["ext_authz_duration"].is_u64());
            let name = http::HeaderName::from_static("x-plan");
            exchange.set_response_header(name, plan.parse().unwrap());
        }
        Verdict::Pass
    }
}

#[tokio::test]
async fn facts_of_the_provider_reach_the_guards_behind() {
    let mut stub = Stub::new().await;
    let address = stub.address;
    let ward = Ward::new(Kind::Grpc, ", timeout: 5s", |builder| {
        let host = ExternalHost::plaintext().at([address]);
        builder.outside("authz.default", host).guard(Plan)
    })
    .await;
    let mut caller = ward.caller().await;
    let gold = Value {
        string: Some("gold".to_owned()),
    };
    for (fields, plan) in [
        (HashMap::from([("plan".to_owned(), gold)]), Some("gold")),
        (HashMap::new(), None),
    ] {
        let waiting = caller.get("/a");
        let answer = CheckResponse {
            dynamic_metadata: Some(Struct { fields }),
            ..answer(0, None)
        };
        stub.next().await.answer(grpc(&answer));
        let (_, headers, _) = answered(waiting).await;
        let shown = headers.get("x-plan").map(|plan| plan.to_str().unwrap());
        assert_eq!(shown, plan);
    }
}

/// The provider is a workload of the mesh: asked over mutual TLS, it knows who asks.
#[tokio::test]
async fn a_provider_of_the_mesh_is_asked_over_mutual_tls() {
    let pki = Arc::new(Pki::new("cluster.local").unwrap());
    let workload = Workload::new("default", "authz");
    let identity = pki.identity("default", "authz").unwrap();
    let provider = build(Mesh::builder(workload, identity)).await;
    let (router, mut questions) = desk();
    let served = serve(&provider, router).await;
    let expected = "spiffe://cluster.local/ns/default/sa/authz";
    for kind in Kind::BOTH {
        let config = tower_mesh::source::Fixed::yaml("p.yaml", super::support::ask_all());
        let config = config.mesh_config(
            "mesh.yaml",
            super::support::mesh_config(kind, ", timeout: 5s"),
        );
        let ward = Ward::with(Arc::clone(&pki), |builder| {
            let address = served.address;
            builder
                .upstream("authz.default", [address], [expected])
                .config(config)
        })
        .await;
        let mut caller = ward.caller().await;
        for (reply, expected) in [(kind.yes(), 200), (kind.no(), 403)] {
            let waiting = caller.get("/a");
            let asked = next(&mut questions).await;
            let peer = asked.head.extensions.get::<Exchange>().unwrap().peer();
            let principal = peer.unwrap().principal();
            assert_eq!(principal, Some("cluster.local/ns/default/sa/app"));
            asked.answer(reply);
            assert_eq!(status(waiting).await, expected);
        }
    }
}

/// Rules and limits behind the provider see its facts, too.
#[tokio::test]
async fn facts_of_the_provider_reach_the_rules_behind() {
    let mut stub = Stub::new().await;
    let address = stub.address;
    let rules =
        "[{when: [{key: 'experimental.envoy.filters.http.ext_authz[plan]', values: [bronze]}]}]";
    let config = super::support::ask_all() + &crate::support::mesh::policy("plan", "DENY", rules);
    let mesh_config = super::support::mesh_config(Kind::Grpc, ", timeout: 5s");
    let config = tower_mesh::source::Fixed::yaml("p.yaml", config);
    let config = config.mesh_config("mesh.yaml", mesh_config);
    let pki = Arc::new(Pki::new("cluster.local").unwrap());
    let ward = Ward::with(pki, |builder| {
        let host = ExternalHost::plaintext().at([address]);
        builder.outside("authz.default", host).config(config)
    })
    .await;
    let mut caller = ward.caller().await;
    for (plan, expected) in [("gold", 200), ("bronze", 403)] {
        let waiting = caller.get("/a");
        let string = Some(plan.to_owned());
        let fields = HashMap::from([("plan".to_owned(), Value { string })]);
        let answer = CheckResponse {
            dynamic_metadata: Some(Struct { fields }),
            ..answer(0, None)
        };
        stub.next().await.answer(grpc(&answer));
        assert_eq!(status(waiting).await, expected, "{plan}");
    }
}
