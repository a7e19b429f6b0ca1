//! Who is told when keys are fetched that differ from those before.

use std::sync::{Arc, OnceLock};

use super::key_source::KeySource;

/// Told of the source, and of the key sets before and after, which are public. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct KeyChanges(Arc<OnceLock<Box<Observe>>>);

type Observe = dyn Fn(&KeySource, Option<&str>, &str) + Send + Sync;

impl KeyChanges {
    /// Once; whoever comes later is not told.
    pub(crate) fn observe(
        &self,
        observe: impl Fn(&KeySource, Option<&str>, &str) + Send + Sync + 'static,
    ) {
        let _ = self.0.set(Box::new(observe));
    }

    pub(super) fn tell(&self, source: &KeySource, before: Option<&str>, after: &str) {
        if let Some(observe) = self.0.get() {
            observe(source, before, after);
        }
    }
}
