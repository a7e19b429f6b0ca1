//! The guards that the application gave to the builder.

use std::fmt;
use std::ops::Deref;

use crate::guard::Guard;

/// The guards of the application, in the order in which they judge requests.
#[derive(Default)]
pub(in crate::mesh) struct AppGuards(Vec<AppGuard>);

type AppGuard = Box<dyn Guard + Send + Sync>;

impl AppGuards {
    /// Adds a guard behind those that are there.
    pub(in crate::mesh) fn push(&mut self, guard: impl Guard + Send + Sync + 'static) {
        self.0.push(Box::new(guard));
    }
}

impl Deref for AppGuards {
    type Target = [AppGuard];

    fn deref(&self) -> &[AppGuard] {
        &self.0
    }
}

impl fmt::Debug for AppGuards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AppGuards").field(&self.0.len()).finish()
    }
}
