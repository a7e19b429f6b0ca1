#![expect(
    clippy::disallowed_types,
    reason = "the lock is taken when a peer says something new, and after too much of that no more"
)]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::metadata::PeerMetadata;
use crate::metrics::store::series::BaseId;
use crate::metrics::store::table::{Interned, OnMissing, SeriesTable};
use crate::metrics::store::visibility::IDLE_SECONDS;

/// The descriptions that one peer has sent of itself in metadata, and the labels that they gave.
///
/// Several workloads may share a name, and each may be rolled out anew, so a few descriptions are
/// shown at a time. A description that was not sent for an hour makes room for another. A peer that
/// sends more than a few within an hour is not credible: the descriptions of that hour are folded
/// into its name, and for the next hour it is counted under its name alone. Labels that were shown
/// for more than an hour stay.
#[derive(Debug)]
pub(in crate::metrics) struct Descriptions {
    /// The base of the peer's name alone.
    name: BaseId,
    /// Whether the peer's name holds its namespace. If so, the namespace in the metadata is
    /// ignored.
    has_namespace: bool,
    shown: ArcSwap<Vec<Description>>,
    /// Which base a header led to, by the header's hash. An entry holds the upper bits of the hash,
    /// and the number of the base in the bits that remain.
    recent: Box<[AtomicU64]>,
    /// How many bases this peer has created.
    created: AtomicUsize,
    /// The second until which new descriptions are ignored.
    closed_until: AtomicU64,
    changing: Mutex<()>,
}

#[derive(Clone, Debug)]
struct Description {
    metadata: PeerMetadata,
    base: BaseId,
    /// The second since which it is shown.
    since: u64,
}

/// One metadata header, and the second in which it came.
#[derive(Clone, Copy, Debug)]
pub(in crate::metrics) struct GivenMetadata<'a> {
    pub(in crate::metrics) value: &'a [u8],
    pub(in crate::metrics) hash: u64,
    pub(in crate::metrics) now: u64,
}

impl Descriptions {
    /// Those of a peer whose name has this base; `has_namespace` is whether the name holds a
    /// namespace.
    pub(in crate::metrics) fn new(name: BaseId, has_namespace: bool) -> Self {
        Self {
            name,
            has_namespace,
            shown: ArcSwap::default(),
            recent: (0..RECENT).map(|_| AtomicU64::new(0)).collect(),
            created: AtomicUsize::new(0),
            closed_until: AtomicU64::new(0),
            changing: Mutex::new(()),
        }
    }

    /// The base under which to count a request with this header; `make` interns labels that are
    /// new.
    pub(in crate::metrics) fn base(
        &self,
        given: &GivenMetadata<'_>,
        table: &SeriesTable,
        make: impl Fn(&PeerMetadata, OnMissing) -> Interned,
    ) -> BaseId {
        if let Some(base) = self.remembered(given.hash)
            && is_shown_again(base, table, given.now)
        {
            return base;
        }
        let known = self.shown.load();
        if known.is_empty() && self.is_closed(given.now) {
            return self.name;
        }
        let Some(metadata) = self.read(given.value) else {
            self.remember(given.hash, self.name);
            return self.name;
        };
        let known = known
            .iter()
            .find(|description| description.metadata == metadata);
        let base = match known {
            Some(description) if is_shown_again(description.base, table, given.now) => {
                description.base
            }
            None if self.is_closed(given.now) => self.name,
            _ => self.add(metadata, given.now, table, make),
        };
        if base != self.name {
            self.remember(given.hash, base);
        }
        base
    }

    /// The metadata that labels show; `None` if there is none.
    fn read(&self, value: &[u8]) -> Option<PeerMetadata> {
        let mut metadata = PeerMetadata::decode(value)?;
        if self.has_namespace {
            metadata.namespace = None;
        }
        (!metadata.is_empty()).then_some(metadata)
    }

