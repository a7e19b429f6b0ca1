//! The decisions of one provider.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use tokio::time::{Instant, timeout};

use super::counts::{CacheCounts, Counters, count};
use super::flights::{Flights, Place};
use super::key::{Key, Reader};
use super::options::DecisionCache;
use super::personal::is_personal;
use super::weight::compact;
use crate::bounded_cache::weight::{self, Weigh};
use crate::bounded_cache::{BoundedCache, Look, Standing};
use crate::external::authorizer::{Authorization, AuthorizerError, Stage};
use crate::log_limit::limited;
use crate::policy::Attributes;

/// A question that takes longer may be hung: another request asks, too.
const HUNG: Duration = Duration::from_secs(2);
/// A larger decision is not kept.
const MAX_ENTRY: usize = 64 << 10;

/// The cache of one provider's decisions. It is read without locks.
///
/// A request is [looked up](Self::look_up): either its decision is known, or there is a [`Ticket`]
/// for the question, which takes the answer.
#[derive(Debug)]
pub(crate) struct Decisions {
    provider: Arc<str>,
    settings: DecisionCache,
    reader: Reader,
    cache: BoundedCache<Entry>,
    flights: Flights,
    counters: Arc<Counters>,
    /// The moment from which times are counted.
    birth: Instant,
}

/// A moment, in nanoseconds since the birth of the cache.
type Moment = u64;

struct Entry {
    key: Box<[u8]>,
    decision: Known,
    asked: Moment,
    fresh_until: Moment,
    stale_until: Moment,
    weight: usize,
}

impl Weigh for Entry {
    fn weight(&self) -> usize {
        self.weight
    }
}

/// A decision that the cache knows.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// The request goes on as it is. This needs no reference count, which requests on several
    /// processors would contend for.
    Allow,
    Decision(Arc<Authorization>),
}

impl From<Authorization> for Known {
    fn from(decision: Authorization) -> Self {
        match decision {
            Authorization::Allowed(changes) if changes.is_empty() => Self::Allow,
            other => Self::Decision(Arc::new(other)),
        }
    }
}

/// What the cache says of a request.
#[must_use]
pub(crate) enum LookUp {
    Known(Known),
    /// The provider must be asked.
    Ask(Box<Ticket>),
}

/// A question that is asked, and the place for its answer. Dropped without an answer, it leaves the
/// cache as it is.
#[must_use]
pub(crate) struct Ticket {
    decisions: Arc<Decisions>,
    /// `None`: the answer is not kept.
    key: Option<Key>,
    place: Option<Place>,
    asked: Moment,
}

impl Decisions {
    /// A cache that is empty. Its counters are those of the provider's caches of earlier.
    pub(crate) fn new(provider: &str, settings: DecisionCache, counters: Arc<Counters>) -> Self {
        let bounds = settings.settings();
        let size = |bound: u32| usize::try_from(bound).unwrap_or(usize::MAX);
        Self {
            provider: provider.into(),
            reader: Reader::new(&bounds.keys),
            cache: BoundedCache::new(size(bounds.max_entries), size(bounds.max_bytes)),
            flights: Flights::new(),
            counters,
            birth: Instant::now(),
            settings,
        }
    }

    /// What it has counted, and what it holds.
    pub(crate) fn counts(&self) -> CacheCounts {
        self.counters.read(self.cache.len(), self.cache.weight())
    }

    /// The counters, which the provider's next cache goes on with.
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The decision about a request, or a ticket for the question. A decision that changes nothing
    /// is found without an allocation.
    pub(crate) fn look_up(
        self: &Arc<Self>,
        head: &Parts,
        request: &dyn Attributes,
        stage: Stage,
    ) -> LookUp {
        let now = self.now();
        let key = self.reader.read(head, request, stage);
        let Some(key) = key else {
            count(&self.counters.unkeyed);
            return LookUp::Ask(Box::new(Ticket {
                decisions: Arc::clone(self),
                key: None,
                place: None,
                asked: now,
            }));
        };
        if let Some(decision) = self.fresh(&key, now) {
            count(&self.counters.hits.0);
            return LookUp::Known(decision);
        }
        LookUp::Ask(Box::new(Ticket {
            decisions: Arc::clone(self),
            place: Some(self.flights.join(&key, None)),
            key: Some(key),
            asked: now,
        }))
    }

    /// The decision that counts now. One whose time is quite over is dropped.
    fn fresh(&self, key: &Key, now: Moment) -> Option<Known> {
        let spot = self.cache.spot(key.bytes());
        self.cache.get(spot, |entry| {
            if *entry.key != *key.bytes() {
                Look::Other
            } else if now < entry.fresh_until {
                Look::Found(entry.decision.clone())
            } else if now < entry.stale_until {
                Look::Other
            } else {
                Look::Spent
            }
        })
    }

