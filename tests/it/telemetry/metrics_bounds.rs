//! What a peer writes, and what an upstream answers, adds little to a scrape; what is honest is shown as ever.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::Service;
use tower_mesh::context::TlsFacts;
use tower_mesh::identity::{PeerCertificate, SpiffeId};
use tower_mesh::message::{ByteCount, End, GrpcStatus, ResponseFlags, Watch as _};
use tower_mesh::metrics::{ClientMetrics, Format, Registry, ServerMetrics};
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Peer, Workload};

use crate::support::mesh::{app, build, policy};

const METADATA: &str = "x-envoy-peer-metadata";
const ID: &str = "x-envoy-peer-metadata-id";
const LIMIT: usize = 128 * 1024;
const HOUR: Duration = Duration::from_secs(3600);

fn patients() -> Workload {
    Workload::new("default", "patients")
        .name("patients-v1")
        .service("patients", 8443)
        .label("app", "patients")
        .label("version", "v1")
}

fn peer(account: &str) -> Peer {
    named(&format!("spiffe://cluster.local/ns/shop/sa/{account}"))
}

fn named(id: &str) -> Peer {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut facts = TlsFacts::default();
    facts.certificate = Some(PeerCertificate::from_spiffe_id(SpiffeId::new(id).unwrap()));
    Peer::tls(at(50_000), at(8443), facts)
}

/// One length-delimited field of a protobuf message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut written = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        written.push(length.to_le_bytes()[0] | 0x80);
        length >>= 7;
    }
    written.push(length.to_le_bytes()[0]);
    written.extend_from_slice(bytes);
    written
}

fn entry(key: &str, kind: u8, value: &[u8]) -> Vec<u8> {
    let value = field(kind, value);
    field(1, &[field(1, key.as_bytes()), field(2, &value)].concat())
}

/// Peer metadata of these fields and labels, as a sidecar encodes it.
fn story(fields: &[(&str, &str)], labels: &[(&str, &str)]) -> HeaderValue {
    let text = |(key, value): &(&str, &str)| entry(key, 3, value.as_bytes());
    let labels: Vec<u8> = labels.iter().flat_map(text).collect();
    let mut bytes: Vec<u8> = fields.iter().flat_map(text).collect();
    bytes.extend(entry("LABELS", 5, &labels));
    BASE64_STANDARD.encode(bytes).try_into().unwrap()
}

/// Every field that labels use is this text.
fn everywhere(text: &str) -> HeaderValue {
    story(
        &[
            ("NAMESPACE", text),
            ("WORKLOAD_NAME", text),
            ("CLUSTER_ID", text),
        ],
        &[
            ("app", text),
            ("version", text),
            ("service.istio.io/canonical-name", text),
            ("service.istio.io/canonical-revision", text),
        ],
    )
}

fn workload(name: &str, version: &str) -> HeaderValue {
    let labels = [("app", name), ("version", version)];
    story(&[("WORKLOAD_NAME", name)], &labels)
}

/// The ways in which a peer may write ten thousand different things.
type Writes = fn(usize) -> HeaderValue;
const WRITES: &[(&str, Writes)] = &[
    ("control bytes", |i| {
        everywhere(&format!("\u{1}\u{7f}\u{85}{}{i}", "\u{2}".repeat(8)))
    }),
    ("one control byte at the end", |i| {
        everywhere(&format!("w{i}\u{7f}"))
    }),
    ("quotes", |i| everywhere(&format!("{}{i}", "\"".repeat(20)))),
    ("backslashes", |i| {
        everywhere(&format!("{}{i}", "\\".repeat(20)))
    }),
    ("line ends", |i| {
        everywhere(&format!("{i}{}", "\n".repeat(8)))
    }),
    ("as long as may be", |i| {
        let long = format!("{i:0>255}");
        workload(&long, &long)
    }),
    ("other scripts", |i| {
        everywhere(&format!("{}{i}", "é漢".repeat(4)))
    }),
    ("reading directions", |i| {
        everywhere(&format!("{}{i}", "\u{202e}".repeat(4)))
    }),
    ("what looks honest", |i| {
        workload(&format!("web-{i}"), &format!("v{i}"))
    }),
    ("its namespace", |i| {
        story(&[("NAMESPACE", &format!("n{i}"))], &[])
    }),
    ("one story in many bytes", |i| {
        story(
            &[("WORKLOAD_NAME", "web"), ("NAME", &format!("web-{i}"))],
            &[],
        )
    }),
    ("nothing readable", |i| {
        HeaderValue::try_from(format!("~{i}~")).unwrap()
    }),
    ("two stories in turn, then many", |i| match i {
        0..400 => workload(&format!("web-{}", i % 2), "v1"),
        _ => workload(&format!("web-{i}"), "v1"),
    }),
];

