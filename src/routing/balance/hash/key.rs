//! The hash that decides which host gets a call.

use super::xxh64;

/// The hash of a call, of the values that a route's hash policies find in it.
///
/// A policy that finds nothing (no such header) adds nothing; if none finds anything, the call has
/// no hash and goes to a random host. The values are combined as in Envoy's `HashPolicyImpl`: what
/// is there is rotated by one bit, so that equal values of two policies do not cancel each other
/// out, and the next value's hash is mixed in by exclusive or.
///
/// ```
/// use tower_mesh::routing::balance::HashKey;
///
/// let key = HashKey::default().value(b"patient-7");
/// assert_eq!(key.finish(), HashKey::default().value(b"patient-7").finish());
/// assert_ne!(key.finish(), key.value(b"patient-7").finish());
/// assert_eq!(HashKey::default().finish(), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashKey(Option<u64>);

impl HashKey {
    /// Adds a value: of a cookie, a query parameter, or a caller's address without its port.
    #[must_use]
    pub fn value(self, value: &[u8]) -> Self {
        self.hash(xxh64(value, 0))
    }

    /// Adds a header with all of its lines; one without lines adds nothing.
    ///
    /// The lines are put into order first, so that their order on the wire does not matter.
    #[must_use]
    pub fn header(self, lines: &mut [&[u8]]) -> Self {
        lines.sort_unstable();
        let hash = lines.iter().fold(None, |seed, line| {
            Some(xxh64(line, seed.unwrap_or_default()))
        });
        hash.map_or(self, |hash| self.hash(hash))
    }

    /// The hash; `None` if nothing was added.
    #[must_use]
    pub fn finish(self) -> Option<u64> {
        self.0
    }

    fn hash(self, hash: u64) -> Self {
        let before = self.0.map_or(0, |before| before.rotate_left(1));
        Self(Some(before ^ hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_its_hash_and_two_are_rotated_together() {
        let (foo, bar) = (xxh64(b"foo", 0), xxh64(b"bar", 0));
        let key = HashKey::default().value(b"foo");
        assert_eq!(key.finish(), Some(foo));
        let key = key.value(b"bar");
        assert_eq!(key.finish(), Some(foo.rotate_left(1) ^ bar));
        assert_ne!(HashKey::default().value(b"x").value(b"x").finish(), Some(0));
    }

    #[test]
    fn the_order_of_a_headers_lines_does_not_matter() {
        let one = HashKey::default().header(&mut [b"b", b"a"]);
        assert_eq!(one, HashKey::default().header(&mut [b"a", b"b"]));
        assert_eq!(one.finish(), Some(xxh64(b"b", xxh64(b"a", 0))));
        assert_eq!(
            HashKey::default().header(&mut [b"a"]),
            HashKey::default().value(b"a")
        );
        assert_eq!(HashKey::default().header(&mut []).finish(), None);
    }
}
