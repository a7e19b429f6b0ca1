//! Scrapes are streamed, limited in number, and say what they always said.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use tower_mesh::Workload;
use tower_mesh::message::{ByteCount, End};
use tower_mesh::metrics::{Format, Registry, Scrape};

/// A registry whose scrape has some megabytes.
fn full() -> Registry {
    let registry = Registry::new();
    let metrics = registry.client(&Workload::new("default", "patients"));
    for host in 0..100 {
        let request = Request::get(format!("http://h{host}.example.com/"));
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        let now = Instant::now();
        let record = metrics.begin(&mut head, ByteCount::default(), now);
        record.finish(End::cancelled(), now);
        drop(metrics.connection(&format!("db{host}.default"), None));
    }
    for result in ["ok", "failed"] {
        let labels = [("result", result)];
        registry
            .counter("mesh_loads_total", "Loads.", &labels)
            .add(1);
    }
    registry
}

fn get(accept: &str) -> Request<()> {
    Request::get("/")
        .header(header::ACCEPT, accept)
        .body(())
        .unwrap()
}

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The next frame. A scrape waits for nothing but its next turn.
fn frame<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Option<Bytes> {
    turns(body).0
}

/// The next frame, and how often the scrape gave way to other tasks before it.
fn turns<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> (Option<Bytes>, usize) {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut turns = 0;
    loop {
        if let Poll::Ready(frame) =
            Pin::new(&mut *body).poll_frame(&mut Context::from_waker(&waker))
        {
            let frame = frame.map(|frame| frame.ok().unwrap().into_data().ok().unwrap());
            return (frame, turns);
        }
        turns += 1;
        assert_eq!(woken.0.load(Ordering::Relaxed), turns, "nobody wakes it");
    }
}

#[test]
fn a_scrape_is_written_piece_by_piece_and_says_the_same() {
    let registry = full();
    let scrape = Scrape::new(registry.clone());
    for (accept, format) in [
        ("text/plain", Format::Text),
        ("application/openmetrics-text", Format::OpenMetrics),
    ] {
        let mut body = scrape.respond(&get(accept)).into_body();
        let (mut text, mut pieces) = (Vec::new(), 0);
        while let Some(piece) = frame(&mut body) {
            assert!(piece.len() <= 256 * 1024, "{}", piece.len());
            assert!(!piece.is_empty());
            text.extend_from_slice(&piece);
            pieces += 1;
        }
        assert!(body.is_end_stream());
        assert!(pieces > 10, "{pieces}");
        assert_eq!(String::from_utf8(text).unwrap(), registry.render(format));
    }
}

#[test]
fn a_long_scrape_gives_way_to_other_tasks_before_each_piece_but_the_first() {
    let mut body = Scrape::new(full()).respond(&get("text/plain")).into_body();
    let first = turns(&mut body);
    assert_eq!((first.0.is_some(), first.1), (true, 0));
    loop {
        let (piece, turns) = turns(&mut body);
        match piece {
            Some(piece) => assert!(turns >= 1, "{} bytes", piece.len()),
            None => break,
        }
    }
}

#[tokio::test]
async fn scrapes_are_limited_in_number() {
    let scrape = Scrape::new(full());
    let mut begun = Vec::new();
    let refused = loop {
        assert!(begun.len() < 100, "nobody counts them");
        // A copy of the service is the same endpoint.
        let response = scrape.clone().respond(&get("text/plain"));
        if response.status() != StatusCode::OK {
            break response;
        }
        begun.push(response);
    };
    assert!(begun.len() >= 2, "two servers of a pair scrape at once");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    let head = Request::head("/").body(()).unwrap();
    assert_eq!(
        scrape.respond(&head).status(),
        StatusCode::OK,
        "costs nothing"
    );

    // One that ends, and one that is dropped half way, make room again.
    let mut whole = begun.pop().unwrap().into_body();
    while frame(&mut whole).is_some() {}
    let again = scrape.respond(&get("text/plain"));
    assert_eq!(again.status(), StatusCode::OK);
    let mut half = begun.pop().unwrap().into_body();
    frame(&mut half);
    drop(half);
    let again = scrape.respond(&get("text/plain"));
    assert!(again.into_body().collect().await.is_ok());
}
