//! Under axum's and tonic's own servers, which watch no clock: who stops is let go in time, and who only takes time is not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::any;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tower_mesh::Mesh;
use tower_mesh::testing::Pki;
use tower_mesh::tls::{Mode, Protocol};

use crate::server::limits::{
    END_HEADERS, END_STREAM, HEADERS, closed_within, frame, head, preface, wire,
};
use crate::support::mesh::{
    Fed, app, build, dial, empty, get, get2, http1, http2, read, reader, seconds, settle,
    speak_http2, still,
};

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Framework {
    Axum,
    Tonic,
}

const BOTH: [Framework; 2] = [Framework::Axum, Framework::Tonic];

async fn serve_with(framework: Framework, mesh: &Mesh, app: Router) -> SocketAddr {
    let listener = mesh.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr();
    match framework {
        Framework::Axum => {
            tokio::spawn(axum::serve(listener, mesh.make(app)).into_future());
        }
        Framework::Tonic => {
            let server = tonic::transport::Server::builder().accept_http1(true);
            let mut server = server.layer(mesh.server());
            let routes = tonic::service::Routes::from(app);
            tokio::spawn(server.add_routes(routes).serve_with_incoming(listener));
        }
    }
    address
}

/// What a client says before it stops, and after how many seconds it is let go.
type Stall = (&'static str, Option<Protocol>, Vec<u8>, u32);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: app.default\r\n\r\n";
const HALF_HEAD: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n";
const HALF_BODY: &[u8] = b"POST / HTTP/1.1\r\nhost: app.default\r\ncontent-length: 9\r\n\r\nx";

/// `idle` is how long the server keeps an HTTP/1 connection between requests.
fn stalls(h1: Option<Protocol>, h2: Option<Protocol>, idle: u32) -> Vec<Stall> {
    let request2 = frame(HEADERS, END_STREAM | END_HEADERS, 1, &head("/"));
    let half2 = frame(HEADERS, END_STREAM, 1, &head("/"));
    let body2 = frame(HEADERS, END_HEADERS, 1, &head("/"));
    let settings = preface(&[]);
    let cut_frame = request2.split_at(request2.len() - 3).0;
    let with = |more: &[u8]| [settings.as_slice(), more].concat();
    let blank_lines = b"\r\n\r\n\r\n".to_vec();
    vec![
        ("h1: nothing", h1, Vec::new(), 10),
        ("h1: blank lines", h1, blank_lines, 10),
        ("h1: a byte that could be both", h1, b"P".to_vec(), 10),
        ("h1: half a head", h1, HALF_HEAD.to_vec(), 10),
        ("h1: half a second head", h1, REQUEST.to_vec(), 10),
        (
            "h1: half a head that came along",
            h1,
            [REQUEST, HALF_HEAD].concat(),
            idle,
        ),
        ("h1: half a body", h1, HALF_BODY.to_vec(), 30),
        ("h1: idle after a request", h1, REQUEST.to_vec(), idle),
        ("h2: nothing", h2, Vec::new(), 10),
        ("h2: half a preface", h2, b"PRI * HTTP/2.0\r\n".to_vec(), 10),
        (
            "h2: the preface and no settings",
            h2,
            settings.split_at(24).0.to_vec(),
            10,
        ),
        ("h2: the preface alone", h2, settings.clone(), 40),
        ("h2: half of the headers", h2, with(&half2), 10),
        ("h2: half a frame of headers", h2, with(cut_frame), 10),
        ("h2: half a frame's head", h2, with(&[0, 0, 4, 6]), 10),
        ("h2: half a body", h2, with(&body2), 40),
        ("h2: idle after a request", h2, with(&request2), 40),
    ]
}

/// wherever a client stops, it is let go when its time is over and not before, as under `mesh.serve`.
async fn who_stops_is_let_go(framework: Framework, mode: Mode) {
    let pki = pki();
    let mesh = build(app(&pki).danger().mode(mode)).await;
    let address = serve_with(framework, &mesh, reader()).await;
    let (h1, h2) = match mode {
        Mode::Strict => (Some(Protocol::Http1), Some(Protocol::Http2)),
        Mode::Permissive | Mode::Disable => (None, None),
    };
    // tonic has hyper wait for the next head for half a minute.
    let idle = if framework == Framework::Tonic {
        30
    } else {
        60
    };
    for (name, tls, bytes, limit) in stalls(h1, h2, idle) {
        let name = format!("{framework:?} {mode} {name}");
        let begun = Instant::now();
        let mut stream = wire(&pki, address, tls).await;
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        if name.ends_with("second head") {
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            stream.write_all(HALF_HEAD).await.unwrap();
            stream.flush().await.unwrap();
        }
        closed_within(&name, stream, limit + 2).await;
        let held = begun.elapsed().as_secs();
        assert!(
            held + 1 >= u64::from(limit),
            "{name}: closed after {held} s of {limit}"
        );
    }
}

#[tokio::test]
async fn who_stops_is_let_go_by_axum_over_tls() {
    let _still = still();
    who_stops_is_let_go(Framework::Axum, Mode::Strict).await;
}

#[tokio::test]
async fn who_stops_is_let_go_by_axum_in_plaintext() {
    let _still = still();
    who_stops_is_let_go(Framework::Axum, Mode::Disable).await;
    who_stops_is_let_go(Framework::Axum, Mode::Permissive).await;
}

#[tokio::test]
async fn who_stops_is_let_go_by_tonic_over_tls() {
    let _still = still();
    who_stops_is_let_go(Framework::Tonic, Mode::Strict).await;
}

#[tokio::test]
async fn who_stops_is_let_go_by_tonic_in_plaintext() {
    let _still = still();
    who_stops_is_let_go(Framework::Tonic, Mode::Disable).await;
}

/// Writes one byte every three seconds until the connection is closed, for at most a minute: how many seconds that took.
async fn drip(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), bytes: &[u8]) -> u64 {
    let begun = Instant::now();
    for byte in bytes.iter().cycle().take(20) {
        if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
            break;
        }
        seconds(3).await;
    }
    begun.elapsed().as_secs()
}

