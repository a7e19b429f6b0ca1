//! What a request pays for going through the mesh: each layer over a bare router, several of them, all of them.
//!
//! `cargo bench --bench stack` prints a row for each figure that has a target, beside its yardstick, measured in turns with it; a word
//! after `--` picks rows. Nothing waits and nothing is sent: a request is made, goes in, and its answer is read to the end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a bench may panic, and prints"
)]

mod beside;
mod fixture;

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use axum::Router;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service};
use tower_mesh::context::{self, Claims, Exchange, Peer};
use tower_mesh::gate::GateLayer;
use tower_mesh::jwt::{Authenticator, JwtLayer, Keyring};
use tower_mesh::live::Live;
use tower_mesh::message::{ByteCount, End};
use tower_mesh::metrics::{MetricsLayer, Registry, ServerMetrics};
use tower_mesh::policy::Engine;
use tower_mesh::propagation::{FinishedSpan, Propagation, SpanSink};
use tower_mesh::rbac::RbacLayer;
use tower_mesh::testing::Issuer;

use beside::{Side, Table, Target, side};
use fixture::{Fixture, Head, HyperBody, NOT_SAMPLED, send, workload};

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What the composed mesh is made of, apart.
struct Layers {
    engine: Live<Engine>,
    authenticator: Live<Authenticator>,
    propagation: Propagation,
    metrics: MetricsLayer,
}

impl Layers {
    fn new(fixture: &Fixture) -> Self {
        let engine = fixture.mesh(|builder| builder).engine();
        Self {
            authenticator: Live::new(authenticator(&engine)),
            engine: Live::new(engine),
            propagation: Propagation::new().workload(&workload()),
            metrics: MetricsLayer::new(Registry::new().server(&workload())),
        }
    }

    fn jwt(&self) -> JwtLayer {
        JwtLayer::new(self.authenticator.clone())
    }

    fn rbac(&self) -> RbacLayer {
        RbacLayer::new(self.engine.clone()).in_front_of_router()
    }
}

fn authenticator(engine: &Engine) -> Authenticator {
    let rules = &engine.program().authentication.default;
    Authenticator::compile(rules, &mut Keyring::new()).unwrap()
}

/// Tells each request who its peer is, as the acceptor's connection does for layers that stand alone.
#[derive(Clone)]
struct Known<S>(S, Peer);

impl<S, B> Service<Request<B>> for Known<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(self.1.clone());
        self.0.call(request)
    }
}

/// Does nothing: what a layer costs for being one.
#[derive(Clone)]
struct Nothing<S>(S);

impl<S, R> Service<R> for Nothing<S>
where
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.call(request)
    }
}

/// Takes spans and forgets them.
#[derive(Debug)]
struct Forget;

impl SpanSink for Forget {
    fn export(&self, span: FinishedSpan) {
        black_box(span);
    }
}

/// So many requests with this head through a service; making them is not measured.
fn through<'a, S, B>(head: &'a Head, mut service: S) -> impl FnMut(usize) -> Duration + 'a
where
    S: Service<Request<HyperBody>, Response = Response<B>> + 'a,
    S::Error: std::fmt::Debug,
    B: http_body::Body,
{
    move |count| {
        let requests: Vec<_> = (0..count).map(|_| head.request()).collect();
        let started = Instant::now();
        for request in requests {
            assert_eq!(send(&mut service, request), 200);
        }
        started.elapsed()
    }
}

/// So many times the same.
fn times(mut what: impl FnMut()) -> impl FnMut(usize) -> Duration {
    move |count| {
        let started = Instant::now();
        for _ in 0..count {
            what();
        }
        started.elapsed()
    }
}

