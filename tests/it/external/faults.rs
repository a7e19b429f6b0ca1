//! Providers that are down, slow, or lie, and callers that go away.

use std::net::SocketAddr;

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::Response;
use http_body::Frame;
use tokio::net::TcpListener;
use tower_mesh::mesh::ExternalHost;
use tower_mesh::message::ResponseFlags;
use tracing::Level;

use super::support::{
    Frames, Kind, Reply, Stub, Ward, answered, framed, grpc, grpc_error, plain, status,
};
use crate::messages::{CheckResponse, Status};
use crate::support::log::Log as Lines;
use crate::support::mesh::{Seen, get2};

/// An address on which nothing listens.
async fn nowhere() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    socket.local_addr().unwrap()
}

fn is_error(seen: &Seen) -> bool {
    seen.details.as_deref() == Some("ext_authz_error")
        && seen.flags == ResponseFlags::UNAUTHORIZED_EXTERNAL
}

/// The settings of a provider that fails, and what its requests get.
const SETTINGS: [(&str, u16); 3] = [
    ("", 403),
    (", statusOnError: '503'", 503),
    (", failOpen: true, statusOnError: '503'", 200),
];

#[tokio::test]
async fn down_at_start() {
    for kind in Kind::BOTH {
        for (more, expected) in SETTINGS {
            let address = nowhere().await;
            let more = format!(", timeout: 5s{more}");
            let ward = Ward::new(kind, &more, |builder| {
                builder.outside("authz.default", ExternalHost::plaintext().at([address]))
            })
            .await;
            let mut caller = ward.caller().await;
            let (status, _, body) = answered(caller.get("/a")).await;
            assert_eq!(status, expected, "{more}");
            if expected == 200 {
                ward.called();
                assert_eq!(ward.counted("failed_open"), 1);
            } else {
                assert_eq!(body, "");
                assert!(is_error(&ward.seen(0).await) && ward.is_uncalled());
                assert_eq!(ward.counted("error"), 1);
            }
            // Others are not asked about.
            assert_eq!(answered(caller.get("/free")).await.0, 200);
        }
    }
}

#[tokio::test]
async fn down_later_and_back_again() {
    for kind in Kind::BOTH {
        let mut stub = Stub::new().await;
        let ward = Ward::asking(&stub, kind, ", timeout: 5s").await;
        let mut caller = ward.caller().await;
        let waiting = caller.get("/a");
        stub.next().await.answer(kind.yes());
        assert_eq!(status(waiting).await, 200);
        // It goes while a question is out, and stays away.
        let waiting = caller.get("/a");
        let asked = stub.next().await;
        let address = stub.address;
        stub.stop().await;
        drop(asked);
        assert_eq!(status(waiting).await, 403);
        assert_eq!(status(caller.get("/a")).await, 403);
        assert_eq!(ward.counted("error"), 2);
        let mut stub = Stub::at(address).await;
        // The first connection may still be refused in the eyes of the client's back-off.
        let waiting = loop {
            let mut waiting = caller.get("/a");
            tokio::select! {
                asked = stub.next() => {
                    asked.answer(kind.yes());
                    break waiting;
                }
                refused = &mut waiting => assert_eq!(refused.unwrap().unwrap().status(), 403),
            }
        };
        assert_eq!(status(waiting).await, 200);
    }
}

#[tokio::test]
async fn one_that_hangs_has_its_timeout() {
    for kind in Kind::BOTH {
        for (more, expected) in SETTINGS {
            let mut stub = Stub::new().await;
            let more = format!(", timeout: 0.05s{more}");
            let ward = Ward::asking(&stub, kind, &more).await;
            let mut caller = ward.caller().await;
            let waiting = caller.get("/a");
            let asked = stub.next().await;
            assert_eq!(status(waiting).await, expected, "{more}");
            // The question is taken back.
            asked.dropped().await;
        }
    }
}