/// a head that comes byte by byte has ten seconds in all, the first one and every other.
#[tokio::test]
async fn dripping_a_head_gains_no_time() {
    let _still = still();
    let pki = pki();
    let mesh = build(app(&pki).danger().mode(Mode::Disable)).await;
    for framework in BOTH {
        let address = serve_with(framework, &mesh, reader()).await;
        let half2 = frame(HEADERS, END_STREAM, 1, &head("/"));
        for (name, before, dripped) in [
            (
                "a first head",
                Vec::new(),
                b"GET /aaaaaaaaaaaaaaaaaaaaaaa".to_vec(),
            ),
            (
                "a second head",
                REQUEST.to_vec(),
                b"GET /aaaaaaaaaaaaaaaaaaaaaaa".to_vec(),
            ),
            ("blank lines", Vec::new(), b"\r\n".to_vec()),
            ("a preface", Vec::new(), preface(&[])),
            ("a frame of headers", preface(&[]), half2),
            (
                "a body of no request",
                preface(&[]),
                frame(0, 0, 1, &[7; 99]),
            ),
            (
                "a body after its request",
                [
                    preface(&[]),
                    frame(HEADERS, END_STREAM | END_HEADERS, 1, &head("/")),
                ]
                .concat(),
                frame(0, 0, 1, &[7; 99]),
            ),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&before).await.unwrap();
            if !before.is_empty() {
                assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            }
            let held = drip(&mut stream, &dripped).await;
            assert!(held <= 18, "{framework:?}: {name}: held for {held} s");
        }
    }
}