    /// A description that is new or hidden: shows it if there is room.
    fn add(
        &self,
        metadata: PeerMetadata,
        now: u64,
        table: &SeriesTable,
        make: impl Fn(&PeerMetadata, OnMissing) -> Interned,
    ) -> BaseId {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut descriptions = Vec::clone(&self.shown.load());
        if let Some(known) = descriptions
            .iter()
            .find(|description| description.metadata == metadata)
        {
            show(known.base, table, now);
            return known.base;
        }
        // Another thread may have added too many meanwhile.
        if self.is_closed(now) {
            return self.name;
        }
        if descriptions.len() >= MAX_DESCRIPTIONS {
            let idle = |description: &Description| {
                let visibility = table.visibility(description.base);
                visibility.is_none_or(|visibility| visibility.is_idle(now))
            };
            if let Some(idle) = descriptions.iter().position(idle) {
                let idle = descriptions.swap_remove(idle);
                if let Some(visibility) = table.visibility(idle.base) {
                    visibility.retire();
                }
            }
        }
        let written: usize = descriptions
            .iter()
            .map(|description| description.metadata.written())
            .sum();
        if descriptions.len() >= MAX_DESCRIPTIONS || written + metadata.written() > MAX_WRITTEN {
            let young = |description: &mut Description| {
                now.saturating_sub(description.since) < IDLE_SECONDS
            };
            for description in descriptions.extract_if(.., young) {
                table.fold(description.base);
            }
            self.shown.store(descriptions.into());
            return self.close(now);
        }
        let on_missing = if self.created.load(Ordering::Relaxed) < MAX_CREATED {
            OnMissing::Describe(self.name)
        } else {
            OnMissing::Use(self.name)
        };
        let Interned { base, is_new } = make(&metadata, on_missing);
        if base == self.name {
            return self.close(now);
        }
        self.created
            .fetch_add(usize::from(is_new), Ordering::Relaxed);
        show(base, table, now);
        descriptions.push(Description {
            metadata,
            base,
            since: now,
        });
        self.shown.store(descriptions.into());
        base
    }

    fn is_closed(&self, now: u64) -> bool {
        now < self.closed_until.load(Ordering::Relaxed)
    }

    fn close(&self, now: u64) -> BaseId {
        let until = now.saturating_add(IDLE_SECONDS);
        self.closed_until.store(until, Ordering::Relaxed);
        self.name
    }

    fn remembered(&self, hash: u64) -> Option<BaseId> {
        let kept = self.place(hash)?.load(Ordering::Relaxed);
        let number = u32::try_from(kept & NUMBER).ok().filter(|_| kept != 0)?;
        (kept & !NUMBER == hash & !NUMBER).then(|| BaseId::new(number))
    }

    fn remember(&self, hash: u64, base: BaseId) {
        if let Some(place) = self.place(hash) {
            let kept = hash & !NUMBER | u64::from(base.number());
            place.store(kept, Ordering::Relaxed);
        }
    }

    /// The lower bits of the hash choose the entry, and the upper bits are kept in it.
    fn place(&self, hash: u64) -> Option<&AtomicU64> {
        self.recent.get((hash % RECENT) as usize)
    }
}

/// Notes that a peer sent this description again; `false` if it is not shown.
fn is_shown_again(base: BaseId, table: &SeriesTable, now: u64) -> bool {
    table.visibility(base).is_none_or(|visibility| {
        visibility.touch(now);
        visibility.is_shown()
    })
}

fn show(base: BaseId, table: &SeriesTable, now: u64) {
    if let Some(visibility) = table.visibility(base) {
        visibility.show(now);
    }
}

const NUMBER: u64 = (1 << BaseId::BITS) - 1;
/// Headers remembered for each peer: each pod of a workload sends one of its own.
const RECENT: u64 = 128;
/// Descriptions shown at a time.
const MAX_DESCRIPTIONS: usize = 8;
/// The bytes that they may write into labels.
const MAX_WRITTEN: usize = 2048;
/// Bases that a peer may create in all: with their outcomes, a part of all series.
const MAX_CREATED: usize = 32;
