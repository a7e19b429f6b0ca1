use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::client::pool::address::{UpstreamAddress, UpstreamId};
use super::client::pool::connection::dial::Dialer;
use super::client::pool::external_host::ExternalHost;
use super::client::pool::names::{Names, Resolver};
use super::client::pool::upstreams::{Upstreams, shown};
use super::client::{Client, Outbound};
use super::config::driver::Driver;
use super::config::fetch::FetchOptions;
use super::config::live::ModeChoice;
use super::config::rules::Rules;
use super::config::sources::{IdentitySource, Origin};
use super::error::{BuildError, Faults};
use super::handle::{Listening, Mesh, Parts};
use super::own_identity;
use super::plaintext::{Plaintext, unproven_id};
use super::server::connection::limits::HttpLimits;
use super::server::connection::quiet_streams::QuietStreams;
use super::server::{AppGuards, Inbound, Observer, ServerLayer};
use super::shutdown::Shutdown;
use super::tls_metrics;
use super::trust_domain;
use crate::error_chain::ErrorChain;
use crate::identity::{SpiffeId, Workload};
use crate::live::Live;
use crate::matcher::Cidr;
use crate::metrics::Registry;
use crate::propagation::Propagation;
use crate::rbac::PolicyCheck;
use crate::source::ConfigSource;
use crate::tls::{
    AllowedIds, Connector, HandshakeTimeouts, Lifetimes, Limits, Mode, Rotation, Settings,
};

