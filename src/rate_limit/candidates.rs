//! A set of small numbers.

use smallvec::SmallVec;

/// Which descriptors of a limit may still be that of a request, by their indexes. Up to 256 need no
/// allocation, and up to 64, as most limits have, are one number.
#[derive(Clone, Debug)]
pub(super) struct Candidates {
    first: u64,
    more: SmallVec<[u64; 3]>,
}

impl Candidates {
    /// All numbers below `count`.
    #[inline]
    pub(super) fn all(count: usize) -> Self {
        let mut more = SmallVec::new();
        let mut left = count.saturating_sub(BITS);
        while left > 0 {
            more.push(below(left));
            left = left.saturating_sub(BITS);
        }
        let first = below(count);
        Self { first, more }
    }

    /// Keeps those that `keep` accepts.
    #[inline]
    pub(super) fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let mut base = 0;
        for word in std::iter::once(&mut self.first).chain(&mut self.more) {
            for bit in bits(*word) {
                if !keep(base + bit) {
                    *word &= !(1 << bit);
                }
            }
            base += BITS;
        }
    }

    /// In rising order.
    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        let words = std::iter::once(&self.first).chain(&self.more).enumerate();
        words.flat_map(|(index, word)| bits(*word).map(move |bit| index * BITS + bit))
    }
}

/// The lowest `count` bits, or all.
fn below(count: usize) -> u64 {
    match count {
        0..BITS => (1 << count) - 1,
        _ => u64::MAX,
    }
}

/// The positions of the bits that are set.
#[inline]
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < u64::BITS).then_some(bit as usize)
    })
}

const BITS: usize = u64::BITS as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_until_they_are_refused() {
        for count in [0, 1, 5, 63, 64, 65, 200, 300] {
            let mut candidates = Candidates::all(count);
            assert_eq!(
                candidates.iter().collect::<Vec<_>>(),
                (0..count).collect::<Vec<_>>()
            );
            candidates.retain(|number| number % 3 == 0);
            candidates.retain(|number| number % 2 == 0);
            let sixth: Vec<_> = (0..count).step_by(6).collect();
            assert_eq!(candidates.iter().collect::<Vec<_>>(), sixth);
        }
    }
}
