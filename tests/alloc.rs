//! What is asked of the allocator: how often by a request that is allowed, beyond what the application's router does by itself, how much by
//! clients that stop, and how much by metrics.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may panic"
)]

#[path = "alloc/access_log.rs"]
mod access_log;
#[path = "alloc/audit.rs"]
mod audit;
#[path = "alloc/cel.rs"]
mod cel;
#[path = "../benches/fixture/mod.rs"]
mod fixture;
#[path = "alloc/gate.rs"]
mod gate;
#[path = "alloc/handler.rs"]
mod handler;
#[path = "alloc/limits.rs"]
mod limits;
#[path = "alloc/metrics.rs"]
mod metrics;
#[path = "alloc/tracing.rs"]
mod tracing;

use std::hint::black_box;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use allocation_counter::measure;
use fixture::{Fixture, Head, HyperBody};
use http::Request;
use tokio::net::TcpListener;
use tower_mesh::Workload;
use tower_mesh::context::Exchange;
use tower_mesh::istio::JwtRule;
use tower_mesh::jwt::{Authenticator, KeySet, Keyring};
use tower_mesh::mesh::TelemetryOptions;
use tower_mesh::policy::{self, Authentication, Engine};
use tower_mesh::propagation::Propagation;
use tower_mesh::testing::Issuer;
use tower_mesh::tls::Mode;

/// The exchange: one count of references for peer, trace, claims and decision, and its box in the request's extensions.
const EXCHANGE: u64 = 2;
/// OpenTelemetry's own context, in builds with that feature, as all tests are.
const OPEN_TELEMETRY: u64 = 1;

/// So many follow each other, so that nothing escapes that is allocated for several at once.
const REQUESTS: u64 = 100;

/// What they cost, once everything that is made once has been made.
fn allocations(mut once: impl FnMut(Request<HyperBody>) -> u16, head: &Head) -> u64 {
    let requests = || (0..REQUESTS).map(|_| head.request()).collect::<Vec<_>>();
    for request in requests() {
        assert_eq!(once(request), 200);
    }
    let requests = requests();
    let counted = measure(|| {
        for request in requests {
            assert_eq!(once(request), 200);
        }
    });
    counted.count_total
}

/// One trace in a hundred is recorded by chance, and its first exemplar makes room for others: what is counted here knows no chance.
fn unsampled(telemetry: TelemetryOptions) -> TelemetryOptions {
    telemetry.propagation(Propagation::new().sample_percent(0.0))
}

/// P-12
#[test]
fn an_allowed_request_allocates_its_exchange() {
    let fixture = Fixture::new();
    let mesh = fixture.mesh(|builder| builder.telemetry(unsampled));
    let mut bare = fixture::router();
    let mut guarded = mesh.protect(fixture::router()).of(fixture.peer.clone());
    let no_ids = Head::of(&[
        ("host", "patients.default"),
        (
            "authorization",
            &format!("Bearer {}", fixture::token(&fixture.issuer, 0)),
        ),
    ]);
    for head in [&fixture.head, &no_ids] {
        let without = allocations(|request| fixture::send(&mut bare, request), head);
        let with = allocations(|request| fixture::send(&mut guarded, request), head);
        assert_eq!(
            with - without,
            REQUESTS * (EXCHANGE + OPEN_TELEMETRY),
            "{with} with the mesh, {without} without"
        );
    }
}

/// P-12
#[test]
fn a_decision_to_allow_allocates_nothing() {
    let engine = Engine::builder(&Workload::new("default", "patients"))
        .yaml(&fixture::policies(&Fixture::new().issuer))
        .build()
        .unwrap();
    let requests: Vec<_> = (0..1_000)
        .map(|number| {
            policy::Request::new()
                .get(format!("/api/{}/{number}", number % 9))
                .authority("patients.default")
                .from("cluster.local/ns/ops/sa/nurse")
        })
        .collect();
    let counted = measure(|| {
        for request in &requests {
            assert!(black_box(engine.decide(request)).allowed);
        }
    });
    assert_eq!(counted.count_total, 0);
}