/// Describes a mesh: options in, a [`Mesh`] and its [`Driver`] out. Every mistake is found by [`build`](Self::build).
#[derive(Debug)]
#[must_use = "nothing happens until `build`"]
pub struct MeshBuilder {
    workload: Workload,
    identity: Option<Origin>,
    source: ConfigSource,
    tls: Settings,
    propagation: Propagation,
    registry: Registry,
    upstreams: Upstreams,
    /// Each begins with the name of its method, without `MeshBuilder::`.
    mistakes: Vec<String>,
    records_allows: bool,
    pub(super) observer: Observers,
    pub(super) guards: AppGuards,
    pub(super) fetch: FetchOptions,
    modes: ModeChoice,
    listening: Listening,
    connect_timeout: Duration,
    response_timeout: Option<Duration>,
    resolver: Resolver,
    outside: Vec<(String, ExternalHost)>,
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
            source: ConfigSource::default(),
            tls: Settings::default(),
            registry: Registry::new(),
            upstreams: Upstreams::default(),
            mistakes: Vec::new(),
            records_allows: false,
            observer: Observers::default(),
            guards: AppGuards::default(),
            fetch: FetchOptions::default(),
            modes: ModeChoice::default(),
            listening: Listening::default(),
            connect_timeout: CONNECT_TIMEOUT,
            response_timeout: Some(RESPONSE_TIMEOUT),
            resolver: Resolver::default(),
            outside: Vec::new(),
            requires_policy: false,
            allowed: Vec::new(),
            is_plaintext: false,
        }
    }

    /// Our own identity: [`tls::Files`](crate::tls::Files) or another [`tls::Source`](crate::tls::Source), which the driver follows; a
    /// [`tls::Identity`](crate::tls::Identity) that stays; or [`tls::Credentials`](crate::tls::Credentials). Required,
    /// unless [plaintext](crate::mesh::DangerousMeshBuilder::plaintext) is asked for.
    pub fn identity(mut self, source: impl Into<IdentitySource>) -> Self {
        self.identity = Some(source.into().0);
        self
    }

    /// What the policies say: [`source::Fixed`](crate::source::Fixed), a [`Directory`](crate::source::Directory), or a
    /// [`Watch`](crate::source::Watch) over one. Without any, every request of a mesh identity is allowed, as in
    /// Istio; that is warned of, or refused where [`require_policy`](Self::require_policy) is asked for.
    pub fn config(mut self, source: impl Into<ConfigSource>) -> Self {
        self.source = source.into();
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
        self,
        host: &str,
        addresses: impl IntoIterator<Item = A>,
        identities: impl IntoIterator<Item = I>,
    ) -> Self {
        let (mut accepted, mut mistakes) = (Vec::new(), Vec::new());
        for identity in identities {
            match identity.into().id() {
                Ok(id) => accepted.push(id),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        let accepted = match mistakes.is_empty() {
            true => Ok(accepted.into_iter().collect()),
            false => Err(mistakes),
        };
        self.reach(host, addresses, accepted)
    }

    /// As [`upstream`](Self::upstream), for whoever is [`AllowedIds`]: by a function of the application's, say.
    pub fn upstream_accepting<A: Into<UpstreamAddress>>(
        self,
        host: &str,
        addresses: impl IntoIterator<Item = A>,
        accepted: AllowedIds,
    ) -> Self {
        self.reach(host, addresses, Ok(accepted))
    }

    fn reach<A: Into<UpstreamAddress>>(
        mut self,
        host: &str,
        addresses: impl IntoIterator<Item = A>,
        accepted: Result<AllowedIds, Vec<String>>,
    ) -> Self {
        let addresses: Vec<_> = addresses.into_iter().map(Into::into).collect();
        let namespace = self.workload.namespace();
        if let Err(mistakes) = self.upstreams.add(host, namespace, &addresses, accepted) {
            let host = shown(host);
            let mistakes = mistakes.into_iter();
            self.mistakes
                .extend(mistakes.map(|mistake| format!("upstream {host:?}: {mistake}")));
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
    pub fn outside(mut self, host: &str, outside: ExternalHost) -> Self {
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
    /// A call that is late ends with an error ([`ClientError::is_timeout`](crate::mesh::ClientError::is_timeout)),
    /// is counted with 504 and Envoy's flag `UT`, and the server sees it cancelled. While the body of
    /// a request still moves, the time begins anew, so that a long upload is not cut. Calls of gRPC
    /// may wait as long as their own `grpc-timeout` says (tonic's `Request::set_timeout`; its clients
    /// read `DEADLINE_EXCEEDED`, with the feature `tonic`), and without one for as long as it takes: a
    /// stream may send its head late.
    /// [`RequestBuilder::timeout`](crate::mesh::RequestBuilder::timeout) is for one call.
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
                Ok(mapped) if mapped.address().to_canonical() != mapped.address() => {
                    self.mistakes
                        .push(format!("load_balancers: {range:?}: write it as IPv4"));
                }
                Ok(range) => self.listening.load_balancers.push(range),
                Err(error) => self
                    .mistakes
                    .push(format!("load_balancers: {range:?} is {error}")),
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
            Err(mistakes) => self.mistakes.extend(mistakes),
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

    /// Loads everything once.
    ///
    /// Key sets that are fetched get up to five seconds; one that does not come is tried again by the driver, and until it is there
    /// its tokens are refused with 401 while requests without a token are not affected. DNS names of upstreams get as long; calls to one
    /// without an address fail with 503 until DNS knows it.
    ///
    /// # Errors
    /// Everything that is wrong with the options, the configuration and the identity, at once. When something else is wrong already, a source
    /// has five seconds to give the identity, and one that does not is left out of the error. What policies mean depends on the trust domain
    /// of our own identity, so what is wrong with that is known once the identity is there.
    pub async fn build(mut self) -> Result<(Mesh, Driver), BuildError> {
        if self.is_plaintext {
            self.go_plaintext();
        }
        let mut faults = Faults::of("MeshBuilder", &self.mistakes);
        let rules = Rules {
            is_plaintext: self.is_plaintext,
            source: self.source,
            modes: self.modes,
            requires_policy: self.requires_policy,
            fetch: self.fetch,
            tls: &self.tls,
        };
        let rules = rules.read(self.workload.namespace(), &mut faults).await;
        for (host, outside) in self.outside {
            let ready = outside.ready(&self.tls);
            let added = ready
                .map_err(|error| ErrorChain(&error).to_string())
                .and_then(|ready| self.upstreams.add_external(&host, ready));
            let host = shown(&host);
            faults.option(added.map_err(|mistake| format!("outside {host:?}: {mistake}")));
        }
        let own = match self.identity {
            Some(origin) => own_identity::load(origin, &self.tls, &mut faults).await,
            None if self.is_plaintext => None,
            None => {
                faults.mistake(NO_IDENTITY);
                None
            }
        };
        let (credentials, rotation) = match own {
            Some((credentials, rotation)) => (Some(credentials), rotation),
            None => (None, None),
        };
        if let Some(credentials) = &credentials {
            let id = credentials.spiffe_id();
            let checked = own_identity::check(&self.workload, &id, &self.allowed);
            faults.option(checked.map_err(|mistake| format!("identity: {mistake}")));
            self.workload = trust_domain::of_certificate(self.workload, &id);
        }
        let identity = match &credentials {
            Some(credentials) => Some(credentials.spiffe_id()),
            None if self.is_plaintext => {
                let id = unproven_id(&self.workload, rules.stated_trust_domain());
                faults.option(id.map_err(|mistake| format!("danger().plaintext(): {mistake}")))
            }
            None => None,
        };
        let rules = rules.compile(&self.workload, &self.registry, &mut faults);
        let (Some(identity), Some(rules), true) = (identity, rules, faults.is_empty()) else {
            return Err(faults.into());
        };
        let rules = rules.begin(&self.registry, credentials.as_ref());
        let (cells, reloads) = (rules.cells.clone(), rules.reloads.clone());

        let server = ServerLayer::new(Inbound {
            config: cells.config.clone(),
            propagation: self.propagation.clone(),
            metrics: self.registry.server_as(&self.workload, &identity),
            rbac: PolicyCheck::new().record_allows(self.records_allows),
            guards: self.guards,
            quiet: self.listening.quiet.clone(),
            observer: self.observer.0,
        });
        self.upstreams.is_plaintext = self.is_plaintext;
        let plaintext = self.is_plaintext.then(|| Plaintext {
            upstreams: self.upstreams.inside(),
        });
        let mut names = Names::new(self.upstreams.names(), &self.resolver, &self.registry);
        let connector = match &credentials {
            Some(credentials) => Connector::new(credentials.clone()),
            None => Connector::plaintext(),
        };
        let connector = connector
            .timeout(self.connect_timeout)
            .lifetimes(self.listening.lifetimes);
        tls_metrics::connector(&self.registry, &connector.stats());
        let client = Client::new(Outbound {
            propagation: self.propagation,
            metrics: self.registry.client_as(&self.workload, &identity),
            upstreams: Live::new(self.upstreams),
            dialer: Arc::new(Dialer::new(
                connector,
                credentials.clone(),
                self.connect_timeout,
            )),
            response_timeout: self.response_timeout,
        });
        let renewal = rotation.as_ref().map(Rotation::stats);
        if let Some(credentials) = &credentials {
            tls_metrics::identity(&self.registry, credentials, renewal.clone());
        }
        if let Some(plaintext) = &plaintext {
            plaintext.warn();
        }
        let (driver, ()) = tokio::join!(rules.driver(rotation), names.first());
        let driver = driver.remind_of(plaintext).names(names);
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
        self.propagation = self.propagation.clone().among_strangers();
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
                "{option}: this asks for TLS, and `danger().plaintext()` for none: leave one of them out"
            ));
        }
    }
}

/// The observer, if any; apart so that it has a `Debug`.
#[derive(Clone, Default)]
pub(super) struct Observers(pub(super) Option<Observer>);

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observers").field(&self.0.is_some()).finish()
    }
}

const NO_IDENTITY: &str = "identity is not called: a mesh proves who it is; give it tls::Files::watch(DIRECTORY), which `tower-mesh pki` fills for development, or another identity; without certificates, for development alone, call danger().plaintext()";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
