use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::sync::{Arc, LazyLock};

use foldhash::quality::RandomState;

use super::labels::UNKNOWN;

/// The values that one request has for labels with an expression, by the text of the expression.
///
/// They are bounded: a value has at most 256 bytes, and all of them 4 KiB. More is `unknown`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TagValues {
    hash: u64,
    values: Box<[(Arc<str>, Box<str>)]>,
}

impl TagValues {
    /// Each expression with its value; `None` if it has none for this request.
    #[cfg_attr(
        not(all(feature = "server", feature = "client", feature = "cel")),
        allow(dead_code, reason = "for expressions, which a mesh evaluates")
    )]
    pub(crate) fn new(values: impl Iterator<Item = (Arc<str>, Option<String>)>) -> Self {
        let mut room = MOST_BYTES;
        let values = values.map(|(expression, value)| {
            let mut value = value.unwrap_or_else(|| UNKNOWN.to_owned());
            let mut end = value.len().min(MOST_BYTES_OF_ONE);
            while !value.is_char_boundary(end) {
                end -= 1;
            }
            value.truncate(end);
            match room.checked_sub(value.len()) {
                Some(left) => room = left,
                None => UNKNOWN.clone_into(&mut value),
            }
            (expression, value.into())
        });
        Self::hashed(values.collect())
    }

    fn hashed(values: Box<[(Arc<str>, Box<str>)]>) -> Self {
        Self {
            hash: HASHER.hash_one(&values),
            values,
        }
    }

    /// Whether each is of one of these expressions.
    pub(in crate::metrics) fn are_of(&self, expressions: &BTreeSet<Box<str>>) -> bool {
        let mut values = self.values.iter();
        values.all(|(expression, _)| expressions.contains(&**expression))
    }

    /// Those of these expressions; `None` if there are none.
    pub(in crate::metrics) fn only(&self, expressions: &BTreeSet<Box<str>>) -> Option<Self> {
        let values = self.values.iter();
        let known = values.filter(|(expression, _)| expressions.contains(&**expression));
        let known: Box<[_]> = known.cloned().collect();
        (!known.is_empty()).then(|| Self::hashed(known))
    }

    /// Spreads over the upper bits.
    pub(in crate::metrics) const fn hash(&self) -> u64 {
        self.hash
    }

    /// The value of this expression.
    pub(in crate::metrics) fn get(&self, expression: &str) -> Option<&str> {
        let mut values = self.values.iter();
        values.find_map(|(known, value)| (**known == *expression).then_some(&**value))
    }
}

/// Callers choose values, so nobody else may know which hashes are equal.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

const MOST_BYTES_OF_ONE: usize = 256;
const MOST_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_bounded_in_bytes() {
        let long = "é".repeat(1000);
        let values = (0..40).map(|index| (index.to_string().into(), Some(long.clone())));
        let tags = TagValues::new(values);
        assert_eq!(tags.get("0").map(str::len), Some(256));
        assert_eq!(tags.get("39"), Some("unknown"));
        assert_eq!(tags.get("40"), None);
        let bytes: usize = tags.values.iter().map(|(_, value)| value.len()).sum();
        assert!(bytes <= MOST_BYTES + 40 * UNKNOWN.len(), "{bytes}");
    }

    #[test]
    fn a_value_that_is_not_there_is_unknown() {
        let tags = TagValues::new([("a".into(), None)].into_iter());
        assert_eq!(tags.get("a"), Some("unknown"));
    }

    #[test]
    fn values_of_known_expressions_equal_those_that_were_alone() {
        let value = |name: &str| (name.into(), Some(name.to_owned()));
        let tags = TagValues::new(["a", "b", "c"].map(value).into_iter());
        let known = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
        let (some, all) = (known(&["a", "c"]), known(&["a", "b", "c", "d"]));
        assert!(tags.are_of(&all) && !tags.are_of(&some));
        let alone = TagValues::new(["a", "c"].map(value).into_iter());
        let only = tags.only(&some).unwrap();
        assert_eq!((only.hash(), &only), (alone.hash(), &alone));
        assert_eq!(tags.only(&known(&["d"])), None);
    }
}