/// One call that came in, from head to end.
fn serve(
    metrics: &ServerMetrics,
    from: &Peer,
    said: Option<HeaderValue>,
    outcome: &Outcome,
    now: Instant,
) {
    let mut request = Request::get("/").body(()).unwrap();
    outcome.ask(request.headers_mut());
    if let Some(said) = said {
        request.headers_mut().insert(METADATA, said);
    }
    let (mut head, ()) = request.into_parts();
    let mut record = metrics.begin(&mut head, Some(from), ByteCount::default(), now);
    if let Some(mut response) = outcome.response() {
        record.answered(&mut response);
    }
    record.finish(outcome.end(), now);
}

/// One call that went out.
fn call(
    metrics: &ClientMetrics,
    to: &Peer,
    said: Option<HeaderValue>,
    outcome: &Outcome,
    now: Instant,
) {
    let mut request = Request::get("http://charts.default/").body(()).unwrap();
    outcome.ask(request.headers_mut());
    let (mut head, ()) = request.into_parts();
    let mut record = metrics.begin(&mut head, ByteCount::default(), now);
    if let Some(mut response) = outcome.response() {
        if let Some(said) = said {
            response.headers.insert(METADATA, said);
        }
        response.extensions.insert(to.clone());
        record.answered(&mut response);
    }
    record.finish(outcome.end(), now);
}

/// How a call ends.
#[derive(Clone, Copy)]
struct Outcome {
    code: u16,
    grpc: Option<u32>,
    is_grpc: bool,
    flags: ResponseFlags,
}

impl Outcome {
    fn code(code: u16) -> Self {
        Self {
            code,
            grpc: None,
            is_grpc: false,
            flags: ResponseFlags::none(),
        }
    }

    fn grpc(status: u32) -> Self {
        Self {
            grpc: Some(status),
            is_grpc: true,
            ..Self::code(200)
        }
    }

    fn ask(&self, headers: &mut http::HeaderMap) {
        if self.is_grpc {
            let grpc = HeaderValue::from_static("application/grpc");
            headers.insert(http::header::CONTENT_TYPE, grpc);
        }
    }

    fn response(&self) -> Option<http::response::Parts> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(self.code).ok()?;
        response.extensions_mut().insert(self.flags);
        Some(response.into_parts().0)
    }

    fn end(&self) -> End {
        let mut end = End::failed();
        end.kind = tower_mesh::message::EndKind::Complete;
        end.grpc_status = self.grpc.map(GrpcStatus::new);
        end
    }
}

/// The label sets of requests, and how many requests they count.
fn sets(registry: &Registry) -> (BTreeSet<String>, u64) {
    let text = registry.render(Format::Text);
    let mut counted = 0;
    let labels = text
        .lines()
        .filter_map(|line| line.strip_prefix("istio_requests_total{"));
    let sets = labels.map(|line| {
        let (labels, count) = line.rsplit_once("} ").unwrap();
        counted += count.parse::<u64>().unwrap();
        labels.to_owned()
    });
    let sets = sets.collect();
    (sets, counted)
}

fn length(registry: &Registry) -> usize {
    registry.render(Format::Text).len()
}

/// A thousand of each kind, and ten thousand of all kinds in turn.
fn hostile(mut check: impl FnMut(&str, usize, Writes)) {
    for (kind, writes) in WRITES {
        check(kind, 1000, *writes);
    }
    check("all kinds in turn", 10_000, |i| {
        let (_, writes) = WRITES[i % WRITES.len()];
        writes(i)
    });
}

#[test]
fn whatever_a_caller_writes_of_itself_adds_little_to_a_scrape() {
    hostile(|kind, requests, writes| {
        let registry = Registry::new();
        let metrics = registry.server(&patients());
        let (now, web) = (Instant::now(), peer("web"));
        // One half refused, the other let in: both add little.
        for (half, code) in [403, 200].into_iter().enumerate() {
            let before = length(&registry);
            for i in half * requests / 2..(half + 1) * requests / 2 {
                serve(&metrics, &web, Some(writes(i)), &Outcome::code(code), now);
            }
            let added = length(&registry) - before;
            assert!(added <= LIMIT, "{kind}, {code}: {added} bytes");
        }
        assert_eq!(
            sets(&registry).1,
            requests as u64,
            "{kind}: nothing is lost"
        );
    });
}

