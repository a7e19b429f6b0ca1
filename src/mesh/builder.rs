use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::cells::ModeChoice;
use super::driver::Driver;
use super::error::BuildError;
use super::fetch::FetchOptions;
use super::handle::{Listening, Mesh, Parts};
use super::http::HttpLimits;
use super::inbound::{Completed, Inbound, Observer, ServerLayer};
use super::outbound::{Client, Outbound};
use super::outside::Outside;
use super::own_identity;
use super::plaintext::{Plaintext, unproven_id};
use super::pool::Pools;
use super::quiet::QuietStreams;
use super::rules::Rules;
use super::shutdown::Shutdown;
use super::sources::{ConfigSource, Feed, IdentitySource, Origin};
use super::tls_metrics;
use super::trust_domain;
use super::upstream::Upstreams;
use crate::identity::{SpiffeId, Workload};
use crate::matcher::Cidr;
use crate::metrics::Registry;
use crate::propagation::Propagation;
use crate::rbac::Guard;
use crate::source::Configuration;
use crate::tls::{
    Accepted, Connector, Credentials, HandshakeTimeouts, Lifetimes, Limits, Mode, Rotation,
    Settings,
};

/// Describes a mesh: options in, a [`Mesh`] and its [`Driver`] out. Every mistake is found by [`build`](Self::build).
#[derive(Debug)]
#[must_use = "nothing happens until `build`"]
pub struct MeshBuilder {
    workload: Workload,
    identity: Option<Origin>,
    feed: Feed,
    tls: Settings,
    propagation: Propagation,
    registry: Registry,
    upstreams: Upstreams,
    mistakes: Vec<String>,
    records_allows: bool,
    observer: Observers,
    fetch: FetchOptions,
    modes: ModeChoice,
    listening: Listening,
    connect_timeout: Duration,
    outside: Vec<(String, Outside)>,
    requires_policy: bool,
    /// Ids of our own certificate that need not be those of the workload.
    pub(super) allowed: Vec<SpiffeId>,
    pub(super) is_plaintext: bool,
}

impl MeshBuilder {
    pub(super) fn new(workload: Workload) -> Self {
        Self {
            propagation: Propagation::new().workload(&workload),
            workload,
            identity: None,
            feed: Feed::Once(Ok(Configuration::default())),
            tls: Settings::default(),
            registry: Registry::new(),
            upstreams: Upstreams::default(),
            mistakes: Vec::new(),
            records_allows: false,
            observer: Observers::default(),
            fetch: FetchOptions::default(),
            modes: ModeChoice::default(),
            listening: Listening::default(),
            connect_timeout: CONNECT_TIMEOUT,
            outside: Vec::new(),
            requires_policy: false,
            allowed: Vec::new(),
            is_plaintext: false,
        }
    }

    /// Our own identity: [`tls::Files`](crate::tls::Files) or another [`tls::Source`](crate::tls::Source), which the driver follows; a
    /// [`tls::Identity`](crate::tls::Identity) that stays; or [`tls::Credentials`](crate::tls::Credentials). Required,
    /// unless [plaintext](super::DangerousMeshBuilder::plaintext) is asked for.
    pub fn identity(mut self, source: impl Into<IdentitySource>) -> Self {
        self.identity = Some(source.into().0);
        self
    }

    /// What the policies say: [`source::Fixed`](crate::source::Fixed), a [`Directory`](crate::source::Directory), or a
    /// [`Watch`](crate::source::Watch) over one. Without any, every request of a mesh identity is allowed, as in
    /// Istio; that is warned of, or refused where [`require_policy`](Self::require_policy) is asked for.
    pub fn config(mut self, source: impl Into<ConfigSource>) -> Self {
        self.feed = source.into().0;
        self
    }

    /// Refuses every configuration without an enforced ALLOW policy that selects this workload, on each of its ports, at the start and at a
    /// reload. Without one, whatever no DENY policy refuses is allowed, which is otherwise only warned of.
    pub fn require_policy(mut self) -> Self {
        self.requires_policy = true;
        self
    }

    /// A host that the client may call, `host[:port]`: where its workloads listen, and which identities may answer there.
    pub fn upstream(
        self,
        host: &str,
        addresses: impl IntoIterator<Item = SocketAddr>,
        identities: impl IntoIterator<Item = SpiffeId>,
    ) -> Self {
        self.upstream_accepting(host, addresses, identities.into_iter().collect())
    }

