//! A list that only grows, without a lock.

use std::sync::OnceLock;

/// Values in the order in which they were added. Adding one allocates; an empty list is one word.
#[derive(Debug)]
pub(crate) struct OnceList<T>(OnceLock<Box<Node<T>>>);

#[derive(Debug)]
struct Node<T> {
    value: T,
    next: OnceList<T>,
}

impl<T> Default for OnceList<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> OnceList<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.get().is_none()
    }

    pub(crate) fn push(&self, value: T) {
        let mut node = Box::new(Node {
            value,
            next: Self::default(),
        });
        let mut list = self;
        // Another thread may have taken the place meanwhile: then the next one is tried.
        while let Err(back) = list.0.set(node) {
            node = back;
            match list.0.get() {
                Some(taken) => list = &taken.next,
                None => return,
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let nodes = std::iter::successors(self.0.get(), |node| node.next.0.get());
        nodes.map(|node| &node.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_in_their_order_and_none_is_lost_between_threads() {
        let list = OnceList::default();
        assert!(list.is_empty());
        (0..3).for_each(|value| list.push(value));
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), [0, 1, 2]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (3..103).for_each(|value| list.push(value)));
            }
        });
        assert_eq!(list.iter().count(), 403);
    }
}
