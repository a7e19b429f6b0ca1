use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
#[cfg(all(feature = "server", feature = "client"))]
use std::time::Duration;

use super::registry::Registry;
use super::store::series::{BaseId, ConnectionCells};
#[cfg(all(feature = "server", feature = "client"))]
use crate::message::Direction;
use crate::message::ResponseFlags;

/// One connection that carries no HTTP, in Istio's TCP families: counted as opened when it is made,
/// and as closed when it is [closed](Self::close) or dropped.
#[derive(Debug)]
pub struct Connection {
    registry: Registry,
    base: BaseId,
    overflow: BaseId,
    /// The bits of the flags.
    flags: AtomicU32,
    is_closed: AtomicBool,
}

impl Connection {
    pub(super) fn open(
        registry: &Registry,
        base: BaseId,
        overflow: BaseId,
        flags: ResponseFlags,
    ) -> Self {
        let connection = Self {
            registry: registry.clone(),
            base,
            overflow,
            flags: AtomicU32::new(flags.bits()),
            is_closed: AtomicBool::new(false),
        };
        connection.count(|cells| cells.opened.fetch_add(1, Ordering::Relaxed));
        connection
    }

    /// Adds response flags. They label everything that is counted from now on.
    pub fn add_flags(&self, flags: ResponseFlags) {
        self.flags.fetch_or(flags.bits(), Ordering::Relaxed);
    }

    /// Counts bytes sent to the caller, on either side of the connection.
    pub fn sent(&self, bytes: u64) {
        self.count(|cells| cells.sent.fetch_add(bytes, Ordering::Relaxed));
    }

    /// Counts bytes received from the caller, on either side of the connection.
    pub fn received(&self, bytes: u64) {
        self.count(|cells| cells.received.fetch_add(bytes, Ordering::Relaxed));
    }

    /// How often a connection of this direction reports what it carries.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn reporting_interval(&self, direction: Direction) -> Duration {
        self.registry.reporting_interval(|plan| match direction {
            Direction::Inbound => plan.server.reporting_interval,
            Direction::Outbound => plan.client.reporting_interval,
        })
    }

    /// Counts the connection as closed, once.
    pub fn close(&self) {
        if !self.is_closed.swap(true, Ordering::Relaxed) {
            self.count(|cells| cells.closed.fetch_add(1, Ordering::Relaxed));
        }
    }

    fn count(&self, add: impl Fn(&ConnectionCells) -> u64) {
        let table = self.registry.table();
        let flags = ResponseFlags::from_bits(self.flags.load(Ordering::Relaxed));
        if let Some(cells) = table.connection(self.base, self.overflow, flags) {
            add(cells);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}