/// P-1: the whole inbound stack over a bare router, composed and as layers of their own.
fn inbound(table: &Table, fixture: &Fixture) {
    let layers = Layers::new(fixture);
    let mesh = fixture.mesh(|builder| builder);
    let (head, peer) = (&fixture.head, &fixture.peer);
    let router = fixture::router;
    let bare = || side("bare router", through(head, router()));

    let composed = mesh.protect(router()).of(peer.clone());
    table.row(
        "P-1",
        Target::Adds(1000.0),
        bare(),
        side("whole, composed", through(head, composed)),
    );
    let nested = layers.jwt().layer(layers.rbac().layer(router()));
    let nested = layers
        .propagation
        .server_layer()
        .layer(layers.metrics.layer(nested));
    let nested = Known(nested, peer.clone());
    table.row(
        "P-1",
        Target::Adds(1500.0),
        bare(),
        side("whole, separate layers", through(head, nested)),
    );
    let boxed = (0..5).fold(router(), |router: Router, _| {
        router.layer(tower::layer::layer_fn(Nothing))
    });
    table.row(
        "",
        Target::None,
        bare(),
        side(
            "five layers that do nothing, each by `Router::layer`",
            through(head, boxed),
        ),
    );

    let known = || {
        let known = Known(router(), peer.clone());
        side("router that is told the peer", through(head, known))
    };
    let gate = GateLayer::new().in_front_of_router();
    let strict = Known(gate.layer(router()), peer.clone());
    table.row(
        "",
        Target::Adds(80.0),
        known(),
        side("gate alone", through(head, strict)),
    );
    let propagation = Known(
        layers.propagation.server_layer().layer(router()),
        peer.clone(),
    );
    let metrics = Known(layers.metrics.layer(router()), peer.clone());
    let jwt = Known(layers.jwt().layer(router()), peer.clone());
    // The request's policy asks for the token, so this one has the jwt guard's work in it.
    let guards = Known(
        layers.jwt().layer(layers.rbac().layer(router())),
        peer.clone(),
    );
    let parts: [Side<'_>; 4] = [
        side("propagation alone", through(head, propagation)),
        side("metrics alone", through(head, metrics)),
        side("jwt alone, seen token", through(head, jwt)),
        side("jwt and rbac", through(head, guards)),
    ];
    for part in parts {
        table.row("", Target::None, known(), part);
    }
}

/// P-1 as a loaded server pays it: something else has used the caches since the last request. A row
/// adds what its request touches beyond the router, which no warm loop shows.
fn cold(table: &Table, fixture: &Fixture) {
    let table = table.of_single_requests();
    let token = fixture::token(&fixture.issuer, 0);
    let without_ids = Head::of(&[
        ("host", "patients.default"),
        ("user-agent", "bench/1.0"),
        ("accept", "*/*"),
        ("authorization", &format!("Bearer {token}")),
    ]);
    for (name, head) in [("ids", &fixture.head), ("no ids", &without_ids)] {
        let mesh = fixture.mesh(|builder| builder);
        let composed = mesh.protect(fixture::router()).of(fixture.peer.clone());
        table.row(
            "P-1",
            Target::None,
            side("bare router, cold", swept(through(head, fixture::router()))),
            side(
                format!("whole, composed, cold, {name}"),
                swept(through(head, composed)),
            ),
        );
    }
}

/// Sweeps the caches before each run: writes more memory than they hold.
fn swept(mut run: impl FnMut(usize) -> Duration) -> impl FnMut(usize) -> Duration {
    let mut memory = vec![1_u8; last_level_cache() / 4 * 5];
    move |count| {
        for line in memory.chunks_mut(64) {
            line[0] = black_box(line[0]).wrapping_add(1);
        }
        run(count)
    }
}

/// The bytes of the last level of caches, as Linux tells; 32 MiB where it does not.
fn last_level_cache() -> usize {
    let told = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index3/size");
    let kibibytes = told
        .ok()
        .and_then(|text| text.trim().strip_suffix('K')?.parse().ok());
    kibibytes.map_or(32 << 20, |kibibytes: usize| kibibytes << 10)
}

/// P-9: propagation and its server span over a service that answers at once.
fn propagation(table: &Table, fixture: &Fixture) {
    let token = fixture::token(&fixture.issuer, 0);
    let (quiet, loud) = (Head::new(&token, NOT_SAMPLED), Head::new(&token, SAMPLED));
    let bare = Head::of(&[("host", "patients.default")]);
    let plain = Propagation::new().workload(&workload());
    let recording = plain.clone().export_to(Forget);
    for (name, head, propagation, target) in [
        ("unsampled", &quiet, &plain, Target::Adds(250.0)),
        ("unsampled, no id came", &bare, &plain, Target::None),
        ("sampled", &loud, &recording, Target::Adds(600.0)),
    ] {
        let nothing = Known(answer(), fixture.peer.clone());
        let span = Known(
            propagation.server_layer().layer(answer()),
            fixture.peer.clone(),
        );
        table.row(
            "P-9",
            target,
            side("nothing", through(head, nothing)),
            side(format!("propagation and span, {name}"), through(head, span)),
        );
    }
}