    /// Keeps a decision for its time, in place of what was decided before. The answer to a question
    /// that was asked later stays.
    fn keep(&self, key: &Key, decision: &Known, asked: Moment) {
        let settings = self.settings.settings();
        let ttl = match decision {
            Known::Decision(answer) if !answer.is_allowed() => {
                settings.denial_ttl.unwrap_or(settings.ttl)
            }
            Known::Allow | Known::Decision(_) => settings.ttl,
        };
        let own = size_of::<Entry>() + 2 * size_of::<usize>() + weight::CHUNK;
        let held = match decision {
            Known::Allow => 0,
            Known::Decision(answer) => size_of::<Authorization>() + weight::CHUNK + answer.weight(),
        };
        let weight = own + weight::bytes(key.bytes().len()) + held;
        let most = usize::try_from(settings.max_bytes).unwrap_or(usize::MAX) / 16;
        let is_personal = matches!(decision, Known::Decision(answer) if is_personal(answer));
        if is_personal {
            count(&self.counters.unkept);
        }
        if ttl.is_zero() || is_personal || weight > most.clamp(1 << 10, MAX_ENTRY) {
            return self.forget(key, asked);
        }
        let fresh_until = asked.saturating_add(nanos(ttl));
        let entry = Entry {
            key: key.bytes().into(),
            decision: decision.clone(),
            asked,
            fresh_until,
            stale_until: fresh_until.saturating_add(nanos(settings.stale_if_error)),
            weight,
        };
        let now = self.now();
        let spot = self.cache.spot(key.bytes());
        self.cache.put(spot, entry, |other| {
            let is_equal = *other.key == *key.bytes();
            if is_equal && other.asked > asked {
                // A question that was asked later may have been answered earlier.
                Standing::Wins
            } else if is_equal || now >= other.stale_until {
                Standing::Goes
            } else {
                Standing::Stays
            }
        });
    }

    /// Drops what was decided before. It must not count again when the provider cannot be asked.
    fn forget(&self, key: &Key, asked: Moment) {
        let spot = self.cache.spot(key.bytes());
        let _ = self.cache.get(spot, |entry| {
            if *entry.key == *key.bytes() && entry.asked <= asked {
                Look::<()>::Spent
            } else {
                Look::Other
            }
        });
    }

    /// The latest decision that still counts now that the provider cannot be asked.
    fn stale(&self, key: &Key) -> Option<Known> {
        let now = self.now();
        let mut latest: Option<(Moment, Known)> = None;
        let spot = self.cache.spot(key.bytes());
        let _ = self.cache.get(spot, |entry| {
            let is_later = latest
                .as_ref()
                .is_none_or(|(asked, _)| *asked < entry.asked);
            if *entry.key == *key.bytes() && now < entry.stale_until && is_later {
                latest = Some((entry.asked, entry.decision.clone()));
            }
            Look::<()>::Other
        });
        latest.map(|(_, decision)| decision)
    }

    fn now(&self) -> Moment {
        nanos(self.birth.elapsed())
    }
}

/// What a [`Ticket`] has made of an answer.
#[derive(Debug)]
#[must_use]
pub(crate) enum Settled {
    /// The provider's answer, or its error where nothing bridges it.
    Answer(Result<Authorization, AuthorizerError>),
    /// A decision of earlier, in place of an error.
    Stale(Known),
}

impl Ticket {
    /// Waits for the answer to an equal request that is out, for a time at most. `None` if there is
    /// none, or has come none, or one that was not kept: then the provider must be asked.
    pub(crate) async fn wait(&mut self, at_most: Duration) -> Option<Known> {
        let key = self.key.as_ref()?;
        let decisions = &*self.decisions;
        let begun = Instant::now();
        while let Some(Place::Behind(answered)) = &mut self.place {
            let left = at_most.saturating_sub(begun.elapsed());
            if left.is_zero() {
                break;
            }
            let _ = timeout(left.min(HUNG), answered.changed()).await;
            // This is read first: an answer is kept before it is announced.
            let is_answered = *answered.borrow();
            let now = decisions.now();
            if let Some(known) = decisions.fresh(key, now) {
                count(&decisions.counters.shared);
                return Some(known);
            }
            self.asked = now;
            self.place = match is_answered {
                // Nobody can share it, and the next answer may be of the same kind: if one asked
                // after the other, the last would wait for all of them.
                true => None,
                // It hangs, or its request has gone away. One of those that have waited asks next,
                // and the others wait for it.
                false => Some(decisions.flights.join(key, Some(answered))),
            };
        }
        count(&decisions.counters.misses.0);
        None
    }

    /// Takes the provider's answer, and keeps it if it is one. In place of an error it gives an
    /// older decision that still counts.
    pub(crate) fn settle(
        self: Box<Self>,
        answer: Result<Authorization, AuthorizerError>,
    ) -> Settled {
        let settled = self.kept(answer);
        if let Some(place) = &self.place {
            place.answered();
        }
        settled
    }

    fn kept(&self, answer: Result<Authorization, AuthorizerError>) -> Settled {
        let (decisions, Some(key)) = (&*self.decisions, &self.key) else {
            return Settled::Answer(answer);
        };
        match &answer {
            Ok(decision) => {
                let known = Known::from(compact(decision));
                decisions.keep(key, &known, self.asked);
                Settled::Answer(answer)
            }
            Err(error) => {
                let stale = || decisions.stale(key);
                let Some(known) = (!error.fails_closed()).then(stale).flatten() else {
                    return Settled::Answer(answer);
                };
                count(&decisions.counters.stale);
                let provider = &*decisions.provider;
                limited!(
                    target: "tower_mesh::external", WARN, provider, reason = %error,
                    "a decision of earlier is used, because the provider has not answered as it \
                     should"
                );
                Settled::Stale(known)
            }
        }
    }
}

fn nanos(time: Duration) -> Moment {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

// Neither keys nor decisions: they may hold tokens.
debug_fields!(Ticket(ticket) { provider = ticket.decisions.provider });

#[cfg(test)]
mod tests;
