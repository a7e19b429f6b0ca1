use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Sleep, sleep};

use super::lifetime::{Ended, Lifetime};

/// When to cut a connection whose server or client cannot be told to end it: its [`Lifetime`], and then what is granted to finish.
pub struct Deadline(State);

enum State {
    Standing(Pin<Box<dyn Future<Output = Ended> + Send>>),
    Ending(Pin<Box<Sleep>>),
}

impl Deadline {
    /// The deadline of a connection.
    #[must_use]
    pub fn of(lifetime: Lifetime) -> Self {
        Self(State::Standing(Box::pin(lifetime.ended())))
    }

    /// Ready when the connection must be cut; tells once that it begins to end.
    pub fn poll_cut(&mut self, cx: &mut Context<'_>, tell: impl FnOnce(Ended)) -> Poll<()> {
        if let State::Standing(lifetime) = &mut self.0 {
            let ended = ready!(lifetime.as_mut().poll(cx));
            tell(ended);
            self.0 = State::Ending(Box::pin(sleep(ended.grace)));
        }
        match &mut self.0 {
            State::Standing(_) => Poll::Pending,
            State::Ending(grace) => grace.as_mut().poll(cx),
        }
    }

    /// Whether the connection has begun to end.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        matches!(self.0, State::Ending(_))
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline")
            .field("is_ending", &self.is_ending())
            .finish_non_exhaustive()
    }
}