/// P-11: the client's layers over a client that answers at once, inside a request that is being handled.
fn outbound(table: &Table, fixture: &Fixture) {
    let head = Head::of(&[("host", "records.default"), ("accept", "*/*")]);
    let (mut inbound, _) = fixture.head.request().into_parts();
    let exchange = Exchange::from_extensions(&mut inbound.extensions);
    let propagation = Propagation::new().workload(&workload());
    let _span = propagation.begin(&mut inbound, &exchange, SystemTime::now);
    let _handling = context::Scope::enter(exchange);
    let metrics = MetricsLayer::new(Registry::new().client(&workload()));
    let layers = propagation
        .client_layer()
        .layer(metrics.layer(client(&fixture.peer)));
    table.row(
        "P-11",
        Target::Adds(1000.0),
        side("bare client", through(&head, client(&fixture.peer))),
        side("outbound, propagation and metrics", through(&head, layers)),
    );
}

fn answer<B>()
-> impl Service<Request<B>, Response = Response<Full<bytes::Bytes>>, Error = Infallible> {
    tower::service_fn(|_| {
        let response = Response::new(Full::<bytes::Bytes>::from("answer"));
        std::future::ready(Ok::<_, Infallible>(response))
    })
}

/// A client that says who answered, as that of the mesh does.
fn client<B>(
    peer: &Peer,
) -> impl Service<Request<B>, Response = Response<Full<bytes::Bytes>>, Error = Infallible> {
    let peer = peer.clone();
    tower::service_fn(move |_| {
        let mut response = Response::new(Full::<bytes::Bytes>::from("answer"));
        response.extensions_mut().insert(peer.clone());
        std::future::ready(Ok::<_, Infallible>(response))
    })
}

/// P-7: a token that was good before, beside comparing its bytes with a copy of them, which a cache
/// that cannot be fooled has to do. The look-up of `quick_cache` alone is a second yardstick: it
/// hashes and compares the token, and clones its claims.
fn seen_tokens(table: &Table, fixture: &Fixture) {
    let engine = engine(&fixture.issuer);
    for (count, target) in [(1, Target::Takes(100.0)), (4_096, Target::Takes(250.0))] {
        let authenticator = authenticator(&engine);
        let heads = heads(&fixture.issuer, count);
        let now = SystemTime::now();
        let mut parts: Vec<_> = heads
            .iter()
            .map(|head| head.request().into_parts().0)
            .collect();
        let quick = quick_cache::sync::Cache::<Box<[u8]>, Claims>::new(10_000);
        for head in &mut parts {
            let exchange = Exchange::default();
            let claims = authenticator.authenticate(head, &exchange, now).unwrap();
            quick.insert(token_of(head).into(), claims.unwrap());
        }
        let copies: Vec<_> = parts
            .iter()
            .map(|head| head.headers["authorization"].as_bytes().to_vec())
            .collect();
        let originals: Vec<_> = copies.clone();
        let compare = || {
            let (mut at, copies, originals) = (0, &copies, &originals);
            let compare = times(move || {
                at = (at + 1) % count;
                assert!(black_box(&copies[at]) == black_box(&originals[at]));
            });
            side("comparing its bytes", compare)
        };
        let mut next = 0;
        table.row(
            "",
            Target::None,
            compare(),
            side(
                format!("look-up of quick_cache alone, of {count}"),
                times(|| {
                    next = (next + 1) % count;
                    assert!(black_box(quick.get(token_of(&parts[next]))).is_some());
                }),
            ),
        );
        table.row(
            "P-7",
            target,
            compare(),
            side(
                format!("token seen before, whole step, of {count}"),
                times(|| {
                    next = (next + 1) % count;
                    // Each request has an exchange of its own: one with another user's claims refuses the token.
                    let exchange = Exchange::default();
                    let verdict = authenticator.authenticate(&mut parts[next], &exchange, now);
                    assert!(verdict.is_ok());
                }),
            ),
        );
    }
}

/// The token of a request, without its scheme.
fn token_of(head: &Parts) -> &[u8] {
    &head.headers["authorization"].as_bytes()["Bearer ".len()..]
}