/// The provider has ten minutes, but not the caller.
#[tokio::test]
async fn the_deadline_of_a_grpc_caller_ends_the_question() {
    for kind in Kind::BOTH {
        let mut stub = Stub::new().await;
        let ward = Ward::asking(&stub, kind, "").await;
        let mut caller = ward.caller().await;
        let request = get2("/a").method("POST").header("grpc-timeout", "50m");
        let waiting = caller.send(request.header("content-type", "application/grpc"), "");
        let asked = stub.next().await;
        let (status, headers, _) = answered(waiting).await;
        assert_eq!(
            (status, headers["grpc-status"].as_bytes()),
            (200, &b"7"[..])
        );
        asked.dropped().await;
    }
}

fn lies() -> Vec<(&'static str, Kind, Reply)> {
    let yes = prost::Message::encode_to_vec(&CheckResponse {
        status: Some(Status::default()),
        ..CheckResponse::default()
    });
    let with = |name: &'static str, value: &'static str, body: AxumBody| {
        Response::builder().header(name, value).body(body).unwrap()
    };
    let broken = || {
        let first = Ok(Frame::data(Bytes::from_static(&[0, 0])));
        let frames = vec![first, Err(std::io::Error::other("broken"))];
        AxumBody::new(Frames(frames.into_iter()))
    };
    let large = "x".repeat(70_000);
    let deep = {
        // A list in a list in a list, without end.
        let mut value = Vec::new();
        for _ in 0..5_000 {
            let mut list = prefixed(0x0a, &value);
            list = prefixed(0x32, &list);
            value = list;
        }
        let entry = [&[0x0a, 1, b'a'][..], &prefixed(0x12, &value)].concat();
        prefixed(0x22, &prefixed(0x0a, &entry))
    };
    vec![
        ("PERMISSION_DENIED", Kind::Grpc, grpc_error("7")),
        ("UNAVAILABLE", Kind::Grpc, grpc_error("14")),
        ("no number as status", Kind::Grpc, grpc_error("x")),
        ("OK without a message", Kind::Grpc, grpc_error("0")),
        (
            "bad bytes",
            Kind::Grpc,
            framed(b"\xff\xff\xff\xff", Some("0")),
        ),
        (
            "a cut message",
            Kind::Grpc,
            framed(&[0x0a, 0x7f], Some("0")),
        ),
        ("without a status", Kind::Grpc, framed(&yes, None)),
        ("a yes with an error", Kind::Grpc, framed(&yes, Some("13"))),
        (
            "too large",
            Kind::Grpc,
            framed(&vec![0; 300_000], Some("0")),
        ),
        ("too deep", Kind::Grpc, framed(&deep, Some("0"))),
        (
            "no gRPC",
            Kind::Grpc,
            plain(200, &[("content-type", "text/html")], "<p>"),
        ),
        (
            "a proxy's error",
            Kind::Grpc,
            plain(503, &[], "no healthy upstream"),
        ),
        (
            "broken off",
            Kind::Grpc,
            with("content-type", "application/grpc", broken()),
        ),
        ("a large yes", Kind::Http, plain(200, &[], &large)),
        ("large headers", Kind::Http, {
            let part = "x".repeat(10_000);
            let headers: Vec<_> = (0..7).map(|_| ("x-a", &*part)).collect();
            plain(200, &headers, "")
        }),
        (
            "a yes that breaks off",
            Kind::Http,
            with("x-a", "1", broken()),
        ),
    ]
}

