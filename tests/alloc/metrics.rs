//! What counting costs, whatever peers say of themselves, and what a scrape holds that nobody reads to its end.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use allocation_counter::measure;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use tower_mesh::context::TlsFacts;
use tower_mesh::identity::{PeerCertificate, SpiffeId};
use tower_mesh::message::{ByteCount, End, Watch as _};
use tower_mesh::metrics::{Format, Registry, Scrape, ServerMetrics};
use tower_mesh::{Peer, Workload};

const METADATA: &str = "x-envoy-peer-metadata";

fn peer() -> Peer {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let id = SpiffeId::new("spiffe://cluster.local/ns/shop/sa/web").unwrap();
    let mut facts = TlsFacts::default();
    facts.certificate = Some(PeerCertificate::from_spiffe_id(id));
    Peer::tls(at(50_000), at(8443), facts)
}

fn patients() -> Workload {
    Workload::new("default", "patients").service("patients", 8443)
}

/// One call that came in, of a caller that says this.
fn count(metrics: &ServerMetrics, from: &Peer, said: HeaderValue) {
    let (mut head, ()) = Request::new(()).into_parts();
    head.headers.insert(METADATA, said);
    let now = Instant::now();
    let mut record = metrics.begin(&mut head, Some(from), ByteCount::default(), now);
    record.answered(&mut Response::new(()).into_parts().0);
    record.finish(End::cancelled(), now);
}

/// What the client of this workload says.
fn said(workload: &Workload) -> HeaderValue {
    let request = Request::get("http://patients.default/").body(());
    let (mut request, ()) = request.unwrap().into_parts();
    let client = Registry::new().client(workload);
    let record = client.begin(&mut request, ByteCount::default(), Instant::now());
    record.finish(End::cancelled(), Instant::now());
    request.headers.remove(METADATA).unwrap()
}

#[test]
fn counting_a_caller_that_describes_itself_allocates_nothing_more() {
    let metrics = Registry::new().server(&patients());
    let web = peer();
    let nobody = Peer::plaintext(web.remote_addr(), web.local_addr());
    let said = said(&Workload::new("shop", "web"));
    let cost = |from: &Peer, said: &HeaderValue| {
        count(&metrics, from, said.clone());
        measure(|| count(&metrics, from, said.clone())).count_total
    };
    let unreadable = HeaderValue::from_static("~unreadable~");
    let unheard = cost(&web, &unreadable);
    assert_eq!(cost(&web, &said), unheard);
    // Who has no identity is not listened to, and told nothing.
    assert!(cost(&nobody, &said) <= unheard);
}

/// R-21.
#[test]
fn what_a_peer_says_is_not_kept() {
    let metrics = Registry::new().server(&patients());
    let web = peer();
    count(&metrics, &web, HeaderValue::from_static("~unreadable~"));
    let kept = measure(|| {
        for i in 0..1000 {
            // Nearly 16 KiB, of a field that labels do not know.
            let bytes = [format!("{i:>12000}").into_bytes(), vec![b'x'; i % 7]].concat();
            let mut message = vec![0x12];
            let mut length = bytes.len();
            while length >= 0x80 {
                message.push(length.to_le_bytes()[0] | 0x80);
                length >>= 7;
            }
            message.push(length.to_le_bytes()[0]);
            message.extend(bytes);
            let said = BASE64_STANDARD.encode(message);
            count(&metrics, &web, said.try_into().unwrap());
        }
    });
    assert!(kept.bytes_current < 64 * 1024, "{}", kept.bytes_current);
}

