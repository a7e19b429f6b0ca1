//! One POST to a collector, on a connection of its own.

use std::pin::pin;

use bytes::Bytes;
#[cfg(feature = "otlp")]
use http::HeaderValue;
use http::{HeaderMap, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
#[cfg(feature = "otlp")]
use prost::Message;
use tokio::net::TcpStream;

use super::batch::BoxError;

/// Posts a body, and reads the whole response. There is no task and no pool: dropping the future
/// ends the connection, and a batch is rare enough to pay for one.
pub(crate) async fn post(
    uri: &Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Bytes>, BoxError> {
    let authority = uri.authority().ok_or("the URL names no host")?;
    let host = authority.host().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path).body(Full::new(body))?;
    *request.headers_mut() = headers;
    let host = authority.as_str().parse()?;
    request.headers_mut().insert(header::HOST, host);

    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, LONGEST_RESPONSE).collect().await?;
        Ok::<_, BoxError>(Response::from_parts(head, body.to_bytes()))
    };
    let mut exchange = pin!(exchange);
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        response = &mut exchange => return response,
        ended = &mut connection => ended?,
    }
    exchange.await
}

/// What a collector answers to a request that it has taken. Some write JSON, whatever they were sent:
/// then it is not known what they have rejected.
#[cfg(feature = "otlp")]
pub(crate) fn read<R: Message + Default>(answer: &Response<Bytes>) -> Result<R, BoxError> {
    let content_type = answer.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.map_or(&b""[..], HeaderValue::as_bytes);
    let end = content_type.iter().position(|byte| b"; ".contains(byte));
    let essence = content_type.get(..end.unwrap_or(content_type.len()));
    if essence.is_some_and(|essence| essence.eq_ignore_ascii_case(b"application/json")) {
        return Ok(R::default());
    }
    R::decode(&answer.body()[..]).map_err(|_| {
        let status = answer.status();
        format!("it answers {status} with a body that is no OTLP").into()
    })
}

/// Collectors answer in a few bytes.
const LONGEST_RESPONSE: usize = 64 * 1024;
