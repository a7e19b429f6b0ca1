use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::address::{UpstreamAddress, UpstreamId};
use super::cells::{Cells, Compiler, ModeChoice};
use super::driver::Driver;
use super::error::BuildError;
use super::fetch::{self, FetchOptions};
use super::handle::{Listening, Mesh, Parts};
use super::http::HttpLimits;
use super::inbound::{Completed, Inbound, Observer, ServerLayer};
use super::keys;
use super::names::{Names, Resolver};
use super::outbound::{Client, Outbound};
use super::outside::Outside;
use super::pool::Pools;
use super::quiet::QuietStreams;
use super::reload::{Guarded, Judge, Reloads, require_allow, warn_without_allow};
use super::shutdown::Shutdown;
use super::sources::{ConfigSource, Feed, IdentitySource, Origin};
use super::tls_metrics;
use super::upstream::Upstreams;
use crate::identity::Workload;
use crate::istio::Problems;
use crate::jwt::{Counts, Keyring};
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
    response_timeout: Option<Duration>,
    resolver: Resolver,
    outside: Vec<(String, Outside)>,
    requires_policy: bool,
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
            response_timeout: Some(RESPONSE_TIMEOUT),
            resolver: Resolver::default(),
            outside: Vec::new(),
            requires_policy: false,
        }
    }

    /// Our own identity: [`tls::Files`](crate::tls::Files) or another [`tls::Source`](crate::tls::Source), which the driver follows; a
    /// [`tls::Identity`](crate::tls::Identity) that stays; or [`tls::Credentials`](crate::tls::Credentials). Required.
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

    /// A host that the client may call, `host[:port]`: where its workloads listen, and which
    /// identities may answer there.
    ///
    /// Each address is a `SocketAddr` or a text, `ip:port` or `name:port`; see [`UpstreamAddress`]
    /// for how DNS is asked. Each identity is a [`SpiffeId`](crate::identity::SpiffeId) or its text.
    ///
    /// ```
    /// # use tower_mesh::{Mesh, Workload};
    /// # let builder = Mesh::builder(Workload::new("default", "desk"));
    /// builder.upstream(
    ///     "charts.default",
    ///     ["charts.internal:8443"],
    ///     ["spiffe://cluster.local/ns/default/sa/charts"],
    /// )
    /// # ;
    /// ```
    pub fn upstream<A: Into<UpstreamAddress>, I: Into<UpstreamId>>(
        mut self,
        host: &str,
        addresses: impl IntoIterator<Item = A>,
        identities: impl IntoIterator<Item = I>,
    ) -> Self {
        let (mut accepted, mut mistakes) = (Vec::new(), Vec::new());
        for identity in identities {
            match identity.into().id() {
                Ok(id) => accepted.push(id),
                Err(mistake) => mistakes.push(format!("upstream {host:?}: {mistake}")),
            }
        }
        if !mistakes.is_empty() {
            self.mistakes.append(&mut mistakes);
            return self;
        }
        self.upstream_accepting(host, addresses, accepted.into_iter().collect())
    }

    /// As [`upstream`](Self::upstream), for whoever is [`Accepted`]: by a function of the application's, say.
    pub fn upstream_accepting<A: Into<UpstreamAddress>>(
        mut self,
        host: &str,
        addresses: impl IntoIterator<Item = A>,
        accepted: Accepted,
    ) -> Self {
        let addresses: Vec<_> = addresses.into_iter().map(Into::into).collect();
        let namespace = self.workload.namespace();
        if let Err(mistake) = self.upstreams.add(host, namespace, &addresses, accepted) {
            self.mistakes.push(mistake);
        }
        self
    }

    /// Asks this one for DNS names of upstreams.
    #[cfg(test)]
    pub(super) fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = resolver;
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

    /// How long a call may wait for the head of its response; 30 s by default. Connections and what
    /// is sent again count, reading the response's body does not.
    ///
    /// A call that is late ends with an error ([`ClientError::is_timeout`](super::ClientError::is_timeout)),
    /// is counted with 504 and Envoy's flag `UT`, and the server sees it cancelled. While the body of
    /// a request still moves, the time begins anew, so that a long upload is not cut. Calls of gRPC
    /// are not bounded: a stream may send its head late, and servers keep `grpc-timeout` themselves.
    /// [`RequestBuilder::timeout`](super::RequestBuilder::timeout) is for one call.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = Some(timeout);
        self
    }

    /// Lets calls wait for their responses for as long as they take.
    pub fn no_response_timeout(mut self) -> Self {
        self.response_timeout = None;
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

    /// Calls this at the end of every inbound request, allowed or refused. It runs on the request path: it must not block.
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
    /// its tokens are refused with 401 while requests without a token are not affected. DNS names of upstreams get as long; calls to one
    /// without an address fail with 503 until DNS knows it.
    ///
    /// # Errors
    /// When the configuration, the identity or an option is wrong; everything that is wrong with the configuration at once.
    pub async fn build(mut self) -> Result<(Mesh, Driver), BuildError> {
        if let Some(mistake) = self.mistakes.pop() {
            return Err(BuildError::option(mistake));
        }
        let (credentials, rotation) = match self.identity {
            Some(Origin::Fixed(identity)) => (Credentials::new(&identity, self.tls.clone())?, None),
            Some(Origin::Followed(source)) => {
                let (credentials, rotation) = Rotation::start(source, self.tls.clone()).await?;
                (credentials, Some(rotation))
            }
            Some(Origin::Shared(credentials)) => (credentials, None),
            None => return Err(BuildError::no_identity()),
        };
        let mut compiler = Compiler {
            workload: self.workload.clone(),
            keyring: Keyring::new().counting(token_counts(&self.registry)),
        };
        keys::metrics(&self.registry, compiler.keyring.moved());
        let configuration = self.feed.load(self.workload.namespace())?;
        let cells = Cells::new(compiler.compile(&configuration)?, self.modes);
        check_presence(&cells, &configuration, &self.workload, self.requires_policy)?;
        let reloads = Reloads::new();
        let config = cells.config.clone();
        reloads.show(&self.registry, move || config.generation());
        let fetch = fetch::client(self.fetch, &self.tls)?;

        let identity = credentials.spiffe_id();
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
        let mut names = Names::new(self.upstreams.names(), &self.resolver, &self.registry);
        let upstreams = Arc::new(self.upstreams);
        let connector = Connector::new(credentials.clone())
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
            response_timeout: self.response_timeout,
        });
        let renewal = rotation.as_ref().map(Rotation::tally);
        tls_metrics::identity(&self.registry, &credentials, renewal.clone());
        let watch = self.feed.into_watch();
        let judge = Judge::new(reloads.clone(), self.requires_policy);
        let mut driver = Driver::new(compiler, cells.clone(), judge, watch, fetch, rotation);
        tokio::join!(driver.fetch_first(), names.first());
        let driver = driver.names(names);
        let mesh = Mesh::new(Parts {
            workload: self.workload,
            cells,
            credentials,
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
}

/// Whether some ALLOW policy selects the workload; an error where one is required, else a word in the log.
fn check_presence(
    cells: &Cells,
    configuration: &Configuration,
    workload: &Workload,
    is_required: bool,
) -> Result<(), Problems> {
    let (config, modes) = (cells.config.snapshot(), cells.modes.snapshot());
    let guarded = Guarded {
        program: config.engine.program(),
        modes: &modes,
    };
    if is_required {
        return require_allow(guarded, configuration, workload);
    }
    warn_without_allow(guarded, configuration, workload);
    Ok(())
}

/// The observer, if any; apart so that it has a `Debug`.
#[derive(Clone, Default)]
struct Observers(Option<Observer>);

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observers").field(&self.0.is_some()).finish()
    }
}

/// What becomes of end-user tokens, as metrics.
fn token_counts(registry: &Registry) -> Counts {
    const GOOD: &str = "End-user tokens found good, by signature or because they were good before.";
    const REFUSED: &str = "Requests refused for their end-user tokens.";
    Counts::new(
        |result| {
            registry
                .counter("mesh_jwt_tokens_total", GOOD, &[("result", result)])
                .into()
        },
        |reason| {
            registry
                .counter("mesh_jwt_refusals_total", REFUSED, &[("reason", reason)])
                .into()
        },
    )
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
