use std::sync::atomic::Ordering;

use super::registry::Registry;
use super::store::series::{BaseId, ConnectionCells};
use crate::message::ResponseFlags;

/// One connection that carries no HTTP, in Istio's TCP families: counted as opened when it is made,
/// and as closed when it is dropped.
#[derive(Debug)]
pub struct Connection {
    registry: Registry,
    base: BaseId,
    overflow: BaseId,
    flags: ResponseFlags,
}

impl Connection {
    pub(super) fn open(registry: &Registry, base: BaseId, overflow: BaseId) -> Self {
        let connection = Self {
            registry: registry.clone(),
            base,
            overflow,
            flags: ResponseFlags::none(),
        };
        connection.count(|cells| cells.opened.fetch_add(1, Ordering::Relaxed));
        connection
    }

    /// Adds response flags. They label everything that is counted from now on.
    pub fn add_flags(&mut self, flags: ResponseFlags) {
        self.flags = self.flags.union(flags);
    }

    /// Counts bytes sent to the caller, on either side of the connection.
    pub fn sent(&self, bytes: u64) {
        self.count(|cells| cells.sent.fetch_add(bytes, Ordering::Relaxed));
    }

    /// Counts bytes received from the caller, on either side of the connection.
    pub fn received(&self, bytes: u64) {
        self.count(|cells| cells.received.fetch_add(bytes, Ordering::Relaxed));
    }

    fn count(&self, add: impl Fn(&ConnectionCells) -> u64) {
        let table = self.registry.table();
        if let Some(cells) = table.connection(self.base, self.overflow, self.flags) {
            add(cells);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.count(|cells| cells.closed.fetch_add(1, Ordering::Relaxed));
    }
}
