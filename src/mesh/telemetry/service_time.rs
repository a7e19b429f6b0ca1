//! How long the application took, as the response tells a caller of the mesh.

use std::sync::LazyLock;
use std::time::Instant;

use http::{HeaderName, HeaderValue, response};

use crate::context::{Exchange, Peer};

/// Sets `x-envoy-upstream-service-time`, as the sidecar of a server does. Others than callers of the
/// mesh do not get it, and what a guard has answered took no time of the application.
#[derive(Debug)]
pub(in crate::mesh) struct ServiceTime {
    exchange: Exchange,
    started: Instant,
}

impl ServiceTime {
    /// `None` for a caller without an identity of the mesh.
    pub(in crate::mesh) fn new(exchange: &Exchange, started: Instant) -> Option<Self> {
        exchange.peer().and_then(Peer::spiffe_id)?;
        Some(Self {
            exchange: exchange.clone(),
            started,
        })
    }

    pub(in crate::mesh) fn answered(&self, head: &mut response::Parts) {
        if self.exchange.details().is_none() {
            let took = millis(self.started.elapsed().as_millis());
            head.headers.insert(SERVICE_TIME, took);
        }
    }
}

/// So many milliseconds. Nearly all answers take one of a few times, which are made once.
fn millis(took: u128) -> HeaderValue {
    static SHORT: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
        let values = (0..1_000_u64).map(HeaderValue::from);
        // The first clone of each allocates its count of references.
        values.inspect(|value| drop(value.clone())).collect()
    });
    let short = usize::try_from(took).ok().and_then(|took| SHORT.get(took));
    match short {
        Some(short) => short.clone(),
        None => u64::try_from(took).unwrap_or(u64::MAX).into(),
    }
}

const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");