/// A field of bytes.
fn prefixed(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![tag];
    let mut length = bytes.len();
    while length >= 0x80 {
        field.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    field.push(u8::try_from(length).unwrap());
    [field, bytes.to_vec()].concat()
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    for (name, kind, reply) in lies() {
        let mut stub = Stub::new().await;
        let ward = Ward::asking(&stub, kind, ", timeout: 5s, statusOnError: '503'").await;
        let mut caller = ward.caller().await;
        let waiting = caller.get("/a");
        stub.next().await.answer(reply);
        let (status, _, body) = answered(waiting).await;
        assert_eq!((status, &*body), (503, ""), "{name}");
        assert!(
            is_error(&ward.seen(0).await) && ward.is_uncalled(),
            "{name}"
        );
        // The next question is asked as if nothing had been.
        let waiting = caller.get("/a");
        stub.next().await.answer(kind.yes());
        assert_eq!(answered(waiting).await.0, 200, "{name}");
    }
}

/// The client has no such host: nobody can be asked, however the provider is set.
#[tokio::test]
async fn a_host_that_the_client_does_not_know_opens_nothing() {
    let (log, _guard) = Lines::listen(Level::WARN);
    for kind in Kind::BOTH {
        let ward = Ward::new(kind, ", timeout: 5s, failOpen: true", |builder| builder).await;
        let mut caller = ward.caller().await;
        assert_eq!(status(caller.get("/a")).await, 403);
        assert!(ward.is_uncalled());
        assert_eq!((ward.counted("error"), ward.counted("failed_open")), (1, 0));
        assert_eq!(status(caller.get("/free")).await, 200);
        let warned = log.with(&["tower_mesh::config", "knows no server", "provider=\"opa\""]);
        assert!(!warned.is_empty());
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_its_question_along() {
    for kind in Kind::BOTH {
        let mut stub = Stub::new().await;
        let ward = Ward::asking(&stub, kind, ", timeout: 100s").await;
        let mut caller = ward.caller().await;
        let waiting = caller.get("/a");
        let asked = stub.next().await;
        waiting.abort();
        asked.dropped().await;
        assert!(ward.is_uncalled());
        // The connection is still good for others.
        let waiting = caller.get("/a");
        stub.next().await.answer(kind.yes());
        assert_eq!(status(waiting).await, 200);
    }
}

#[tokio::test]
async fn many_questions_are_out_at_once() {
    let mut stub = Stub::new().await;
    let ward = Ward::asking(&stub, Kind::Grpc, ", timeout: 20s").await;
    let mut caller = ward.caller().await;
    let waiting: Vec<_> = (0..50)
        .map(|number| caller.get(&format!("/{number}")))
        .collect();
    let mut asked = Vec::new();
    for _ in 0..50 {
        asked.push(stub.next().await);
    }
    // Each gets the answer to its own question.
    for asked in asked.into_iter().rev() {
        let path = asked.http().path;
        let number: u32 = path[1..].parse().unwrap();
        asked.answer(match number % 2 {
            0 => Kind::Grpc.yes(),
            _ => grpc(&super::answers::denied(401, &[], &path)),
        });
    }
    for (number, waiting) in waiting.into_iter().enumerate() {
        let (status, _, body) = answered(waiting).await;
        match number % 2 {
            0 => assert_eq!(status, 200),
            _ => assert_eq!((status, body), (401, format!("/{number}"))),
        }
    }
}

/// What goes wrong is written without what the caller sent in secret.
#[tokio::test]
async fn the_log_names_the_fault_and_no_secret() {
    let (log, _guard) = Lines::listen(Level::DEBUG);
    let mut stub = Stub::new().await;
    let ward = Ward::asking(&stub, Kind::Grpc, ", timeout: 5s").await;
    let mut caller = ward.caller().await;
    let line = loop {
        let request = get2("/a?access_token=secret").header("authorization", "Bearer secret");
        let waiting = caller.send(request, "");
        stub.next().await.answer(grpc_error("13"));
        assert_eq!(status(waiting).await, 403);
        // The limit of events is shared with every test of the process.
        if let Some(line) = log.with(&["tower_mesh::external", "Internal"]).pop() {
            break line;
        }
    };
    assert!(line.contains("provider=\"opa\""), "{line}");
    assert!(log.with(&["secret"]).is_empty());
}
