//! One POST to a collector, on a connection of its own.

use std::pin::pin;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
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

/// Collectors answer in a few bytes.
const LONGEST_RESPONSE: usize = 64 * 1024;
