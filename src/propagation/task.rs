use std::sync::Arc;

use super::span::active::{self, Active, Open};
use super::span::attach::{Attached, Attachment};
use crate::context::{self, Exchange, Scope, TraceContext};

/// What is entered around each poll of a request's future and body, so that whatever runs inside
/// finds the request it runs for.
///
/// That is the current exchange of the task (see [`context::current`](crate::context::current)),
/// its current span, where that is recorded, and, with the feature `opentelemetry`, an
/// OpenTelemetry context with our ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Task {
    exchange: Option<Exchange>,
    active: Active,
    attachment: Attachment,
}

impl Task {
    pub(super) fn new(exchange: Option<Exchange>, trace: &TraceContext) -> Self {
        Self {
            exchange,
            active: Active::Unchanged,
            attachment: Attachment::new(trace),
        }
    }

    /// A request that comes in, or a span of it.
    pub(super) fn of_request(
        exchange: Exchange,
        trace: &TraceContext,
        span: Option<Arc<Open>>,
    ) -> Self {
        Self {
            active: Active::Span(span),
            ..Self::new(Some(exchange), trace)
        }
    }

    /// A request that a layer further out has traced.
    pub(super) fn within(exchange: Exchange) -> Self {
        Self {
            exchange: Some(exchange),
            ..Self::default()
        }
    }

    /// The request that this is called in, to enter it elsewhere; outside of any request, nothing.
    pub(super) fn current() -> Self {
        match context::current() {
            None => Self::default(),
            exchange => Self {
                exchange,
                active: Active::Span(active::current()),
                attachment: Attachment::current(),
            },
        }
    }

    /// The trace of a request that came in.
    pub(super) fn trace(&self) -> Option<&TraceContext> {
        self.exchange.as_ref()?.trace()
    }

    /// Enters the request until the guard is dropped: swaps of thread-locals, and a push on
    /// OpenTelemetry's stack.
    #[inline]
    pub(super) fn enter(&mut self) -> Entered<'_> {
        Entered {
            _attached: self.attachment.attach(),
            _lent: lend(&mut self.exchange, &mut self.active),
        }
    }

    /// Enters for a drop, in which OpenTelemetry's stack may already be gone.
    pub(super) fn enter_drop(&mut self) -> (Option<Attached>, Lent<'_>) {
        let attached = self.attachment.attach_for_drop();
        (attached, lend(&mut self.exchange, &mut self.active))
    }
}

#[inline]
fn lend<'a>(exchange: &'a mut Option<Exchange>, active: &'a mut Active) -> Lent<'a> {
    Lent {
        _span: active.lend(),
        _exchange: exchange.is_some().then(|| Scope::lend(exchange)),
    }
}

/// While this lives, the exchange and the span are the current ones.
#[derive(Debug)]
#[must_use]
pub(super) struct Lent<'a> {
    _span: Option<active::Lent<'a>>,
    _exchange: Option<context::Lent<'a>>,
}

/// While this lives, the request is the current one. Held around one poll, never across an await.
#[derive(Debug)]
#[must_use]
pub(super) struct Entered<'a> {
    _attached: Attached,
    _lent: Lent<'a>,
}
