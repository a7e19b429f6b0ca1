//! What a request costs where clocks cannot be trusted: instructions, and cache lines fetched.
//!
//! `cargo bench --bench instructions` runs this program under `valgrind --tool=callgrind` for the
//! bare router and for the composed mesh around it, with many requests and with few; the difference
//! is the price of a request, and the same on every run. A cold request follows a sweep of the
//! simulated caches, so that each cache line that it touches is counted once. Propagation has rows of
//! its own, over a service that answers at once (P-9, and its part of P-11).
//!
//! To see where the instructions go, run one of them by hand and read the profile:
//!
//! ```sh
//! valgrind --tool=callgrind --callgrind-out-file=out target/release/deps/instructions-… composed 2100
//! callgrind_annotate out
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench may panic, and prints"
)]

#[allow(dead_code, reason = "the fixture serves other benches, too")]
mod fixture;
mod judging;

use std::convert::Infallible;
use std::future::ready;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use bytes::Bytes;
use fixture::{Fixture, Head, send};
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service};
use tower_mesh::context::{self, Exchange};
use tower_mesh::propagation::{FinishedSpan, Propagation, SpanSink};

/// Callgrind's events, in the order of its summary.
type Events = Vec<f64>;

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const FEW: usize = 100;
const MANY: usize = 2_100;
const FEW_COLD: usize = 20;
const MANY_COLD: usize = 120;

/// The simulated caches; the last one is what a sweep must exceed.
const CACHES: [&str; 4] = [
    "--cache-sim=yes",
    "--I1=32768,8,64",
    "--D1=32768,8,64",
    "--LL=1048576,16,64",
];
const SWEPT: usize = 4 << 20;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [what, count] => run(what, count.parse().unwrap()),
        _ => table(),
    }
}

/// Handles so many requests; this is what callgrind counts.
fn run(what: &str, count: usize) {
    if let Some(part) = what.strip_prefix("part-") {
        return judging::run(part, count);
    }
    let fixture = Fixture::new();
    let mesh = fixture.mesh(|builder| builder);
    let mut composed = mesh.protect(fixture::router()).of(fixture.peer.clone());
    let mut bare = fixture::router();
    let token = fixture::token(&fixture.issuer, 0);
    let without_ids = Head::of(&[
        ("host", "patients.default"),
        ("user-agent", "bench/1.0"),
        ("accept", "*/*"),
        ("authorization", &format!("Bearer {token}")),
    ]);
    let (service, kind) = what.split_once('-').unwrap_or((what, ""));
    let head = if kind == "new" {
        &without_ids
    } else {
        &fixture.head
    };
    let recorded = Head::new(&token, SAMPLED);
    let head = if kind == "sampled" { &recorded } else { head };
    let call = Head::of(&[("host", "records.default"), ("accept", "*/*")]);
    let propagation = Propagation::new().workload(&fixture::workload());
    let recording = propagation.clone().export_to(Forget);
    let mut answer = answer();
    let mut span = propagation.server_layer().layer(self::answer());
    let mut recorded_span = recording.server_layer().layer(self::answer());
    let mut client_span = propagation.client_layer().layer(self::answer());
    let (mut handled, _) = fixture.head.request().into_parts();
    let exchange = Exchange::from_peer(&mut handled.extensions, &fixture.peer);
    let _span = propagation.begin(&mut handled, &exchange, SystemTime::now);
    let _handling = (kind == "call").then(|| context::Scope::enter(exchange));
    let head = if kind == "call" { &call } else { head };
    let mut swept = vec![0_u8; SWEPT];
    for _ in 0..count {
        let mut request = head.request();
        if matches!(service, "answer" | "span") && kind != "call" {
            Exchange::from_peer(request.extensions_mut(), &fixture.peer);
        }
        if kind == "cold" {
            sweep(&mut swept);
        }
        black_box(match service {
            "composed" => send(&mut composed, request),
            "bare" => send(&mut bare, request),
            "answer" => send(&mut answer, request),
            "span" => match kind {
                "sampled" => send(&mut recorded_span, request),
                "call" => send(&mut client_span, request),
                _ => send(&mut span, request),
            },
            "nothing" => u16::from(request.uri().path().is_empty()),
            _ => panic!("no service {service}"),
        });
    }
}

