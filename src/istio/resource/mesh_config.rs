//! The fields of MeshConfig that decide something.

use std::collections::BTreeMap;
use std::time::Duration;

#[cfg(feature = "routing")]
use super::traffic::MeshTraffic;
use crate::istio::{MeshTelemetry, Position, TelemetryProvider, Text};

/// The parts of Istio's MeshConfig that decide; the rest is accepted and listed in
/// [`unused`](Self::unused).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeshConfig {
    /// `trustDomain`, when it is written. Otherwise the trust domain is the workload's own; see
    /// [`trust_domain_or`](Self::trust_domain_or).
    pub trust_domain: Option<String>,
    /// `trustDomainAliases`.
    pub trust_domain_aliases: Vec<String>,
    /// `rootNamespace`; `istio-system` by default.
    pub root_namespace: String,
    /// `pathNormalization.normalization`.
    pub path_normalization: PathNormalization,
    /// `extensionProviders` that CUSTOM policies and Telemetry can name.
    pub extension_providers: Vec<ExtensionProvider>,
    /// What spans, metrics and access logs are where no Telemetry says otherwise.
    pub telemetry: MeshTelemetry,
    /// What decides how calls are routed and balanced.
    #[cfg(feature = "routing")]
    pub traffic: MeshTraffic,
    /// Top-level fields that were written and that this crate does not use.
    pub unused: Vec<String>,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            trust_domain: None,
            trust_domain_aliases: Vec::new(),
            root_namespace: "istio-system".to_owned(),
            path_normalization: PathNormalization::default(),
            extension_providers: Vec::new(),
            telemetry: MeshTelemetry::default(),
            #[cfg(feature = "routing")]
            traffic: MeshTraffic::default(),
            unused: Vec::new(),
        }
    }
}

impl MeshConfig {
    /// The trust domain that policies mean by ours: `trustDomain` when it is written, else `own`,
    /// else `cluster.local`.
    ///
    /// `own` is the trust domain of the workload's certificate, or the one that a tool was given
    /// for it.
    ///
    /// ```
    /// use tower_mesh::istio::parse_mesh_config;
    ///
    /// let silent = parse_mesh_config("mesh.yaml", "rootNamespace: mesh")?;
    /// assert_eq!(silent.trust_domain_or(Some("clinic.example")), "clinic.example");
    /// assert_eq!(silent.trust_domain_or(None), "cluster.local");
    ///
    /// let written = parse_mesh_config("mesh.yaml", "trustDomain: ward.example")?;
    /// assert_eq!(written.trust_domain_or(Some("clinic.example")), "ward.example");
    /// # Ok::<(), tower_mesh::istio::Problems>(())
    /// ```
    #[must_use]
    pub fn trust_domain_or<'a>(&'a self, own: Option<&'a str>) -> &'a str {
        self.trust_domain
            .as_deref()
            .or(own)
            .unwrap_or(DEFAULT_TRUST_DOMAIN)
    }

    /// The settings with a provider that the application registers in Rust
    /// (`MeshBuilder::authorizer`), so that tools know its name. A name that is there already stays
    /// what it is.
    ///
    /// ```
    /// use tower_mesh::Workload;
    /// use tower_mesh::istio::MeshConfig;
    /// use tower_mesh::policy::{Engine, Request};
    ///
    /// let mesh = MeshConfig::default().with_authorizer("desk");
    /// let engine = Engine::builder(&Workload::new("default", "patients")).mesh_config(mesh).yaml("
    /// apiVersion: security.istio.io/v1
    /// kind: AuthorizationPolicy
    /// metadata: {name: ask}
    /// spec: {action: CUSTOM, provider: {name: desk}, rules: [{}]}
    /// ").build()?;
    /// assert_eq!(engine.custom(&Request::new())[0].provider, "desk");
    /// # Ok::<(), tower_mesh::istio::Problems>(())
    /// ```
    #[must_use]
    pub fn with_authorizer(mut self, name: &str) -> Self {
        let mut known = self.extension_providers.iter();
        if !known.any(|provider| *provider.name == *name) {
            let name = Text::new(name, Position::default());
            let provider = ExtensionProvider::new(name, ProviderKind::Application);
            self.extension_providers.push(provider);
        }
        self
    }
}

