//! Cuts a connection at the end of its grace period.
//!
//! [`Deadline::poll_cut`] is polled before each read and write. It polls the lifetime first: each
//! notice starts a grace period or shortens the one that runs, and never extends it. Only the first
//! notice is passed on, so that a connection is counted and drained once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use super::close::CloseNotice;
use super::lifetime::Lifetime;
use super::when_woken::WhenWoken;

/// When to cut a connection that cannot be asked to finish by its server or client: at the end of
/// the grace period that follows the end of its [`Lifetime`]. The grace period gets shorter when an
/// identity on the connection stops being valid.
pub struct Deadline {
    lifetime: NextNotice,
    grace: Option<Pin<Box<Sleep>>>,
}

/// Polled before each read and write, and so only when it was woken.
type NextNotice = WhenWoken<Pin<Box<dyn Future<Output = (CloseNotice, Lifetime)> + Send>>>;

impl Deadline {
    /// The deadline of a connection.
    #[must_use]
    pub fn new(lifetime: Lifetime) -> Self {
        Self {
            lifetime: next_notice(lifetime),
            grace: None,
        }
    }

    /// Ready when the connection must be cut. Calls `tell` once, when the grace period begins.
    pub fn poll_cut(&mut self, cx: &mut Context<'_>, tell: impl FnOnce(CloseNotice)) -> Poll<()> {
        let mut tell = Some(tell);
        // A lifetime ends twice at most.
        while let Poll::Ready((ended, lifetime)) = Pin::new(&mut self.lifetime).poll(cx) {
            self.lifetime = next_notice(lifetime);
            let cut = Instant::now() + ended.grace;
            match &mut self.grace {
                Some(grace) if grace.deadline() <= cut => {}
                Some(grace) => grace.as_mut().reset(cut),
                None => {
                    self.grace = Some(Box::pin(sleep_until(cut)));
                    if let Some(tell) = tell.take() {
                        tell(ended);
                    }
                }
            }
        }
        match &mut self.grace {
            None => Poll::Pending,
            Some(grace) => grace.as_mut().poll(cx),
        }
    }
}

fn next_notice(mut lifetime: Lifetime) -> NextNotice {
    WhenWoken::new(Box::pin(async move {
        let ended = lifetime.ended().await;
        (ended, lifetime)
    }))
}

debug_fields!(Deadline(deadline) { is_ending = deadline.grace.is_some() });