fn answer<B>() -> impl Service<Request<B>, Response = Response<Full<Bytes>>, Error = Infallible> {
    tower::service_fn(|_| ready(Ok(Response::new(Full::from("answer")))))
}

/// Takes spans and keeps none.
#[derive(Debug)]
struct Forget;

impl SpanSink for Forget {
    fn export(&self, span: FinishedSpan) {
        black_box(span);
    }
}

fn sweep(swept: &mut [u8]) {
    for line in swept.chunks_mut(64) {
        if let Some(byte) = line.first_mut() {
            *byte = black_box(*byte).wrapping_add(1);
        }
    }
}

fn table() {
    let directory = tempfile::tempdir().unwrap();
    let per_request = |what: &str, (few, many): (usize, usize), options: &[&str]| {
        let [few_events, many_events] =
            [few, many].map(|count| callgrind(directory.path(), what, count, options));
        let pairs = many_events.into_iter().zip(few_events);
        let count = (many - few) as f64;
        pairs.map(|(many, few)| (many - few) / count).collect()
    };
    let warm = |what: &str| -> Events { per_request(what, (FEW, MANY), &[]) };
    let [nothing, bare, composed] = ["nothing", "bare", "composed"].map(warm);
    let first = |events: &Events| events[0];
    println!("| a request | bare router | composed | beside the router |");
    println!("|---|---:|---:|---:|");
    let row = |what: &str, [nothing, bare, composed]: [f64; 3]| {
        let (bare, composed) = (bare - nothing, composed - nothing);
        println!(
            "| {what} | {bare:.0} | {composed:.0} | {:.0} |",
            composed - bare
        );
    };
    row("instructions", [&nothing, &bare, &composed].map(first));
    let new = ["nothing-new", "bare-new", "composed-new"].map(warm);
    row(
        "instructions, no ids came",
        [&new[0], &new[1], &new[2]].map(first),
    );

    println!("\n| propagation, instructions | a service | with it | adds |");
    println!("|---|---:|---:|---:|");
    for (what, kind) in [
        ("server span, unsampled", ""),
        ("server span, no ids came", "-new"),
        ("server span, sampled", "-sampled"),
        ("client span", "-call"),
    ] {
        let sides = ["nothing", "answer", "span"].map(|side| warm(&format!("{side}{kind}")));
        row(what, [&sides[0], &sides[1], &sides[2]].map(first));
    }

    println!("\n| cold | bare router | composed | beside the router |");
    println!("|---|---:|---:|---:|");
    let cold = |what| -> Events { per_request(what, (FEW_COLD, MANY_COLD), &CACHES) };
    let cold = ["nothing-cold", "bare-cold", "composed-cold"].map(cold);
    // Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw
    row(
        "cache lines of code, cold",
        [0, 1, 2].map(|side: usize| cold[side][6]),
    );
    let data = [0, 1, 2].map(|side: usize| cold[side][7] + cold[side][8]);
    row("cache lines of data, cold", data);

    println!("\n| alone | instructions |");
    println!("|---|---:|");
    for (part, name) in judging::PARTS {
        println!("| {name} | {:.0} |", first(&warm(&format!("part-{part}"))));
    }
}

/// What callgrind counts of this program with so many requests.
fn callgrind(directory: &Path, what: &str, count: usize, options: &[&str]) -> Events {
    let out = directory.join(format!("{what}.{count}"));
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        // glibc keeps so many freed pieces at hand that no other request decides what one costs.
        .env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=127")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .args(options)
        .arg(std::env::current_exe().unwrap())
        .args([what, &count.to_string()])
        .output()
        .expect("valgrind is installed");
    assert!(run.status.success(), "{run:?}");
    let profile = std::fs::read_to_string(out).unwrap();
    let mut totals = profile.lines().rev();
    let totals = totals
        .find_map(|line| line.strip_prefix("totals: "))
        .unwrap();
    let numbers = totals.split_whitespace();
    numbers.map(|number| number.parse().unwrap()).collect()
}
