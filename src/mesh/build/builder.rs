use crate::identity::{SpiffeId, Workload};
use crate::mesh::client::Upstreams;
use crate::mesh::config::live::ModeChoice;
use crate::mesh::config::sources::{IdentitySource, Origin};
use crate::mesh::handle::Mesh;
use crate::mesh::options::{ClientOptions, ListenerOptions, TelemetryOptions, TokenOptions};
use crate::mesh::server::AppGuards;
use crate::source::ConfigSource;
use crate::tls::{Lifetimes, Mode, Settings};

/// Describes a mesh: options in, a [`Mesh`] and its [`Driver`](crate::Driver) out. Every mistake is
/// found by [`build`](Self::build), which names all of them.
///
/// What every mesh needs is a parameter of [`Mesh::builder`]. What most need has a method here;
/// the rest is in four groups: [`listener`](Self::listener), [`client`](Self::client),
/// [`tokens`](Self::tokens) and [`telemetry`](Self::telemetry). A group's method gets the options
/// as they are and gives them back changed:
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
    /// None in plaintext.
    pub(super) identity: Option<Origin>,
    pub(super) source: ConfigSource,
    pub(super) requires_policy: bool,
    pub(super) upstreams: Upstreams,
    pub(super) tls: Settings,
    pub(super) modes: ModeChoice,
    pub(super) lifetimes: Lifetimes,
    /// Ids of our own certificate that need not be those of the workload.
    pub(super) allowed: Vec<SpiffeId>,
    pub(super) guards: AppGuards,
    pub(super) listener: ListenerOptions,
    pub(super) client: ClientOptions,
    pub(super) tokens: TokenOptions,
    pub(super) telemetry: TelemetryOptions,
    /// Each begins with the name of its method, without `MeshBuilder::`.
    pub(super) mistakes: Vec<String>,
}

impl Mesh {
    /// Begins to describe a mesh for this workload and its identity.
    ///
    /// The identity is [`tls::Files`](crate::tls::Files) or another [`tls::Source`](crate::tls::Source),
    /// which the driver follows; a [`tls::Identity`](crate::tls::Identity) that stays; or
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
            guards: AppGuards::default(),
            listener: ListenerOptions::default(),
            client: ClientOptions::default(),
            tokens: TokenOptions::default(),
            telemetry: TelemetryOptions::default(),
            mistakes: Vec::new(),
        }
    }

    /// How listeners take connections, and what bounds them.
    pub fn listener(mut self, set: impl FnOnce(ListenerOptions) -> ListenerOptions) -> Self {
        self.listener = set(self.listener);
        self
    }

    /// How calls are made.
    pub fn client(mut self, set: impl FnOnce(ClientOptions) -> ClientOptions) -> Self {
        self.client = set(self.client);
        self
    }

    /// How the keys of end-user tokens are fetched.
    pub fn tokens(mut self, set: impl FnOnce(TokenOptions) -> TokenOptions) -> Self {
        self.tokens = set(self.tokens);
        self
    }

    /// What is seen of the mesh: traces, metrics, observers.
    pub fn telemetry(mut self, set: impl FnOnce(TelemetryOptions) -> TelemetryOptions) -> Self {
        self.telemetry = set(self.telemetry);
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

    /// How long connections go on, in both directions, and how long they may take to end.
    pub fn lifetimes(mut self, lifetimes: Lifetimes) -> Self {
        self.lifetimes = lifetimes;
        self
    }

    /// How TLS is spoken.
    pub fn tls(mut self, settings: Settings) -> Self {
        self.tls = settings;
        self
    }

    /// TLS mode for every port, in place of what PeerAuthentication says.
    ///
    /// [`Mode::Disable`] is a mistake here: it takes plaintext only, so no caller can prove an
    /// identity. It stands behind [`danger`](Self::danger).
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
