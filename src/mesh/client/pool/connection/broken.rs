//! How a connection broke under a call, in Envoy's words.

use std::error::Error;
use std::io;

use http::StatusCode;

use crate::message::ResponseFlags;

/// How a connection, or the stream of a call, ended too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mesh::client) enum Break {
    /// The connection ended.
    Ended,
    /// The server reset the stream.
    Reset,
    /// The server has not begun with the call, and says so.
    Refused,
    /// We reset the stream.
    LocalReset,
    /// What the server sent is no HTTP.
    Protocol,
}

impl Break {
    pub(in crate::mesh::client) fn of(error: &hyper::Error) -> Self {
        if error.is_parse() {
            return Self::Protocol;
        }
        let mut source = error.source();
        while let Some(error) = source {
            if let Some(error) = error.downcast_ref::<h2::Error>() {
                return Self::of_http2(error);
            }
            source = error.source();
        }
        Self::Ended
    }

    fn of_http2(error: &h2::Error) -> Self {
        match (error.is_reset(), error.is_remote()) {
            (true, true) if error.reason() == Some(h2::Reason::REFUSED_STREAM) => Self::Refused,
            (true, true) => Self::Reset,
            // h2 resets a stream, or ends the connection, whose frames are against the protocol.
            (_, false) if error.reason() == Some(h2::Reason::PROTOCOL_ERROR) => Self::Protocol,
            (true, false) => Self::LocalReset,
            (false, _) => Self::Ended,
        }
    }

    /// How the body of a response broke. Only HTTP/2 knows how its streams end: to HTTP/1 each early
    /// end by the server is against the protocol, as in Envoy.
    pub(in crate::mesh::client) fn of_body(error: &hyper::Error) -> Self {
        let mut source = error.source();
        while let Some(error) = source {
            if let Some(error) = error.downcast_ref::<h2::Error>() {
                return Self::of_http2(error);
            }
            if let Some(error) = error.downcast_ref::<io::Error>()
                && error.kind() == io::ErrorKind::ConnectionAborted
            {
                // We have cut it, because of its age or an identity on it. To Envoy a connection that
                // either end closes has ended.
                return Self::Ended;
            }
            source = error.source();
        }
        Self::Protocol
    }

    pub(in crate::mesh::client) fn flag(self) -> ResponseFlags {
        match self {
            Self::Ended => ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
            Self::Reset | Self::Refused => ResponseFlags::UPSTREAM_RESET,
            Self::LocalReset => ResponseFlags::LOCAL_RESET,
            Self::Protocol => ResponseFlags::UPSTREAM_PROTOCOL_ERROR,
        }
    }

    /// What stands in braces behind `upstream_reset_before_response_started`.
    pub(in crate::mesh::client) fn details(self) -> &'static str {
        match self {
            Self::Ended => "connection_termination",
            Self::Reset => "remote_reset",
            Self::Refused => "remote_refused_stream_reset",
            Self::LocalReset => "local_reset",
            Self::Protocol => "protocol_error",
        }
    }

    /// Envoy's response code details where the response had begun.
    pub(in crate::mesh::client) fn details_of_body(self) -> &'static str {
        match self {
            Self::Ended => "upstream_reset_after_response_started{connection_termination}",
            Self::Reset => "upstream_reset_after_response_started{remote_reset}",
            Self::Refused => "upstream_reset_after_response_started{remote_refused_stream_reset}",
            Self::LocalReset => "upstream_reset_after_response_started{local_reset}",
            Self::Protocol => "upstream_reset_after_response_started{protocol_error}",
        }
    }

    /// What Envoy answers with.
    pub(in crate::mesh::client) fn status(self) -> StatusCode {
        match self {
            Self::Protocol => StatusCode::BAD_GATEWAY,
            Self::Ended | Self::Reset | Self::Refused | Self::LocalReset => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    use bytes::Bytes;
    use http::Request;
    use http_body_util::{BodyExt, Empty};
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex, join};

    use super::*;

    /// Ends with this error.
    struct Ending(DuplexStream, io::ErrorKind);

    impl AsyncRead for Ending {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.0).poll_read(cx, buffer))?;
            Poll::Ready(match buffer.filled().len() > before {
                true => Ok(()),
                false => Err(self.1.into()),
            })
        }
    }

    /// Envoy's `CodecClient` resets the streams of a connection that it closes itself as those of one
    /// that the server closes; where the server closes it, HTTP/1 lacks the rest of the body.
    #[tokio::test]
    async fn a_response_on_a_connection_that_we_cut_has_ended() {
        for (kind, expected) in [
            (io::ErrorKind::ConnectionAborted, Break::Ended),
            (io::ErrorKind::ConnectionReset, Break::Protocol),
        ] {
            let (answers, mut answering) = duplex(1024);
            let (mut requests, requesting) = duplex(1024);
            let near = TokioIo::new(join(Ending(answers, kind), requesting));
            let (mut sender, connection) = http1::handshake(near).await.unwrap();
            tokio::spawn(connection);
            tokio::spawn(async move {
                let mut byte = [0];
                requests.read_exact(&mut byte).await.unwrap();
                let half = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
                answering.write_all(half).await.unwrap();
                drop(answering);
                // What is written goes on to be taken.
                let _ = requests.read_to_end(&mut Vec::new()).await;
            });
            let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
            let body = sender.send_request(request).await.unwrap().into_body();
            let error = body.collect().await.unwrap_err();
            assert_eq!(Break::of_body(&error), expected, "{error:?}");
        }
    }
}
