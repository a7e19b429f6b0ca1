//! [`Live<T>`]: one current value that is replaced as a whole and read without waiting.
//!
//! The code that watches configuration holds one handle and calls [`store`](Live::store). Layers
//! hold another handle and call [`load`](Live::load) once per request. A reader sees one value or
//! the next, never a mixture, and keeps the value that it loaded for as long as it needs it.
//!
//! # Example
//!
//! ```
//! use tower_mesh::live::Live;
//!
//! let roots = Live::new("old");
//! let reader = roots.clone();
//! let before = reader.load();
//! roots.store("new");
//! assert_eq!((*before, before.generation()), ("old", 1));
//! assert_eq!((*reader.load(), reader.generation()), ("new", 2));
//! ```

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};

/// A cell with the current value of something that changes while the process runs. Clones share the
/// cell.
pub struct Live<T>(Arc<Cell<T>>);

struct Cell<T> {
    current: ArcSwap<Versioned<T>>,
    last: AtomicU64,
}

struct Versioned<T> {
    generation: u64,
    value: T,
}

impl<T> Live<T> {
    /// A cell that holds `value` as its first generation.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(Cell {
            current: ArcSwap::from_pointee(Versioned {
                generation: 1,
                value,
            }),
            last: AtomicU64::new(1),
        }))
    }

    /// The current value. Never waits. Drop it soon and do not hold it across an await; use
    /// [`snapshot`](Self::snapshot) there.
    #[must_use]
    pub fn load(&self) -> Loaded<T> {
        Loaded(self.0.current.load())
    }

    /// The current value, which may be kept for as long as needed.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<T> {
        Snapshot(self.0.current.load_full())
    }

    /// Replaces the value. Readers that hold the old value keep it. Use one writer per cell: of two
    /// concurrent writers, either may win.
    pub fn store(&self, value: T) {
        let generation = self.0.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.0
            .current
            .store(Arc::new(Versioned { generation, value }));
    }

    /// The generation of the current value, counted from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.current.load().generation
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Live<T> {
    /// Prints only the generation, because the value may be secret or large.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

/// The value that a cell held when it was loaded.
pub struct Loaded<T>(Guard<Arc<Versioned<T>>>);

impl<T> Loaded<T> {
    /// The same value, which may be kept for as long as needed.
    #[must_use]
    pub fn into_snapshot(self) -> Snapshot<T> {
        Snapshot(Guard::into_inner(self.0))
    }

    /// The generation of this value, counted from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation
    }
}

impl<T> Deref for Loaded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Loaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A value that a cell held, kept alive by this handle. Cheap to clone.
pub struct Snapshot<T>(Arc<Versioned<T>>);

impl<T> Snapshot<T> {
    /// The generation of this value, counted from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation
    }
}

impl<T> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Snapshot<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_keeps_the_value_it_was_taken_of() {
        let live = Live::new(String::from("a"));
        let kept = live.snapshot();
        live.store("b".into());
        assert_eq!(
            (kept.as_str(), live.load().as_str(), live.generation()),
            ("a", "b", 2)
        );
    }

    #[test]
    fn what_was_loaded_can_be_kept() {
        let live = Live::new(String::from("a"));
        let loaded = live.load();
        live.store("b".into());
        let kept = loaded.into_snapshot();
        assert_eq!((kept.as_str(), kept.generation()), ("a", 1));
    }

    #[test]
    fn handles_cross_threads() {
        fn crosses<T: Send + Sync + Clone>(_: &T) {}
        crosses(&Live::new(0_u8));
        crosses(&Live::new(0_u8).snapshot());
    }
}
