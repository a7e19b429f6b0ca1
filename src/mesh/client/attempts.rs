//! Makes one or more attempts at a call: bounds their time, resends the call where that is safe,
//! and replays its body.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::uri::Authority;
use http_body::Body;
use pin_project::pin_project;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

pub(super) use self::attempt::Route;
use self::attempt::{Attempt, Failed, attempt};
use self::resend::{Cause, Resend, RetryDecision};
use super::body::outgoing::ClientBody;
use super::body::replay::Unsent;
use super::body::streamed::{BoxError, streamed};
use super::deadline::Told;
use super::error::ClientError;
use super::head_timeout::HeadTimeout;
use super::pool::endpoint::Answer;

mod attempt;
mod resend;

/// The attempts of one call, up to the head of its response.
#[pin_project]
#[derive(Debug)]
pub(super) struct Attempts {
    #[pin]
    state: State,
    #[pin]
    deadline: HeadTimeout,
    policy: Resend,
    replay: Option<Box<Replay>>,
    /// Named in errors.
    authority: Option<Authority>,
    /// Whether the call was sent more than once.
    is_resent: bool,
}

#[pin_project(project = StateProj)]
enum State {
    Sending(Attempt),
    /// Waits for the sent request to come back so that it can be sent again. If it cannot, the call
    /// fails with this error.
    TakingBack(Option<Failed>),
    Ended,
}

/// What is needed to send a call again.
struct Replay {
    route: Route,
    head: Request<()>,
    /// What the headers tell the server of the time.
    told: Option<Told>,
    /// Delivers the body once the previous attempt has dropped it; `None` for a call without a
    /// body.
    body: Option<oneshot::Receiver<Unsent>>,
    /// How long to wait for that delivery.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Attempts {
    pub(super) fn new<B>(route: Route, request: Request<B>, deadline: HeadTimeout) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let authority = request.uri().authority().cloned();
        let policy = Resend::new(route.is_http2);
        let (head, body) = request.into_parts();
        // Only a policy that may resend the call pays for keeping it.
        let (attempt, replay) = if policy.keeps_request() {
            let unsent = streamed(body).map(Unsent::whole);
            let told = Told::read(&head.headers);
            let head = Request::from_parts(head, ());
            let (attempt, replay) = Replay::begin(route, head, told, unsent);
            (attempt, Some(replay))
        } else {
            let request = Request::from_parts(head, ClientBody::stream(body));
            (attempt(route, request), None)
        };
        Self {
            state: State::Sending(attempt),
            deadline,
            policy,
            replay,
            authority,
            is_resent: false,
        }
    }

    fn poll_attempts(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Answer, Failed>> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Sending(attempt) => {
                    let error = match ready!(attempt.as_mut().poll(cx)) {
                        Ok(answer) => return Poll::Ready(Ok(answer)),
                        Err(error) => error,
                    };
                    match this.policy.decide(Cause::from(&error)) {
                        RetryDecision::GiveUp => return Poll::Ready(Err(error)),
                        RetryDecision::Resend => this.state.set(State::TakingBack(Some(error))),
                    }
                }
                StateProj::TakingBack(error) => {
                    let unsent = match this.replay.as_mut() {
                        Some(replay) => ready!(replay.poll_unsent(cx)),
                        None => Err(Gone),
                    };
                    let (Ok(unsent), Some(replay)) = (unsent, this.replay.take()) else {
                        return Poll::Ready(Err(error.take().unwrap_or(Failed::Ended)));
                    };
                    let Replay {
                        route,
                        mut head,
                        told,
                        ..
                    } = *replay;
                    if let Some(told) = told {
                        told.again(head.headers_mut());
                    }
                    let (attempt, replay) = Replay::begin(route, head, told, unsent);
                    *this.replay = Some(replay);
                    *this.is_resent = true;
                    this.state.set(State::Sending(attempt));
                }
                StateProj::Ended => return Poll::Ready(Err(Failed::Ended)),
            }
        }
    }
}

impl Future for Attempts {
    type Output = Result<Answer, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.as_mut().poll_attempts(cx);
        let mut this = self.project();
        let authority = this.authority.as_ref();
        let result = match polled {
            Poll::Ready(result) => result.map_err(|error| {
                let error = error.of_call_to(authority);
                match *this.is_resent {
                    true => error.after_retries(true),
                    false => error,
                }
            }),
            Poll::Pending => {
                let over = ready!(this.deadline.as_mut().poll_over(cx));
                Err(ClientError::timeout(authority, over))
            }
        };
        // Dropping the sent request cancels it at the server.
        this.state.set(State::Ended);
        *this.replay = None;
        Poll::Ready(result)
    }
}

/// The body cannot be sent again.
struct Gone;

impl Replay {
    /// Starts an attempt, and keeps what the next attempt would need.
    fn begin(
        route: Route,
        head: Request<()>,
        told: Option<Told>,
        unsent: Option<Unsent>,
    ) -> (Attempt, Box<Self>) {
        let mut copy = Request::new(());
        *copy.method_mut() = head.method().clone();
        *copy.uri_mut() = head.uri().clone();
        *copy.version_mut() = head.version();
        *copy.headers_mut() = head.headers().clone();
        let (body, again) = match unsent.map(ClientBody::replay) {
            Some((body, again)) => (body, Some(again)),
            None => (ClientBody::empty(), None),
        };
        let replay = Self {
            route: route.clone(),
            head: copy,
            told,
            body: again,
            patience: None,
        };
        (attempt(route, head.map(|()| body)), Box::new(replay))
    }

    /// What is left to send. The task that was sending it drops it shortly after the failure.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Unsent>, Gone>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Ok(None));
        };
        let patience = self
            .patience
            .get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        if patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Gone));
        }
        let unsent = ready!(Pin::new(body).poll(cx));
        Poll::Ready(unsent.map(Some).map_err(|_| Gone))
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sending(_) => "Sending",
            Self::TakingBack(_) => "TakingBack",
            Self::Ended => "Ended",
        })
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").finish_non_exhaustive()
    }
}

const PATIENCE: Duration = Duration::from_secs(1);
