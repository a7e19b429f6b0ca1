#![expect(
    clippy::disallowed_types,
    reason = "locked when a connection could not be made, and by those who waited for it"
)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::connect_error::ConnectError;

/// Why connections could not be made, for calls that waited for another call's attempt: hyper's pool tells them only that it is over.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Failures {
    count: AtomicU64,
    last: Mutex<BTreeMap<Box<str>, (u64, ConnectError)>>,
}

impl Failures {
    /// How many there have been.
    pub(in crate::mesh) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    pub(in crate::mesh) fn tell(&self, authority: &str, error: &ConnectError) {
        let Ok(mut last) = self.last.lock() else {
            return;
        };
        // A host may be called on any port.
        if last.len() >= MOST && !last.contains_key(authority) {
            last.clear();
        }
        let number = self.count.fetch_add(1, Ordering::AcqRel) + 1;
        last.insert(authority.into(), (number, error.clone()));
    }

    /// The last one of this upstream, if there was one after so many in all.
    pub(in crate::mesh) fn since(&self, authority: &str, count: u64) -> Option<ConnectError> {
        let last = self.last.lock().ok()?;
        let (number, error) = last.get(authority)?;
        (*number > count).then(|| error.clone())
    }
}

const MOST: usize = 1024;