/// R-01: many clients that stop in plaintext hold little each, and nothing once their time is over. HTTP/2 itself begins with buffers of 24 KiB.
#[test]
fn clients_that_stop_are_held_cheaply_and_then_freed() {
    let half_head = b"GET / HTTP/1.1\r\nhost: patients\r\n".as_slice();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice();
    let settings = [preface, b"\0\0\0\x04\0\0\0\0\0"].concat();
    for (mode, name, bytes, seconds, most) in [
        (Mode::Permissive, "nothing", b"".as_slice(), 10, 32),
        (Mode::Permissive, "half a head", half_head, 10, 32),
        (Mode::Disable, "half a head", half_head, 10, 32),
        (
            Mode::Disable,
            "half a preface",
            preface.split_at(16).0,
            10,
            32,
        ),
        (Mode::Disable, "a preface and no request", &settings, 40, 36),
    ] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mesh = Fixture::new().mesh(|builder| builder.danger().mode(mode));
        let socket = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = socket.local_addr().unwrap();
        runtime.spawn(async move { mesh.serve_on(socket, fixture::router()).await });
        let stop = || {
            let mut client = std::net::TcpStream::connect(address).unwrap();
            client.write_all(bytes).unwrap();
            client
        };
        let wait = |seconds: u64| runtime.block_on(pass(seconds));
        let are_let_go = |clients: Vec<std::net::TcpStream>| {
            for mut client in clients {
                client
                    .set_read_timeout(Some(Duration::from_secs(5)))
                    .unwrap();
                let ended = client.read_to_end(&mut Vec::new());
                let is_open = ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
                assert!(!is_open, "{mode}, {name}: still held");
            }
        };
        // What is made once.
        let first = (0..CLIENTS).map(|_| stop()).collect();
        wait(0);
        wait(seconds);
        are_let_go(first);

        let mut held = 0;
        let left = measure(|| {
            let mut clients = Vec::new();
            let before = measure(|| {
                clients.extend((0..CLIENTS).map(|_| stop()));
                wait(0);
            });
            held = before.bytes_current / CLIENTS;
            wait(seconds);
            are_let_go(clients);
        });
        assert!(
            (1..=most * 1024).contains(&held),
            "{mode}, {name}: {held} bytes each"
        );
        let left = left.bytes_current;
        assert!(left < 4 * 1024, "{mode}, {name}: {left} bytes stay");
    }
}

