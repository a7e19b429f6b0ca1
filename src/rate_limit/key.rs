//! Keys of buckets: keyed hashes of what a descriptor says.

use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};

/// Makes the keys of one limit.
///
/// A key is a SipHash under a random key of the process. Callers can neither choose the set of a
/// [table](super::table) nor look for values that share a bucket; among a million keys, two share
/// one by chance in one process of thirty million.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(RandomState);

impl Keys {
    /// A key that says nothing yet.
    #[inline]
    pub(super) fn begin(&self) -> Key {
        Key {
            hasher: self.0.build_hasher(),
            pending: [0; PENDING],
            used: 0,
        }
    }
}

/// A key that is being made.
///
/// Short values are gathered and hashed together, because each call of the hasher has its price.
#[derive(Clone, Debug)]
pub(super) struct Key {
    hasher: DefaultHasher,
    pending: [u8; PENDING],
    /// How many bytes are pending.
    used: usize,
}

impl Key {
    /// Adds a value.
    #[inline]
    pub(super) fn add(&mut self, value: &[u8]) {
        self.push(value);
        // So that `a`, `bc` and `ab`, `c` differ.
        self.push(&(value.len() as u64).to_le_bytes());
    }

    /// Adds a number.
    pub(super) fn add_number(&mut self, number: u64) {
        self.push(&number.to_le_bytes());
    }

    #[inline]
    pub(super) fn finish(&self) -> u64 {
        let mut hasher = self.hasher.clone();
        hasher.write(self.pending.get(..self.used).unwrap_or_default());
        hasher.finish()
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        let end = self.used + bytes.len();
        match self.pending.get_mut(self.used..end) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.used = end;
            }
            None => self.flush(bytes),
        }
    }

    /// Hashes what is pending, and then these bytes.
    #[cold]
    fn flush(&mut self, bytes: &[u8]) {
        let pending = self.pending.get(..self.used).unwrap_or_default();
        self.hasher.write(pending);
        self.hasher.write(bytes);
        self.used = 0;
    }
}

const PENDING: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(keys: &Keys, values: &[&str]) -> u64 {
        let mut key = keys.begin();
        values.iter().for_each(|value| key.add(value.as_bytes()));
        key.finish()
    }

    #[test]
    fn equal_values_and_no_others_have_one_key() {
        let keys = Keys::default();
        let long = "x".repeat(200);
        let lists: [&[&str]; 8] = [
            &[],
            &[""],
            &["", ""],
            &["a", "bc"],
            &["ab", "c"],
            &[&long],
            &[&long, "a"],
            &["a", &long],
        ];
        for (index, values) in lists.iter().enumerate() {
            assert_eq!(key(&keys, values), key(&keys, values), "{values:?}");
            for other in lists.iter().skip(index + 1) {
                assert_ne!(
                    key(&keys, values),
                    key(&keys, other),
                    "{values:?} {other:?}"
                );
            }
        }
        assert_ne!(key(&keys, &["a"]), key(&Keys::default(), &["a"]));
    }
}
