//! The tree of RFC 6962 over the records of a stream, in memory that grows with the logarithm.

use crate::audit::scalar::{Hash, sha256};

/// The right edge of a tree that grows: enough for its root, and to add leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frontier {
    size: u64,
    /// The roots of the perfect subtrees, the largest first: one for each bit of the size.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The edge of a tree of this size; `None` if so many peaks do not fit it.
    pub(crate) fn from_parts(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        let fits = size.count_ones() as usize == peaks.len() && size < MOST;
        fits.then_some(Self { size, peaks })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Adds a record in its canonical form.
    pub(crate) fn push(&mut self, record: &[u8]) {
        let mut hash = leaf(record);
        // As in a binary counter: each bit that carries joins two subtrees of one size.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root of the tree as it is.
    pub(crate) fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => sha256(&[]),
            Some(last) => peaks.fold(*last, |right, left| node(left, &right)),
        }
    }
}

/// RFC 6962, 2.1: the hash of a leaf.
pub(super) fn leaf(data: &[u8]) -> Hash {
    sha256(&[&[0], data])
}

/// RFC 6962, 2.1: the hash of a node.
pub(super) fn node(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// No tree is as large: one that says so was made up.
const MOST: u64 = 1 << 62;