/// An identity that names no namespace leaves one more field to what is said; whoever proves none is not listened to.
#[test]
fn whatever_strangers_write_of_themselves_adds_little_to_a_scrape() {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    for from in [
        named("spiffe://partner.example/billing"),
        Peer::tls(at(1), at(8443), TlsFacts::default()),
        Peer::plaintext(at(1), at(8443)),
    ] {
        let registry = Registry::new();
        let metrics = registry.server(&patients());
        let (before, now) = (length(&registry), Instant::now());
        for i in 0..10_000 {
            let (_, writes) = WRITES[i % WRITES.len()];
            let outcome = Outcome::code(403);
            serve(&metrics, &from, Some(writes(i)), &outcome, now);
        }
        let added = length(&registry) - before;
        assert!(added <= LIMIT, "{from:?}: {added} bytes");
        assert_eq!(sets(&registry).1, 10_000, "{from:?}: nothing is lost");
    }
}

#[test]
fn whatever_an_upstream_writes_of_itself_adds_little_to_a_scrape() {
    hostile(|kind, requests, writes| {
        let registry = Registry::new();
        let metrics = registry.client(&patients());
        let (before, now, charts) = (length(&registry), Instant::now(), peer("charts"));
        for i in 0..requests {
            call(&metrics, &charts, Some(writes(i)), &Outcome::code(200), now);
        }
        let added = length(&registry) - before;
        assert!(added <= LIMIT, "{kind}: {added} bytes");
        assert_eq!(
            sets(&registry).1,
            requests as u64,
            "{kind}: nothing is lost"
        );
    });
}

#[test]
fn whatever_else_a_request_holds_adds_little_to_a_scrape() {
    let registry = Registry::new();
    let metrics = registry.server(&patients());
    let (before, now, web) = (length(&registry), Instant::now(), peer("web"));
    for i in 0..10_000 {
        let request = Request::builder()
            .method(Method::from_bytes(format!("FOO{i}").as_bytes()).unwrap())
            .uri(format!("http://host-{i}.example.com/path/{i}?q={i}"))
            .header("host", format!("h{i}"))
            .header("user-agent", format!("agent/{i}"))
            .header("x-request-id", format!("{i}"))
            .header("x-forwarded-for", format!("10.0.0.{i}"))
            .header(ID, format!("sidecar~{i}"))
            .header(METADATA, workload("web", "v1"));
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        let mut record = metrics.begin(&mut head, Some(&web), ByteCount::default(), now);
        record.answered(&mut Outcome::code(200).response().unwrap());
        record.finish(Outcome::code(200).end(), now);
    }
    let (sets, counted) = sets(&registry);
    assert_eq!((sets.len(), counted), (1, 10_000));
    assert!(length(&registry) - before <= LIMIT);
}

/// What ends alike is one set of labels, whoever wrote what, also behind policy and a router.
#[tokio::test]
async fn a_whole_mesh_tells_requests_apart_by_their_ends_alone() {
    let pki = Pki::new("cluster.local").unwrap();
    let rules = "[{to: [{operation: {paths: [/open*]}}]}]";
    let builder = app(&pki).config(Fixed::yaml("p.yaml", policy("p", "ALLOW", rules)));
    let mesh = build(builder).await;
    let router = Router::new().route("/open", get(async || "hello"));
    let mut service = mesh.protect(router).of(peer("web"));
    let mut ends = BTreeSet::new();
    for i in 0..10_000 {
        let (_, writes) = WRITES[i % WRITES.len()];
        let paths = ["/open", "/closed", "/open/nowhere"];
        let methods = ["GET", "POST", &format!("FOO{i}")];
        let mut request = Request::builder()
            .method(methods[i % 5 % 3])
            .uri(format!("{}?{i}", paths[i % 7 % 3]))
            .header("host", format!("app-{i}"))
            .header("user-agent", "\u{e9}".repeat(i % 50))
            .header(ID, format!("sidecar~{i}"))
            .header(METADATA, writes(i));
        if i % 11 == 0 {
            request = request.header("content-type", "application/grpc");
        }
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let is_grpc = tower_mesh::message::is_grpc(request.headers());
        let answer = service.call(request).await.unwrap();
        let grpc = is_grpc.then(|| GrpcStatus::from_headers(answer.headers()));
        ends.insert((answer.status().as_u16(), grpc));
        answer.into_body().collect().await.unwrap();
    }
    let (shown, counted) = sets(mesh.metrics());
    assert!(ends.len() >= 5, "{ends:?}");
    assert_eq!((shown.len(), counted), (ends.len(), 10_000), "{ends:?}");
}

