#![expect(
    clippy::disallowed_types,
    reason = "the lock is taken when a peer says something new, and after too much of that no more"
)]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::metadata::PeerMetadata;
use crate::metrics::store::series::BaseId;
use crate::metrics::store::table::{Interned, May, Table};
use crate::metrics::store::visibility::LONG;

/// What one peer has said of itself, and which labels that gave.
///
/// Several workloads may share a name, and each may be rolled out anew, so a few descriptions are shown at a time. A description that
/// nobody has given for an hour makes room for another. Who gives more than a few within an hour is not to be believed: what it said in that
/// hour is counted under its name alone, as is all that it says in the next. Labels that were shown for longer than that stay.
#[derive(Debug)]
pub(in crate::metrics) struct Stories {
    /// The base of the name alone.
    name: BaseId,
    /// Whether the name says the namespace, so that what the peer says of it shows nowhere.
    has_namespace: bool,
    told: ArcSwap<Vec<Story>>,
    /// Which base a header of this hash led to: the hash's upper bits, and the base's number in those that this leaves.
    memory: Box<[AtomicU64]>,
    /// How many bases this peer has caused.
    caused: AtomicUsize,
    /// The second until which nothing new is heard.
    deaf_until: AtomicU64,
    hearing: Mutex<()>,
}

#[derive(Clone, Debug)]
struct Story {
    metadata: PeerMetadata,
    base: BaseId,
    /// Since which second it is shown.
    since: u64,
}

/// One header, and when it came.
#[derive(Clone, Copy, Debug)]
pub(in crate::metrics) struct Told<'a> {
    pub(in crate::metrics) value: &'a [u8],
    pub(in crate::metrics) hash: u64,
    pub(in crate::metrics) now: u64,
}

impl Stories {
    /// Of the peer whose name has this base, and says its namespace or not.
    pub(in crate::metrics) fn of(name: BaseId, has_namespace: bool) -> Self {
        Self {
            name,
            has_namespace,
            told: ArcSwap::default(),
            memory: (0..MEMORY).map(|_| AtomicU64::new(0)).collect(),
            caused: AtomicUsize::new(0),
            deaf_until: AtomicU64::new(0),
            hearing: Mutex::new(()),
        }
    }

    /// The base under which to count a request that said this; `make` interns labels that are new.
    pub(in crate::metrics) fn base(
        &self,
        told: &Told<'_>,
        table: &Table,
        make: impl Fn(&PeerMetadata, May) -> Interned,
    ) -> BaseId {
        if let Some(base) = self.remembered(told.hash)
            && is_told(base, table, told.now)
        {
            return base;
        }
        let known = self.told.load();
        if known.is_empty() && self.is_deaf(told.now) {
            return self.name;
        }
        let Some(metadata) = self.read(told.value) else {
            self.remember(told.hash, self.name);
            return self.name;
        };
        let known = known.iter().find(|story| story.metadata == metadata);
        let base = match known {
            Some(story) if is_told(story.base, table, told.now) => story.base,
            None if self.is_deaf(told.now) => self.name,
            _ => self.hear(metadata, told.now, table, make),
        };
        if base != self.name {
            self.remember(told.hash, base);
        }
        base
    }

    /// What labels show of it; `None` when that is nothing.
    fn read(&self, value: &[u8]) -> Option<PeerMetadata> {
        let mut metadata = PeerMetadata::decode(value)?;
        if self.has_namespace {
            metadata.namespace = None;
        }
        (!metadata.is_empty()).then_some(metadata)
    }

    /// Something new, or forgotten: shows it where there is room.
    fn hear(
        &self,
        metadata: PeerMetadata,
        now: u64,
        table: &Table,
        make: impl Fn(&PeerMetadata, May) -> Interned,
    ) -> BaseId {
        let _one = self.hearing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stories = Vec::clone(&self.told.load());
        if let Some(known) = stories.iter().find(|story| story.metadata == metadata) {
            show(known.base, table, now);
            return known.base;
        }
        // Another thread may have heard too much meanwhile.
        if self.is_deaf(now) {
            return self.name;
        }
        if stories.len() >= MAX_STORIES {
            let idle = |story: &Story| {
                let standing = table.standing(story.base);
                standing.is_none_or(|standing| standing.is_idle(now))
            };
            if let Some(idle) = stories.iter().position(idle) {
                let idle = stories.swap_remove(idle);
                if let Some(standing) = table.standing(idle.base) {
                    standing.retire();
                }
            }
        }
        let written: usize = stories.iter().map(|story| story.metadata.written()).sum();
        if stories.len() >= MAX_STORIES || written + metadata.written() > MAX_WRITTEN {
            let young = |story: &mut Story| now.saturating_sub(story.since) < LONG;
            for story in stories.extract_if(.., young) {
                table.fold(story.base);
            }
            self.told.store(stories.into());
            return self.turn_deaf(now);
        }
        let may = if self.caused.load(Ordering::Relaxed) < MAX_CAUSED {
            May::Describe(self.name)
        } else {
            May::FindElse(self.name)
        };
        let Interned { base, is_new } = make(&metadata, may);
        if base == self.name {
            return self.turn_deaf(now);
        }
        self.caused
            .fetch_add(usize::from(is_new), Ordering::Relaxed);
        show(base, table, now);
        stories.push(Story {
            metadata,
            base,
            since: now,
        });
        self.told.store(stories.into());
        base
    }

    fn is_deaf(&self, now: u64) -> bool {
        now < self.deaf_until.load(Ordering::Relaxed)
    }

    fn turn_deaf(&self, now: u64) -> BaseId {
        let until = now.saturating_add(LONG);
        self.deaf_until.store(until, Ordering::Relaxed);
        self.name
    }

    fn remembered(&self, hash: u64) -> Option<BaseId> {
        let kept = self.place(hash)?.load(Ordering::Relaxed);
        let number = u32::try_from(kept & NUMBER).ok().filter(|_| kept != 0)?;
        (kept & !NUMBER == hash & !NUMBER).then(|| BaseId::of_number(number))
    }

    fn remember(&self, hash: u64, base: BaseId) {
        if let Some(place) = self.place(hash) {
            let kept = hash & !NUMBER | u64::from(base.number());
            place.store(kept, Ordering::Relaxed);
        }
    }

    /// The lower bits choose the place: the upper ones are kept in it.
    fn place(&self, hash: u64) -> Option<&AtomicU64> {
        self.memory.get((hash % MEMORY) as usize)
    }
}

/// Notes that a peer says this again; `false` where it is not shown.
fn is_told(base: BaseId, table: &Table, now: u64) -> bool {
    table.standing(base).is_none_or(|standing| {
        standing.tell(now);
        standing.is_shown()
    })
}

fn show(base: BaseId, table: &Table, now: u64) {
    if let Some(standing) = table.standing(base) {
        standing.show(now);
    }
}

const NUMBER: u64 = (1 << BaseId::BITS) - 1;
/// Headers remembered: each copy of a workload has one of its own.
const MEMORY: u64 = 128;
/// Descriptions shown at a time.
const MAX_STORIES: usize = 8;
/// The bytes that they write into labels.
const MAX_WRITTEN: usize = 2048;
/// Bases that a peer may cause in its life: with their outcomes a part of all series.
const MAX_CAUSED: usize = 32;
