use std::collections::BTreeMap;
use std::sync::Arc;

use super::attributes::Attributes;
use super::ir::Rbac;
use super::limit::Limit;
use super::origin::Origins;
use crate::istio::{
    Action, AuthorizerCache, ExtensionProvider, JwtRule, LegacyJwt, MtlsMode, PathNormalization,
    PrincipalBinding, Problem,
};

/// What the resources mean for one workload: the compiler's output, in Envoy's terms, before
/// anything is indexed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Program {
    /// The RBAC filters for HTTP.
    pub http: Chains,
    /// The RBAC filters for raw TCP.
    pub tcp: Chains,
    /// Which end-user tokens are good.
    pub authentication: PerPort<Authentication>,
    /// Which connections are accepted, as PeerAuthentication and the legacy Policy say; `None`
    /// where no resource says anything.
    pub mtls: PerPort<Option<MtlsMode>>,
    /// How many requests the workload takes. All of these apply.
    pub limits: Vec<Arc<Limit>>,
    /// How request paths are normalized before they are judged.
    pub path_normalization: PathNormalization,
    /// Where the rules were written.
    pub origins: Origins,
    /// Whether a rule names a principal or trust domain that means something else under another
    /// trust domain, and neither MeshConfig nor the workload says which is ours: `cluster.local`
    /// was assumed.
    pub assumes_trust_domain: bool,
    /// What loads but deserves a word (a resource that does not apply, an unusable provider, …).
    pub notes: Vec<Problem>,
}

impl Program {
    /// Whether the assumption may matter for this caller: it has an identity of another trust
    /// domain than `cluster.local`, and [`assumes_trust_domain`](Self::assumes_trust_domain).
    #[must_use]
    pub fn assumes_trust_domain_of(&self, caller: &impl Attributes) -> bool {
        let names = caller.certificate().into_iter();
        let mut names = names.flat_map(|certificate| &certificate.uri_sans);
        let is_foreign = |name: &String| {
            let name = name.strip_prefix("spiffe://").unwrap_or(name);
            name.split('/').next() != Some("cluster.local")
        };
        self.assumes_trust_domain && names.any(is_foreign)
    }
}

/// The chains of every port.
pub type Chains = PerPort<Arc<Chain>>;

/// A value for every port of the workload; legacy resources and `portLevelMtls` make ports differ.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PerPort<T> {
    /// For ports that nothing names.
    pub default: T,
    /// For single ports.
    pub by_port: BTreeMap<u16, T>,
}

impl<T> PerPort<T> {
    /// The same value for every port.
    pub fn same(value: T) -> Self {
        Self {
            default: value,
            by_port: BTreeMap::new(),
        }
    }

    /// Another value for every port.
    #[must_use]
    pub fn map<U>(self, mut each: impl FnMut(T) -> U) -> PerPort<U> {
        let default = each(self.default);
        let by_port = self.by_port.into_iter();
        let by_port = by_port.map(|(port, value)| (port, each(value))).collect();
        PerPort { default, by_port }
    }

    /// The value for a port.
    pub fn get(&self, port: u16) -> &T {
        self.by_port.get(&port).unwrap_or(&self.default)
    }
}

impl<T> PerPort<Arc<T>> {
    /// What is made of each value; ports that share a value share what is made of it.
    pub(crate) fn map_shared<U>(&self, mut make: impl FnMut(&T) -> Arc<U>) -> PerPort<Arc<U>>
    where
        U: ?Sized,
    {
        let default = make(&self.default);
        let by_port = self.by_port.iter().map(|(port, value)| {
            let is_default = Arc::ptr_eq(value, &self.default);
            let made = is_default.then(|| Arc::clone(&default));
            (*port, made.unwrap_or_else(|| make(value)))
        });
        PerPort {
            by_port: by_port.collect(),
            default,
        }
    }
}

/// The filters of one port in the order they run: CUSTOM, (JWT,) AUDIT, DENY, ALLOW.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Chain {
    /// External providers to ask, in byte order of their names.
    pub custom: Vec<CustomFilter>,
    /// On raw TCP, the providers that cannot be asked about it and that Istio leaves out, so that
    /// its configuration of Envoy has none of them: those that speak HTTP.
    /// [`Engine::decide_tcp`](crate::policy::Engine::decide_tcp) refuses what their rules match.
    pub unasked: Vec<CustomFilter>,
    /// AUDIT.
    pub audit: Option<Rbac>,
    /// DENY.
    pub deny: RuleSets,
    /// ALLOW.
    pub allow: RuleSets,
}

impl Chain {
    /// The rule sets in the order in which they are asked, each with its action and whether it is
    /// only reported.
    pub fn sets(&self) -> impl Iterator<Item = (Action, bool, &Rbac)> {
        let custom = self.custom.iter();
        let custom = custom.map(|filter| (Action::Custom, false, Some(&filter.rules)));
        let rest = [
            (Action::Audit, false, self.audit.as_ref()),
            (Action::Deny, false, self.deny.enforced.as_ref()),
            (Action::Deny, true, self.deny.shadow.as_ref()),
            (Action::Allow, false, self.allow.enforced.as_ref()),
            (Action::Allow, true, self.allow.shadow.as_ref()),
        ];
        let all = custom.chain(rest);
        all.filter_map(|(action, is_dry_run, set)| Some((action, is_dry_run, set?)))
    }
}

/// The rule sets of one RBAC filter.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RuleSets {
    /// What counts; `None`: nothing is enforced.
    pub enforced: Option<Rbac>,
    /// Rules that are only reported (dry run).
    pub shadow: Option<Rbac>,
}

/// One external provider and the rules that send requests to it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CustomFilter {
    /// The provider's name.
    pub provider: String,
    /// The provider; `None` when it is unknown or cannot authorize, so that every matching request
    /// is refused.
    pub usable: Option<ExtensionProvider>,
    /// The rules: a DENY set; a shadow set when the provider is usable.
    pub rules: Rbac,
    /// How the provider's decisions are cached, if a resource says it.
    pub cache: Option<AuthorizerCache>,
}

/// Which end-user tokens are good on one port.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Authentication {
    /// `jwtRules` of every selected RequestAuthentication, sorted by issuer.
    pub rules: Vec<JwtRule>,
    /// The effective legacy Policy, where one is and no RequestAuthentication replaces it.
    pub legacy: Option<LegacyAuthentication>,
}

/// The effective legacy Policy of one port.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LegacyAuthentication {
    /// The origin methods, tried in order; a token is mandatory unless
    /// [`origin_is_optional`](Self::origin_is_optional).
    pub origins: Vec<LegacyJwt>,
    /// A missing or bad token passes, without a principal.
    pub origin_is_optional: bool,
    /// A peer certificate is demanded: [`MtlsMode::Strict`] or [`MtlsMode::Permissive`]; `None`:
    /// the port has no peer identity.
    pub peer: Option<MtlsMode>,
    /// A failed peer check does not refuse.
    pub peer_is_optional: bool,
    /// What `request.auth.principal` is.
    pub principal_binding: PrincipalBinding,
}
