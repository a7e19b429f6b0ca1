//! The application behind both: what it does is in the path.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::stub::joined;

/// A body of an answer.
pub(crate) type AppBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// What reached the application, by the request's `x-case`.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Inner>);

#[derive(Default)]
struct Inner {
    heads: Mutex<BTreeMap<String, Value>>,
    came: Notify,
}

impl Seen {
    pub(crate) fn keep(&self, head: &Parts) {
        let headers = &head.headers;
        let case = headers.get("x-case").map(HeaderValue::as_bytes);
        let case = String::from_utf8_lossy(case.unwrap_or_default()).into_owned();
        let authority = head.uri.authority().map(|host| host.as_str());
        let mut headers = joined(headers);
        if let Some(authority) = authority {
            headers.insert("host".to_owned(), authority.to_owned());
        }
        let path = head.uri.path_and_query().map(|path| path.as_str());
        let seen = json!({"method": head.method.as_str(), "path": path, "headers": headers});
        self.0.heads.lock().unwrap().insert(case, seen);
        self.0.came.notify_waiters();
    }

    pub(crate) fn of(&self, case: &str) -> Option<Value> {
        self.0.heads.lock().unwrap().get(case).cloned()
    }

    /// Waits until the request of this case is there.
    pub(crate) async fn wait(&self, case: &str) {
        loop {
            let came = self.0.came.notified();
            if self.of(case).is_some() {
                return;
            }
            came.await;
        }
    }
}

/// Answers; an error breaks the connection.
pub(crate) async fn answer<B>(seen: Seen, request: Request<B>) -> Response<AppBody>
where
    B: Body<Data = Bytes>,
{
    let path = request.uri().path().to_owned();
    let (head, body) = request.into_parts();
    if body.collect().await.is_err() {
        let answer = Response::builder().status(400);
        return answer.body(whole("Bad Request")).unwrap();
    }
    seen.keep(&head);
    let mut words = path.trim_start_matches('/').split('/');
    let (first, second) = (words.next(), words.next());
    let builder = Response::builder();
    match first.unwrap_or_default() {
        "status" => {
            let status = second.unwrap_or("200");
            builder.status(status).body(whole("said")).unwrap()
        }
        "empty" => builder.status(204).body(whole("")).unwrap(),
        "large" => builder.body(whole(vec![b'x'; 300 * 1024])).unwrap(),
        "slow" => {
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            builder.body(whole("slow")).unwrap()
        }
        "hang" | "short" => std::future::pending().await,
        "break" => builder.body(Breaking(None).boxed_unsync()).unwrap(),
        "described" => builder
            .header(
                "x-envoy-peer-metadata-id",
                "sidecar~10.0.0.5~p.n~n.svc.cluster.local",
            )
            .header("x-envoy-peer-metadata", METADATA)
            .body(whole("described"))
            .unwrap(),
        "named" => builder
            .header(
                "x-envoy-decorator-operation",
                "web.foo.svc.cluster.local:80/named",
            )
            .body(whole("named"))
            .unwrap(),
        "pkg.Svc" if second == Some("Short") => std::future::pending().await,
        "pkg.Svc" if second == Some("Break") => builder
            .header("content-type", "application/grpc")
            .body(Breaking(None).boxed_unsync())
            .unwrap(),
        "begin" => builder.body(Begun(Some("begun")).boxed_unsync()).unwrap(),
        "pkg.Svc" => grpc(second.unwrap_or_default()),
        _ => builder
            .header("content-type", "text/plain")
            .body(whole("answer"))
            .unwrap(),
    }
}

/// Unary answers of gRPC.
fn grpc(method: &str) -> Response<AppBody> {
    let (code, message) = match method {
        "NotFound" => ("5", Some("no such patient")),
        "Internal" => ("13", Some("broken")),
        "Denied" => ("7", None),
        "Exhausted" => ("8", None),
        "Unavailable" => ("14", None),
        _ => ("0", None),
    };
    let builder = Response::builder().header("content-type", "application/grpc");
    if method == "Only" {
        let builder = builder.header("grpc-status", "12");
        return builder.body(whole("")).unwrap();
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(code));
    if let Some(message) = message {
        trailers.insert("grpc-message", HeaderValue::from_static(message));
    }
    let message = Full::new(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]));
    let body = message.with_trailers(async { Some(Ok(trailers)) });
    builder.body(body.map_err(never).boxed_unsync()).unwrap()
}

fn whole(body: impl Into<Bytes>) -> AppBody {
    Full::new(body.into()).map_err(never).boxed_unsync()
}

fn never(never: Infallible) -> std::io::Error {
    match never {}
}

/// A body that begins and never ends.
struct Begun(Option<&'static str>);

impl Body for Begun {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.0.take() {
            Some(text) => Poll::Ready(Some(Ok(Frame::data(text.into())))),
            None => Poll::Pending,
        }
    }
}

/// A body that breaks once its beginning is sent.
struct Breaking(Option<Pin<Box<tokio::time::Sleep>>>);

impl Body for Breaking {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if let Some(time) = &mut self.0 {
            ready!(time.as_mut().poll(cx));
            return Poll::Ready(Some(Err(std::io::Error::other("broken"))));
        }
        // What is held is sent meanwhile.
        let time = std::time::Duration::from_millis(30);
        self.0 = Some(Box::pin(tokio::time::sleep(time)));
        Poll::Ready(Some(Ok(Frame::data("begun".into()))))
    }
}

/// Of the workload `w` in the namespace `n`, whose canonical service is `c`.
const METADATA: &str = "ChoKCkNMVVNURVJfSUQSDBoKS3ViZXJuZXRlcwo0CgZMQUJFTFMSKiooCiYKH3NlcnZpY2UuaXN0aW8uaW8vY2Fub25pY2FsLW5hbWUSAxoBYwoQCglOQU1FU1BBQ0USAxoBbgoLCgROQU1FEgMaAXAKFAoNV09SS0xPQURfTkFNRRIDGgF3";
