//! The exchange of the request that the current thread is polling.

use std::cell::Cell;
use std::mem;

use super::{Exchange, TraceContext};

thread_local! {
    static CURRENT: Cell<Option<Exchange>> = const { Cell::new(None) };
}

/// The exchange whose future or body this thread is polling, if any.
#[must_use]
pub fn current() -> Option<Exchange> {
    read(Exchange::clone)
}

/// The trace context of the request that this thread is polling, if there is one. Log lines can
/// print it.
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
    // `try_with`: a future may be dropped while its thread ends, when the thread-local is gone.
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

/// Makes an exchange the current one until the scope is dropped; the previous one is then current
/// again.
///
/// Hold it around one poll, never across an await.
#[derive(Debug)]
pub struct Scope(Option<Exchange>);

impl Scope {
    /// Makes the exchange the current one.
    #[must_use]
    pub fn enter(exchange: Exchange) -> Self {
        let mut slot = Some(exchange);
        swap(&mut slot);
        Self(slot)
    }

    /// Makes the exchange in the slot the current one, if there is one, and returns it to the slot
    /// when the scope ends. This swaps values and changes no reference count.
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
    #[inline]
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
    #[inline]
    fn drop(&mut self) {
        swap(self.0);
    }
}

#[inline]
fn swap(slot: &mut Option<Exchange>) {
    let _ = CURRENT.try_with(|cell| {
        let before = cell.replace(mem::take(slot));
        *slot = before;
    });
}
