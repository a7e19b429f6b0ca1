//! A server of HTTP/1 that says the bytes that the path asks for, right or wrong, and closes.

use std::net::SocketAddr;

use http::Request;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::telemetry::app::Seen;

pub(super) async fn serve(tls: Option<TlsAcceptor>, seen: Seen) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = socket.accept().await {
            let (tls, seen) = (tls.clone(), seen.clone());
            tokio::spawn(async move {
                match tls {
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(tcp).await {
                            speak(stream, &seen).await;
                        }
                    }
                    None => speak(tcp, &seen).await,
                }
            });
        }
    });
    address
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, seen: &Seen) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            // Where no HTTP comes, the caller begins with TLS.
            Ok(byte) if bytes.is_empty() && !byte.is_ascii_uppercase() => {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                return;
            }
            Ok(byte) => bytes.push(byte),
            Err(_) => return,
        }
    }
    let text = String::from_utf8(bytes).unwrap();
    let mut lines = text.trim_end().split("\r\n");
    let mut first = lines.next().unwrap().split(' ');
    let mut request = Request::builder()
        .method(first.next().unwrap())
        .uri(first.next().unwrap());
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        request = request.header(name, value.trim());
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    seen.keep(&head);
    let said = match head.uri.path() {
        "/close" => "",
        "/garbage" => "\u{1}\u{2} nonsense\r\n\r\n",
        "/half-head" => "HTTP/1.1 200 OK\r\ncontent-le",
        "/half-body" => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        "/half-chunk" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "/bad-chunk" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
        "/error" => "HTTP/1.1 500 Broken\r\nconnection: close\r\ncontent-length: 5\r\n\r\nsorry",
        "/old" => "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        _ => "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nsaid",
    };
    let _ = stream.write_all(said.as_bytes()).await;
    let _ = stream.shutdown().await;
}
