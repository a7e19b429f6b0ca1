//! What a request waits for.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use super::answer::{Answer, catch, internal_error};
use crate::log_limit::limited;
use crate::message::{LocalReply, polled_too_late};

/// The future that a request waits for.
///
/// It is polled in the request's task, so calls that it makes belong to the request's trace. It is
/// dropped when the caller disconnects. It has no timeout of its own: the wait ends when the future
/// ends, when the caller disconnects, or when the grace period of a shutdown ends. Give it one: over
/// HTTP/1 the server does not notice a caller that disconnects after it has sent more of its body
/// than one piece, because nobody reads the connection while the request waits.
#[must_use = "a question asks nothing unless a guard returns it"]
pub struct Question(Kind);

/// The kinds of questions. The crate's own futures can become variants here, which need no box.
#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, reason = "only the mesh reads bodies")
)]
enum Kind {
    Boxed(Pin<Box<dyn Future<Output = Answer> + Send>>),
    /// The first bytes of the body are read before the question exists.
    OfBody(Option<Box<OfBody>>),
    Answered,
}

#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, reason = "only the mesh reads bodies")
)]
struct OfBody {
    max_bytes: usize,
    /// When the body has to be there.
    until: Option<Instant>,
    ask: Box<dyn FnOnce(BodyPrefix) -> Question + Send>,
}

/// The beginning of a request's body, as a question gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BodyPrefix {
    /// The bytes, as many as the question asked for at most.
    pub bytes: Bytes,
    /// Whether the body has no more bytes.
    pub is_whole: bool,
}

impl BodyPrefix {
    /// The beginning of a body, or all of it.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>, is_whole: bool) -> Self {
        Self {
            bytes: bytes.into(),
            is_whole,
        }
    }
}

impl Question {
    /// A question from any future. Boxing the future is the only allocation that a question needs.
    pub fn new(future: impl Future<Output = Answer> + Send + 'static) -> Self {
        Self(Kind::Boxed(Box::pin(future)))
    }

    /// A question about the beginning of the request's body.
    ///
    /// The mesh reads the body until it ends or more than `max_bytes` have come, and keeps what it
    /// has read for the application, which gets the whole body. Then `ask` makes the question. A
    /// body that breaks off before refuses the request with 400.
    ///
    /// Only a [`Mesh`](crate::Mesh) reads bodies. Behind a [`GuardLayer`](super::GuardLayer) the
    /// request is refused with 500 and the details `body_not_available`, because the layer must
    /// give its service the body that it got.
    pub fn of_body<F>(max_bytes: usize, ask: impl FnOnce(BodyPrefix) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self(Kind::OfBody(Some(Box::new(OfBody {
            max_bytes,
            until: None,
            ask: Box::new(|body| Self::new(ask(body))),
        }))))
    }

    /// Bounds the wait for the body: a request whose body comes later is refused with 408.
    #[cfg(all(feature = "server", feature = "client", feature = "external"))]
    pub(crate) fn body_until(mut self, until: Instant) -> Self {
        if let Kind::OfBody(Some(waiting)) = &mut self.0 {
            waiting.until = Some(until);
        }
        self
    }

    /// The bound on the wait for the body.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn body_deadline(&self) -> Option<Instant> {
        match &self.0 {
            Kind::OfBody(Some(waiting)) => waiting.until,
            Kind::OfBody(None) | Kind::Boxed(_) | Kind::Answered => None,
        }
    }

    /// How many bytes of the body the question has to get before it is polled.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn wanted_body(&self) -> Option<usize> {
        match &self.0 {
            Kind::OfBody(Some(waiting)) => Some(waiting.max_bytes),
            Kind::OfBody(None) | Kind::Boxed(_) | Kind::Answered => None,
        }
    }

    /// Gives the question the body that it [wants](Self::wanted_body).
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn give_body(&mut self, body: BodyPrefix) {
        if let Kind::OfBody(waiting) = &mut self.0
            && let Some(waiting) = waiting.take()
        {
            *self = catch(|| (waiting.ask)(body))
                .unwrap_or_else(|reply| Self::new(async { Answer::Refuse(reply) }));
        }
    }
}

impl Future for Question {
    type Output = Answer;

    /// A panic of the future, when it is polled or dropped, refuses the request.
    ///
    /// # Panics
    ///
    /// When it is polled after it was answered.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let polled = match &mut self.0 {
            Kind::Boxed(future) => catch(|| future.as_mut().poll(cx)),
            Kind::OfBody(_) => Err(without_body()),
            Kind::Answered => polled_too_late("Question"),
        };
        let answer = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(answer)) => Ok(answer),
            Err(reply) => Err(reply),
        };
        let dropped = catch(|| self.0 = Kind::Answered);
        Poll::Ready(match answer.and_then(|answer| dropped.map(|()| answer)) {
            Ok(answer) => answer,
            Err(reply) => Answer::Refuse(reply),
        })
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").finish_non_exhaustive()
    }
}

fn without_body() -> LocalReply {
    limited!(
        ERROR,
        "a guard asks about the body of a request behind a layer that cannot read it: \
         give the guard to the mesh"
    );
    internal_error("body_not_available")
}