/// a client that reads nothing of its answer is let go, too.
#[tokio::test]
async fn who_reads_nothing_is_let_go() {
    let _still = still();
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let body = || async { AxumBody::from(vec![0; 64 << 20]) };
    let address = serve_with(Framework::Axum, &mesh, Router::new().fallback(any(body))).await;
    let mut stream = dial(&pki, "desk", address, Protocol::Http1).await;
    stream.write_all(REQUEST).await.unwrap();
    stream.flush().await.unwrap();
    let open =
        || crate::support::mesh::lines(&mesh, "envoy_listener_downstream_cx_active", &[" 1"]);
    crate::support::mesh::until("the connection", || !open().is_empty()).await;
    settle().await;
    seconds(50).await;
    assert_eq!(open().len(), 1, "let go too soon");
    seconds(15).await;
    crate::support::mesh::until("its end", || open().is_empty()).await;
}

/// Answers when it is told to; streams what it is fed; upgrades.
struct Slow {
    app: Router,
    go: Arc<Notify>,
    feed: mpsc::UnboundedSender<Frame<Bytes>>,
}

fn slow() -> Slow {
    let go = Arc::new(Notify::new());
    let (feed, fed) = mpsc::unbounded_channel();
    let fed = Arc::new(std::sync::Mutex::new(Some(fed)));
    let wait = Arc::clone(&go);
    let poll = any(move || async move {
        wait.notified().await;
        "at last"
    });
    let wait = Arc::clone(&go);
    let nothing = any(move || async move {
        wait.notified().await;
        http::StatusCode::NO_CONTENT
    });
    let events = any(move || async move {
        let fed = fed.lock().unwrap().take().unwrap();
        Response::new(AxumBody::new(Fed(fed)))
    });
    let mirror = any(|mut request: Request<AxumBody>| async move {
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded.await.unwrap()));
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        let response = Response::builder().status(101);
        let response = response.header("connection", "upgrade");
        let response = response.header("upgrade", "mirror");
        response.body(AxumBody::empty()).unwrap()
    });
    let app = reader()
        .route("/poll", poll)
        .route("/nothing", nothing)
        .route("/events", events)
        .route("/mirror", mirror);
    Slow { app, go, feed }
}

/// Two minutes of silence harm no request that is under way, in either version, and no connection whose client goes on after it.
#[tokio::test]
async fn a_long_poll_and_a_quiet_answer_go_on() {
    let _still = still();
    let pki = pki();
    let mesh = build(app(&pki)).await;
    for framework in BOTH {
        let slow1 = slow();
        let address = serve_with(framework, &mesh, slow1.app).await;
        let mut sender = http1(&pki, "desk", address).await;
        let polled = tokio::spawn(async move {
            let response = sender.send_request(empty(get("/poll"))).await;
            let text = read(response.unwrap()).await.2;
            (text, sender)
        });
        seconds(120).await;
        slow1.go.notify_one();
        let (text, mut sender) = polled.await.unwrap();
        assert_eq!(text, "at last", "{framework:?}");
        // Its pause between requests begins now.
        seconds(25).await;
        let response = sender.send_request(empty(get("/events"))).await.unwrap();
        let say = |text: &'static str| slow1.feed.send(Frame::data(text.into())).unwrap();
        say("first");
        let mut body = response.into_body();
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "first"
        );
        seconds(120).await;
        say("later");
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "later"
        );

        let slow2 = slow();
        let address = serve_with(framework, &mesh, slow2.app).await;
        let mut sender = http2::<Full<Bytes>>(&pki, "desk", address).await;
        let mut other = sender.clone();
        let polled = tokio::spawn(async move {
            let response = other.send_request(empty(get2("/poll"))).await;
            read(response.unwrap()).await.2
        });
        let response = sender.send_request(empty(get2("/events"))).await.unwrap();
        let mut body = response.into_body();
        seconds(120).await;
        slow2.go.notify_one();
        assert_eq!(polled.await.unwrap(), "at last", "{framework:?}");
        let say = |text: &'static str| slow2.feed.send(Frame::data(text.into())).unwrap();
        say("first");
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "first"
        );
        seconds(120).await;
        say("later");
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "later"
        );
        drop(slow2.feed);
        assert!(body.frame().await.is_none_or(|frame| frame.is_ok()));
        // Nothing is under way any more, and for a while it may stay so.
        seconds(8).await;
        let answer = sender.send_request(empty(get2("/"))).await.unwrap();
        assert_eq!(read(answer).await.2, "read 0");
    }
}

