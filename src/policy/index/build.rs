use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::cover::{Cover, Dimensions, Key, covers};
use super::dimension::KeyKind;
use super::lookup::{Index, LengthSet, MOST_KEEPS, Probe};
use super::rules::{FlatRules, position};
use super::table::{Postings, TextTable};
use crate::policy::ir::Rbac;

impl Index {
    /// Builds the index of a rule set.
    ///
    /// # Example
    ///
    /// Three of the rules of a set; two more are like rule 2. (A set of up to [`SMALL`] rules gets
    /// no index: all of them are judged for every request.)
    ///
    /// ```yaml
    /// 0: {from: [{source: {namespaces: [apps]}}],
    ///     to: [{operation: {methods: [GET], paths: [/a/*]}}]}
    /// 1: {from: [{source: {principals: [td/ns/apps/sa/x]}}],
    ///     to: [{operation: {methods: [GET]}}]}
    /// 2: {to: [{operation: {notPaths: [/b]}}]}
    /// ```
    ///
    /// [`covers`] lists, for each rule and dimension, the texts of which a request must have one:
    ///
    /// | rule | `UrlPath`    | `Peer`                           | `Method`    |
    /// |------|--------------|----------------------------------|-------------|
    /// | 0    | prefix `/a/` | marker `/ns/apps`                | exact `GET` |
    /// | 1    |              | exact `spiffe://td/ns/apps/sa/x` | exact `GET` |
    /// | 2    |              |                                  |             |
    ///
    /// A rule is posted in the dimension where the fewest rules ask for the same text. `GET` has
    /// two rules, so rule 0 is posted under `/a/` (the path comes before the peer) and rule 1
    /// under its caller. Rule 2 asks for no text and goes to `always`. This makes two probes:
    /// `UrlPath`, which looks up the first three bytes of a path, and `Peer`, which looks up names
    /// of 24 bytes. No rule is posted under a method, so none is looked up.
    ///
    /// `GET /a/7` from `spiffe://td/ns/apps/sa/web` looks up one text: `/a/`, which finds rule 0.
    /// The caller's name has 26 bytes; no posted name is that long, so it is not even hashed.
    /// Rules 2 and 0 are then judged whole, and rule 1 is never touched.
    ///
    /// If more than [`CROWD`] rules asked for `/a/` and more than that for `/ns/apps`, rule 0 would
    /// be posted under the pair of both, and a request would look up pairs of the texts it has.
    pub(in crate::policy) fn new(rbac: &Rbac) -> Self {
        let mut rules = FlatRules::default();
        rbac.policies.values().for_each(|policy| rules.add(policy));
        let mut index = Self {
            names: rbac.policies.keys().cloned().collect(),
            rules,
            ..Self::default()
        };
        if index.names.len() <= SMALL {
            index.always = (0..position(index.names.len())).collect();
            return index;
        }
        let mut dimensions = Dimensions::default();
        let policies = rbac.policies.values().zip(0..);
        let posted: Vec<_> = policies
            .filter_map(|(policy, rule)| Some((rule, covers(policy, &mut dimensions)?)))
            .collect();
        Builder::new(posted).finish(&mut index, &dimensions);
        index
    }
}

/// A rule, posted under the texts of one cover, or under the pairs of two.
struct Posted<'a> {
    rule: u32,
    cover: Cover<'a>,
    other: Option<Cover<'a>>,
}

struct Builder<'a> {
    always: Vec<u32>,
    posted: Vec<Posted<'a>>,
    keeps: Vec<u16>,
}

impl<'a> Builder<'a> {
    /// Posts each rule under the least crowded dimension, or two where all are crowded.
    fn new(rules: Vec<(u32, Vec<Cover<'a>>)>) -> Self {
        let crowds = crowds(&rules);
        let mut builder = Self {
            always: Vec::new(),
            posted: Vec::with_capacity(rules.len()),
            keeps: Vec::new(),
        };
        for ((rule, covers), crowds) in rules.into_iter().zip(crowds) {
            let mut covers: Vec<_> = covers.into_iter().zip(crowds).collect();
            covers.sort_by_key(|(cover, crowd)| (*crowd, cover.keys.len()));
            let is_crowded = covers.first().is_some_and(|(_, crowd)| *crowd > CROWD);
            let mut covers = covers.into_iter().map(|(cover, _)| cover);
            let Some(cover) = covers.next() else {
                builder.always.push(rule);
                continue;
            };
            let other = covers.next();
            let other = other.filter(|other| is_crowded && builder.pairs_up(&cover, other));
            builder.posted.push(Posted { rule, cover, other });
        }
        builder
    }

    fn pairs_up(&mut self, first: &Cover<'a>, second: &Cover<'a>) -> bool {
        let mut new = vec![first.dimension, second.dimension];
        new.retain(|number| !self.keeps.contains(number));
        let fits = first.keys.len() * second.keys.len() <= MOST_PAIRS
            && self.keeps.len() + new.len() <= MOST_KEEPS;
        if fits {
            self.keeps.extend(new);
        }
        fits
    }

    fn finish(self, index: &mut Index, dimensions: &Dimensions) {
        let lengths = Lengths::new(&self.posted);
        let mut table = TextTable::with_capacity(self.posted.len());
        let mut probes: BTreeMap<u16, Probe> = BTreeMap::new();
        let (mut singles, mut doubles) = (Vec::new(), Vec::new());
        let mut crossings = HashSet::with_hasher(FixedState::default());
        let mut intern = |cover: &Cover<'a>| -> Vec<u32> {
            let keys = cover.keys.iter();
            let keys = keys.map(|key| {
                let key = lengths.fit(cover.dimension, key);
                if let Some(dimension) = dimensions.0.get(usize::from(cover.dimension)) {
                    let probe = probes.entry(cover.dimension).or_insert_with(|| Probe {
                        number: cover.dimension,
                        dimension: dimension.clone(),
                        exact: LengthSet::default(),
                        markers: false,
                        prefixes: Vec::new(),
                        suffixes: Vec::new(),
                        ranges: Vec::new(),
                        keep: self.keeps.iter().position(|keep| *keep == cover.dimension),
                    });
                    probe.add(&key);
                }
                table.intern(cover.dimension, &key)
            });
            keys.collect()
        };
        for Posted { rule, cover, other } in &self.posted {
            let Some(other) = other else {
                singles.extend(intern(cover).into_iter().map(|text| (text, *rule)));
                continue;
            };
            let (left, right) = if cover.dimension < other.dimension {
                (cover, other)
            } else {
                (other, cover)
            };
            crossings.insert((left.dimension, right.dimension));
            let rights = intern(right);
            for left in intern(left) {
                for right in &rights {
                    let lists = position(index.pairs.len());
                    let list = *index.pairs.entry((left, *right)).or_insert(lists);
                    doubles.push((list, *rule));
                }
            }
        }
        let keep = |number: u16| self.keeps.iter().position(|keep| *keep == number);
        let crossings = crossings.into_iter();
        index.crossings = crossings
            .filter_map(|(left, right)| Some((keep(left)?, keep(right)?)))
            .collect();
        index.singles = Postings::new(table.len(), singles);
        index.doubles = Postings::new(index.pairs.len(), doubles);
        index.always = self.always;
        index.probes = probes.into_values().collect();
        index.probes.iter_mut().for_each(Probe::sort);
        index.table = table;
    }
}

