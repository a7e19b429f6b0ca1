//! The proof that a leaf is in a tree, made while the leaves go by, in memory that grows with the
//! logarithm.

use super::tree::{Frontier, leaf, node};
use crate::audit::scalar::{Hash, sha256};

/// A tree that grows, and the way from one of its leaves to its root (RFC 9162, 2.1.3.1).
#[derive(Debug)]
pub(crate) struct Path {
    /// The leaf, from 0.
    index: u64,
    size: u64,
    /// The roots of the perfect subtrees, the largest first, and whether the leaf is in them.
    peaks: Vec<(Hash, bool)>,
    siblings: Vec<Hash>,
}

impl Path {
    /// In a tree that has leaves already, and not this one.
    pub(crate) fn after(tree: &Frontier, index: u64) -> Self {
        Self {
            index,
            size: tree.size(),
            peaks: tree.peaks().iter().map(|peak| (*peak, false)).collect(),
            siblings: Vec::new(),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Adds a record in its canonical form.
    pub(crate) fn push(&mut self, record: &[u8]) {
        let mut peak = (leaf(record), self.size == self.index);
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                peak = self.join(left, peak);
            }
        }
        self.peaks.push(peak);
        self.size += 1;
    }

    /// The root of the tree as it is, and the hashes beside the way to it, the lowest first.
    pub(crate) fn finish(mut self) -> (Hash, Vec<Hash>) {
        let Some(mut last) = self.peaks.pop() else {
            return (sha256(&[]), Vec::new());
        };
        while let Some(left) = self.peaks.pop() {
            last = self.join(left, last);
        }
        (last.0, self.siblings)
    }

    fn join(&mut self, left: (Hash, bool), right: (Hash, bool)) -> (Hash, bool) {
        match (left.1, right.1) {
            (true, _) => self.siblings.push(right.0),
            (_, true) => self.siblings.push(left.0),
            _ => {}
        }
        (node(&left.0, &right.0), left.1 || right.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::proof::{inclusion_proof, leaf_hash, root_of};

    #[test]
    fn a03_a_proof_that_is_made_on_the_way_is_that_of_the_whole_tree() {
        let records: Vec<_> = (0..70_u8).map(|number| vec![number; 3]).collect();
        let leaves: Vec<_> = records.iter().map(|record| leaf_hash(record)).collect();
        for size in 1..=records.len() {
            for index in 0..size {
                // Some leaves before it are known by their peaks alone.
                let mut tree = Frontier::default();
                let known = index / 2;
                records[..known].iter().for_each(|record| tree.push(record));
                let mut path = Path::after(&tree, index as u64);
                records[known..size]
                    .iter()
                    .for_each(|record| path.push(record));
                assert_eq!(path.size(), size as u64);
                let expected = inclusion_proof(&leaves[..size], index).unwrap();
                assert_eq!(path.finish(), (root_of(&leaves[..size]), expected));
            }
        }
    }
}