/// An upload that goes on, however slowly, is read.
#[tokio::test]
async fn an_upload_that_keeps_going_is_read() {
    let _still = still();
    let pki = pki();
    let mesh = build(app(&pki)).await;
    for framework in BOTH {
        let address = serve_with(framework, &mesh, reader()).await;
        for version in [Protocol::Http1, Protocol::Http2] {
            let (feed, fed) = mpsc::unbounded_channel();
            let request = Request::post("http://app.default/").header("host", "app.default");
            let request = request.body(Fed(fed)).unwrap();
            let answered = match version {
                Protocol::Http2 => {
                    let mut sender = http2(&pki, "desk", address).await;
                    tokio::spawn(
                        async move { read(sender.send_request(request).await.unwrap()).await },
                    )
                }
                _ => {
                    let mut sender = http1(&pki, "desk", address).await;
                    tokio::spawn(
                        async move { read(sender.send_request(request).await.unwrap()).await },
                    )
                }
            };
            for _ in 0..5 {
                feed.send(Frame::data("x".into())).unwrap();
                seconds(25).await;
            }
            drop(feed);
            let (_, _, text) = answered.await.unwrap();
            assert_eq!(text, "read 5", "{framework:?}");
        }
    }
}

/// An upgraded connection is the application's, however quiet it is.
#[tokio::test]
async fn an_upgraded_connection_may_be_quiet() {
    let _still = still();
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let address = serve_with(Framework::Axum, &mesh, slow().app).await;
    let mut sender = http1(&pki, "desk", address).await;
    let ask = get("/mirror").header("connection", "upgrade");
    let response = sender
        .send_request(empty(ask.header("upgrade", "mirror")))
        .await;
    let upgraded = hyper::upgrade::on(response.unwrap()).await.unwrap();
    let mut io = TokioIo::new(upgraded);
    for text in [b"hello", b"again"] {
        seconds(120).await;
        io.write_all(text).await.unwrap();
        let mut answer = [0; 5];
        io.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, text);
    }
}

/// gRPC's streams may be quiet, also under a server of one's own; a body that only says that it is gRPC may not.
#[tokio::test]
async fn a_quiet_stream_of_grpc_goes_on_and_no_other() {
    let _still = still();
    let pki = pki();
    let mesh = build(app(&pki)).await;
    for framework in BOTH {
        let address = serve_with(framework, &mesh, reader()).await;
        let mut sender = speak_http2(dial(&pki, "desk", address, Protocol::Http2).await).await;
        let mut call = |te: bool| {
            let (feed, fed) = mpsc::unbounded_channel::<Frame<Bytes>>();
            feed.send(Frame::data("x".into())).unwrap();
            let mut request = Request::post("http://app.default/a.B/Watch");
            if te {
                request = request.header("te", "trailers");
            }
            let request = request.header("content-type", "application/grpc");
            let request = request.body(Fed(fed)).unwrap();
            let sent = sender.send_request(request);
            (
                feed,
                tokio::spawn(async move { read(sent.await.unwrap()).await.2 }),
            )
        };
        let (feed, quiet) = call(true);
        let (_feed, other) = call(false);
        seconds(35).await;
        assert!(other.is_finished(), "{framework:?}");
        assert_eq!(other.await.unwrap(), "cut short");
        seconds(90).await;
        feed.send(Frame::data("x".into())).unwrap();
        drop(feed);
        assert_eq!(quiet.await.unwrap(), "read 2", "{framework:?}");
    }
}

