//! Callers that are not of the mesh, or behave as if they were not.

use std::error::Error;
use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tower_mesh::identity::SpiffeId;
use tower_mesh::testing::Pki;
use tower_mesh::tls::{Connector, Credentials, Destination, OneWayConnector, Protocol, Settings};

type BoxError = Box<dyn Error + Send + Sync>;

/// A call over mutual TLS by a client that knows nothing of traces and metrics.
pub async fn call(
    credentials: &Credentials,
    (address, id): (SocketAddr, SpiffeId),
    request: Request<Body>,
) -> Result<Response<hyper::body::Incoming>, BoxError> {
    let is_http2 = request.version() == Version::HTTP_2;
    let protocol = if is_http2 {
        Protocol::Http2
    } else {
        Protocol::Http1
    };
    let destination = Destination::new([id], "localhost", protocol)?;
    let (stream, _) = Connector::new(credentials.clone())
        .connect(address, &destination)
        .await?;
    let stream = TokioIo::new(stream);
    if is_http2 {
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(connection);
        return Ok(client.send_request(request).await?);
    }
    let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    Ok(client.send_request(request).await?)
}

/// What a client gets that speaks plain HTTP: the status, or that nothing came back.
pub async fn plaintext(address: SocketAddr) -> Result<String, BoxError> {
    Ok(first_line(TcpStream::connect(address).await?).await)
}

/// What a client gets that speaks TLS and shows no certificate.
pub async fn without_certificate(address: SocketAddr, pki: &Pki) -> Result<String, BoxError> {
    let connector = OneWayConnector::with_roots(&Settings::default(), pki.root_pem().as_bytes())?;
    Ok(match connector.connect(address, "localhost").await {
        Ok(stream) => first_line(stream).await,
        Err(_) => REFUSED.to_owned(),
    })
}

/// Sends a request and reads what comes: in TLS 1.3 a client learns only then that its handshake was refused.
async fn first_line(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let request =
        b"GET /patients/7 HTTP/1.1\r\nhost: patients.default\r\nconnection: close\r\n\r\n";
    let mut answer = Vec::new();
    if stream.write_all(request).await.is_ok() {
        // An error is an answer, too: whatever came before it counts.
        let _ = stream.read_to_end(&mut answer).await;
    }
    let text = String::from_utf8_lossy(&answer);
    text.split(' ').nth(1).unwrap_or(REFUSED).to_owned()
}

/// The connection was not accepted: there was no HTTP answer.
pub const REFUSED: &str = "refused";
