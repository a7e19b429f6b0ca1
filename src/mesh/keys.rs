use std::future::pending;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fetch::Fetch;
use crate::jwt::{Fetcher, Jwks};

/// Keeps key sets fresh: one fetcher each, that ends when no rule uses its keys any more.
#[derive(Debug)]
pub(super) struct Keys {
    client: Fetch,
    /// Not fetched regularly yet.
    waiting: Vec<Jwks>,
    fetchers: JoinSet<()>,
}

impl Keys {
    pub(super) fn new(client: Fetch) -> Self {
        Self {
            client,
            waiting: Vec::new(),
            fetchers: JoinSet::new(),
        }
    }

    /// Whether there is nothing to fetch.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.fetchers.is_empty()
    }

    /// Key sets that are new; their fetchers start with the next [`refresh`](Self::refresh).
    pub(super) fn add(&mut self, sets: Vec<Jwks>) {
        self.waiting.extend(sets);
    }

    /// Fetches the new ones once, all at the same time. What does not come in time is left to [`refresh`](Self::refresh).
    pub(super) async fn fetch_first(&mut self, limit: Duration) {
        let mut first = JoinSet::new();
        for jwks in &self.waiting {
            if let Some(mut fetcher) = Fetcher::new(jwks, self.client.clone()) {
                let jwks = jwks.clone();
                first.spawn(async move {
                    if let Err(error) = fetcher.fetch(&jwks).await {
                        tracing::warn!(target: "tower_mesh::jwt", %error, "keys could not be fetched");
                    }
                });
            }
        }
        let all = async { while first.join_next().await.is_some() {} };
        // Whoever is late is cut with the set; the driver tries again.
        let _ = timeout(limit, all).await;
    }

    /// Runs the fetchers; never ends. Dropped and called again, it goes on.
    pub(super) async fn refresh(&mut self) {
        for jwks in self.waiting.drain(..) {
            if let Some(fetcher) = Fetcher::new(&jwks, self.client.clone()) {
                self.fetchers.spawn(fetcher.run());
            }
        }
        while self.fetchers.join_next().await.is_some() {}
        pending().await
    }
}
