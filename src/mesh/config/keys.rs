use std::future::pending;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fetch::Fetch;
use crate::error_chain::ErrorChain;
use crate::jwt::{Fetcher, Jwks, Moved};
use crate::metrics::Registry;

/// Keeps key sets fresh: one fetcher each, that ends when no rule uses its keys any more.
#[derive(Debug)]
pub(in crate::mesh) struct Keys {
    client: Fetch,
    /// Not fetched regularly yet.
    waiting: Vec<Jwks>,
    fetchers: JoinSet<()>,
}

impl Keys {
    pub(in crate::mesh) fn new(client: Fetch) -> Self {
        Self {
            client,
            waiting: Vec::new(),
            fetchers: JoinSet::new(),
        }
    }

    /// Whether there is nothing to fetch.
    pub(in crate::mesh) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.fetchers.is_empty()
    }

    /// Takes new key sets on and fetches them once, all at the same time, for five seconds at most. What does not come in time is left to
    /// [`refresh`](Self::refresh). Meanwhile, the fetchers of the others go on.
    pub(in crate::mesh) async fn fetch_first(&mut self, sets: Vec<Jwks>) {
        let mut first = JoinSet::new();
        for jwks in &sets {
            warn_of_http(jwks);
            if let Some(mut fetcher) = Fetcher::new(jwks, self.client.clone()) {
                let jwks = jwks.clone();
                first.spawn(async move {
                    if let Err(error) = fetcher.fetch(&jwks).await {
                        tracing::warn!(target: "tower_mesh::jwt", error = %ErrorChain(&error), "keys could not be fetched");
                    }
                });
            }
        }
        let all = async { while first.join_next().await.is_some() {} };
        // Whoever is late is cut with the set; the driver tries again.
        if timeout(FIRST_FETCH, all).await.is_err() {
            for source in sets
                .iter()
                .filter(|jwks| jwks.fetches().0 == 0)
                .filter_map(Jwks::source)
            {
                tracing::warn!(target: "tower_mesh::jwt", %source, "keys do not come in time; what needs them begins without them");
            }
        }
        self.waiting.extend(sets);
    }

    /// Runs the fetchers; never ends. Dropped and called again, it goes on.
    pub(in crate::mesh) async fn refresh(&mut self) {
        for jwks in self.waiting.drain(..) {
            if let Some(fetcher) = Fetcher::new(&jwks, self.client.clone()) {
                self.fetchers.spawn(fetcher.run());
            }
        }
        while self.fetchers.join_next().await.is_some() {}
        pending().await
    }
}

/// Whatever lets it: who is on the way can sign tokens.
fn warn_of_http(jwks: &Jwks) {
    let source = jwks.source().filter(|source| source.is_plaintext());
    if let Some(uri) = source {
        tracing::warn!(target: "tower_mesh::jwt", %uri, "keys are fetched over plain HTTP");
    }
}

/// Shows how many key sets have moved and not come yet.
pub(in crate::mesh) fn metrics(registry: &Registry, moved: Moved) {
    registry.gauge_of(
        "mesh_jwt_moved_key_sets",
        "Issuers whose jwksUri has changed and not answered yet, so that the keys from before serve.",
        &[],
        move || Some(moved.waiting() as f64),
    );
}

/// For all that are new together.
const FIRST_FETCH: Duration = Duration::from_secs(5);
