//! Each refusal has exactly one record.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::request::Parts;
use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_mesh::context::Exchange;
use tower_mesh::guard::{Guard, GuardLayer, Verdict};
use tower_mesh::mesh::AuditedRoute;
use tower_mesh::message::LocalReply;
use tower_mesh::policy::limit::{Action, Limit, Local, TokenBucket};
use tower_mesh::source::Fixed;
use tower_mesh::testing::Issuer;

use super::{Audited, rows};
use crate::support::mesh::{ISSUER, authentication, policy, proven, serve, until};

fn echo() -> Router {
    Router::new().fallback(any(|| async { "ok" }))
}

/// Refuses what asks for it.
#[derive(Clone)]
struct Closed;

impl Guard for Closed {
    fn judge(&self, head: &mut Parts, _: &Exchange) -> Verdict {
        match head.uri.path() {
            "/closed" => {
                let reply = LocalReply::new(StatusCode::FORBIDDEN, "", "after_hours");
                Verdict::Refuse(reply)
            }
            _ => Verdict::Pass,
        }
    }
}

#[tokio::test]
async fn a27_each_refusal_of_a_request_has_one_record() {
    let issuer = Issuer::es256(ISSUER);
    let ext = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ask}\n\
               spec: {action: CUSTOM, provider: {name: nobody}, rules: [{to: [{operation: {paths: [/asked]}}]}]}\n---\n";
    let text = authentication(&issuer)
        + &policy(
            "closed",
            "DENY",
            "[{to: [{operation: {paths: [/denied]}}]}]",
        )
        + ext;
    let one = TokenBucket::new(1, Duration::from_secs(3600));
    let limit = Limit::new("paths")
        .descriptor([Action::principal_or("none")])
        .local(
            Local::default().descriptor([("principal", "cluster.local/ns/default/sa/greedy")], one),
        );
    let audited = Audited::new(
        echo(),
        |audit| audit,
        |builder| {
            let builder = builder.config(Fixed::yaml("p.yaml", text));
            builder.rate_limit(limit).guard(Closed)
        },
    )
    .await;
    let get = |path: &str| Request::get(path).header("host", "app");
    let expired = issuer.token().expired_ago(Duration::from_secs(600)).sign();
    let rows_of = [
        ("gate", get("/x").header("host", "other"), 400),
        (
            "token",
            get("/x").header("authorization", format!("Bearer {expired}")),
            401,
        ),
        ("policy", get("/denied"), 403),
        ("custom", get("/asked"), 403),
        ("guard", get("/closed"), 403),
    ];
    for (what, request, status) in rows_of {
        let before = audited.access().await.len();
        let request = request
            .extension(proven("desk"))
            .body(Body::empty())
            .unwrap();
        let (answered, _) = audited.send(request).await;
        assert_eq!(answered.as_u16(), status, "{what}");
        let records = audited.access().await.split_off(before);
        let told = rows(&records, &["outcome", "status", "phase"]);
        assert_eq!(told, [format!("deny,{status},")], "{what}: {records:?}");
        let reason = &rows(&records, &["reason"])[0];
        assert!(!reason.is_empty(), "{what}");
    }
    let before = audited.access().await.len();
    for expected in [200, 429] {
        let request = get("/x")
            .extension(proven("greedy"))
            .body(Body::empty())
            .unwrap();
        let (answered, _) = audited.send(request).await;
        assert_eq!(answered.as_u16(), expected);
    }
    let records = audited.access().await.split_off(before);
    assert_eq!(
        rows(&records, &["outcome", "status", "actor.spiffe"]),
        ["deny,429,spiffe://cluster.local/ns/default/sa/greedy"]
    );
    let policies = rows(&audited.access().await, &["policy"]);
    assert!(policies.contains(&"ns[default]-policy[closed]-rule[0]".to_owned()));
}

/// A handshake that is refused, and a head that cannot be read.
#[tokio::test]
async fn a27_each_refusal_of_a_connection_has_one_record() {
    let audited = Audited::new(echo(), |audit| audit, |builder| builder).await;
    let served = serve(&audited.mesh, echo()).await;
    let mut plain = TcpStream::connect(served.address).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nhost: app\r\n\r\n")
        .await
        .unwrap();
    let _ = plain.read_to_end(&mut Vec::new()).await;
    until("the record", || {
        audited.records.text().contains("plaintext_refused")
    })
    .await;
    let tls = crate::support::mesh::dial(
        &audited.pki,
        "desk",
        served.address,
        tower_mesh::tls::Protocol::Http1,
    );
    let mut tls = tls.await;
    tls.write_all(b"no http\r\n\r\n").await.unwrap();
    let _ = tls.read_to_end(&mut Vec::new()).await;
    until("the record", || {
        audited.records.text().contains("codec_error")
    })
    .await;
    assert_eq!(
        rows(
            &audited.access().await,
            &[
                "action",
                "outcome",
                "reason",
                "source_ip",
                "actor.anonymous",
                "actor.spiffe",
                "generation"
            ]
        ),
        [
            "TLS,deny,plaintext_refused,127.0.0.1,true,,1",
            ",deny,http1.codec_error,127.0.0.1,,spiffe://cluster.local/ns/default/sa/desk,1"
        ]
    );
}

