use super::span::attach::{Attached, Attachment};
use crate::context::{Exchange, Lent, Scope, TraceContext};

/// What is entered around each poll of a request's future and body, so that whatever runs inside
/// finds the request it runs for.
///
/// That is the current exchange of the task (see [`context::current`](crate::context::current))
/// and, with the feature `opentelemetry`, an OpenTelemetry context with our ids.
#[derive(Debug, Default)]
pub(super) struct Task {
    exchange: Option<Exchange>,
    attachment: Attachment,
}

impl Task {
    pub(super) fn new(exchange: Option<Exchange>, trace: &TraceContext) -> Self {
        Self {
            exchange,
            attachment: Attachment::new(trace),
        }
    }

    /// A request that a layer further out has traced.
    pub(super) fn within(exchange: Exchange) -> Self {
        Self {
            exchange: Some(exchange),
            attachment: Attachment::default(),
        }
    }

    /// The trace of a request that came in.
    pub(super) fn trace(&self) -> Option<&TraceContext> {
        self.exchange.as_ref()?.trace()
    }

    /// Enters the request until the guard is dropped: a swap of a thread-local, and a push on
    /// OpenTelemetry's stack.
    #[inline]
    pub(super) fn enter(&mut self) -> Entered<'_> {
        Entered {
            _attached: self.attachment.attach(),
            _lent: self.lend(),
        }
    }

    /// Enters for a drop, in which OpenTelemetry's stack may already be gone.
    pub(super) fn enter_drop(&mut self) -> Option<Lent<'_>> {
        self.lend()
    }

    #[inline]
    fn lend(&mut self) -> Option<Lent<'_>> {
        self.exchange
            .is_some()
            .then(|| Scope::lend(&mut self.exchange))
    }
}

/// While this lives, the request is the current one. Held around one poll, never across an await.
#[derive(Debug)]
#[must_use]
pub(super) struct Entered<'a> {
    _attached: Attached,
    _lent: Option<Lent<'a>>,
}
