//! Warns of the options that give up protection, at the start and each hour.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::plaintext::Plaintext;
use crate::context::Via;

/// The protection that a mesh was told to give up, of which the log warns.
#[derive(Debug)]
pub(super) struct Dangers {
    pub(super) plaintext: Option<Plaintext>,
    /// The proxies whose word about their callers is believed.
    pub(super) proxies: Arc<[Via]>,
    /// Whether applications see the `x-forwarded-client-cert` of every caller.
    pub(super) shows_every_client_cert: bool,
}

impl Dangers {
    /// Logs a warning of each.
    pub(super) fn warn(&self) {
        if let Some(plaintext) = &self.plaintext {
            plaintext.warn();
        }
        if self.shows_every_client_cert {
            tracing::warn!(
                target: "tower_mesh::mesh",
                "always_forward_client_cert: applications see the x-forwarded-client-cert of every \
                 caller, also of one without an identity"
            );
        }
        for proxy in self.proxies.iter() {
            tracing::warn!(
                target: "tower_mesh::mesh",
                %proxy,
                kind = proxy.kind(),
                "trusted proxy: rules about the source of a request believe what it says of its \
                 callers"
            );
        }
    }

    /// Logs the warnings each hour; never returns.
    pub(super) async fn remind(this: Option<Self>) -> Infallible {
        let has_any = |dangers: &Self| {
            dangers.plaintext.is_some()
                || dangers.shows_every_client_cert
                || !dangers.proxies.is_empty()
        };
        let Some(dangers) = this.filter(has_any) else {
            return pending().await;
        };
        loop {
            sleep(REMIND).await;
            dangers.warn();
        }
    }
}

const REMIND: Duration = Duration::from_secs(3600);
