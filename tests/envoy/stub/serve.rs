//! A server on the loopback that speaks both HTTP versions, and the few lines of gRPC that a unary method needs.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use prost::Message;
use tokio::net::TcpListener;

/// A request with its whole body.
pub(crate) type Whole = Request<Bytes>;
/// An answer, or the end of the connection.
pub(crate) type Reaction = Option<Response<BoxBody<Bytes, Infallible>>>;

/// Serves until the runtime ends.
pub(crate) async fn serve<F, R>(react: F) -> SocketAddr
where
    F: Fn(Whole) -> R + Send + Sync + 'static,
    R: Future<Output = Reaction> + Send + 'static,
{
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let react = Arc::new(react);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = socket.accept().await {
            let react = Arc::clone(&react);
            let service = service_fn(move |request: Request<Incoming>| {
                let react = Arc::clone(&react);
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.map_err(|_| "a broken body")?;
                    let whole = Request::from_parts(head, body.to_bytes());
                    react(whole).await.ok_or("no answer")
                }
            });
            tokio::spawn(async move {
                let serving = auto::Builder::new(TokioExecutor::new());
                let _ = serving.serve_connection(TokioIo::new(tcp), service).await;
            });
        }
    });
    address
}

/// A port on which nothing listens.
pub(crate) async fn closed_port() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    socket.local_addr().unwrap()
}

/// An ordinary answer.
pub(crate) fn plain(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reaction {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Some(response.body(Full::new(body.into()).boxed()).unwrap())
}

/// The message of a gRPC answer.
pub(crate) fn grpc(message: &impl Message) -> Reaction {
    let message = message.encode_to_vec();
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(message.len().try_into().unwrap());
    framed.put_slice(&message);
    let trailers = HeaderMap::from_iter([(
        "grpc-status".parse().unwrap(),
        HeaderValue::from_static("0"),
    )]);
    let body = Full::new(framed.freeze()).with_trailers(async { Some(Ok(trailers)) });
    let response = Response::builder().header("content-type", "application/grpc");
    Some(response.body(body.boxed()).unwrap())
}

/// A gRPC error.
pub(crate) fn grpc_error(code: u16) -> Reaction {
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", code)
        .header("grpc-message", "the stub fails");
    Some(response.body(Full::default().boxed()).unwrap())
}

/// The message of a gRPC question.
pub(crate) fn decode<M: Message + Default>(whole: &Whole) -> M {
    M::decode(&whole.body()[5..]).unwrap()
}