fn combinations() -> Vec<Outcome> {
    let codes = [
        200, 204, 301, 400, 401, 403, 404, 405, 413, 429, 500, 503, 504,
    ];
    let mut all: Vec<_> = codes.into_iter().map(Outcome::code).collect();
    all.extend((0..=16).map(Outcome::grpc));
    all.push(Outcome {
        is_grpc: true,
        ..Outcome::code(200)
    });
    for flags in [
        ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
        ResponseFlags::UPSTREAM_TIMEOUT,
        ResponseFlags::UPSTREAM_TIMEOUT.union(ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED),
    ] {
        all.push(Outcome {
            flags,
            ..Outcome::code(503)
        });
    }
    all
}

#[test]
fn each_further_combination_adds_one_label_set() {
    let honest: Writes = |_| workload("web", "v1");
    let hostile: Writes = |i| workload(&format!("web-{i}"), "v1");
    for writes in [honest, hostile] {
        let (inbound, outbound) = (Registry::new(), Registry::new());
        let server = inbound.server(&patients());
        let client = outbound.client(&patients());
        let (now, web) = (Instant::now(), peer("web"));
        for (i, outcome) in combinations().iter().enumerate() {
            for request in 0..50 {
                serve(&server, &web, Some(writes(i * 50 + request)), outcome, now);
                call(&client, &web, Some(writes(i * 50 + request)), outcome, now);
            }
            assert_eq!(sets(&inbound).0.len(), i + 1);
            assert_eq!(sets(&outbound).0.len(), i + 1);
        }
    }
}

/// HTTP has the codes 100 to 599 (RFC 9110), gRPC the statuses 0 to 16.
#[test]
fn codes_and_statuses_that_are_none_share_one_label_set() {
    let registry = Registry::new();
    let metrics = registry.client(&patients());
    let (now, charts) = (Instant::now(), peer("charts"));
    for code in 100..=599 {
        call(&metrics, &charts, None, &Outcome::code(code), now);
    }
    assert_eq!(sets(&registry).0.len(), 500);
    for code in 600..=999 {
        call(&metrics, &charts, None, &Outcome::code(code), now);
    }
    let (shown, counted) = sets(&registry);
    assert_eq!((shown.len(), counted), (501, 900));
    let other = shown
        .iter()
        .find(|set| set.contains("response_code=\"unknown\""));
    assert!(other.is_some(), "{shown:#?}");

    let registry = Registry::new();
    let metrics = registry.client(&patients());
    for status in (0..1000).chain([u32::MAX - 1, u32::MAX]) {
        call(&metrics, &charts, None, &Outcome::grpc(status), now);
    }
    assert_eq!(sets(&registry).0.len(), 17);
}

#[test]
fn one_upstream_does_not_use_up_what_others_need() {
    let registry = Registry::new();
    let metrics = registry.client(&patients());
    let (now, hostile) = (Instant::now(), peer("hostile"));
    let mut calls = 0;
    for code in 100..=999 {
        for status in 0..=17 {
            let outcome = Outcome {
                code,
                ..Outcome::grpc(status)
            };
            call(&metrics, &hostile, None, &outcome, now);
            calls += 1;
        }
    }
    let (shown, counted) = sets(&registry);
    assert!(shown.len() <= 600, "{}", shown.len());
    assert_eq!(counted, calls);
    for account in 0..500 {
        let name = format!("charts-{account}");
        call(&metrics, &peer(&name), None, &Outcome::code(200), now);
    }
    let others = sets(&registry).0;
    let others = others.iter().filter(|set| set.contains("/sa/charts-"));
    assert_eq!(others.count(), 500);
}