#[test]
fn a_scrape_that_nobody_reads_is_small() {
    let registry = Registry::new();
    let metrics = registry.client(&patients());
    for host in 0..500 {
        let request = Request::get(format!("http://h{host}.example.com/"));
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        let record = metrics.begin(&mut head, ByteCount::default(), Instant::now());
        record.finish(End::cancelled(), Instant::now());
    }
    let whole = registry.render(Format::Text).len();
    assert!(whole > 20_000_000, "{whole}");
    let request = Request::get("/").body(()).unwrap();
    let scrape = Scrape::new(registry);
    let slow = measure(|| {
        // As many as ask, of which none is read beyond its first piece.
        let mut bodies: Vec<_> = (0..100)
            .map(|_| scrape.respond(&request).into_body())
            .collect();
        let mut cx = Context::from_waker(Waker::noop());
        for body in &mut bodies {
            let first = Pin::new(body).poll_frame(&mut cx);
            assert!(matches!(first, Poll::Ready(Some(Ok(_)))));
        }
    });
    assert!(slow.bytes_max < 4_000_000, "{}", slow.bytes_max);
    let read = measure(|| {
        let mut body = scrape.respond(&request).into_body();
        let mut cx = Context::from_waker(Waker::noop());
        let mut length = 0;
        loop {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Ready(Some(piece)) => length += piece.unwrap().into_data().unwrap().len(),
                Poll::Ready(None) => break,
                // Other tasks have their turn.
                Poll::Pending => {}
            }
        }
        assert_eq!(length, whole);
    });
    assert!(read.bytes_max < 1_500_000, "{}", read.bytes_max);
}

/// R-21: a million different hosts are called at a million paths, and a million different peers call, each with a description of its own.
#[test]
fn a_million_distinct_hosts_paths_and_peers_stay_bounded_and_every_request_is_counted() {
    const REQUESTS: u32 = 1_000_000;
    let registry = Registry::new();
    let (server, client) = (registry.server(&patients()), registry.client(&patients()));
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let now = Instant::now();
    let kept = measure(|| {
        for number in 0..REQUESTS {
            let called = Request::get(format!("http://h{number}.example.com/{number}"));
            let (mut head, ()) = called.body(()).unwrap().into_parts();
            let record = client.begin(&mut head, ByteCount::default(), now);
            record.finish(End::cancelled(), now);

            let id = SpiffeId::new(&format!("spiffe://cluster.local/ns/shop/sa/a{number}"));
            let mut facts = TlsFacts::default();
            facts.certificate = Some(PeerCertificate::from_spiffe_id(id.unwrap()));
            let peer = Peer::tls(at(50_000), at(8443), facts);
            let received = Request::get(format!("/{number}")).header("host", number);
            let (mut head, ()) = received.body(()).unwrap().into_parts();
            let name = format!("w{number}");
            head.headers.insert(METADATA, story(&name));
            let record = server.begin(&mut head, Some(&peer), ByteCount::default(), now);
            record.finish(End::cancelled(), now);
        }
    });
    assert!(kept.bytes_current < 16_000_000, "{}", kept.bytes_current);
    let text = registry.render(Format::Text);
    let requests = || {
        let lines = text.lines();
        lines.filter(|line| line.starts_with("istio_requests_total{"))
    };
    let count = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<u32>().unwrap();
    assert!(requests().count() <= 2000, "{}", requests().count());
    for (reporter, overflow) in [
        ("source", r#"destination_service="unknown""#),
        ("destination", r#"source_principal="unknown""#),
    ] {
        let reporter = format!("reporter=\"{reporter}\"");
        let lines = || requests().filter(|line| line.contains(&reporter));
        assert_eq!(lines().map(count).sum::<u32>(), REQUESTS, "{reporter}");
        // The rest is counted in one place, which says that it does not know.
        let rest = lines().filter(|line| line.contains(overflow)).map(count);
        assert_eq!(rest.max(), lines().map(count).max(), "{reporter}");
        assert!(lines().map(count).max() > Some(REQUESTS / 10 * 9));
    }
    // Its whole text is as long as that many series can be.
    assert!(text.len() < 3 * 22 * 2000 * 2048, "{}", text.len());
}

/// The metadata of a workload of this name, as a sidecar writes it.
fn story(workload: &str) -> HeaderValue {
    fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).unwrap();
        [&[tag, length], bytes].concat()
    }
    let value = field(0x12, &field(0x1a, workload.as_bytes()));
    let entry = [field(0x0a, b"WORKLOAD_NAME"), value].concat();
    let encoded = BASE64_STANDARD.encode(field(0x0a, &entry));
    encoded.try_into().unwrap()
}
