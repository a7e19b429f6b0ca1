//! Ten thousand refusals are ten thousand in the counts, and a few lines in the log.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tokio::net::TcpStream;
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::Workload;
use tower_mesh::context::Peer;
use tower_mesh::jwt::{Authenticator, JwtLayer, Keyring};
use tower_mesh::live::Live;
use tower_mesh::policy::Engine;
use tower_mesh::rbac::RbacLayer;
use tower_mesh::testing::{Issuer, Pki};
use tower_mesh::tls::{Acceptor, Limits, Listener, Reason};
use tracing::Level;

use crate::support::log::Log;
use crate::support::mesh::{ISSUER, authentication, policy, proven, until};
use crate::tls::support::credentials;

const MANY: usize = 10_000;

/// How many lines of a kind there are, and how many more they tell of.
fn told(log: &Log, kind: &str) -> (usize, usize) {
    let lines = log.with(&[kind]);
    let suppressed = lines.iter().filter_map(|line| {
        let (_, number) = line.split_once("suppressed=")?;
        let number = number.split_whitespace().next().unwrap();
        Some(number.parse::<usize>().unwrap())
    });
    (lines.len(), suppressed.sum())
}

/// Ten lines a second at the most, and one at least.
fn few(log: &Log, kind: &str, begun: Instant) {
    let (lines, _) = told(log, kind);
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    let most = 10 * (seconds + 2);
    assert!((1..=most).contains(&lines), "{lines} lines in {seconds} s");
}

/// Refuses until the log has told how many lines it left out.
async fn flood(log: &Log, kind: &str, mut refuse: impl AsyncFnMut()) {
    let begun = Instant::now();
    for _ in 0..MANY {
        refuse().await;
    }
    few(log, kind, begun);
    let mut refused = MANY;
    while told(log, kind).1 == 0 {
        refuse().await;
        refused += 1;
    }
    let (lines, suppressed) = told(log, kind);
    // The last line may be older than the last refusals.
    assert!(
        lines + suppressed <= refused,
        "{lines} and {suppressed} of {refused}"
    );
}

type Body = Empty<Bytes>;

async fn app(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::new()))
}

#[tokio::test]
async fn requests_without_a_peer_write_few_lines() {
    let (log, _guard) = Log::listen(Level::DEBUG);
    let engine = Engine::builder(&Workload::new("foo", "app"))
        .build()
        .unwrap();
    let layer = RbacLayer::new(Live::new(engine));
    flood(&log, "a request without a peer", async || {
        let service = layer.layer(service_fn(app));
        let response = service.oneshot(Request::new(Body::new())).await.unwrap();
        assert_eq!(response.status(), 403);
    })
    .await;
}

#[tokio::test]
async fn refused_requests_write_few_lines() {
    let (log, _guard) = Log::listen(Level::INFO);
    let workload = Workload::new("default", "app");
    let engine = Engine::builder(&workload).yaml(&policy("closed", "DENY", "[{}]"));
    let layer = RbacLayer::new(Live::new(engine.build().unwrap()));
    flood(&log, "request refused", async || {
        let service = layer.layer(service_fn(app));
        let request = Request::get("/")
            .header("host", "app")
            .extension(proven("desk"));
        let response = service.oneshot(request.body(Body::new()).unwrap()).await;
        assert_eq!(response.unwrap().status(), 403);
    })
    .await;
}

#[tokio::test]
async fn requests_with_several_tokens_write_few_lines() {
    let (log, _guard) = Log::listen(Level::DEBUG);
    let issuer = Issuer::es256(ISSUER);
    let workload = Workload::new("default", "app");
    let engine = Engine::builder(&workload).yaml(&authentication(&issuer));
    let engine = engine.build().unwrap();
    let rules = engine.authentication(2);
    let layer = JwtLayer::new(Live::new(
        Authenticator::compile(rules, &mut Keyring::new()).unwrap(),
    ));
    let peer = Peer::plaintext(
        (Ipv4Addr::LOCALHOST, 1).into(),
        (Ipv4Addr::LOCALHOST, 2).into(),
    );
    flood(&log, "a request carries several tokens", async || {
        let service = layer.layer(service_fn(app));
        let request = Request::get("/?access_token=a.b.c")
            .header("authorization", "Bearer d.e.f")
            .extension(peer.clone())
            .body(Body::new())
            .unwrap();
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 401);
    })
    .await;
}

#[tokio::test]
async fn refused_handshakes_write_few_lines_and_are_all_counted() {
    const REFUSED: u64 = 1_000;
    let (log, _guard) = Log::listen(Level::DEBUG);
    let pki = Pki::new("cluster.local").unwrap();
    let acceptor = Acceptor::new(credentials(&pki, "app"));
    let mut listener = Listener::bind("127.0.0.1:0", acceptor).await.unwrap();
    let (address, tally) = (listener.local_addr(), listener.stats());
    let accepting = tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    let begun = Instant::now();
    for count in 1..=REFUSED {
        let client = TcpStream::connect(address).await.unwrap();
        client.try_write(b"GET / HTTP/1.1\r\n").unwrap();
        let refused = || tally.refused(Reason::PlaintextRefused);
        until("the refusal", || refused() == count).await;
    }
    few(&log, "connection refused", begun);
    accepting.abort();
}

#[tokio::test]
async fn silent_connections_too_many_write_few_lines_and_are_all_counted() {
    const REFUSED: u64 = 1_000;
    let (log, _guard) = Log::listen(Level::DEBUG);
    let pki = Pki::new("cluster.local").unwrap();
    let acceptor = Acceptor::new(credentials(&pki, "app"));
    let mut limits = Limits::default();
    limits.silent_per_source = 0;
    let listener = Listener::bind("127.0.0.1:0", acceptor).await.unwrap();
    let mut listener = listener.limits(limits);
    let (address, tally) = (listener.local_addr(), listener.stats());
    let accepting = tokio::spawn(async move { drop(listener.accept().await) });
    let begun = Instant::now();
    for count in 1..=REFUSED {
        let _client = TcpStream::connect(address).await.unwrap();
        let refused = || tally.refused(Reason::TooManySilent);
        until("the refusal", || refused() == count).await;
    }
    few(&log, "too_many_silent", begun);
    accepting.abort();
}
