//! A set of small numbers.

use smallvec::{SmallVec, smallvec};

/// Which descriptors of a limit may still be that of a request, by their indexes. Up to 256 need no
/// allocation.
#[derive(Clone, Debug)]
pub(super) struct Candidates(SmallVec<[u64; 4]>);

impl Candidates {
    /// All numbers below `count`.
    pub(super) fn all(count: usize) -> Self {
        let mut words: SmallVec<[u64; 4]> = smallvec![u64::MAX; count.div_ceil(BITS)];
        let rest = count % BITS;
        if let Some(last) = words.last_mut().filter(|_| rest > 0) {
            *last = (1 << rest) - 1;
        }
        Self(words)
    }

    /// Keeps those that `keep` accepts.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        for (index, word) in self.0.iter_mut().enumerate() {
            for bit in bits(*word) {
                if !keep(index * BITS + bit) {
                    *word &= !(1 << bit);
                }
            }
        }
    }

    /// In rising order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        let words = self.0.iter().enumerate();
        words.flat_map(|(index, word)| bits(*word).map(move |bit| index * BITS + bit))
    }
}

/// The positions of the bits that are set.
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
