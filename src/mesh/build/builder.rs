//! The builder of a mesh: its own options, and the groups of options.

use crate::concurrency::ConcurrencyLimit;
use crate::gate::Gate;
use crate::identity::{SpiffeId, Workload};
use crate::mesh::client::Upstreams;
use crate::mesh::config::identity_source::{IdentitySource, Origin};
use crate::mesh::config::live::ModeChoice;
use crate::mesh::handle::Mesh;
#[cfg(feature = "audit")]
use crate::mesh::options::AuditOptions;
use crate::mesh::options::{ClientOptions, ListenerOptions, TelemetryOptions, TokenOptions};
#[cfg(feature = "external")]
use crate::mesh::providers::Registered;
use crate::mesh::server::{AppGuards, Trusted};
#[cfg(feature = "rate-limit")]
use crate::policy::limit::Limit;
use crate::source::ConfigSource;
use crate::tls::{Lifetimes, Mode, Settings};

/// Describes a mesh: options in, a [`Mesh`] and its [`Driver`](crate::Driver) out. Every mistake is
/// found by [`build`](Self::build), which names all of them.
///
/// What every mesh needs is a parameter of [`Mesh::builder`]. Common options have a method here;
/// the rest is in four groups: [`listener`](Self::listener), [`client`](Self::client),
/// [`tokens`](Self::tokens) and [`telemetry`](Self::telemetry). A group's method passes the options
/// as they are to your function, and keeps what it returns:
///
/// ```
/// # use std::time::Duration;
/// # use tower_mesh::testing::Pki;
/// # use tower_mesh::{Mesh, Workload};
/// # let identity = Pki::new("cluster.local")?.identity("default", "patients")?;
/// let builder = Mesh::builder(Workload::new("default", "patients"), identity)
///     .listener(|listener| listener.load_balancers(["10.0.0.0/8"]))
///     .client(|client| client.response_timeout(Duration::from_secs(5)));
/// # let _ = builder;
/// # Ok::<(), tower_mesh::testing::PkiError>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing happens until `build`"]
pub struct MeshBuilder {
    pub(super) workload: Workload,
    /// `None` in plaintext.
    pub(super) identity: Option<Origin>,
    pub(super) source: ConfigSource,
    pub(super) requires_policy: bool,
    pub(super) upstreams: Upstreams,
    pub(super) tls: Settings,
    pub(super) modes: ModeChoice,
    pub(super) lifetimes: Lifetimes,
    /// Ids of our own certificate that need not be those of the workload.
    pub(super) allowed: Vec<SpiffeId>,
    /// `None` unless the application has chosen.
    pub(super) gate: Option<Gate>,
    pub(super) guards: AppGuards,
    #[cfg(feature = "rate-limit")]
    pub(super) limits: Vec<Limit>,
    pub(super) concurrency: Option<ConcurrencyLimit>,
    pub(super) listener: ListenerOptions,
    pub(super) client: ClientOptions,
    pub(super) tokens: TokenOptions,
    pub(super) telemetry: TelemetryOptions,
    #[cfg(feature = "audit")]
    pub(super) audit: Option<AuditOptions>,
    /// The providers of the application, and its caches.
    #[cfg(feature = "external")]
    pub(super) providers: Registered,
    /// The proxies whose word about their callers is believed.
    pub(super) trusted_proxies: Vec<Trusted>,
    /// Each begins with the name of its method, without `MeshBuilder::`.
    pub(super) mistakes: Vec<String>,
}

impl Mesh {
    /// Begins to describe a mesh for this workload and its identity.
    ///
    /// The identity is [`tls::Files`](crate::tls::Files) or another
    /// [`tls::Source`](crate::tls::Source), which the driver follows; a
    /// [`tls::Identity`](crate::tls::Identity) that stays; or
    /// [`tls::Credentials`](crate::tls::Credentials). For development without certificates there is
    /// [`Mesh::danger`].
    pub fn builder(workload: Workload, identity: impl Into<IdentitySource>) -> MeshBuilder {
        MeshBuilder::new(workload, Some(identity.into().0))
    }
}

impl MeshBuilder {
    pub(super) fn new(workload: Workload, identity: Option<Origin>) -> Self {
        Self {
            workload,
            identity,
            source: ConfigSource::default(),
            requires_policy: false,
            upstreams: Upstreams::default(),
            tls: Settings::default(),
            modes: ModeChoice::default(),
            lifetimes: Lifetimes::default(),
            allowed: Vec::new(),
            gate: None,
            guards: AppGuards::default(),
            #[cfg(feature = "rate-limit")]
            limits: Vec::new(),
            concurrency: None,
            listener: ListenerOptions::default(),
            client: ClientOptions::default(),
            tokens: TokenOptions::default(),
            telemetry: TelemetryOptions::default(),
            #[cfg(feature = "audit")]
            audit: None,
            #[cfg(feature = "external")]
            providers: Registered::default(),
            trusted_proxies: Vec::new(),
            mistakes: Vec::new(),
        }
    }

