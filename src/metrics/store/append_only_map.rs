use std::sync::OnceLock;

/// A hash map that only grows: lookups are wait-free, and entries stay in place as long as the map
/// lives.
///
/// An array holds `N` chains; a new entry goes to the end of its chain. The map has no bound of its
/// own: the code that fills it sets one.
#[derive(Debug)]
pub(in crate::metrics) struct AppendOnlyMap<T, const N: usize> {
    heads: [Link<T>; N],
}

type Link<T> = OnceLock<Box<Node<T>>>;

#[derive(Debug)]
struct Node<T> {
    entry: T,
    next: Link<T>,
}

impl<T, const N: usize> AppendOnlyMap<T, N> {
    pub(in crate::metrics) fn new() -> Self {
        Self {
            heads: [const { OnceLock::new() }; N],
        }
    }

    /// The entry that `is` accepts among those with this hash.
    pub(in crate::metrics) fn get(&self, hash: u64, is: impl Fn(&T) -> bool) -> Option<&T> {
        let mut link = self.head(hash)?;
        while let Some(node) = link.get() {
            if is(&node.entry) {
                return Some(&node.entry);
            }
            link = &node.next;
        }
        None
    }

    /// The entry that `is` accepts: the new one, or that of a thread that came first. `true` if it
    /// is the new one.
    pub(in crate::metrics) fn get_or_add(
        &self,
        hash: u64,
        is: impl Fn(&T) -> bool,
        entry: T,
    ) -> Option<(&T, bool)> {
        let mut link = self.head(hash)?;
        let mut offered = Box::new(Node {
            entry,
            next: OnceLock::new(),
        });
        loop {
            let taken = match link.set(offered) {
                Ok(()) => return link.get().map(|node| (&node.entry, true)),
                Err(refused) => {
                    offered = refused;
                    link.get()?
                }
            };
            if is(&taken.entry) {
                return Some((&taken.entry, false));
            }
            link = &taken.next;
        }
    }

    pub(in crate::metrics) fn iter(&self) -> impl Iterator<Item = &T> {
        self.heads.iter().flat_map(|head| {
            let first = head.get();
            std::iter::successors(first, |node| node.next.get()).map(|node| &node.entry)
        })
    }

    /// The upper bits choose the chain, because a multiplied hash mixes those best.
    fn head(&self, hash: u64) -> Option<&Link<T>> {
        self.heads.get(((hash >> 32) % N as u64) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_added_even_when_chains_are_shared() {
        let map = AppendOnlyMap::<u64, 4>::new();
        for key in 0..100 {
            assert!(map.get_or_add(key << 32, |e| *e == key, key).unwrap().1);
            assert!(!map.get_or_add(key << 32, |e| *e == key, key).unwrap().1);
        }
        for key in 0..100 {
            assert_eq!(map.get(key << 32, |e| *e == key), Some(&key));
        }
        assert_eq!(map.get(7, |e| *e == 1000), None);
        assert_eq!(map.iter().count(), 100);
    }

    #[test]
    fn one_of_two_racing_threads_adds() {
        let map = AppendOnlyMap::<u64, 1>::new();
        let added = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let add = |key| map.get_or_add(0, |e| *e == key, key).unwrap().1;
                        (0..200).filter(|key| add(*key)).count()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|t| t.join().unwrap())
                .sum::<usize>()
        });
        assert_eq!((added, map.iter().count()), (200, 200));
    }
}
