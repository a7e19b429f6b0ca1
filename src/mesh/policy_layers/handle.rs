//! [`Guards`]: the handle that makes the layers, and follows the configuration.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::order::check_order;
use super::parts::Parts;
use super::pinned::{has_met_tokens, meet_tokens, pinned};
use crate::identity::Workload;
use crate::jwt::JwtLayer;
#[cfg(feature = "audit")]
use crate::mesh::audit::AuditState;
use crate::mesh::readiness::{IdentityState, Readiness};
use crate::metrics::Registry;
use crate::policy::Engine;
use crate::rbac::RbacLayer;

/// Token rules and policies of a workload for layers that you compose yourself, kept fresh by a
/// [`Driver`](crate::Driver). Cheap to clone.
///
/// For an application that has another TLS terminator, or its own order of layers. There is no
/// identity and no listener here: what accepts connections names the caller, by a
/// [`Peer`](crate::context::Peer) of a [`tls::Listener`](crate::tls::Listener) or of a
/// [`PeerLayer`](crate::context::PeerLayer). Prefer a [`Mesh`](crate::Mesh) where you can: it has
/// identity, listener and all layers in their order.
///
/// # How it behaves
///
/// - The layers follow the configuration: a reload also changes the decisions of layers that were
///   made before it.
/// - One generation of configuration judges a request: the current one when the request meets the
///   first of the [`jwt`](Self::jwt) and [`rbac`](Self::rbac) layers.
/// - The rules of a mesh's configuration apply: it is compiled whole or refused, a change that
///   opens the workload is refused as [`OnOpening`](crate::source::OnOpening) tells, and keys of
///   new issuers are fetched before their rules are in force.
/// - `jwt` goes outside of `rbac`: policies read the claims that it leaves. In the other order,
///   every request to which token rules apply is refused. A layer that should count and trace
///   refusals goes outside of both.
/// - No provider of external authorization is asked. A request that an AuthorizationPolicy with
///   `action: CUSTOM` matches is refused with 403, also where the provider is a rule in CEL. The
///   log warns of such providers when the configuration is read. Only a [`Mesh`](crate::Mesh) asks
///   providers.
/// - No [RateLimit](crate::istio::RateLimit) is applied; the log warns of those that select the
///   workload. Put a [`RateLimitLayer`](crate::rate_limit::RateLimitLayer) around the service.
/// - What terminates TLS has to enforce PeerAuthentication, as no layer can refuse a connection.
///   The log warns of STRICT.
///
/// It needs the features `server` and `client`, which are on by default.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::get};
/// use tower_mesh::context::PeerLayer;
/// use tower_mesh::identity::SpiffeId;
/// use tower_mesh::metrics::MetricsLayer;
/// use tower_mesh::propagation::{Propagation, PropagationLayer};
/// use tower_mesh::source::Fixed;
/// use tower_mesh::{Guards, Peer, Workload};
/// # use tower::ServiceExt;
///
/// let policies = "
/// apiVersion: security.istio.io/v1
/// kind: AuthorizationPolicy
/// metadata: {name: desk-reads}
/// spec:
///   rules:
///   - from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}]
/// ";
/// // A directory that is followed is `Directory::watch("/etc/policies")`.
/// let workload = Workload::new("default", "patients").service("patients", 8443);
/// let (guards, driver) = Guards::builder(workload.clone())
///     .config(Fixed::yaml("policies.yaml", policies))
///     .build()
///     .await?;
/// tokio::spawn(driver.run());
///
/// // `layer` wraps what is there: the last one is the outermost.
/// let app: Router = Router::new()
///     .route("/patients", get(|| async { "none" }))
///     .layer(guards.rbac())
///     .layer(guards.jwt())
///     .layer(MetricsLayer::new(guards.metrics().server(&workload)))
///     .layer(PropagationLayer::new(Propagation::new().workload(&workload)));
///
/// // For each connection, the caller that proved its identity.
/// let peer = Peer::proven(
///     "10.0.0.7:40312".parse()?,
///     "10.0.0.9:8443".parse()?,
///     SpiffeId::new("spiffe://cluster.local/ns/default/sa/desk")?,
/// );
/// let service = app.layer(PeerLayer::new(peer));
/// # let request = http::Request::get("/patients").header("host", "patients");
/// # let answer = service.oneshot(request.body(axum::body::Body::empty())?).await?;
/// # assert_eq!(answer.status(), 200);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Guards(Arc<Parts>);

impl Guards {
    pub(super) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// A layer that verifies end-user tokens, by the rules of the port that the
    /// [`Peer`](crate::context::Peer) connected to, as
    /// [`GuardsBuilder::tokens`](super::GuardsBuilder::tokens) says.
    #[must_use]
    pub fn jwt(&self) -> JwtLayer {
        let guards = self.clone();
        let follow = move |extensions: &mut _| {
            let config = pinned(&guards.0, extensions);
            meet_tokens(&guards.0, extensions);
            Arc::clone(&config.authenticators)
        };
        JwtLayer::following(Arc::new(follow), self.0.terms.clone())
    }

    /// A layer that enforces the policies.
    ///
    /// Where token rules apply to the workload, or tokens are
    /// [required](crate::jwt::TokenMode::Required), it refuses a request that has passed no token guard
    /// with 403, and logs an event at ERROR: without the claims, a DENY of some users would let
    /// them in.
    ///
    /// In front of every router, let it rewrite requests as a sidecar does:
    /// `guards.rbac().in_front_of_router()`.
    #[must_use]
    pub fn rbac(&self) -> RbacLayer {
        let guards = self.clone();
        RbacLayer::following(Arc::new(move |extensions, exchange| {
            let config = pinned(&guards.0, extensions);
            if !has_met_tokens(&guards.0, extensions) {
                check_order(&config, guards.0.terms.mode, exchange)?;
            }
            Ok(config.engine.clone())
        }))
    }

    /// The policy engine in use; a reload replaces it.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.0.config.load().engine.clone()
    }

    /// Whether the driver follows what may change, and whether a changed configuration is refused.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let pulse = self.0.pulse.as_ref();
        Readiness {
            identity: IdentityState::Absent,
            source_down_for: None,
            unattended: pulse.is_some_and(|pulse| !pulse.load(Ordering::Acquire)),
            refused: self.0.reloads.refused(),
            tokens: self.0.terms.mode,
            generation: self.0.config.generation(),
            configured_at: self.0.reloads.taken(),
            refused_at: self.0.reloads.refused_at(),
            draining: false,
            trusted_proxies: Arc::default(),
            #[cfg(feature = "audit")]
            audit: AuditState::Absent,
        }
    }

    /// The metrics of configuration, keys and tokens, to be rendered or added to:
    /// `MetricsLayer::new(guards.metrics().server(&workload))`.
    #[must_use]
    pub fn metrics(&self) -> &Registry {
        &self.0.registry
    }

    /// The workload that is guarded.
    #[must_use]
    pub fn workload(&self) -> &Workload {
        &self.0.workload
    }
}

impl fmt::Debug for Guards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guards")
            .field("workload", &self.0.workload)
            .finish_non_exhaustive()
    }
}
