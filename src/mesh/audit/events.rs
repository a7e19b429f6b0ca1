//! Records of what changes: the configuration, the keys of issuers, and our own identity.

use std::sync::Arc;

use aws_lc_rs::digest;

use super::auditor::Auditor;
use super::configured::{AuditedConfig, JudgedBy, hex};
use crate::audit::{Event, Resource};
use crate::error_chain::ErrorChain;
use crate::jwt::{KeySource, Keyring};
use crate::tls::{Credentials, TrustBundles};

impl Auditor {
    /// Writes that a configuration is about to be used in place of another, and waits until that is
    /// durable. A trail that cannot be written does not keep a configuration from being used,
    /// because it may close what the one before has open; the log tells of it.
    pub(in crate::mesh) async fn config_changes(
        &self,
        old: Option<&AuditedConfig>,
        new: &JudgedBy,
    ) {
        let old = old.map_or_else(|| Arc::from("none"), |old| Arc::clone(&old.hash));
        let source = if new.generation == 1 {
            "start"
        } else {
            "change"
        };
        let hash = Arc::clone(&new.config.hash);
        self.config(Event::config(old, hash, source, "used"), new)
            .await;
    }

    /// Writes that a changed configuration is refused, and this one stays.
    pub(in crate::mesh) async fn config_refused(&self, stays: &JudgedBy, reason: &'static str) {
        let hash = || Arc::clone(&stays.config.hash);
        let event = Event::config(hash(), hash(), "change", format!("refused: {reason}"));
        self.config(event.reason(reason), stays).await;
    }

    async fn config(&self, event: Event, by: &JudgedBy) {
        let event = self.called(event, Resource::default());
        let event = event.configuration(by.generation, Arc::clone(&by.config.hash));
        if let Err(error) = self.audit.submit_durable(event).await {
            tracing::error!(
                target: "tower_mesh::audit",
                error = %ErrorChain(&error),
                generation = by.generation,
                "the record of a configuration is not durable"
            );
        }
    }

    /// Writes that the keys of an issuer were fetched, and are not those from before.
    fn keys_change(&self, source: &KeySource, before: Option<&str>, after: &str) {
        let hash = |keys: &str| hex(digest::digest(&digest::SHA256, keys.as_bytes()).as_ref());
        let old = before.map_or_else(|| "none".to_owned(), hash);
        let event = Event::config(old, hash(after), format!("keys {source}"), "used");
        self.audit.submit(self.called(event, Resource::default()));
    }

    /// Writes the certificate that this workload shows from now on.
    pub(in crate::mesh) fn identity(&self, credentials: &Credentials) {
        let serial = credentials.serial().unwrap_or_default();
        let bundles = bundle_hash(&credentials.bundles());
        let event = Event::identity(serial, credentials.not_after(), bundles);
        let event = match credentials.is_withdrawn() {
            true => event.reason("withdrawn"),
            false => event,
        };
        self.audit.submit(self.called(event, Resource::default()));
    }
}

/// Writes each change of the keys on this keyring.
pub(in crate::mesh) fn follow_keys(auditor: &Arc<Auditor>, keyring: &Keyring) {
    let auditor = Arc::clone(auditor);
    let changes = keyring.changes();
    changes.observe(move |source, before, after| auditor.keys_change(source, before, after));
}

/// Writes each identity that replaces another; never returns.
pub(in crate::mesh) async fn follow_identity(
    auditor: Option<Arc<Auditor>>,
    credentials: Option<Credentials>,
) {
    let (Some(auditor), Some(credentials)) = (auditor, credentials) else {
        return std::future::pending().await;
    };
    let mut replaced = credentials.subscribe();
    while replaced.changed().await.is_ok() {
        auditor.identity(&credentials);
    }
    std::future::pending().await
}

/// SHA-256 over the roots of each trust domain.
fn bundle_hash(bundles: &TrustBundles) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for domain in bundles.trust_domains() {
        context.update(domain.as_str().as_bytes());
        context.update(&[0]);
        for root in bundles.roots(domain) {
            context.update(digest::digest(&digest::SHA256, root).as_ref());
        }
    }
    hex(context.finish().as_ref())
}