/// A client that asks for nothing stays where its server asks whether it is there, and goes where nobody does.
#[tokio::test]
async fn a_client_that_answers_pings_stays() {
    let _still = still();
    let pki = pki();
    let mesh = build(app(&pki)).await;
    for (interval, stays) in [(Some(Duration::from_secs(20)), true), (None, false)] {
        let listener = mesh.listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr();
        let server = tonic::transport::Server::builder().http2_keepalive_interval(interval);
        let mut server = server.layer(mesh.server());
        let routes = tonic::service::Routes::from(reader());
        tokio::spawn(server.add_routes(routes).serve_with_incoming(listener));
        let mut sender = http2::<Full<Bytes>>(&pki, "desk", address).await;
        let answer = sender.send_request(empty(get2("/"))).await.unwrap();
        assert_eq!(read(answer).await.2, "read 0");
        seconds(100).await;
        assert_eq!(sender.is_closed(), !stays);
    }
}

/// A request that passes no guard may take its time on HTTP/1, where the end of its head is seen.
#[tokio::test]
async fn a_long_poll_beside_the_guard_goes_on() {
    let _still = still();
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let slow = slow();
    let listener = mesh.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr();
    tokio::spawn(axum::serve(listener, slow.app).into_future());
    let mut sender = http1(&pki, "desk", address).await;
    let polled = tokio::spawn(async move {
        let response = sender.send_request(empty(get("/poll"))).await;
        read(response.unwrap()).await.2
    });
    seconds(120).await;
    slow.go.notify_one();
    assert_eq!(polled.await.unwrap(), "at last");
}

/// An answer that goes on is no silence, also where no guard tells of its request.
#[tokio::test]
async fn events_beside_the_guard_go_on() {
    let _still = still();
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let slow = slow();
    let listener = mesh.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr();
    tokio::spawn(axum::serve(listener, slow.app).into_future());
    let mut sender = http2::<Full<Bytes>>(&pki, "desk", address).await;
    let response = sender.send_request(empty(get2("/events"))).await.unwrap();
    let mut body = response.into_body();
    // axum's own interval of events that keep a connection alive, for an hour.
    for _ in 0..240 {
        seconds(15).await;
        slow.feed.send(Frame::data(":\n\n".into())).unwrap();
        let event = body.frame().await.unwrap().unwrap();
        assert_eq!(event.into_data().unwrap(), ":\n\n");
    }
}

/// a stream of bodies, one of which stops, loses that one and no other.
#[tokio::test]
async fn a_body_that_stops_costs_its_own_stream_only() {
    let _still = still();
    let pki = pki();
    let mesh = build(app(&pki)).await;
    for framework in BOTH {
        let slow = slow();
        let address = serve_with(framework, &mesh, slow.app).await;
        let mut sender = http2(&pki, "desk", address).await;
        let mut send = |path: &str| {
            let (feed, fed) = mpsc::unbounded_channel();
            feed.send(Frame::data("x".into())).unwrap();
            let request = Request::post(format!("http://app.default{path}"));
            let sent = sender.send_request(request.body(Fed(fed)).unwrap());
            let answer = tokio::spawn(async move { read(sent.await.unwrap()).await.2 });
            (feed, answer)
        };
        let (_stopped, cut) = send("/");
        let (_unread, polled) = send("/poll");
        let (going, answer) = send("/");
        seconds(25).await;
        going.send(Frame::data("x".into())).unwrap();
        seconds(10).await;
        assert!(cut.is_finished(), "{framework:?}");
        assert_eq!(cut.await.unwrap(), "cut short");
        going.send(Frame::data("x".into())).unwrap();
        drop(going);
        assert_eq!(answer.await.unwrap(), "read 3", "{framework:?}");
        seconds(90).await;
        slow.go.notify_one();
        assert_eq!(polled.await.unwrap(), "at last", "{framework:?}");
    }
}

