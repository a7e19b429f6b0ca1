use std::cell::Cell;
use std::mem;

use super::{Exchange, TraceContext};

thread_local! {
    static CURRENT: Cell<Option<Exchange>> = const { Cell::new(None) };
}

/// The exchange whose future or body is being polled on this thread, if any.
#[must_use]
pub fn current() -> Option<Exchange> {
    read(Exchange::clone)
}

/// The place in its trace of the request that is being polled on this thread, if there is one: what
/// a log line prints.
///
/// ```
/// use tower_mesh::context;
///
/// match context::current_trace() {
///     Some(trace) => println!("trace_id={} reading a chart", trace.trace_id),
///     None => println!("reading a chart outside of any request"),
/// }
/// ```
#[must_use]
pub fn current_trace() -> Option<TraceContext> {
    read(|exchange| exchange.trace().cloned()).flatten()
}

fn read<T>(ask: impl FnOnce(&Exchange) -> T) -> Option<T> {
    // `try_with`: a future may be dropped while its thread ends, when the cell is gone.
    CURRENT
        .try_with(|cell| {
            let current = cell.take();
            let answer = current.as_ref().map(ask);
            cell.set(current);
            answer
        })
        .ok()
        .flatten()
}

/// Makes an exchange the current one until it is dropped; the one before is then current again.
///
/// Held around one poll, never across an await.
#[derive(Debug)]
pub struct Scope(Option<Exchange>);

impl Scope {
    /// Enters the exchange.
    #[must_use]
    pub fn enter(exchange: Exchange) -> Self {
        let mut slot = Some(exchange);
        swap(&mut slot);
        Self(slot)
    }

    /// Enters the exchange that the slot holds, if any, and gives it back when the scope ends: a
    /// swap, no count of references.
    ///
    /// ```
    /// use tower_mesh::context::{self, Exchange, Scope};
    ///
    /// let mut exchange = Some(Exchange::default());
    /// {
    ///     let _scope = Scope::lend(&mut exchange);
    ///     assert!(context::current().is_some());
    /// }
    /// assert!(context::current().is_none());
    /// assert!(exchange.is_some());
    /// ```
    pub fn lend(slot: &mut Option<Exchange>) -> Lent<'_> {
        swap(slot);
        Lent(slot)
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        swap(&mut self.0);
    }
}

/// An exchange that [`Scope::lend`] made the current one.
#[derive(Debug)]
#[must_use]
pub struct Lent<'a>(&'a mut Option<Exchange>);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        swap(self.0);
    }
}

fn swap(slot: &mut Option<Exchange>) {
    let _ = CURRENT.try_with(|cell| {
        let before = cell.replace(mem::take(slot));
        *slot = before;
    });
}
