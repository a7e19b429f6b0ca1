//! Requests that wait for keys.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time;

use super::keyring::Jwks;

/// The wait of one request for the fetch that tokens with an unknown key have asked for.
#[derive(Debug)]
pub(crate) struct KeyWait {
    jwks: Jwks,
    _room: OwnedSemaphorePermit,
}

impl KeyWait {
    /// `None` if there is no fetch to wait for, or too many requests wait for these keys.
    pub(crate) fn begin(jwks: &Jwks, now: f64) -> Option<Self> {
        Some(Self {
            _room: jwks.remote()?.room(now)?,
            jwks: jwks.clone(),
        })
    }

    /// Returns when the fetch has ended, well or not, and after the time of one fetch at most: it
    /// may not have begun, or nobody may run the fetcher.
    pub(crate) async fn end(self) {
        let Some(remote) = self.jwks.remote() else {
            return;
        };
        let ended = async {
            loop {
                let mut next = pin!(remote.ended.notified());
                // An end between the two looks must wake this request, too.
                next.as_mut().enable();
                if !remote.is_asked_for() {
                    return;
                }
                next.await;
            }
        };
        // The keys there are decide, however the wait ends.
        let _ = time::timeout(remote.timeout.min(LONGEST), ended).await;
    }
}

/// How long a request waits at most, however long its rule lets a fetch take: it holds a service
/// that is ready, and an invented key is enough to wait.
const LONGEST: Duration = Duration::from_secs(5);
