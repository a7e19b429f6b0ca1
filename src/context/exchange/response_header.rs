//! Headers that a guard adds to the response of a request that it lets pass.

use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

/// How a header gets into a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Placement {
    /// As one more line, next to those of the same name.
    #[default]
    Add,
    /// In place of all lines of the same name.
    Set,
    /// Only if the response has no such header.
    AddIfAbsent,
    /// In place of all lines of the same name, if there are any.
    SetIfPresent,
}

/// A header for the response, which one layer puts there.
#[derive(Debug)]
pub(super) struct ResponseHeader {
    name: HeaderName,
    value: HeaderValue,
    placement: Placement,
    is_put: AtomicBool,
}

impl ResponseHeader {
    pub(super) fn new(name: HeaderName, value: HeaderValue, placement: Placement) -> Self {
        Self {
            name,
            value,
            placement,
            is_put: AtomicBool::new(false),
        }
    }

    /// Puts it into the headers of the response, at the first call.
    pub(super) fn put(&self, headers: &mut HeaderMap) {
        if self.is_put.swap(true, Ordering::Relaxed) {
            return;
        }
        let (name, value) = (self.name.clone(), self.value.clone());
        let is_present = headers.contains_key(&name);
        match self.placement {
            Placement::Add => {
                headers.append(name, value);
            }
            Placement::AddIfAbsent if is_present => {}
            Placement::SetIfPresent if !is_present => {}
            Placement::Set | Placement::AddIfAbsent | Placement::SetIfPresent => {
                headers.insert(name, value);
            }
        }
    }
}