#[test]
fn some_workloads_of_one_account_are_told_apart() {
    let registry = Registry::new();
    let metrics = registry.server(&patients());
    let (now, shared) = (Instant::now(), peer("default"));
    let named = |i| format!("source_workload=\"web-{i}\"");
    for request in 0..30 {
        for i in 0..8 {
            // Each copy of a workload has a name of its own, which no label shows.
            let copy = format!("web-{i}-{request}");
            let said = story(
                &[("WORKLOAD_NAME", &format!("web-{i}")), ("NAME", &copy)],
                &[],
            );
            serve(&metrics, &shared, Some(said), &Outcome::code(200), now);
        }
    }
    let (shown, counted) = sets(&registry);
    assert_eq!((shown.len(), counted), (8, 240));
    for i in 0..8 {
        assert!(
            shown.iter().any(|set| set.contains(&named(i))),
            "{shown:#?}"
        );
    }
}

#[test]
fn a_caller_that_is_rolled_out_again_and_again_is_shown_as_it_is_now() {
    let registry = Registry::new();
    let metrics = registry.server(&patients());
    let web = peer("web");
    let mut now = Instant::now();
    for version in 0..30 {
        let version = format!("v{version}");
        serve(
            &metrics,
            &web,
            Some(workload("web", &version)),
            &Outcome::code(200),
            now,
        );
        let (shown, _) = sets(&registry);
        let current = format!("source_version=\"{version}\"");
        assert!(shown.iter().any(|set| set.contains(&current)), "{shown:#?}");
        assert!(shown.len() <= 8, "{shown:#?}");
        now += 2 * HOUR;
    }
}

#[test]
fn what_was_shown_for_long_outlives_a_burst_of_stories() {
    let registry = Registry::new();
    let metrics = registry.server(&patients());
    let (web, start) = (peer("web"), Instant::now());
    let tell = |said, now| serve(&metrics, &web, Some(said), &Outcome::code(200), now);
    tell(workload("web", "v1"), start);
    let later = start + 2 * HOUR;
    tell(workload("web", "v1"), later);
    for i in 0..1000 {
        tell(workload(&format!("other-{i}"), "v1"), later);
    }
    tell(workload("web", "v1"), later);
    let text = registry.render(Format::Text);
    let line = text
        .lines()
        .find(|line| line.contains("source_workload=\"web\""));
    assert!(line.unwrap().ends_with("} 3"), "{line:?}");
    assert_eq!(sets(&registry).0.len(), 2, "and the name alone");

    // An hour later it is listened to again.
    tell(workload("billing", "v1"), later + 2 * HOUR);
    let (shown, counted) = sets(&registry);
    assert_eq!((shown.len(), counted), (3, 1004), "{shown:#?}");
}

#[test]
fn what_only_refused_requests_said_is_forgotten() {
    let registry = Registry::new();
    let metrics = registry.server(&patients());
    let (start, refused, allowed) = (Instant::now(), peer("refused"), peer("allowed"));
    let told = |name: &str| format!("source_workload=\"{name}\"");
    let denied_grpc = Outcome::grpc(7);
    let said = || Some(workload("mallory", "v1"));
    serve(&metrics, &refused, said(), &Outcome::code(403), start);
    serve(&metrics, &refused, said(), &Outcome::code(401), start);
    serve(&metrics, &refused, said(), &denied_grpc, start);
    serve(
        &metrics,
        &allowed,
        Some(workload("web", "v1")),
        &Outcome::code(200),
        start,
    );
    let text = registry.render(Format::Text);
    assert!(
        text.contains(&told("mallory")),
        "it is worth seeing for a while"
    );
    serve(
        &metrics,
        &allowed,
        None,
        &Outcome::code(200),
        start + 2 * HOUR,
    );
    let text = registry.render(Format::Text);
    assert!(!text.contains(&told("mallory")), "{text}");
    assert!(text.contains(&told("web")));
    serve(
        &metrics,
        &refused,
        said(),
        &Outcome::code(403),
        start + 2 * HOUR,
    );
    assert!(registry.render(Format::Text).contains(&told("mallory")));
}

#[test]
fn threads_that_tell_stories_at_once_lose_no_request() {
    let registry = Registry::new();
    let metrics = registry.server(&patients());
    let (now, web) = (Instant::now(), peer("web"));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (metrics, web) = (&metrics, &web);
            scope.spawn(move || {
                for i in 0..250 {
                    let said = workload(&format!("web-{}", (thread + i) % 20), "v1");
                    serve(metrics, web, Some(said), &Outcome::code(200), now);
                }
            });
        }
    });
    let (shown, counted) = sets(&registry);
    assert_eq!((shown.len(), counted), (1, 1000));
}
