//! The question of all limits of a stage: each service is asked at the same time, once for all
//! descriptors of its limit.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::HeaderName;
use http::request::Parts;

use crate::context::Exchange;
use crate::guard::{Answer, Question};
use crate::log_limit::limited;
use crate::matcher::header;
use crate::message::LocalReply;
use crate::rate_limit::actions::LimitRequest;
use crate::rate_limit::bucket::Level;
use crate::rate_limit::counts::Outcome;
use crate::rate_limit::headers;
use crate::rate_limit::running::RunningLimit;
use crate::rate_limit::service::{
    CountingService, Decided, RateLimitRequest, ServiceCounter, Unanswered, Windows, message,
};
use crate::refusal_log;

/// What asks a service about one request.
type Call = Pin<Box<dyn Future<Output = Asked> + Send>>;

/// How services are asked.
#[derive(Clone, Copy)]
pub(crate) struct Counting<'a> {
    pub(crate) service: &'a Arc<dyn CountingService>,
    /// The request headers that guards of this crate set from tokens: a service may not set them,
    /// also where the request has no token.
    pub(crate) written: &'a Arc<[HeaderName]>,
}

/// The answer of one limit.
struct Asked {
    limit: Arc<RunningLimit>,
    counter: Arc<ServiceCounter>,
    written: Arc<[HeaderName]>,
    result: Result<Decided, Unanswered>,
}

/// What these limits ask their services about a request; `None` if none of them has a descriptor
/// for it. `deadline` is what the request itself has left.
pub(super) fn question(
    limits: &[Arc<RunningLimit>],
    request: LimitRequest<'_>,
    counting: Counting<'_>,
    deadline: Option<Duration>,
) -> Option<Question> {
    let calls = limits.iter().filter_map(|limit| {
        let counter = limit.service()?;
        let domain = &limit.limit().spec.service.as_ref()?.domain;
        let message = message(domain, limit.actions(), request)?;
        let asked = Asked {
            limit: Arc::clone(limit),
            counter: Arc::clone(counter),
            written: Arc::clone(counting.written),
            result: Err(Unanswered::new("it was not asked")),
        };
        Some(call(asked, Arc::clone(counting.service), message, deadline))
    });
    let calls: Vec<_> = calls.collect();
    if calls.is_empty() {
        return None;
    }
    Some(Question::new(async {
        let asked = all(calls).await;
        Answer::change(move |head, exchange| apply(asked, head, exchange))
    }))
}

fn call(
    mut asked: Asked,
    service: Arc<dyn CountingService>,
    message: RateLimitRequest,
    deadline: Option<Duration>,
) -> Call {
    Box::pin(async move {
        asked.result = asked.counter.ask(&*service, message, deadline).await;
        asked
    })
}

/// Waits for all calls; each has its own bound. The results keep their order.
async fn all(mut calls: Vec<Call>) -> Vec<Asked> {
    let mut asked: Vec<Option<Asked>> = calls.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut is_ready = true;
        for (call, asked) in calls.iter_mut().zip(&mut asked) {
            if asked.is_none() {
                match call.as_mut().poll(cx) {
                    Poll::Ready(result) => *asked = Some(result),
                    Poll::Pending => is_ready = false,
                }
            }
        }
        match is_ready {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    asked.into_iter().flatten().collect()
}

/// Counts all answers, and changes the request as they say.
///
/// # Errors
///
/// The refusal of the first limit that refuses.
fn apply(asked: Vec<Asked>, head: &mut Parts, exchange: &Exchange) -> Result<(), LocalReply> {
    let mut refusal = None;
    for asked in asked {
        let reply = asked.apply(head, exchange, refusal.is_some());
        refusal = refusal.or(reply);
    }
    refusal.map_or(Ok(()), Err)
}

impl Asked {
    /// Counts the answer, and changes the request; `Some` is its refusal. `is_refused`: another
    /// limit has refused the request.
    fn apply(self, head: &mut Parts, exchange: &Exchange, is_refused: bool) -> Option<LocalReply> {
        let (limit, counter) = (&*self.limit, &*self.counter);
        let spec = &limit.limit().spec;
        // What a service says may not pass for what the token guard has verified.
        let is_written = |name: &HeaderName| {
            let mut written = self.written.iter();
            written.any(|written| header::is_same_name(written.as_str(), name.as_str()))
        };
        let is_output =
            |decided: &Decided| !decided.is_over && decided.request_headers.keys().any(is_written);
        let result = self.result.and_then(|decided| match is_output(&decided) {
            true => Err(Unanswered::new("it sets a header of the verified token")),
            false => Ok(decided),
        });
        let mut decided = match result {
            Ok(decided) => decided,
            Err(why) => {
                limit.counts().add(Outcome::Error);
                let refusal = counter.unanswered(&why).filter(|_| !spec.report_only);
                limited!(
                    target: "tower_mesh::rate_limit",
                    WARN,
                    limit = %limit.counts().name(),
                    error = %why,
                    passes = refusal.is_none(),
                    "a rate limit service gave no answer"
                );
                return refusal;
            }
        };
        if spec.x_ratelimit_headers
            && let Some(Windows { level, limit }) = decided.windows.take()
        {
            let shown = head.extensions.get::<Level>();
            let is_least = shown.is_none_or(|shown| level.left < shown.left);
            if is_least || (decided.is_over && !is_refused) {
                headers::show_as(exchange, limit, &level);
                head.extensions.insert(level);
            }
        }
        if !decided.is_over {
            limit.counts().add(Outcome::Ok);
            for (name, value) in &decided.request_headers {
                head.headers.append(name, value.clone());
            }
            for (name, value) in &decided.response_headers {
                exchange.append_response_header(name.clone(), value.clone());
            }
            return None;
        }
        if spec.report_only {
            limit.counts().add(Outcome::ReportOnly);
            refusal_log::limit_reported(head, exchange, limit.counts().name());
            head.headers.extend(limit.not_enforced_headers().clone());
            return None;
        }
        limit.counts().add(Outcome::Limited);
        Some(counter.over_limit(spec, decided))
    }
}
