//! Questions that are out: who asks the same waits for their answer.

use tokio::sync::watch;

use super::key::Key;
use crate::bounded_cache::weight::{self, Weigh};
use crate::bounded_cache::{BoundedCache, Look, Standing};

/// How many questions can be waited for, and the bytes of their keys. Others are asked each.
const MOST: usize = 1_024;
const MOST_BYTES: usize = 1 << 20;

/// The questions that are out. Requests that come before the answer wait for it, so that the end of
/// a decision's time does not send all its requests to the provider at once.
#[derive(Debug)]
pub(super) struct Flights(BoundedCache<Flight>);

struct Flight {
    key: Box<[u8]>,
    answered: Answered,
}

/// Changes to `true` when a question has its answer, and closes when its request has gone away.
pub(super) type Answered = watch::Receiver<bool>;

/// The place of a request among those that ask the same.
pub(super) enum Place {
    /// It asks. When this is dropped, the others wait no longer.
    First(watch::Sender<bool>),
    /// It waits until the first has an answer, or has gone away.
    Behind(Answered),
}

impl Place {
    /// Tells those behind that there is an answer: it is kept by now, or will not be.
    pub(super) fn answered(&self) {
        if let Self::First(answered) = self {
            answered.send_replace(true);
        }
    }
}

impl Weigh for Flight {
    fn weight(&self) -> usize {
        // The channel's own share is a few words.
        size_of::<Self>() + weight::bytes(self.key.len()) + weight::bytes(512)
    }
}

impl Flight {
    fn has_ended(&self) -> bool {
        self.answered.has_changed().unwrap_or(true)
    }
}

impl Flights {
    pub(super) fn new() -> Self {
        Self(BoundedCache::new(MOST, MOST_BYTES))
    }

    /// The place of a request with this key. It does not wait again for a question that it has
    /// waited for: it takes that one's place.
    pub(super) fn join(&self, key: &Key, waited_for: Option<&Answered>) -> Place {
        let spot = self.0.spot(key.bytes());
        let found = self.0.get(spot, |flight| {
            if *flight.key != *key.bytes() {
                Look::Other
            } else if flight.has_ended()
                || waited_for.is_some_and(|other| other.same_channel(&flight.answered))
            {
                Look::Spent
            } else {
                Look::Found(flight.answered.clone())
            }
        });
        if let Some(answered) = found {
            return Place::Behind(answered);
        }
        let (sender, answered) = watch::channel(false);
        let flight = Flight {
            key: key.bytes().into(),
            answered,
        };
        self.0.put(spot, flight, |other| match other.has_ended() {
            true => Standing::Goes,
            false => Standing::Stays,
        });
        Place::First(sender)
    }
}
