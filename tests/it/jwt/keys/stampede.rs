//! Requests whose tokens name a key that is not there: how many fetches they make, and how long they wait.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::{ServiceExt, service_fn};
use tower_mesh::istio::JwtRule;
use tower_mesh::jwt::{Authenticator, Fetcher, Jwks, JwtLayer, Keyring, TokenMode};
use tower_mesh::live::Live;
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, Pki};
use tower_mesh::tls::Mode;
use tower_mesh::{Guards, Mesh, Workload};

use crate::jwt::support::{authentication, bearer, get, send};
use crate::support::mesh::{app, build, lines, settle, unproven, until};

const NO_KEY: &str = "Jwks doesn't have key to match kid or alg from Jwt";

/// A server of keys on loopback, which may keep who asks waiting.
struct KeyServer {
    address: SocketAddr,
    keys: Arc<Mutex<String>>,
    fetches: Arc<AtomicUsize>,
    door: watch::Sender<bool>,
}

impl KeyServer {
    async fn start(issuer: &Issuer) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: socket.local_addr().unwrap(),
            keys: Arc::new(Mutex::new(issuer.jwks())),
            fetches: Arc::default(),
            door: watch::Sender::new(true),
        };
        let (keys, fetches) = (Arc::clone(&server.keys), Arc::clone(&server.fetches));
        let door = server.door.clone();
        let answer = any(move || {
            fetches.fetch_add(1, Ordering::SeqCst);
            let (keys, mut door) = (Arc::clone(&keys), door.subscribe());
            async move {
                door.wait_for(|is_open| *is_open).await.unwrap();
                keys.lock().unwrap().clone()
            }
        });
        let router = Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(socket, router).await });
        server
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    fn publish(&self, issuer: &Issuer) {
        *self.keys.lock().unwrap() = issuer.jwks();
    }
}

/// The keys of this issuer are there.
fn users(issuer: &Issuer, server: &KeyServer) -> Fixed {
    let text = format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: users}}\nspec:\n  jwtRules:\n  - {{issuer: {}, jwksUri: 'http://{}/keys'}}\n",
        issuer.name(),
        server.address
    );
    Fixed::yaml("users.yaml", text)
}

/// A mesh whose only issuer has its keys there.
struct World {
    server: KeyServer,
    issuer: Issuer,
    mesh: Mesh,
}

impl World {
    async fn start() -> Self {
        let issuer = Issuer::es256("https://issuer.test").with_key_id("first");
        let server = KeyServer::start(&issuer).await;
        let pki = Pki::new("cluster.local").unwrap();
        let builder = app(&pki)
            .mode(Mode::Permissive)
            .config(users(&issuer, &server))
            .tokens(|tokens| tokens.loopback_http_jwks());
        let mesh = build(builder).await;
        // Once while the mesh is built, and once as its driver begins.
        until("the first fetches", || server.fetches() == 2).await;
        settle().await;
        Self {
            server,
            issuer,
            mesh,
        }
    }

    /// Sends all of these at once. Each has been judged when this returns, and waits or has its answer.
    async fn send(&self, tokens: Vec<String>) -> JoinSet<(u16, String)> {
        let arrived = Arc::new(AtomicUsize::new(0));
        let count = tokens.len();
        let mut answers = JoinSet::new();
        for token in tokens {
            let mut request = bearer(&token).map(axum::body::Body::new);
            request.extensions_mut().insert(unproven());
            let service = self.mesh.protect(Router::new().fallback(any(|| async {})));
            let arrived = Arc::clone(&arrived);
            answers.spawn(async move {
                arrived.fetch_add(1, Ordering::SeqCst);
                let answer = service.oneshot(request).await.unwrap();
                let status = answer.status().as_u16();
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                (status, String::from_utf8(body.to_vec()).unwrap())
            });
        }
        until("all to arrive", || arrived.load(Ordering::SeqCst) == count).await;
        settle().await;
        answers
    }

    fn refusals(&self) -> String {
        lines(&self.mesh, "mesh_jwt_refusals_total", &["\"no_key\""]).concat()
    }
}

fn unknown(issuer: &Issuer, count: usize) -> Vec<String> {
    let token = |number| issuer.token().header("kid", format!("random-{number}"));
    (0..count).map(|number| token(number).sign()).collect()
}

/// How many were answered so.
async fn answered(answers: JoinSet<(u16, String)>, status: u16, body: &str) -> usize {
    let answers = answers.join_all().await;
    let good = answers
        .iter()
        .filter(|answer| **answer == (status, body.into()));
    good.count()
}

