use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::dimension::{Dimension, KeyKind, each_marker, range_text};
use super::rules::FlatRules;
use super::table::{Postings, TextTable};
use super::view::View;
use crate::matcher::Cidr;
use crate::policy::PolicyId;

/// The rules of one action, ready to be asked.
#[derive(Debug, Default)]
pub(in crate::policy) struct Index {
    /// In byte order; a rule's number is its place here.
    pub(super) names: Vec<PolicyId>,
    pub(super) rules: FlatRules,
    /// Rules that every request must be judged by.
    pub(super) always: Vec<u32>,
    pub(super) probes: Vec<Probe>,
    pub(super) table: TextTable,
    /// Rules by the number of a text.
    pub(super) singles: Postings,
    /// Numbers of lists in `doubles`, by the numbers of two texts.
    pub(super) pairs: HashMap<(u32, u32), u32, FixedState>,
    pub(super) doubles: Postings,
    /// The keeps whose texts pair up.
    pub(super) crossings: Vec<(usize, usize)>,
}

/// How one dimension of a request is looked up.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) number: u16,
    pub(super) dimension: Dimension,
    /// Lengths of whole texts.
    pub(super) exact: LengthSet,
    pub(super) markers: bool,
    /// Lengths of prefixes, of suffixes, and of address ranges.
    pub(super) prefixes: Vec<usize>,
    pub(super) suffixes: Vec<usize>,
    pub(super) ranges: Vec<u8>,
    /// Where found texts are kept for pairing.
    pub(super) keep: Option<usize>,
}

impl Index {
    /// The first rule that matches, in byte order of the names.
    pub(in crate::policy) fn first(&self, view: &View<'_>) -> Option<&PolicyId> {
        let mut best = u32::MAX;
        self.each_candidate(view, |rule| {
            if rule < best && self.rules.matches(rule, view) {
                best = rule;
            }
        });
        self.names.get(best as usize)
    }

    /// Every rule that matches, in byte order of the names.
    pub(in crate::policy) fn all(&self, view: &View<'_>) -> Vec<PolicyId> {
        let mut found = Vec::new();
        self.each_candidate(view, |rule| {
            if self.rules.matches(rule, view) {
                found.push(rule);
            }
        });
        found.sort_unstable();
        found.dedup();
        let names = found
            .iter()
            .filter_map(|rule| self.names.get(*rule as usize));
        names.cloned().collect()
    }

    /// Calls `visit` with every rule that might match, some of them more than once.
    pub(super) fn each_candidate(&self, view: &View<'_>, mut visit: impl FnMut(u32)) {
        self.always.iter().for_each(|rule| visit(*rule));
        if self.crossings.is_empty() {
            for probe in &self.probes {
                probe.each_text(&self.table, view, |text| {
                    self.singles.get(text).iter().for_each(|rule| visit(*rule));
                });
            }
            return;
        }
        let mut kept: [Kept; MOST_KEEPS] = Default::default();
        for probe in &self.probes {
            let mut keep = probe.keep.and_then(|keep| kept.get_mut(keep));
            probe.each_text(&self.table, view, |text| {
                self.singles.get(text).iter().for_each(|rule| visit(*rule));
                if let Some(keep) = keep.as_mut() {
                    keep.push(text);
                }
            });
        }
        for (left, right) in &self.crossings {
            let (Some(left), Some(right)) = (kept.get(*left), kept.get(*right)) else {
                continue;
            };
            for left in left.iter() {
                for right in right.iter() {
                    if let Some(list) = self.pairs.get(&(left, right)) {
                        self.doubles.get(*list).iter().for_each(|rule| visit(*rule));
                    }
                }
            }
        }
    }
}

impl Probe {
    /// Calls `visit` with the number of every posted text that the request meets here.
    fn each_text(&self, table: &TextTable, view: &View<'_>, mut visit: impl FnMut(u32)) {
        let mut look = |kind, text: &[u8]| {
            if let Some(found) = table.find(self.number, kind, text) {
                visit(found);
            }
        };
        if let Some(address) = self.dimension.address(view) {
            for length in &self.ranges {
                if let Ok(range) = Cidr::new(address, *length) {
                    look(KeyKind::Range, &range_text(&range));
                }
            }
            return;
        }
        self.dimension.each_text(view, |text| {
            if self.exact.contains(text.len()) {
                look(KeyKind::Exact, text);
            }
            for length in &self.prefixes {
                let Some(prefix) = text.get(..*length) else {
                    break;
                };
                look(KeyKind::Prefix, prefix);
            }
            for length in &self.suffixes {
                let Some(start) = text.len().checked_sub(*length) else {
                    break;
                };
                look(KeyKind::Suffix, text.get(start..).unwrap_or_default());
            }
            if self.markers {
                each_marker(text, &mut |marker| look(KeyKind::Marker, marker));
            }
        });
    }
}

/// A set of lengths, in which all beyond 62 are one. It spares a request the hash of a text that is
/// as long as no text of the rules.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LengthSet(u64);

impl LengthSet {
    pub(super) fn insert(&mut self, length: usize) {
        self.0 |= Self::bit(length);
    }

    fn contains(self, length: usize) -> bool {
        self.0 & Self::bit(length) != 0
    }

    fn bit(length: usize) -> u64 {
        1 << length.min(63)
    }
}

/// Numbers of found texts; spills, never truncates.
#[derive(Default)]
struct Kept {
    inline: [u32; INLINE],
    length: usize,
    spill: Vec<u32>,
}

impl Kept {
    fn push(&mut self, text: u32) {
        match self.inline.get_mut(self.length) {
            Some(slot) => {
                *slot = text;
                self.length += 1;
            }
            None => self.spill.push(text),
        }
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        let inline = self.inline.iter().take(self.length);
        inline.chain(&self.spill).copied()
    }
}

/// Dimensions whose texts may pair up.
pub(super) const MOST_KEEPS: usize = 6;
const INLINE: usize = 12;