/// an answer that comes after a long silence is written before the silence counts.
#[tokio::test]
async fn an_answer_after_a_long_silence_is_written() {
    let _still = still();
    let pki = pki();
    let mesh = build(app(&pki)).await;
    for framework in BOTH {
        for (path, expected) in [("/poll", "at last"), ("/nothing", "")] {
            let slow = slow();
            let address = serve_with(framework, &mesh, slow.app).await;
            let mut sender = http2::<Full<Bytes>>(&pki, "desk", address).await;
            let sent = sender.send_request(empty(get2(path)));
            let polled = tokio::spawn(async move { read(sent.await.unwrap()).await.2 });
            seconds(3600).await;
            slow.go.notify_one();
            assert_eq!(polled.await.unwrap(), expected, "{framework:?}");
            seconds(8).await;
            let answer = sender.send_request(empty(get2("/"))).await.unwrap();
            assert_eq!(read(answer).await.2, "read 0", "{framework:?}");
        }
    }
}

/// Requests that were sent ahead are answered in their turn, and the rest of one may come later.
#[tokio::test]
async fn requests_sent_ahead_are_answered_in_turn() {
    let _still = still();
    let pki = pki();
    let mesh = build(app(&pki).danger().mode(Mode::Disable)).await;
    for framework in BOTH {
        for cut in [2, 4, 20] {
            let slow = slow();
            let address = serve_with(framework, &mesh, slow.app).await;
            let mut stream = TcpStream::connect(address).await.unwrap();
            let poll = b"GET /poll HTTP/1.1\r\nhost: app.default\r\n\r\n";
            let (first, rest) = REQUEST.split_at(REQUEST.len() - cut);
            let ahead = [poll, REQUEST, first].concat();
            stream.write_all(&ahead).await.unwrap();
            seconds(120).await;
            slow.go.notify_one();
            seconds(20).await;
            stream.write_all(rest).await.unwrap();
            // The last one ends the connection.
            let last = b"GET / HTTP/1.1\r\nhost: app.default\r\nconnection: close\r\n\r\n";
            stream.write_all(last).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            let answers = text.matches("HTTP/1.1 200 OK").count();
            assert_eq!(answers, 4, "{framework:?}, {cut}: {text}");
        }
    }
}

/// A client that waits until its body is asked for has as long as every other.
#[tokio::test]
async fn a_body_that_waits_to_be_asked_for_is_read() {
    let _still = still();
    let pki = pki();
    let mesh = build(app(&pki).danger().mode(Mode::Disable)).await;
    for framework in BOTH {
        let address = serve_with(framework, &mesh, reader()).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        for body in ["content-length: 5", "transfer-encoding: chunked"] {
            let head = format!(
                "POST / HTTP/1.1\r\nhost: app.default\r\nexpect: 100-continue\r\n{body}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut asked = [0; 25];
            stream.read_exact(&mut asked).await.unwrap();
            assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
            let pieces: &[&[u8]] = match body {
                "content-length: 5" => &[b"he", b"llo"],
                _ => &[b"5\r\nhe", b"llo\r\n0", b"\r\n\r\n"],
            };
            for piece in pieces {
                // A piece of a chunk, or of what ends it, is one of the body only once it is whole.
                seconds(9).await;
                stream.write_all(piece).await.unwrap();
            }
            let mut answer = vec![0; 4096];
            let mut length = 0;
            while !String::from_utf8_lossy(&answer[..length]).ends_with("read 5") {
                let read = stream.read(&mut answer[length..]).await.unwrap();
                assert!(read > 0, "{framework:?}: {body}");
                length += read;
            }
        }
    }
}

/// HTTP/2 knows no upgrade (RFC 9113 §8.6): an application that answers 101 keeps no connection open by it.
#[tokio::test]
async fn an_upgrade_that_http2_does_not_know_holds_nothing() {
    let _still = still();
    let pki = pki();
    let mesh = build(app(&pki)).await;
    for framework in BOTH {
        let switch = any(|| async { http::StatusCode::SWITCHING_PROTOCOLS });
        let router = Router::new().fallback(switch);
        let address = serve_with(framework, &mesh, router).await;
        let mut stream = wire(&pki, address, Some(Protocol::Http2)).await;
        let asked = frame(HEADERS, END_STREAM | END_HEADERS, 1, &head("/"));
        let bytes = [preface(&[]), asked].concat();
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        closed_within(&format!("{framework:?}"), stream, 52).await;
    }
}