/// J-43, J-44, J-45: an issuer signs with a key that it has published just now, and nobody is refused.
#[tokio::test]
async fn a_thousand_requests_with_a_new_key_make_one_fetch_and_pass() {
    let world = World::start().await;
    let new = Issuer::es256(world.issuer.name()).with_key_id("second");
    world.server.publish(&new);
    world.server.door.send_replace(false);
    let tokens: Vec<_> = (0..1_000)
        .map(|number| new.token().subject(number.to_string()).sign())
        .collect();

    let mut answers = world.send(tokens.clone()).await;
    until("the fetch", || world.server.fetches() > 2).await;
    settle().await;
    assert!(answers.try_join_next().is_none(), "all wait");
    world.server.door.send_replace(true);
    assert_eq!(answered(answers, 200, "").await, 1_000);
    assert_eq!(world.server.fetches(), 3, "one for all");
    assert!(world.refusals().ends_with(" 0"), "{}", world.refusals());

    let answers = world.send(tokens).await;
    assert_eq!(answered(answers, 200, "").await, 1_000);
    let answers = world.send(vec![world.issuer.token().sign()]).await;
    assert_eq!(answered(answers, 401, NO_KEY).await, 1, "withdrawn");
    assert_eq!(world.server.fetches(), 3, "not within 30 seconds");
}

/// J-43, J-44: key ids that nobody knows make one fetch in 30 seconds, and hold up nobody who has a good key.
#[tokio::test]
async fn a_thousand_requests_with_unknown_keys_make_one_fetch_and_are_refused() {
    let world = World::start().await;
    world.server.door.send_replace(false);
    let answers = world.send(unknown(&world.issuer, 1_000)).await;
    until("the fetch", || world.server.fetches() > 2).await;
    let good = world.send(vec![world.issuer.token().sign()]).await;
    assert_eq!(answered(good, 200, "").await, 1, "while the others wait");
    world.server.door.send_replace(true);
    assert_eq!(answered(answers, 401, NO_KEY).await, 1_000);
    assert_eq!(world.server.fetches(), 3, "one for all");

    // Were there another fetch to wait for, it would have no end.
    world.server.door.send_replace(false);
    let answers = world.send(unknown(&world.issuer, 1_000)).await;
    assert_eq!(answered(answers, 401, NO_KEY).await, 1_000);
    settle().await;
    assert_eq!(world.server.fetches(), 3, "not within 30 seconds");
    assert!(world.refusals().ends_with(" 2000"), "{}", world.refusals());
}

/// J-44: 1,024 may wait.
#[tokio::test]
async fn so_many_requests_wait_for_keys_and_no_more() {
    let world = World::start().await;
    let new = Issuer::es256(world.issuer.name()).with_key_id("second");
    world.server.publish(&new);
    world.server.door.send_replace(false);
    let mut answers = world.send(vec![new.token().sign(); 1_100]).await;
    let mut refused = 0;
    while let Some(answer) = answers.try_join_next() {
        assert_eq!(answer.unwrap(), (401, NO_KEY.into()));
        refused += 1;
    }
    assert_eq!(refused, 1_100 - 1_024);
    world.server.door.send_replace(true);
    assert_eq!(answered(answers, 200, "").await, 1_024);
    assert_eq!(world.server.fetches(), 3);
}

/// J-43, J-45: layers without a mesh do the same.
#[tokio::test]
async fn the_layers_of_guards_wait_for_keys() {
    let issuer = Issuer::es256("https://issuer.test").with_key_id("first");
    let server = KeyServer::start(&issuer).await;
    let builder = Guards::builder(Workload::new("default", "app"))
        .config(users(&issuer, &server))
        .tokens(|tokens| tokens.loopback_http_jwks());
    let (guards, driver) = builder.build().await.unwrap();
    tokio::spawn(driver.run());
    let app = Router::new().fallback(any(|| async {})).layer(guards.jwt());
    until("the first fetches", || server.fetches() == 2).await;
    settle().await;
    let new = Issuer::es256(issuer.name()).with_key_id("second");
    server.publish(&new);
    let mut request = bearer(&new.token().sign()).map(axum::body::Body::new);
    request.extensions_mut().insert(unproven());
    assert_eq!(app.oneshot(request).await.unwrap().status(), 200);
    assert_eq!(server.fetches(), 3);
}

/// A layer with this issuer's keys fetched once, and then nobody who fetches.
async fn fetched_once(issuer: &Issuer, change: impl Fn(&mut JwtRule)) -> (JwtLayer, Jwks) {
    let mut rule = JwtRule::default();
    rule.issuer = Some(issuer.name().into());
    rule.jwks_uri = Some("https://issuer.test/keys".into());
    change(&mut rule);
    let mut keyring = Keyring::new();
    let compiled = Authenticator::compile(&authentication(vec![rule]), &mut keyring).unwrap();
    let jwks = keyring.take_unfetched().remove(0);
    fetch(&jwks, issuer).await;
    (JwtLayer::new(Live::new(compiled)), jwks)
}

