//! Headers that a guard adds to the response of a request that it lets pass.

use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

/// A header for the response, which one layer puts there.
#[derive(Debug)]
pub(super) struct ResponseHeader {
    name: HeaderName,
    value: HeaderValue,
    replaces: bool,
    is_put: AtomicBool,
}

impl ResponseHeader {
    /// `replaces` says whether it takes the place of the response's own header.
    pub(super) fn new(name: HeaderName, value: HeaderValue, replaces: bool) -> Self {
        Self {
            name,
            value,
            replaces,
            is_put: AtomicBool::new(false),
        }
    }

    /// Puts it into the headers of the response, at the first call.
    pub(super) fn put(&self, headers: &mut HeaderMap) {
        if self.is_put.swap(true, Ordering::Relaxed) {
            return;
        }
        let (name, value) = (self.name.clone(), self.value.clone());
        if self.replaces {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
}