/// The version, group and certificate of the caller's connection.
#[tokio::test]
async fn a_record_says_how_the_caller_is_connected() {
    let audited = Audited::new(echo(), |audit| audit.all(), |builder| builder).await;
    let served = serve(&audited.mesh, echo()).await;
    let mut sender = crate::support::mesh::http1(&audited.pki, "desk", served.address).await;
    let request = crate::support::mesh::empty(crate::support::mesh::get("/"));
    crate::support::mesh::read(sender.send_request(request).await.unwrap()).await;
    until("the record", || {
        audited.records.text().contains("\"access\"")
    })
    .await;
    let records = audited.access().await;
    let tls = &records[0]["tls"];
    assert_eq!(tls["version"], "TLSv1.3", "{tls}");
    assert!(
        tls["group"].as_str().is_some_and(|group| !group.is_empty()),
        "{tls}"
    );
    let text = tls.to_string();
    let hash = text.split('"').find(|text| text.len() == 64);
    assert!(
        hash.is_some_and(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit())),
        "{tls}"
    );
}

/// Connections without HTTP: one that policy refuses, and one that a rule for audit matches.
#[tokio::test]
async fn a27_connections_without_http() {
    let desk = "[{from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}]}]";
    let web = "[{from: [{source: {principals: [cluster.local/ns/default/sa/web]}}]}]";
    let text = policy("closed", "DENY", web) + &policy("looks", "AUDIT", desk);
    let audited = Audited::new(
        echo(),
        |audit| audit,
        |builder| builder.config(Fixed::yaml("p.yaml", text)),
    )
    .await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let handler = |mut connection: tower_mesh::mesh::TcpConnection| async move {
        let mut bytes = [0; 4];
        connection.read_exact(&mut bytes).await?;
        connection.write_all(&bytes).await
    };
    tokio::spawn(audited.mesh.serve_tcp_on(socket, handler));
    for (account, answer) in [("web", &b""[..]), ("desk", b"ping"), ("other", b"ping")] {
        let protocol = tower_mesh::tls::Protocol::Tcp;
        let mut stream = crate::support::mesh::dial(&audited.pki, account, address, protocol).await;
        stream.write_all(b"ping").await.unwrap();
        let mut answered = Vec::new();
        let _ = stream.read_to_end(&mut answered).await;
        assert_eq!(answered, answer, "{account}");
    }
    until("the records", || {
        audited.records.text().matches("\"access\"").count() >= 3
    })
    .await;
    let mut told = rows(
        &audited.access().await,
        &["action", "phase", "outcome", "policy"],
    );
    told.sort();
    assert_eq!(
        told,
        [
            "TCP,,deny,ns[default]-policy[closed]-rule[0]",
            "TCP,completion,allow,ns[default]-policy[looks]-rule[0]",
            "TCP,intent,allow,ns[default]-policy[looks]-rule[0]"
        ]
    );
}

/// A flood of one caller is counted, and no refusal is lost.
#[tokio::test]
async fn a27_a_flood_is_counted() {
    const REQUESTS: u64 = 500;
    let text = policy(
        "closed",
        "DENY",
        "[{to: [{operation: {paths: [/denied]}}]}]",
    );
    let audited = Audited::new(
        echo(),
        |audit| audit,
        |builder| builder.config(Fixed::yaml("p.yaml", text)),
    )
    .await;
    for _ in 0..REQUESTS {
        audited.ask(Request::get("/denied")).await;
    }
    assert!(audited.mesh.stop_audit(super::PATIENCE).await);
    let records = audited.records.now();
    let access = records.iter().filter(|one| one["type"] == "access");
    let counted: u64 = access.map(|one| one["count"].as_u64().unwrap_or(1)).sum();
    assert_eq!(counted, REQUESTS);
}

/// A guard of the application's own, behind the mesh, refuses what has an intent: each has its end.
#[tokio::test]
async fn a27_each_intent_has_its_completion_also_in_a_flood_of_refusals() {
    const REQUESTS: usize = 150;
    let router = echo().layer(GuardLayer::new(Closed));
    let audited = Audited::new(
        router,
        |audit| audit.route(AuditedRoute::new("/closed")),
        |builder| builder,
    )
    .await;
    for _ in 0..REQUESTS {
        let (status, _) = audited.ask(Request::get("/closed")).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
    let told = rows(
        &audited.access().await,
        &["phase", "outcome", "reason", "count"],
    );
    let count = |row: &str| told.iter().filter(|one| *one == row).count();
    assert_eq!(count("intent,allow,,"), REQUESTS);
    assert_eq!(count("completion,deny,after_hours,"), REQUESTS);
}
