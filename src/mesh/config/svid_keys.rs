//! Keeps the keys of JWT-SVIDs fresh from a source of bundles, the Workload API for example.

use std::collections::BTreeMap;
use std::fmt;

use tokio::sync::oneshot;

use crate::error_chain::ErrorChain;
use crate::jwt::SvidKeys;
use crate::tls::JwtBundleSource;

/// A source of bundles, and the keys that it fills.
pub(in crate::mesh) struct SvidFeed {
    source: Box<dyn JwtBundleSource>,
    keys: SvidKeys,
}

impl SvidFeed {
    pub(in crate::mesh) fn new(source: Box<dyn JwtBundleSource>) -> Self {
        Self {
            source,
            keys: SvidKeys::new(),
        }
    }

    /// The keys that this fills.
    pub(in crate::mesh) fn keys(&self) -> SvidKeys {
        self.keys.clone()
    }

    /// Follows the source for ever. `first` is told when it has answered or failed once.
    pub(in crate::mesh) async fn run(mut self, first: oneshot::Sender<()>) {
        let mut first = Some(first);
        loop {
            self.step().await;
            if let Some(first) = first.take() {
                // Nobody may wait any longer.
                let _ = first.send(());
            }
        }
    }

    /// Rule M-52: a source that fails leaves the keys as they are, and one that withdraws them ends
    /// their use.
    async fn step(&mut self) {
        match self.source.next().await {
            Ok(bundles) => {
                for error in self.keys.replace(&bundles) {
                    tracing::warn!(
                        target: "tower_mesh::jwt",
                        error = %ErrorChain(&error),
                        "the keys of JWT-SVIDs stay as they were for a trust domain"
                    );
                }
            }
            Err(error) if error.is_withdrawn() => {
                // Nothing is there to be refused.
                let _ = self.keys.replace(&BTreeMap::new());
                tracing::error!(
                    target: "tower_mesh::jwt",
                    "the keys of JWT-SVIDs were withdrawn, and every JWT-SVID is refused"
                );
            }
            Err(error) => {
                self.keys.lose();
                tracing::warn!(
                    target: "tower_mesh::jwt",
                    error = %ErrorChain(&error),
                    "the source of keys for JWT-SVIDs is gone; those in use stay, for a day at most"
                );
            }
        }
    }
}

/// However the task ends, by a panic of the source for example: nothing renews the keys any more,
/// so they count for another day.
impl Drop for SvidFeed {
    fn drop(&mut self) {
        self.keys.lose();
    }
}

impl fmt::Debug for SvidFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SvidFeed").field(&self.keys).finish()
    }
}
