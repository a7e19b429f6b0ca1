//! The gate as a tower layer.

use std::sync::Arc;

use http::request::Parts;
use tower_layer::Layer;

use super::judge::{Arrival, judge};
use super::{Gate, Refusals};
use crate::context::Exchange;
use crate::guard::{self, Guard, Guarded, Verdict};

/// The response future of [`Gated`].
pub type ResponseFuture<S, ReqBody, ResBody> = guard::ResponseFuture<S, ReqBody, ResBody>;

/// Refuses requests that two programs could read differently, in front of the inner service.
pub type Gated<S> = Guarded<S, GateGuard>;

/// Applies [`Gated`]. Put it outside of all other layers.
#[derive(Clone, Debug, Default)]
pub struct GateLayer(GateGuard);

/// The guard of a [`GateLayer`].
#[derive(Clone, Debug, Default)]
pub struct GateGuard {
    gate: Gate,
    rewrites: bool,
    refusals: Arc<Refusals>,
}

impl GateLayer {
    /// A layer with the settings of [`Profile::Strict`](super::Profile::Strict), which may be
    /// behind a router.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A layer with these settings.
    #[must_use]
    pub fn with(gate: impl Into<Gate>) -> Self {
        Self(GateGuard {
            gate: gate.into(),
            ..GateGuard::default()
        })
    }

    /// Lets the layer rewrite the target and host of requests to their normalized form. Use this
    /// only in front of every router. Without it, a request whose path segments would change, or
    /// that names two hosts, is answered with 400.
    #[must_use]
    pub fn in_front_of_router(mut self) -> Self {
        self.0.rewrites = true;
        self
    }

    /// The counts of refused requests, which all clones of the layer share.
    #[must_use]
    pub fn refusals(&self) -> &Arc<Refusals> {
        &self.0.refusals
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Guarded::new(inner, self.0.clone())
    }
}

impl Guard for GateGuard {
    fn judge(&self, head: &mut Parts, exchange: &Exchange) -> Verdict {
        let arrival = Arrival {
            in_front: self.rewrites,
            wants_host: true,
            keeps_client_cert: true,
        };
        match judge(self.gate, head, exchange, arrival) {
            Ok(_) => Verdict::Pass,
            Err(refusal) => {
                self.refusals.add(refusal);
                Verdict::Refuse(refusal.reply(self.gate.profile(), head.version))
            }
        }
    }
}