/// Istio's default.
const DEFAULT_TRUST_DOMAIN: &str = "cluster.local";

/// How request paths are normalized before they are judged. Istio's `DEFAULT` is
/// [`Base`](Self::Base).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PathNormalization {
    /// Not at all.
    None,
    /// RFC 3986: dot segments removed, unreserved escapes decoded, `\` made `/`.
    #[default]
    Base,
    /// And runs of `/` merged.
    MergeSlashes,
    /// And `%2F`, `%5C` decoded first.
    DecodeAndMergeSlashes,
}

/// One of MeshConfig's `extensionProviders`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExtensionProvider {
    /// Its name.
    pub name: Text,
    /// What it is.
    pub kind: ProviderKind,
}

impl ExtensionProvider {
    /// A provider of this name and kind.
    #[must_use]
    pub fn new(name: Text, kind: ProviderKind) -> Self {
        Self { name, kind }
    }
}

/// What an [`ExtensionProvider`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProviderKind {
    /// `envoyExtAuthzGrpc`.
    ExtAuthzGrpc {
        /// The service, `[namespace/]host`.
        service: String,
        /// Its port.
        port: u16,
        /// Bound on one call.
        timeout: Option<Duration>,
        /// Let requests pass when the provider cannot be asked.
        fail_open: bool,
        /// The status when it cannot be asked.
        status_on_error: Option<u16>,
        /// How much of the request's body the check request carries; `None`: nothing.
        include_request_body: Option<RequestBodyInCheck>,
        /// Choose the route again when the provider has changed the request.
        clear_route_cache: bool,
    },
    /// `envoyExtAuthzHttp`.
    ExtAuthzHttp {
        /// The service, `[namespace/]host`.
        service: String,
        /// Its port.
        port: u16,
        /// Bound on one call.
        timeout: Option<Duration>,
        /// Let requests pass when the provider cannot be asked.
        fail_open: bool,
        /// The status when it cannot be asked.
        status_on_error: Option<u16>,
        /// A prefix for the path of the check request.
        path_prefix: String,
        /// How much of the request's body the check request carries; `None`: nothing.
        include_request_body: Option<RequestBodyInCheck>,
        /// Choose the route again when the provider has changed the request.
        clear_route_cache: bool,
        /// Request headers that the check request carries, here as in the lists below by name, by
        /// prefix (`x-*`) or by suffix (`*-id`).
        include_request_headers_in_check: Vec<String>,
        /// Headers that are added to the check request.
        include_additional_headers_in_check: BTreeMap<String, String>,
        /// Headers of the provider's answer that an allowed request takes on.
        headers_to_upstream_on_allow: Vec<String>,
        /// Headers of the provider's answer that the reply to an allowed request takes on.
        headers_to_downstream_on_allow: Vec<String>,
        /// Headers of the provider's answer that a refusal takes on.
        headers_to_downstream_on_deny: Vec<String>,
    },
    /// A rule of a `mesh.tower/v1` Authorizer, in the Common Expression Language. MeshConfig writes
    /// none.
    Expression(Text),
    /// A provider that the application has registered. MeshConfig writes none.
    Application,
    /// A provider of spans, metrics or access logs, which cannot authorize.
    Telemetry(Box<TelemetryProvider>),
    /// A provider of a kind that is not known. It is kept so that a policy that names it can be
    /// reported.
    Other,
}

/// `includeRequestBodyInCheck`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestBodyInCheck {
    /// So many bytes at most.
    pub max_request_bytes: u32,
    /// A longer body is cut; otherwise its request is refused with 413.
    pub allow_partial_message: bool,
    /// As bytes, not as text.
    pub pack_as_bytes: bool,
}

/// Whether a document of this kind and name is the ConfigMap in which Istio keeps its MeshConfig.
pub(crate) fn names_mesh_config(kind: &str, name: &str) -> bool {
    kind == CONFIG_MAP && name == CONFIG_MAP_NAME
}

/// The name of that ConfigMap.
pub(in crate::istio) const CONFIG_MAP_NAME: &str = "istio";

/// Its kind.
pub(crate) const CONFIG_MAP: &str = "ConfigMap";
