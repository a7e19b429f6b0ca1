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
    pub(super) fn begin(&self) -> Key {
        Key(self.0.build_hasher())
    }
}

/// A key that is being made.
#[derive(Clone, Debug)]
pub(super) struct Key(DefaultHasher);

impl Key {
    /// Adds a value.
    pub(super) fn add(&mut self, value: &[u8]) {
        self.0.write(value);
        // So that `a`, `bc` and `ab`, `c` differ.
        self.0.write_usize(value.len());
    }

    /// Adds a number.
    pub(super) fn add_number(&mut self, number: u64) {
        self.0.write_u64(number);
    }

    pub(super) fn finish(&self) -> u64 {
        self.0.finish()
    }
}

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