/// For each cover of each rule, how many rules share its most usual text.
fn crowds(rules: &[(u32, Vec<Cover<'_>>)]) -> Vec<Vec<usize>> {
    let mut counts = HashMap::with_capacity_and_hasher(rules.len(), FixedState::default());
    for cover in rules.iter().flat_map(|(_, covers)| covers) {
        for key in &cover.keys {
            *counts.entry((cover.dimension, key)).or_insert(0_usize) += 1;
        }
    }
    let crowd = |cover: &Cover<'_>| {
        let keys = cover.keys.iter();
        let counts = keys.filter_map(|key| counts.get(&(cover.dimension, key)));
        counts.max().copied().unwrap_or(0)
    };
    let rules = rules.iter();
    rules
        .map(|(_, covers)| covers.iter().map(crowd).collect())
        .collect()
}

impl Probe {
    fn add(&mut self, key: &Key<'_>) {
        let length = key.text.len();
        match key.kind {
            KeyKind::Exact => self.exact.insert(length),
            KeyKind::Marker => self.markers = true,
            KeyKind::Prefix if !self.prefixes.contains(&length) => self.prefixes.push(length),
            KeyKind::Suffix if !self.suffixes.contains(&length) => self.suffixes.push(length),
            KeyKind::Range => {
                let bits = key.text.get(1).copied().unwrap_or_default();
                if !self.ranges.contains(&bits) {
                    self.ranges.push(bits);
                }
            }
            KeyKind::Prefix | KeyKind::Suffix => {}
        }
    }

    /// A lookup stops at the first length that is too long.
    fn sort(&mut self) {
        self.prefixes.sort_unstable();
        self.suffixes.sort_unstable();
    }
}

/// The lengths that prefixes and suffixes are cut to, so that a request needs few looks: the
/// shortest and the most usual.
struct Lengths(HashMap<(u16, KeyKind), Vec<usize>, FixedState>);

impl Lengths {
    fn new(posted: &[Posted<'_>]) -> Self {
        let mut counts: HashMap<(u16, KeyKind), BTreeMap<usize, usize>, _> =
            HashMap::with_hasher(FixedState::default());
        let covers = posted.iter();
        let covers = covers.flat_map(|posted| std::iter::once(&posted.cover).chain(&posted.other));
        for cover in covers {
            for key in &cover.keys {
                if matches!(key.kind, KeyKind::Prefix | KeyKind::Suffix) {
                    let lengths = counts.entry((cover.dimension, key.kind)).or_default();
                    *lengths.entry(key.text.len()).or_default() += 1;
                }
            }
        }
        let kept = counts.into_iter().map(|(key, lengths)| {
            let mut lengths: Vec<_> = lengths.into_iter().collect();
            if let Some((_, usual)) = lengths.split_first_mut() {
                usual.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            }
            lengths.truncate(MOST_LENGTHS);
            let mut lengths: Vec<_> = lengths.into_iter().map(|(length, _)| length).collect();
            lengths.sort_unstable();
            (key, lengths)
        });
        Self(kept.collect())
    }

    /// A key cut to a length that is looked up: what starts with the whole text starts with its
    /// beginning.
    fn fit<'k>(&self, dimension: u16, key: &'k Key<'_>) -> Key<'k> {
        let lengths = self.0.get(&(dimension, key.kind)).into_iter().flatten();
        let length = lengths.rev().find(|length| **length <= key.text.len());
        let cut = length.and_then(|length| match key.kind {
            KeyKind::Prefix => key.text.get(..*length),
            KeyKind::Suffix => key.text.get(key.text.len() - length..),
            KeyKind::Exact | KeyKind::Marker | KeyKind::Range => None,
        });
        Key::new(key.kind, cut.unwrap_or(&key.text))
    }
}

/// Sets of up to this many rules are judged one by one.
const SMALL: usize = 4;
/// Rules that share a text beyond this number are posted under two.
const CROWD: usize = 16;
/// Places that one rule may take in the table of pairs.
const MOST_PAIRS: usize = 64;
/// Looks that the prefixes (and again the suffixes) of one text may cost.
const MOST_LENGTHS: usize = 20;
