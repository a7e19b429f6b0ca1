//! The tasks that fetch key sets and keep them up to date.

use std::future::pending;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fetch::{self, Fetch};
use super::svid_keys::SvidFeed;
use crate::error_chain::ErrorChain;
use crate::jwt::{Fetcher, Jwks, Moved};
use crate::mesh::options::TokenOptions;
use crate::metrics::Registry;
use crate::tls::Settings;

/// Keeps key sets up to date by one task each, which ends when no rule uses its keys any more.
#[derive(Debug)]
pub(in crate::mesh) struct Keys {
    client: Fetch,
    /// The longest time between two good fetches, if the options say.
    every: Option<Duration>,
    /// Key sets without a task yet.
    waiting: Vec<Jwks>,
    /// Keys of JWT-SVIDs that no rule needs yet.
    svids: Option<SvidFeed>,
    fetchers: JoinSet<()>,
}

impl Keys {
    /// No keys yet. `settings` are those of TLS, for the servers of keys.
    ///
    /// # Errors
    /// The mistake, which names the option that is wrong.
    pub(in crate::mesh) fn new(options: TokenOptions, settings: &Settings) -> Result<Self, String> {
        Ok(Self {
            every: options.fetch_every,
            client: fetch::client(options, settings)?,
            waiting: Vec::new(),
            svids: None,
            fetchers: JoinSet::new(),
        })
    }

    /// Keeps the keys of JWT-SVIDs up to date, too, once rules want them.
    pub(in crate::mesh) fn feed(&mut self, svids: SvidFeed) {
        self.svids = Some(svids);
    }

    /// Whether there is no key set to fetch.
    pub(in crate::mesh) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.fetchers.is_empty()
    }

    /// Takes new key sets and fetches them once, all at the same time, for five seconds at most.
    /// [`refresh`](Self::refresh) fetches those that do not come in time. The tasks of other key
    /// sets go on meanwhile. The same for the keys of JWT-SVIDs, if rules want them now.
    pub(in crate::mesh) async fn fetch_first(&mut self, sets: Vec<Jwks>, wants_svids: bool) {
        let mut first = JoinSet::new();
        if wants_svids && let Some(feed) = self.svids.take() {
            let (told, answered) = oneshot::channel();
            // Its stream must not end when the time for the first answer does.
            self.fetchers.spawn(feed.run(told));
            first.spawn(async { drop(answered.await) });
        }
        for jwks in &sets {
            warn_of_http(jwks);
            if let Some(mut fetcher) = Fetcher::new(jwks, self.client.clone()) {
                let jwks = jwks.clone();
                first.spawn(async move {
                    if let Err(error) = fetcher.fetch(&jwks).await {
                        let error = ErrorChain(&error);
                        tracing::warn!(
                            target: "tower_mesh::jwt",
                            %error,
                            "keys could not be fetched"
                        );
                    }
                });
            }
        }
        let all = async { while first.join_next().await.is_some() {} };
        // The drop of `first` ends the late fetches; the driver tries again.
        if timeout(FIRST_FETCH, all).await.is_err() {
            for source in sets
                .iter()
                .filter(|jwks| jwks.fetches().0 == 0)
                .filter_map(Jwks::source)
            {
                tracing::warn!(
                    target: "tower_mesh::jwt",
                    %source,
                    "keys were not fetched in time; the rules that need them begin without them"
                );
            }
        }
        self.waiting.extend(sets);
    }

    /// Runs the tasks; never returns. It may be dropped and called again.
    pub(in crate::mesh) async fn refresh(&mut self) {
        for jwks in self.waiting.drain(..) {
            if let Some(mut fetcher) = Fetcher::new(&jwks, self.client.clone()) {
                if let Some(every) = self.every {
                    fetcher = fetcher.at_least_every(every);
                }
                self.fetchers.spawn(fetcher.run());
            }
        }
        while self.fetchers.join_next().await.is_some() {}
        pending().await
    }
}

/// Warns also where the option allows it: an attacker on the path could sign tokens.
fn warn_of_http(jwks: &Jwks) {
    let source = jwks.source().filter(|source| source.is_plaintext());
    if let Some(uri) = source {
        tracing::warn!(target: "tower_mesh::jwt", %uri, "keys are fetched over plain HTTP");
    }
}

/// Registers the gauge of key sets that have moved and have not been fetched from the new place.
pub(in crate::mesh) fn metrics(registry: &Registry, moved: Moved) {
    registry.gauge_of(
        "mesh_jwt_moved_key_sets",
        "Issuers whose jwksUri has changed and not answered yet, so that the keys from before \
         serve.",
        &[],
        move || Some(moved.waiting() as f64),
    );
}

/// The time for the first fetch of all new key sets together.
const FIRST_FETCH: Duration = Duration::from_secs(5);