    /// Sets how listeners accept connections, and the bounds on them.
    pub fn listener(mut self, set: impl FnOnce(ListenerOptions) -> ListenerOptions) -> Self {
        self.listener = set(self.listener);
        self
    }

    /// Sets how the client makes calls.
    pub fn client(mut self, set: impl FnOnce(ClientOptions) -> ClientOptions) -> Self {
        self.client = set(self.client);
        self
    }

    /// Sets which requests need an end-user token, and how the keys of tokens are fetched.
    pub fn tokens(mut self, set: impl FnOnce(TokenOptions) -> TokenOptions) -> Self {
        self.tokens = set(self.tokens);
        self
    }

    /// Sets traces, metrics and observers.
    pub fn telemetry(mut self, set: impl FnOnce(TelemetryOptions) -> TelemetryOptions) -> Self {
        self.telemetry = set(self.telemetry);
        self
    }

    /// Writes an audit trail, and sets which requests are recorded in it: see [`AuditOptions`].
    /// Without this there is none.
    ///
    /// ```
    /// use http::Method;
    /// use tower_mesh::audit::{PatientKey, Trail};
    /// use tower_mesh::mesh::AuditedRoute;
    /// # use tower_mesh::testing::Pki;
    /// # use tower_mesh::{Mesh, Workload};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let identity = Pki::new("cluster.local")?.identity("default", "patients")?;
    /// let key = PatientKey::new("2026", &[7; 32])?;
    /// let patient = AuditedRoute::new("/patients/{id}")
    ///     .methods([Method::GET, Method::PUT])
    ///     .patient("id", key);
    /// let (mesh, driver) = Mesh::builder(Workload::new("default", "patients"), identity)
    ///     .audit(|audit| audit.trail(Trail::folder(folder.path())).route(patient))
    ///     .build()
    ///     .await?;
    /// # let _ = (mesh, driver);
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "audit")]
    pub fn audit(mut self, set: impl FnOnce(AuditOptions) -> AuditOptions) -> Self {
        self.audit = Some(set(self.audit.unwrap_or_default()));
        self
    }

    /// Where the policies come from: [`source::Fixed`](crate::source::Fixed), a
    /// [`Directory`](crate::source::Directory), or a [`Watch`](crate::source::Watch) over one,
    /// which the driver follows. Without any, every request from an identity of the mesh is
    /// allowed, as in Istio; the log warns of that, and [`require_policy`](Self::require_policy)
    /// refuses it.
    pub fn config(mut self, source: impl Into<ConfigSource>) -> Self {
        self.source = source.into();
        self
    }

    /// Refuses every configuration without an enforced ALLOW policy that selects this workload, on
    /// each of its ports, at the start and at a reload. Without such a policy, all that no DENY
    /// policy refuses is allowed; without this option the log only warns of it.
    pub fn require_policy(mut self) -> Self {
        self.requires_policy = true;
        self
    }

    /// Sets how long connections of both directions are kept, and how long they may take to end.
    /// A connection to a host outside the mesh shows no identity of ours, so nothing cuts it: at the
    /// maximum age it takes no more calls, and it ends with those that it has.
    pub fn lifetimes(mut self, lifetimes: Lifetimes) -> Self {
        self.lifetimes = lifetimes;
        self
    }

    /// The TLS settings of listeners and client.
    pub fn tls(mut self, settings: Settings) -> Self {
        self.tls = settings;
        self
    }

    /// TLS mode for every port, which overrides PeerAuthentication.
    ///
    /// [`Mode::Disable`] is a mistake here: it takes plaintext only, so no caller can prove an
    /// identity. [`danger`](Self::danger) has it.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.refuse_disable("mode", mode);
        self.modes.forced = Some(mode);
        self
    }

    /// TLS mode for ports that no PeerAuthentication covers; [`Mode::Strict`] by default, where
    /// Istio has PERMISSIVE. [`Mode::Disable`] is a mistake here, as in [`mode`](Self::mode).
    pub fn mode_otherwise(mut self, mode: Mode) -> Self {
        self.refuse_disable("mode_otherwise", mode);
        self.modes.otherwise = mode;
        self
    }

    fn refuse_disable(&mut self, option: &str, mode: Mode) {
        if mode == Mode::Disable && self.identity.is_some() {
            self.mistakes.push(format!(
                "{option}: Mode::Disable takes plaintext only, so no caller can prove an identity: \
                 if it is meant, write danger().{option}(Mode::Disable)"
            ));
        }
    }
}
