//! The routes to walk.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{Request, Response};
use tower_service::Service;

use super::ask::ask;
use super::probes::probes;
use super::record::RecordRoutesLayer;
use super::template::Template;
use super::walk::Walk;
use crate::context::Peer;

/// Routes of an application, to be walked with requests that its guards must refuse: see the
/// [module](super).
#[derive(Clone, Debug)]
#[must_use]
pub struct Routes {
    listed: BTreeSet<Template>,
    /// Recorded requests that had no room.
    left_out: u64,
    random: usize,
    seed: u64,
    peer: Peer,
}

impl Routes {
    /// No routes yet; 1,000 random paths, and a caller in plaintext without an identity.
    pub fn new() -> Self {
        Self {
            listed: BTreeSet::new(),
            left_out: 0,
            random: 1000,
            seed: 0,
            peer: Peer::plaintext(REMOTE, LOCAL),
        }
    }

    /// Adds a route: a method and a path, with parameters as axum writes them, as in
    /// `GET /patients/{id}` or `GET /files/{*path}`. Write braces of the path itself twice.
    ///
    /// # Panics
    /// When the text is not a route.
    #[track_caller]
    pub fn route(mut self, route: &str) -> Self {
        match Template::parse(route) {
            Ok(template) => drop(self.listed.insert(template)),
            #[expect(clippy::panic, reason = "this is how a test fails")]
            Err(why) => panic!("{why}"),
        }
        self
    }

    /// Adds several routes.
    ///
    /// # Panics
    /// When a text is not a route.
    #[track_caller]
    pub fn routes<T: AsRef<str>>(self, routes: impl IntoIterator<Item = T>) -> Self {
        let mut all = self;
        for route in routes {
            all = all.route(route.as_ref());
        }
        all
    }

    /// Adds the routes that a layer has recorded.
    pub fn recorded(mut self, layer: &RecordRoutesLayer) -> Self {
        let (routes, left_out) = layer.recorded();
        self.listed.extend(routes);
        self.left_out += left_out;
        self
    }

    /// How many random paths to ask for. Half of them begin like a route.
    pub fn random_paths(self, count: usize) -> Self {
        let random = count;
        Self { random, ..self }
    }

    /// The seed of the random paths and of the parameters' values; 0 by default.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The caller of every request.
    pub fn peer(self, peer: Peer) -> Self {
        Self { peer, ..self }
    }

    /// Asks the finished application for all of them, one after the other, each with a clone of
    /// the service and a body that `body` makes: `Body::empty` for axum.
    ///
    /// The service must be composed as it is served, around guards that deny all
    /// ([`deny_all_mesh`](super::deny_all_mesh)). Handlers that no guard protects do run. A panic of
    /// such a handler, or one that has no answer after half a minute, is reported like an answer.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time.
    pub async fn walk<S, B, R>(&self, service: S, body: impl Fn() -> B) -> Walk
    where
        S: Service<Request<B>, Response = Response<R>> + Clone,
        S::Error: fmt::Display,
    {
        let mut walk = Walk::new(self.listed.len(), self.seed, self.left_out);
        for probe in probes(&self.listed, self.random, self.seed) {
            let answer = ask(service.clone(), &probe, &self.peer, body()).await;
            walk.answered(&probe, answer);
        }
        walk
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self::new()
    }
}

/// From a block of addresses for documentation.
const REMOTE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 40_000);
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 8443);
