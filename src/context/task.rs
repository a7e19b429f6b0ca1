use std::cell::RefCell;

use super::Exchange;

thread_local! {
    static CURRENT: RefCell<Option<Exchange>> = const { RefCell::new(None) };
}

/// The exchange whose future or body is being polled on this thread, if any.
#[must_use]
pub fn current() -> Option<Exchange> {
    CURRENT.with_borrow(Clone::clone)
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
        Self(CURRENT.with_borrow_mut(|current| current.replace(exchange)))
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| *current = self.0.take());
    }
}