/// P-6: a token at first sight, beside its signature alone with a key that is parsed.
fn new_tokens(table: &Table) {
    for (name, issuer) in [
        ("ES256", Issuer::es256("https://issuer.example")),
        ("RS256", Issuer::rs256("https://issuer.example")),
        ("EdDSA", Issuer::eddsa("https://issuer.example")),
    ] {
        let engine = engine(&issuer);
        let key = key(&issuer);
        let tokens: Vec<_> = (0..TOKENS)
            .map(|number| fixture::token(&issuer, number))
            .collect();
        let signed: Vec<_> = tokens
            .iter()
            .map(|token| token.rsplit_once('.').unwrap())
            .map(|(text, signature)| (text, URL_SAFE_NO_PAD.decode(signature).unwrap()))
            .collect();
        let mut next = 0;
        let signature = times(|| {
            next = (next + 1) % TOKENS;
            let (text, signature) = &signed[next];
            key.verify_sig(text.as_bytes(), signature).unwrap();
        });
        let first_sight = |count: usize| {
            // Each round begins with a memory of no token.
            let authenticator = authenticator(&engine);
            let now = SystemTime::now();
            let mut parts: Vec<_> = tokens[..count]
                .iter()
                .map(|token| Head::new(token, NOT_SAMPLED).request().into_parts().0)
                .collect();
            let started = Instant::now();
            for head in &mut parts {
                let exchange = Exchange::default();
                authenticator.authenticate(head, &exchange, now).unwrap();
            }
            started.elapsed()
        };
        table.row(
            "P-6",
            Target::Times(1.15),
            side("signature alone", signature),
            side(format!("token at first sight, {name}"), first_sight),
        );
    }
}

/// How many tokens a round of new ones has.
const TOKENS: usize = 50;

/// P-8: counting one request, beside the six relaxed additions that it cannot do without; and while another thread counts on the same
/// series, beside another thread that counts on series of its own.
fn metrics(table: &Table, fixture: &Fixture) {
    let (server, now) = (server(), Instant::now());
    let head = &fixture.head;
    let begin = || {
        let (mut request, _) = head.request().into_parts();
        server.begin(&mut request, Some(&fixture.peer), ByteCount::default(), now)
    };
    begin().finish(End::cancelled(), now);
    let families = |count: usize| {
        let records: Vec<_> = (0..count).map(|_| begin()).collect();
        let started = Instant::now();
        for record in records {
            record.finish(End::cancelled(), now);
        }
        started.elapsed()
    };
    let cells: [AtomicU64; 6] = Default::default();
    let additions = times(|| {
        for cell in &cells {
            black_box(cell).fetch_add(1, Ordering::Relaxed);
        }
    });
    table.row(
        "P-8",
        Target::Takes(80.0),
        side("six atomic additions", additions),
        side("counting a request, all families", families),
    );

    let (stop, mine) = (AtomicBool::new(false), self::server());
    let count = |metrics: &ServerMetrics, request: &mut Parts| {
        let record = metrics.begin(request, Some(&fixture.peer), ByteCount::default(), now);
        record.finish(End::cancelled(), now);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut request, _) = head.request().into_parts();
            while !stop.load(Ordering::Relaxed) {
                count(&server, &mut request);
            }
        });
        let parts = || head.request().into_parts().0;
        let (mut first, mut second) = (parts(), parts());
        table.row(
            "P-8",
            Target::Times(1.2),
            side(
                "two threads, each with its series",
                times(|| count(&mine, &mut first)),
            ),
            side(
                "two threads on one series",
                times(|| count(&server, &mut second)),
            ),
        );
        stop.store(true, Ordering::Relaxed);
    });
}

fn server() -> ServerMetrics {
    Registry::new().server(&workload())
}

fn engine(issuer: &Issuer) -> Engine {
    Engine::builder(&workload())
        .yaml(&fixture::policies(issuer))
        .build()
        .unwrap()
}

fn heads(issuer: &Issuer, count: usize) -> Vec<Head> {
    (0..count)
        .map(|number| Head::new(&fixture::token(issuer, number), NOT_SAMPLED))
        .collect()
}

fn key(issuer: &Issuer) -> ParsedPublicKey {
    let jwk = issuer.jwk();
    let bytes = |member: &str| {
        URL_SAFE_NO_PAD
            .decode(jwk[member].as_str().unwrap())
            .unwrap()
    };
    match jwk["kty"].as_str().unwrap() {
        "RSA" => RsaPublicKeyComponents {
            n: bytes("n"),
            e: bytes("e"),
        }
        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        .unwrap(),
        "EC" => {
            let point = [&[4][..], &bytes("x"), &bytes("y")].concat();
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).unwrap()
        }
        _ => ParsedPublicKey::new(&ED25519, bytes("x")).unwrap(),
    }
}

fn main() {
    let fixture = Fixture::new();
    let table = Table::new(Box::new(through(&fixture.head, fixture::router())));
    inbound(&table, &fixture);
    cold(&table, &fixture);
    propagation(&table, &fixture);
    outbound(&table, &fixture);
    seen_tokens(&table, &fixture);
    metrics(&table, &fixture);
    new_tokens(&table.per_round(TOKENS));
}