async fn fetch(jwks: &Jwks, issuer: &Issuer) {
    let text = issuer.jwks();
    let client = service_fn(move |_: Request<Empty<Bytes>>| {
        let reply = Response::new(Full::new(Bytes::from(text.clone())));
        async move { Ok::<_, std::io::Error>(reply) }
    });
    let mut fetcher = Fetcher::new(jwks, client).unwrap();
    fetcher.fetch(jwks).await.unwrap();
}

/// J-43: the time of one fetch, whether it hangs or nobody makes it.
#[tokio::test(start_paused = true)]
async fn a_request_waits_for_keys_as_long_as_a_fetch_may_take() {
    let issuer = Issuer::es256("i");
    let token = issuer.token().header("kid", "new").sign();
    for (timeout, expected) in [(None, 5), (Some(Duration::from_secs(2)), 2)] {
        for hangs in [false, true] {
            let (layer, jwks) = fetched_once(&issuer, |rule| rule.timeout = timeout).await;
            if hangs {
                let client = service_fn(|_: Request<Empty<Bytes>>| {
                    pending::<Result<Response<Full<Bytes>>, std::io::Error>>()
                });
                tokio::spawn(Fetcher::new(&jwks, client).unwrap().run());
            }
            let began = Instant::now();
            let answer = send(&layer, bearer(&token)).await;
            assert_eq!(
                (answer.status.as_u16(), answer.body.as_str()),
                (401, NO_KEY)
            );
            assert_eq!(began.elapsed().as_secs(), expected, "{timeout:?} {hangs}");
        }
    }
}

/// J-43, J-45: also for who goes by the letter, and with several rules.
#[tokio::test(start_paused = true)]
async fn every_reading_of_tokens_waits_for_keys() {
    let issuer = Issuer::es256("i").with_key_id("first");
    let new = Issuer::es256("i").with_key_id("second");
    let modes = [
        TokenMode::Required,
        TokenMode::Optional,
        TokenMode::ReportOnly,
    ];
    for (strict, mode) in [false, true]
        .into_iter()
        .flat_map(|is| modes.map(|mode| (is, mode)))
    {
        let (layer, jwks) = fetched_once(&issuer, |_| {}).await;
        let layer = if strict { layer.strict() } else { layer }.mode(mode);
        let token = new.token().sign();
        let sent = tokio::spawn(async move { send(&layer, bearer(&token)).await });
        settle().await;
        assert!(!sent.is_finished(), "{strict} {mode:?}");
        fetch(&jwks, &new).await;
        let answer = sent.await.unwrap();
        assert_eq!(answer.status, 200, "{strict} {mode:?}");
        assert!(answer.seen.unwrap().claims.is_some(), "{strict} {mode:?}");
    }

    let mut keyring = Keyring::new();
    let rules = ["other", "i"].map(|issuer| {
        let mut rule = JwtRule::default();
        rule.issuer = Some(issuer.into());
        rule.jwks_uri = Some(format!("https://{issuer}.test/keys").as_str().into());
        rule
    });
    let compiled = Authenticator::compile(&authentication(rules.to_vec()), &mut keyring).unwrap();
    let sets = keyring.take_unfetched();
    let other = Issuer::es256("other");
    fetch(&sets[0], &other).await;
    fetch(&sets[1], &issuer).await;
    let layer = JwtLayer::new(Live::new(compiled));
    let token = new.token().sign();
    let sent = tokio::spawn(async move { send(&layer, bearer(&token)).await });
    settle().await;
    fetch(&sets[0], &other).await;
    settle().await;
    assert!(!sent.is_finished(), "another issuer's keys came");
    fetch(&sets[1], &new).await;
    assert_eq!(sent.await.unwrap().status, 200);
}

/// J-43: a request that has lost a good token cannot be judged again.
#[tokio::test(start_paused = true)]
async fn a_request_waits_only_as_it_was_sent() {
    let issuer = Issuer::es256("i");
    let (layer, _jwks) = fetched_once(&issuer, |_| {}).await;
    let (good, unknown) = (
        issuer.token().sign(),
        issuer.token().header("kid", "new").sign(),
    );
    for (header, parameter, waits) in [(&good, &unknown, true), (&unknown, &good, false)] {
        let began = Instant::now();
        let request = get(&format!("/?access_token={parameter}"))
            .header("authorization", format!("Bearer {header}"));
        let answer = send(&layer, request.body(Empty::new()).unwrap()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (401, NO_KEY)
        );
        assert_eq!(began.elapsed().as_secs() > 0, waits);
    }
}
