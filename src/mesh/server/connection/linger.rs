//! The last moment of a served connection, when we have said all and its client may still write.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::tls::TimeLimit;

/// Reads on, and drops what comes, until the client closes the connection, too.
///
/// A socket that is closed with bytes to read, or that gets bytes afterwards, resets the connection
/// (RFC 9112 §9.6). A client that was about to write, if only an HTTP/2 frame of housekeeping, would
/// see its write fail, and might then drop the last responses unread. Envoy's
/// `delayed_close_timeout` has the same purpose and the same length.
#[derive(Debug)]
pub(super) struct Linger {
    until: Instant,
    limit: TimeLimit,
}

impl Linger {
    pub(super) fn begin() -> Self {
        Self {
            until: Instant::now() + LONGEST,
            limit: TimeLimit::default(),
        }
    }

    /// Ready when the client has closed the connection, or has had its time.
    pub(super) fn poll<T: AsyncRead + Unpin>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 1024];
        // Looks at the clock each time, as a client may always have something to read.
        while Instant::now() < self.until {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => break,
                Poll::Pending => return self.limit.poll(LONGEST, cx).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }
}

const LONGEST: Duration = Duration::from_secs(1);
