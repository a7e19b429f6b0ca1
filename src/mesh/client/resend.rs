use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Request;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use super::body::replay::Left;
use super::error::ClientError;
use super::pool::pools::Sending;
use super::service::Outbound;
use crate::mesh::ClientBody;

/// A call over HTTP/2 that can be sent once more, as nothing of it was seen by the server.
pub(super) struct Again {
    outbound: Arc<Outbound>,
    head: Request<()>,
    /// What is sent again, once the first body was dropped; `None` for no body.
    body: Option<oneshot::Receiver<Left>>,
    /// For that to happen.
    patience: Option<Pin<Box<Sleep>>>,
    chances: Chances,
    /// How many connections had failed when the call was sent.
    failures: u64,
}

/// How often something may be tried once more.
#[derive(Clone, Copy)]
pub(super) struct Chances {
    /// After a server that has touched nothing.
    sends: u32,
    /// After another call that gave up while it made the connection.
    connections: u32,
}

/// What may be done about an error.
pub(super) enum Remedy {
    Send,
    None,
    /// This is what it was.
    Tell(ClientError),
}

impl Chances {
    pub(super) const USUAL: Self = Self {
        // One connection that goes away is common, one after the other is not.
        sends: 3,
        // Calls with short timeouts give up one after the other where connections are slow.
        connections: 32,
    };
}

impl Again {
    /// A request that can be sent again.
    pub(super) fn keep(
        outbound: &Arc<Outbound>,
        head: Request<()>,
        left: Option<Left>,
        chances: Chances,
    ) -> (Request<ClientBody>, Box<Self>) {
        let mut copy = Request::new(());
        *copy.method_mut() = head.method().clone();
        *copy.uri_mut() = head.uri().clone();
        *copy.version_mut() = head.version();
        *copy.headers_mut() = head.headers().clone();
        let (body, left) = match left.map(ClientBody::kept) {
            Some((body, left)) => (body, Some(left)),
            None => (ClientBody::empty(), None),
        };
        let again = Self {
            outbound: Arc::clone(outbound),
            head: copy,
            body: left,
            patience: None,
            chances,
            failures: outbound.pools.failures().count(),
        };
        (head.map(|()| body), Box::new(again))
    }

    pub(super) fn remedy(&mut self, error: &ClientError) -> Remedy {
        let chances = if error.is_abandoned() {
            let authority = self.head.uri().authority();
            let authority = authority.map_or("", |authority| authority.as_str());
            let failures = self.outbound.pools.failures();
            if let Some(reason) = failures.since(authority, self.failures) {
                return Remedy::Tell(ClientError::connect(reason));
            }
            &mut self.chances.connections
        } else if error.is_untouched() {
            &mut self.chances.sends
        } else {
            return Remedy::None;
        };
        match chances.checked_sub(1) {
            Some(left) => {
                *chances = left;
                Remedy::Send
            }
            None => Remedy::None,
        }
    }

    /// Sends it; `None` when the body cannot be had again.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Sending, Box<Self>)>> {
        let left = match &mut self.body {
            None => None,
            Some(left) => {
                // The task that was sending it notices a moment later.
                let patience = self
                    .patience
                    .get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
                if patience.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                match ready!(Pin::new(left).poll(cx)) {
                    Ok(left) => Some(left),
                    Err(_) => return Poll::Ready(None),
                }
            }
        };
        let head = std::mem::take(&mut self.head);
        let (request, again) = Self::keep(&self.outbound, head, left, self.chances);
        let sending = self.outbound.pools.send(request, true);
        Poll::Ready(Some((sending, again)))
    }
}

impl fmt::Debug for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Again").finish_non_exhaustive()
    }
}

const PATIENCE: Duration = Duration::from_secs(1);