/// Lets seconds pass one by one, and everybody who waits for them or for bytes act.
async fn pass(seconds: u64) {
    for _ in 0..=seconds {
        for _ in 0..2_000 {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::time::resume();
    }
}

/// As many as wait at a door that nobody opens meanwhile.
const CLIENTS: i64 = 100;

/// Claims that take much room for their bytes: lists of small values, small objects, many members, deep nesting.
fn heavy(bytes: usize) -> Vec<(&'static str, String)> {
    let fill = |piece: &str, around: usize| {
        let count = bytes.saturating_sub(around) / piece.len();
        piece.repeat(count).trim_end_matches(',').to_owned()
    };
    let nested = |open: &str, close: &str| {
        let piece = format!("{}{},", open.repeat(28), close.repeat(28));
        format!("[{}]", fill(&piece, 2))
    };
    let members: Vec<_> = (0..256.min(bytes / 9))
        .map(|number| format!(r#""{number:x}":[0]"#))
        .collect();
    vec![
        ("small numbers", format!("[{}]", fill("0,", 2))),
        ("empty texts", format!("[{}]", fill(r#""","#, 2))),
        ("short texts", format!("[{}]", fill(r#""a","#, 2))),
        ("empty lists", format!("[{}]", fill("[],", 2))),
        ("small lists", format!("[{}]", fill("[0],", 2))),
        ("lists of five", format!("[{}]", fill("[0,0,0,0,0],", 2))),
        ("empty objects", format!("[{}]", fill("{},", 2))),
        ("small objects", format!("[{}]", fill(r#"{"":0},"#, 2))),
        ("named objects", format!("[{}]", fill(r#"{"a":0},"#, 2))),
        ("deep lists", nested("[", "]")),
        (
            "deep objects",
            format!(
                "[{}]",
                fill(&format!("{}0{},", r#"{"":"#.repeat(28), "}".repeat(28)), 2)
            ),
        ),
        ("many members", format!("{{{}}}", members.join(","))),
        ("one text", format!(r#""{}""#, fill("a", 2))),
    ]
}

/// A guard of one issuer that hands the claims on, too, and a clean request with a token of such claims.
struct Guarded {
    issuer: Issuer,
    authenticator: Authenticator,
}

impl Guarded {
    fn new() -> Self {
        let issuer = Issuer::es256("i");
        let mut rule = JwtRule::default();
        rule.issuer = Some("i".into());
        rule.jwks = Some(issuer.jwks().as_str().into());
        rule.output_payload_to_header = Some("x-payload".into());
        // So that nothing is freed here that was allocated elsewhere.
        rule.forward_original_token = true;
        let mut authentication = Authentication::default();
        authentication.rules = vec![rule];
        let authenticator = Authenticator::compile(&authentication, &mut Keyring::new()).unwrap();
        Self {
            issuer,
            authenticator,
        }
    }

    fn head(&self, number: usize, claims: &str) -> (usize, http::request::Parts) {
        let payload = format!(r#"{{"iss":"i","sub":"{number}","x":{claims}}}"#);
        let header = r#"{"alg":"ES256","kid":"key-1"}"#;
        let token = self.issuer.token().sign_texts(header, &payload);
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        (token.len(), request.body(()).unwrap().into_parts().0)
    }

    fn is_good(&self, head: &mut http::request::Parts) -> bool {
        let exchange = Exchange::default();
        let now = std::time::SystemTime::now();
        matches!(
            self.authenticator.authenticate(head, &exchange, now),
            Ok(Some(_))
        )
    }
}

/// J-28, R-22: what is kept of good tokens is bounded in bytes, whatever they claim.
#[test]
fn remembered_tokens_take_a_bounded_room() {
    for (bytes, tokens) in [(700, 1_500), (2_900, 500)] {
        for (name, claims) in heavy(bytes) {
            let guarded = Guarded::new();
            let mut heads: Vec<_> = (0..tokens)
                .map(|number| guarded.head(number, &claims).1)
                .collect();
            let kept = measure(|| {
                for head in &mut heads {
                    assert!(guarded.is_good(head), "{name}");
                    head.headers.remove("x-payload");
                }
            });
            let kept = kept.bytes_current;
            assert!(kept <= 32 << 20, "{name} of {bytes}: {} KiB", kept >> 10);
        }
    }
}

/// R-28: what a token makes us hold for the time of its request is less than a hundred times its bytes.
#[test]
fn a_token_is_never_amplified_a_hundredfold() {
    for bytes in [600, 3_000, 11_900] {
        for (name, claims) in heavy(bytes) {
            let guarded = Guarded::new();
            // What is made once.
            guarded.is_good(&mut guarded.head(0, "0").1);
            let (length, mut head) = guarded.head(1, &claims);
            let mut is_good = false;
            let held = measure(|| is_good = guarded.is_good(&mut head));
            assert!(is_good, "{name} of {bytes}: {length}");
            let times = held.bytes_max / length as u64;
            assert!(times < 100, "{name} of {bytes}: {times} times");
        }
    }
}

/// R-28, J-46: a key set of a megabyte takes less than ten while it is read, however it is written.
#[test]
fn a_key_set_takes_a_bounded_room() {
    for (name, claims) in heavy(1_000_000) {
        let key = Issuer::es256("i").jwk().to_string();
        let member = key.replacen('{', &format!(r#"{{"x5c":{claims},"#), 1);
        for text in [
            format!(r#"{{"keys":[{member}]}}"#),
            format!(r#"{{"keys":[{key}],"x":{claims}}}"#),
            format!(r#"{{"keys":{claims}}}"#),
        ] {
            let held = measure(|| drop(black_box(KeySet::parse(&text))));
            assert!(held.bytes_max < 10 << 20, "{name}: {}", held.bytes_max);
        }
    }
}
