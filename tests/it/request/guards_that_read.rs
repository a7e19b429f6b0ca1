//! Guards that ask about the beginning of a request's body, and guards that add to the response.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::context::Exchange;
use tower_mesh::guard::{Answer, BodyPrefix, Guard, GuardLayer, Question, Verdict};
use tower_mesh::message::LocalReply;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Workload};

use crate::support::mesh::proven;

/// Sends what it got of the body to the application, in a header.
#[derive(Clone, Copy)]
struct Reader(usize);

impl Guard for Reader {
    fn judge(&self, _: &mut Parts, _: &Exchange) -> Verdict {
        let Self(max_bytes) = *self;
        Verdict::Ask(Question::of_body(
            max_bytes,
            |body: BodyPrefix| async move {
                let end = if body.is_whole { "." } else { "..." };
                let text = String::from_utf8(body.bytes.to_vec()).unwrap() + end;
                Answer::change(move |head, _| {
                    let text = HeaderValue::from_str(&text).unwrap();
                    head.headers.insert("x-read", text);
                    Ok(())
                })
            },
        ))
    }
}

/// A body in pieces that may not move once it has been polled.
#[pin_project::pin_project]
struct Pieces {
    frames: Vec<Result<Frame<Bytes>, &'static str>>,
    #[pin]
    _pinned: std::marker::PhantomPinned,
}

impl Pieces {
    fn of(pieces: &[&'static str]) -> Self {
        let frame = |piece: &&'static str| match *piece {
            "!" => Err("broken off"),
            "#" => Ok(Frame::trailers(
                [("x-trailer", "kept")]
                    .iter()
                    .map(|(name, value)| {
                        (
                            HeaderName::from_static(name),
                            HeaderValue::from_static(value),
                        )
                    })
                    .collect(),
            )),
            piece => Ok(Frame::data(Bytes::from_static(piece.as_bytes()))),
        };
        Self {
            frames: pieces.iter().rev().map(frame).collect(),
            _pinned: std::marker::PhantomPinned,
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(self.project().frames.pop())
    }
}

async fn meshed(guard: impl Guard + Send + Sync + 'static) -> Mesh {
    let identity = Pki::new("cluster.local")
        .unwrap()
        .identity("default", "app");
    let builder = Mesh::builder(Workload::new("default", "app"), identity.unwrap());
    let (mesh, driver) = builder.guard(guard).build().await.unwrap();
    tokio::spawn(driver.run());
    mesh
}

/// Answers with the header that the guard has set, the body and the trailers.
async fn echo<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: Body<Data: Buf, Error: std::fmt::Debug>,
{
    let read = request.headers()["x-read"].to_str().unwrap().to_owned();
    let hint = request.body().size_hint().lower();
    let whole = request.into_body().collect().await.unwrap();
    let trailer = whole.trailers().map_or("", |_| "#");
    let body = String::from_utf8(whole.to_bytes().to_vec()).unwrap();
    Ok(Response::new(Full::from(format!(
        "{read} {hint} {body}{trailer}"
    ))))
}

async fn sent(mesh: &Mesh, body: Pieces) -> (StatusCode, String) {
    let request = Request::post("/")
        .header("host", "app")
        .extension(proven("desk"));
    let service = mesh.protect(service_fn(
        echo::<tower_mesh::message::CountingBody<Pieces>>,
    ));
    let response = service.oneshot(request.body(body).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_question_gets_the_beginning_and_the_application_all_of_the_body() {
    let mesh = meshed(Reader(5)).await;
    for (pieces, answer) in [
        (&[][..], ". 0 "),
        (&["abc"], "abc. 3 abc"),
        (&["abc", "de"], "abcde. 5 abcde"),
        (&["abc", "de", "#"], "abcde. 5 abcde#"),
        (&["abc", "def"], "abcde... 6 abcdef"),
        (&["abcdefgh", "ijk", "#"], "abcde... 8 abcdefghijk#"),
        (&["", "abcde", "f"], "abcde... 6 abcdef"),
    ] {
        let (status, body) = sent(&mesh, Pieces::of(pieces)).await;
        assert_eq!(
            (status.as_u16(), body.as_str()),
            (200, answer),
            "{pieces:?}"
        );
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_before_the_question_is_refused() {
    let mesh = meshed(Reader(5)).await;
    let (status, _) = sent(&mesh, Pieces::of(&["abc", "!"])).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_layer_cannot_read_the_body_and_refuses() {
    let service = GuardLayer::new(Reader(5)).layer(service_fn(echo::<Full<Bytes>>));
    let response = service
        .oneshot(Request::new(Full::from("abc")))
        .await
        .unwrap();
    assert_eq!(response.status(), 500);
}

/// Sets headers of the response, and refuses `/no`.
#[derive(Clone, Copy)]
struct Marker {
    asks: bool,
}

impl Guard for Marker {
    fn judge(&self, head: &mut Parts, exchange: &Exchange) -> Verdict {
        let mark = |exchange: &Exchange| {
            let name = HeaderName::from_static("x-mark");
            exchange.set_response_header(name.clone(), HeaderValue::from_static("set"));
            exchange.append_response_header(name, HeaderValue::from_static("more"));
        };
        if head.uri.path() == "/no" {
            mark(exchange);
            return Verdict::Refuse(LocalReply::new(StatusCode::FORBIDDEN, "", "no"));
        }
        if !self.asks {
            mark(exchange);
            return Verdict::Pass;
        }
        Verdict::Ask(Question::new(async move {
            Answer::change(move |_, exchange| {
                mark(exchange);
                Ok(())
            })
        }))
    }
}

#[tokio::test]
async fn headers_of_the_response_are_put_once() {
    async fn answer(_: Request<impl Body>) -> Result<Response<Full<Bytes>>, Infallible> {
        let answer = Response::builder().header("x-mark", "own");
        Ok(answer.body(Full::default()).unwrap())
    }
    fn marks<B>(response: &Response<B>) -> Vec<&str> {
        let marks = response.headers().get_all("x-mark").iter();
        marks.map(|value| value.to_str().unwrap()).collect()
    }
    for asks in [false, true] {
        let mesh = meshed(Marker { asks }).await;
        for path in ["/", "/no"] {
            let request = || {
                Request::get(path)
                    .header("host", "app")
                    .extension(proven("desk"))
            };
            let both = GuardLayer::new(Marker { asks: !asks });
            let service = both.layer(service_fn(answer));
            let alone = service
                .clone()
                .oneshot(request().body(Full::<Bytes>::default()).unwrap());
            assert_eq!(
                marks(&alone.await.unwrap()),
                ["set", "more"],
                "{asks} {path}"
            );
            let service = mesh.protect(service_fn(answer));
            let meshed = service.oneshot(request().body(Full::<Bytes>::default()).unwrap());
            assert_eq!(
                marks(&meshed.await.unwrap()),
                ["set", "more"],
                "{asks} {path}"
            );
        }
    }
}