    /// As [`upstream`](Self::upstream), for whoever is [`Accepted`]: by a function of the application's, say.
    pub fn upstream_accepting(
        mut self,
        host: &str,
        addresses: impl IntoIterator<Item = SocketAddr>,
        accepted: Accepted,
    ) -> Self {
        let addresses = addresses.into_iter().collect();
        let namespace = self.workload.namespace();
        if let Err(mistake) = self.upstreams.add(host, namespace, addresses, accepted) {
            self.mistakes.push(mistake);
        }
        self
    }

    /// A host outside the mesh that the client may call, `host[:port]`, and how.
    pub fn outside(mut self, host: &str, outside: Outside) -> Self {
        self.outside.push((host.to_owned(), outside));
        self
    }

    /// Bounds each step of a connection that the client opens, TCP and handshake, at each address that it tries; 10 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How many connections and handshakes a listener takes on at once.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.listening.limits = limits;
        self
    }

    /// Load balancers and gateways, addresses or ranges (`10.0.0.0/8`): of them
    /// [`Limits::silent_per_source`] does not count, as they open connections ahead of need.
    pub fn load_balancers<R: AsRef<str>>(mut self, ranges: impl IntoIterator<Item = R>) -> Self {
        for range in ranges {
            let range = range.as_ref();
            match Cidr::parse(range) {
                Ok(mapped) if mapped.address().to_canonical() != mapped.address() => self
                    .mistakes
                    .push(format!("load balancer {range:?}: write it as IPv4")),
                Ok(range) => self.listening.load_balancers.push(range),
                Err(error) => self
                    .mistakes
                    .push(format!("load balancer {range:?}: {error}")),
            }
        }
        self
    }

    /// The only methods of gRPC whose streams a client may leave silent for longer than [`HttpLimits::body_idle`]: `/package.Service/Method`, or
    /// `/package.Service/` for all of a service. Without a word of this it is every method.
    ///
    /// In either case they must be gRPC (HTTP/2, POST, `te: trailers`, content type `application/grpc` or `application/grpc+…`), and no more than a
    /// hundred at once on a connection; all others keep the bound.
    pub fn quiet_grpc<P: AsRef<str>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        match QuietStreams::only(paths) {
            Ok(quiet) => self.listening.quiet = quiet,
            Err(mistake) => self.mistakes.push(mistake),
        }
        self
    }

    /// How long a client may take for its handshake.
    pub fn handshake_timeouts(mut self, timeouts: HandshakeTimeouts) -> Self {
        self.listening.timeouts = timeouts;
        self
    }

    /// How long connections go on, in both directions, and how long they may take to end.
    pub fn lifetimes(mut self, lifetimes: Lifetimes) -> Self {
        self.listening.lifetimes = lifetimes;
        self
    }

    /// What a client may make us hold over HTTP, and for how long.
    pub fn http(mut self, limits: HttpLimits) -> Self {
        self.listening.http = limits;
        self
    }

    /// How TLS is spoken.
    pub fn tls(mut self, settings: Settings) -> Self {
        self.tls = settings;
        self
    }

    /// Which connections every port takes, whatever PeerAuthentication says. [`Mode::Disable`] takes plaintext only.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.modes.forced = Some(mode);
        self
    }

    /// Which connections a port takes that no resource speaks of; [`Mode::Strict`] by default, where Istio has PERMISSIVE.
    pub fn mode_otherwise(mut self, mode: Mode) -> Self {
        self.modes.otherwise = mode;
        self
    }

    /// Serves clients that are not of the mesh yet with the application's own TLS, on PERMISSIVE ports: see
    /// [`Acceptor::own_tls`](crate::tls::Acceptor::own_tls). Its protocol names (`alpn_protocols`) decide whether HTTP/2 is spoken.
    pub fn own_tls(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        self.listening.own_tls = Some(config);
        self
    }

    /// How traces travel: formats, sampling, what is trusted, where spans go.
    pub fn propagation(mut self, propagation: Propagation) -> Self {
        self.propagation = propagation.workload(&self.workload);
        self
    }

    /// A registry of metrics that is shared with others.
    pub fn metrics(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Keeps a record of what allowed a request, too; what refused one is always kept.
    pub fn record_allows(mut self) -> Self {
        self.records_allows = true;
        self
    }

    /// Calls this once at the end of every inbound request, allowed or refused, answered or cut:
    /// for an audit log, or metrics of your own. The last observer that is given counts.
    ///
    /// [`Completed`] has the method, the status, how the body ended, Envoy's flags, the whole
    /// duration, and the [`Exchange`](crate::context::Exchange): the peer, the claims of a
    /// verified token, the trace, the target without tokens, Envoy's response code details, and
    /// the [`Decision`](crate::policy::Decision) of policy. A refusal by policy always has one;
    /// what was allowed has one only with [`record_allows`](Self::record_allows), or where an
    /// AUDIT policy or a dry run has marked it.
    ///
    /// It runs on the request path, in the task of the connection: it must not block, wait or
    /// panic. Hand what is slow to a bounded channel with `try_send`, and count what does not fit.
    /// A request pays two counts of references for it and no allocation, and nothing where there
    /// is no observer. Claims and targets may be personal data: keep no more than you need. Where
    /// only refusals matter, the log has them already, target `tower_mesh::access`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, routing::get};
    /// use http::Request;
    /// use tower::ServiceExt;
    /// use tower_mesh::source::Fixed;
    /// use tower_mesh::testing::Pki;
    /// use tower_mesh::{Mesh, Peer, Workload};
    ///
    /// let policies = "
    /// apiVersion: security.istio.io/v1
    /// kind: AuthorizationPolicy
    /// metadata: {name: readers}
    /// spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}
    /// ";
    /// let (audit, mut lines) = tokio::sync::mpsc::channel(1024);
    /// let (mesh, driver) = Mesh::builder(Workload::new("default", "patients"))
    ///     .identity(Pki::new("cluster.local")?.identity("default", "patients")?)
    ///     .config(Fixed::yaml("policies.yaml", policies))
    ///     .on_complete(move |completed| {
    ///         let exchange = completed.exchange;
    ///         let line = format!(
    ///             "{} {} {} by {}: {}",
    ///             completed.status.map_or(0, |status| status.as_u16()),
    ///             completed.method,
    ///             exchange.path().unwrap_or_default(),
    ///             exchange.peer().and_then(|peer| peer.principal()).unwrap_or("no identity"),
    ///             exchange.details().map_or("the application's answer", |details| details),
    ///         );
    ///         // A full channel drops the line, and never the request's time.
    ///         let _ = audit.try_send(line);
    ///     })
    ///     .build()
    ///     .await?;
    /// tokio::spawn(driver.run());
    ///
    /// let app = mesh.protect(Router::new().route("/patients", get(|| async { "none" })));
    /// for request in [Request::get("/patients"), Request::delete("/patients")] {
    ///     let peer = Peer::plaintext("10.0.0.1:4711".parse()?, "10.0.0.2:8443".parse()?);
    ///     let request = request.header("host", "patients").extension(peer);
    ///     let answer = app.clone().oneshot(request.body(axum::body::Body::empty())?).await?;
    ///     // The request ends with its body, here with the drop of it.
    ///     drop(answer);
    /// }
    /// assert_eq!(
    ///     lines.recv().await.unwrap(),
    ///     "200 GET /patients by no identity: the application's answer"
    /// );
    /// assert_eq!(
    ///     lines.recv().await.unwrap(),
    ///     "403 DELETE /patients by no identity: rbac_access_denied_matched_policy[none]"
    /// );
    /// # Ok(()) }
    /// ```
    pub fn on_complete(
        mut self,
        observer: impl Fn(&Completed<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Observers(Some(Arc::new(observer)));
        self
    }

    /// Trusts these roots (PEM), and only these, for the HTTPS servers that keys are fetched from; the system's by default.
    pub fn jwks_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.fetch.roots = Some(pem.into());
        self
    }

    /// Fetches keys of this host, `host:port`, from a fixed address instead of asking DNS.
    pub fn resolve(mut self, host: &str, address: SocketAddr) -> Self {
        self.fetch
            .addresses
            .insert(host.to_ascii_lowercase(), address);
        self
    }

    /// Loads everything once.
    ///
    /// Key sets that are fetched get up to five seconds; one that does not come is tried again by the driver, and until it is there
    /// its tokens are refused with 401 while requests without a token are not affected.
    ///
    /// # Errors
    /// When the configuration, the identity or an option is wrong; everything that is wrong with the configuration at once.
    pub async fn build(mut self) -> Result<(Mesh, Driver), BuildError> {
        if self.is_plaintext {
            self.go_plaintext();
        }
        if let Some(mistake) = self.mistakes.pop() {
            return Err(BuildError::option(mistake));
        }
        let (credentials, rotation) = match self.identity {
            Some(Origin::Fixed(identity)) => {
                let credentials = Credentials::new(&identity, self.tls.clone())?;
                (Some(credentials), None)
            }
            Some(Origin::Followed(source)) => {
                let (credentials, rotation) = Rotation::start(source, self.tls.clone()).await?;
                (Some(credentials), Some(rotation))
            }
            Some(Origin::Shared(credentials)) => (Some(credentials), None),
            None if self.is_plaintext => (None, None),
            None => return Err(BuildError::no_identity()),
        };
        if let Some(credentials) = &credentials {
            own_identity::check(&self.workload, &credentials.spiffe_id(), &self.allowed)
                .map_err(BuildError::option)?;
            self.workload = trust_domain::of_certificate(self.workload, &credentials.spiffe_id());
        }
        let rules = Rules {
            workload: &self.workload,
            credentials: credentials.as_ref(),
            is_plaintext: self.is_plaintext,
            registry: &self.registry,
            feed: self.feed,
            modes: self.modes,
            requires_policy: self.requires_policy,
            fetch: self.fetch,
            tls: &self.tls,
        };
        let rules = rules.load()?;
        let (cells, reloads) = (rules.cells.clone(), rules.reloads.clone());

        let identity = match &credentials {
            Some(credentials) => credentials.spiffe_id(),
            None => unproven_id(&self.workload).map_err(BuildError::option)?,
        };
        let server = ServerLayer::new(Inbound {
            config: cells.config.clone(),
            propagation: self.propagation.clone(),
            metrics: self.registry.server_as(&self.workload, &identity),
            rbac: Guard::new().record_allows(self.records_allows),
            quiet: self.listening.quiet.clone(),
            observer: self.observer.0,
        });
        for (host, outside) in self.outside {
            let ready = outside.ready(&self.tls).map_err(|error| {
                BuildError::option(format!("MeshBuilder::outside, {host}: {}", error.refusal()))
            })?;
            let added = self.upstreams.add_outside(&host, ready);
            added.map_err(BuildError::option)?;
        }
        self.upstreams.is_plaintext = self.is_plaintext;
        let plaintext = self.is_plaintext.then(|| Plaintext {
            upstreams: self.upstreams.inside(),
        });
        let upstreams = Arc::new(self.upstreams);
        let connector = match &credentials {
            Some(credentials) => Connector::new(credentials.clone()),
            None => Connector::plaintext(),
        };
        let connector = connector
            .timeout(self.connect_timeout)
            .lifetimes(self.listening.lifetimes);
        tls_metrics::connector(&self.registry, &connector.tally());
        let client = Client::new(Outbound {
            propagation: self.propagation,
            metrics: self.registry.client_as(&self.workload, &identity),
            pools: Pools::new(
                connector,
                credentials.clone(),
                Arc::clone(&upstreams),
                self.connect_timeout,
            ),
            upstreams,
        });
        let renewal = rotation.as_ref().map(Rotation::tally);
        if let Some(credentials) = &credentials {
            tls_metrics::identity(&self.registry, credentials, renewal.clone());
        }
        if let Some(plaintext) = &plaintext {
            plaintext.warn();
        }
        let driver = rules.driver(rotation).await.remind_of(plaintext);
        let mesh = Mesh::new(Parts {
            workload: self.workload,
            cells,
            credentials,
            otherwise: identity,
            server,
            client,
            registry: self.registry,
            shutdown: Shutdown::new(),
            rotation: renewal,
            pulse: driver.pulse(),
            reloads,
            listening: self.listening,
        });
        Ok((mesh, driver))
    }

    /// Every port takes plaintext; what asks for TLS all the same is a mistake.
    fn go_plaintext(&mut self) {
        let forced = self.modes.forced.replace(Mode::Disable);
        let asked = [
            self.identity.is_some().then_some("identity"),
            self.listening.own_tls.is_some().then_some("own_tls"),
            forced
                .is_some_and(|mode| mode != Mode::Disable)
                .then_some("mode"),
        ];
        for option in asked.into_iter().flatten() {
            self.mistakes.push(format!(
                "MeshBuilder::{option} asks for TLS, and `danger().plaintext()` for none: leave one of them out"
            ));
        }
    }
}

/// The observer, if any; apart so that it has a `Debug`.
#[derive(Clone, Default)]
struct Observers(Option<Observer>);

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observers").field(&self.0.is_some()).finish()
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
