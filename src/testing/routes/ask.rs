//! Sends one request, and tells a guard's refusal from every other answer.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use http::header::HOST;
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::time::timeout;
use tower_service::Service;

use super::answer::Answer;
use super::probes::Probe;
use crate::context::{Exchange, Peer};

/// Asks the service. `None` when a guard refused, as it must.
pub(super) async fn ask<S, B, R>(
    mut service: S,
    probe: &Probe,
    peer: &Peer,
    body: B,
) -> Option<Answer>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: fmt::Display,
{
    let mut request = Request::new(body);
    *request.method_mut() = probe.method.clone();
    *request.uri_mut() = probe.path.clone().into();
    let host = HeaderValue::from_static("localhost");
    request.headers_mut().insert(HOST, host);
    request.extensions_mut().insert(peer.clone());
    // Every guard shares this exchange, so it tells afterwards what they did.
    let exchange = Exchange::from_extensions(request.extensions_mut());
    let answer = async move {
        poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(request).await
    };
    match timeout(PATIENCE, contained(answer)).await {
        Ok(Ok(Ok(response))) => judge(response.status(), &exchange),
        Ok(Ok(Err(error))) => Some(Answer::Failed(error.to_string())),
        Ok(Err(_)) => Some(Answer::Panicked),
        Err(_) => Some(Answer::Silent),
    }
}

/// A guard that refuses leaves its details in the exchange, and so does a contained panic, which is
/// a 500.
fn judge(status: StatusCode, exchange: &Exchange) -> Option<Answer> {
    match exchange.details() {
        None => Some(Answer::NotRefused(status)),
        Some(_) if status.is_client_error() => None,
        Some(_) => Some(Answer::Replaced(status)),
    }
}

/// A handler that no guard protects may panic; the walk goes on.
async fn contained<F: Future>(future: F) -> thread::Result<F::Output> {
    let mut future = pin!(future);
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        },
    )
    .await
}

/// A guard answers at once; an unguarded handler may wait for something that never comes.
const PATIENCE: Duration = Duration::from_secs(30);
