//! Judges a request, and keeps it while it waits for a guard's question.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use http::request::Parts;
use http_body::Body;
use tokio::time::{Sleep, sleep_until};

use super::inbound::Inbound;
use super::record::Record;
use super::steps::{Halt, Judged, Way};
use crate::context::Exchange;
use crate::guard::{BodyPrefix, Question};
use crate::live::{Loaded, Snapshot};
use crate::mesh::config::live::CompiledInbound;
use crate::message::{CountingBody, GrpcStatus, LocalReply, OnEnd as _};

/// The result of judging a request.
pub(super) enum Outcome {
    Pass,
    Refuse(LocalReply),
    Wait(Waiting),
}

/// Judges a request that has just come in, by this generation of configuration.
pub(super) fn judge(
    inbound: &Inbound,
    config: Loaded<CompiledInbound>,
    mut way: Way,
    head: &mut Parts,
    exchange: &Exchange,
    record: &mut Record,
) -> Outcome {
    way.started = record.started();
    let judged = Judged {
        inbound,
        config: &config,
        head,
        exchange,
        way: &mut way,
    };
    match judged.run(record) {
        Ok(()) => Outcome::Pass,
        Err(Halt::Refuse(reply)) => Outcome::Refuse(reply),
        Err(Halt::Ask(question)) => Outcome::Wait(Waiting {
            question,
            body_timer: None,
            way,
            config: config.into_snapshot(),
        }),
    }
}

/// A request that waits for an answer. It keeps the generation of configuration that judges it.
#[derive(Debug)]
pub(super) struct Waiting {
    question: Question,
    /// Bounds the wait for the body, once the question waits for it.
    body_timer: Option<Pin<Box<Sleep>>>,
    way: Way,
    config: Snapshot<CompiledInbound>,
}

impl Waiting {
    /// Waits for the answer, runs the steps behind, and waits for their questions, too. The error
    /// is the refusal.
    ///
    /// The question is polled within the request's trace.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        inbound: &Inbound,
        head: &mut Parts,
        body: &mut CountingBody<impl Body + 'static>,
        exchange: &Exchange,
        record: &mut Record,
    ) -> Poll<Result<(), LocalReply>> {
        loop {
            if let Some(max_bytes) = self.question.wanted_body() {
                match body.poll_read_ahead(cx, max_bytes) {
                    Poll::Ready(Some((bytes, is_whole))) => {
                        self.body_timer = None;
                        let question = &mut self.question;
                        record.within(|| question.give_body(BodyPrefix::new(bytes, is_whole)));
                    }
                    Poll::Ready(None) => {
                        let reply = body_incomplete();
                        return Poll::Ready(Err(self.without_body(reply, inbound, head, exchange)));
                    }
                    Poll::Pending => {
                        ready!(self.poll_body_late(cx));
                        let reply = body_late();
                        return Poll::Ready(Err(self.without_body(reply, inbound, head, exchange)));
                    }
                }
            }
            let question = Pin::new(&mut self.question);
            let changed = ready!(record.within(|| {
                let answer = question.poll(cx);
                answer.map(|answer| answer.apply(head, exchange))
            }));
            let judged = Judged {
                inbound,
                config: &self.config,
                head,
                exchange,
                way: &mut self.way,
            };
            if let Err(reply) = changed {
                judged.refused(&reply);
                return Poll::Ready(Err(reply));
            }
            match judged.run(record) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(Halt::Refuse(reply)) => return Poll::Ready(Err(reply)),
                Err(Halt::Ask(question)) => self.question = question,
            }
        }
    }

    /// Ready once the body should have been there.
    fn poll_body_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.question.body_deadline() else {
            return Poll::Pending;
        };
        let timer = || Box::pin(sleep_until(until.into()));
        self.body_timer.get_or_insert_with(timer).as_mut().poll(cx)
    }

    /// Refuses a request whose beginning of a body a guard could not see.
    fn without_body(
        &mut self,
        reply: LocalReply,
        inbound: &Inbound,
        head: &mut Parts,
        exchange: &Exchange,
    ) -> LocalReply {
        let judged = Judged {
            inbound,
            config: &self.config,
            head,
            exchange,
            way: &mut self.way,
        };
        judged.refused(&reply);
        reply
    }
}

/// The body has broken off.
fn body_incomplete() -> LocalReply {
    LocalReply::new(StatusCode::BAD_REQUEST, "", "request_body_incomplete")
}

/// The body takes longer than the question about it may.
fn body_late() -> LocalReply {
    const DEADLINE_EXCEEDED: GrpcStatus = GrpcStatus::new(4);
    LocalReply::new(StatusCode::REQUEST_TIMEOUT, "", "request_body_timeout")
        .grpc_status(DEADLINE_EXCEEDED)
}
