//! One local limit: its buckets, and which of them a request takes a token from.

use std::cmp::Reverse;

use smallvec::SmallVec;

use super::actions::{Made, Sink};
use super::bucket::{Bucket, Level, Rate, Tick};
use super::candidates::Candidates;
use super::key::{Key, Keys};
use super::table::{Answer, KeyTable};
use crate::policy::limit::{Local, LocalDescriptor, TokenBucket};

/// What one limit lets through, counted in this process; Envoy's `local_ratelimit`.
///
/// A request takes a token from the bucket of each of its descriptors that the limit knows, and then
/// from the default bucket. Slower buckets come first, and equally fast ones in the order of the
/// request's descriptors. The first bucket without a token refuses the request, and the buckets
/// behind keep theirs; those before it do not get theirs back.
#[derive(Debug)]
pub(crate) struct LocalLimit {
    default: Option<Counted>,
    descriptors: Box<[Described]>,
    always_consume_default: bool,
    per_connection: bool,
    keys: Keys,
}

/// The bucket, or the buckets, of one rate.
#[derive(Debug)]
struct Counted {
    rate: Rate,
    buckets: Buckets,
}

#[derive(Debug)]
enum Buckets {
    One(Bucket),
    ByKey(Box<KeyTable>),
}

type Entry = (Box<str>, Box<[u8]>);

#[derive(Debug)]
struct Described {
    /// Keys and values. An empty value stands for any.
    entries: Box<[Entry]>,
    /// Its place among the descriptors as they were written; those without an empty value come
    /// before all others.
    rank: (bool, usize),
    counted: Counted,
}

impl LocalLimit {
    pub(crate) fn new(spec: &Local) -> Self {
        let counted = |bucket: &TokenBucket, by_key: bool| Counted {
            rate: Rate::new(bucket),
            buckets: match by_key || spec.per_connection {
                true => Buckets::ByKey(Box::new(KeyTable::new(spec.max_keys))),
                false => Buckets::One(Bucket::default()),
            },
        };
        let described = |(index, descriptor): (usize, &LocalDescriptor)| {
            let entries = descriptor.entries.iter();
            let by_key = entries.clone().any(|(_, value)| value.is_empty());
            let entries =
                entries.map(|(key, value)| (key.as_str().into(), value.as_bytes().into()));
            Described {
                entries: entries.collect(),
                rank: (by_key, index),
                counted: counted(&descriptor.bucket, by_key),
            }
        };
        let descriptors = spec.descriptors.iter().enumerate().map(described);
        Self {
            default: spec.bucket.as_ref().map(|bucket| counted(bucket, false)),
            descriptors: descriptors.collect(),
            always_consume_default: spec.always_consume_default,
            per_connection: spec.per_connection,
            keys: Keys::default(),
        }
    }

    /// Takes the tokens of a request on the connection of this number. `write` writes the entries of
    /// each of its descriptors. What is left is worked out only if it is wanted.
    #[inline]
    pub(crate) fn judge<D>(
        &self,
        connection: u64,
        descriptors: impl IntoIterator<Item = D>,
        write: impl Fn(D, &mut Matching<'_>) -> Made,
        now: Tick,
        wants_level: bool,
    ) -> Judged {
        let mut key = self.keys.begin();
        if self.per_connection {
            key.add_number(connection);
        }
        let mut found = Found::new();
        for descriptor in descriptors
            .into_iter()
            .filter(|_| !self.descriptors.is_empty())
        {
            let mut matching = Matching {
                descriptors: &self.descriptors,
                candidates: Candidates::all(self.descriptors.len()),
                position: 0,
                key: key.clone(),
            };
            if write(descriptor, &mut matching) == Made::Entries
                && let Some(described) = matching.best()
            {
                found.push((described, matching.key.finish()));
            }
        }
        if found.len() > 1 {
            found.sort_by_key(|(described, _)| Reverse(described.counted.rate.per_token()));
        }
        self.take(&found, &key, now, wants_level)
    }

    fn take(&self, found: &Found<'_>, key: &Key, now: Tick, wants_level: bool) -> Judged {
        let mut judged = Judged::default();
        let mut take = |counted: &Counted, key: &dyn Fn() -> u64| {
            let answer = counted.take(key, now);
            let level = || counted.rate.level(answer.taken.full_at, now);
            judged.add(answer, wants_level.then(level));
            answer.taken.is_taken
        };
        let asks_default = self.always_consume_default || found.is_empty();
        let mut found = found.iter();
        if found.all(|(described, key)| take(&described.counted, &|| *key))
            && let Some(default) = self.default.as_ref().filter(|_| asks_default)
        {
            take(default, &|| key.finish());
        }
        judged
    }

    /// How many keys have a bucket.
    pub(crate) fn keys(&self) -> usize {
        let described = self.descriptors.iter().map(|described| &described.counted);
        let all = self.default.iter().chain(described);
        all.map(|counted| match &counted.buckets {
            Buckets::One(_) => 0,
            Buckets::ByKey(table) => table.keys(),
        })
        .sum()
    }
}

impl Counted {
    fn take(&self, key: &dyn Fn() -> u64, now: Tick) -> Answer {
        match &self.buckets {
            Buckets::One(bucket) => Answer {
                taken: bucket.take(&self.rate, now),
                is_overflow: false,
            },
            Buckets::ByKey(table) => table.take(key(), &self.rate, now),
        }
    }
}

/// The descriptors that a request matches, and the keys of their buckets.
type Found<'a> = SmallVec<[(&'a Described, u64); 2]>;

/// One descriptor of a request while it is compared with those of a limit.
#[derive(Debug)]
pub(crate) struct Matching<'a> {
    descriptors: &'a [Described],
    /// Which descriptors are equal so far.
    candidates: Candidates,
    position: usize,
    key: Key,
}

impl<'a> Matching<'a> {
    /// The descriptor that equals the request's. One whose values are all written is better than
    /// one with an empty value; among those, the first counts.
    fn best(&self) -> Option<&'a Described> {
        let descriptors = self.descriptors;
        let mut best: Option<&Described> = None;
        for described in self
            .candidates
            .iter()
            .filter_map(|index| descriptors.get(index))
        {
            if described.entries.len() == self.position
                && best.is_none_or(|best| described.rank < best.rank)
            {
                best = Some(described);
            }
        }
        best
    }
}

impl Sink for Matching<'_> {
    #[inline]
    fn entry(&mut self, key: &str, value: &[u8]) {
        let Self {
            descriptors,
            candidates,
            position,
            ..
        } = self;
        candidates.retain(|index| {
            let described = descriptors.get(index);
            let entry = described.and_then(|described| described.entries.get(*position));
            entry.is_some_and(|(wanted, any)| {
                **wanted == *key && (any.is_empty() || **any == *value)
            })
        });
        self.position += 1;
        self.key.add(value);
    }
}

/// The answer of a local limit to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// Whether a bucket had no token.
    pub(crate) is_refused: bool,
    /// Whether a value found no bucket of its own.
    pub(crate) is_overflow: bool,
    /// What is left in the bucket that refuses, or else in the one that was asked first, as Envoy
    /// shows it; `None` if no bucket was asked.
    pub(crate) level: Option<Level>,
}

impl Judged {
    fn add(&mut self, answer: Answer, level: Option<Level>) {
        let is_taken = answer.taken.is_taken;
        self.is_overflow |= answer.is_overflow;
        self.is_refused |= !is_taken;
        if !is_taken || self.level.is_none() {
            self.level = level;
        }
    }
}

#[cfg(test)]
mod tests;
