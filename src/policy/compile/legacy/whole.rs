use std::sync::Arc;

use super::super::compiler::Compiler;
use super::policies::{MESH_POLICY, check_triggers, effective, peer_mode};
use super::rbac::Roles;
use super::service::Service;
use super::subjects::Callers;
use super::switch;
use crate::istio::{LegacyPolicy, Meta, MtlsMode, PrincipalBinding, Resources};
use crate::policy::{Authentication, Chains, LegacyAuthentication, PerPort};

/// What today's resources replace.
pub(in super::super) struct Replaced<'a> {
    /// An AuthorizationPolicy selects the workload: all of RBAC.
    pub(in super::super) authorization: bool,
    /// A RequestAuthentication does: the origins; the principal is the end user then.
    pub(in super::super) tokens: bool,
    /// A PeerAuthentication does: the peers.
    pub(in super::super) modes: Option<&'a PerPort<MtlsMode>>,
}

/// What the 2018 resources mean for the workload.
#[derive(Default)]
pub(in super::super) struct Legacy {
    pub(in super::super) http: Chains,
    pub(in super::super) tcp: Chains,
    pub(in super::super) authentication: PerPort<Authentication>,
    pub(in super::super) modes: PerPort<Option<MtlsMode>>,
}

/// Compiles the 2018 resources, port by port.
pub(in super::super) fn compile(
    compiler: &mut Compiler<'_>,
    resources: &Resources,
    replaced: &Replaced<'_>,
) -> Legacy {
    let mut legacy = Legacy::default();
    let Some((first, selects_by_service)) = first_of(resources, compiler.workload.namespace())
    else {
        return legacy;
    };
    if compiler.workload.services().is_empty() && selects_by_service {
        let message = format!(
            "{} {:?} selects by service, and the workload states no services; state each with its \
             port \
             (Workload::service, --service NAME:PORT)",
            first.kind, first.name
        );
        compiler.refuse(&first.at, "", message);
        return legacy;
    }
    for policy in &resources.legacy_policies {
        check_triggers(compiler, policy);
    }
    let config = switch::config(compiler, &resources.rbac_configs);
    if let (true, Some(config)) = (replaced.authorization, config) {
        let message = format!(
            "{} is ignored: an AuthorizationPolicy selects this workload and replaces all of \
             rbac.istio.io",
            config.meta.kind
        );
        compiler.note(&config.meta.at, "", message);
    }
    let roles = Roles::new(
        compiler,
        &resources.service_roles,
        &resources.service_role_bindings,
    );
    let port = |compiler: &mut Compiler<'_>, service: &Service<'_>| {
        let policy = effective(compiler, &resources.legacy_policies, service);
        let port = Port {
            replaced,
            policy,
            service,
        };
        let enforcement = switch::enforcement(compiler, config, service);
        // Compiled also where RBAC is off, so that a mistake is reported before it is turned on.
        let chains = roles.chains(
            compiler,
            service,
            port.callers(),
            enforcement.unwrap_or_default(),
        );
        let (http, tcp) = match enforcement {
            Some(_) => (Arc::new(chains.http), Arc::new(chains.tcp)),
            None => Default::default(),
        };
        (http, tcp, port.authentication(), port.mode())
    };
    (
        legacy.http.default,
        legacy.tcp.default,
        legacy.authentication.default,
        legacy.modes.default,
    ) = port(compiler, &Service::default());
    for service in Service::of_ports(compiler.workload) {
        let (http, tcp, authentication, mode) = port(compiler, &service);
        let Some(number) = service.port else { continue };
        legacy.http.by_port.insert(number, http);
        legacy.tcp.by_port.insert(number, tcp);
        legacy.authentication.by_port.insert(number, authentication);
        legacy.modes.by_port.insert(number, mode);
    }
    legacy
}

/// One port, its service and its Policy.
struct Port<'a> {
    replaced: &'a Replaced<'a>,
    policy: Option<&'a LegacyPolicy>,
    service: &'a Service<'a>,
}

impl Port<'_> {
    fn callers(&self) -> Callers {
        let binding = match self.policy {
            _ if self.replaced.tokens => PrincipalBinding::UseOrigin,
            Some(policy) => policy.principal_binding,
            None => PrincipalBinding::default(),
        };
        Callers {
            // Without a Policy, PeerAuthentication's rules hold, and they let certificates in.
            peer_identity: self.policy.is_none() || self.peer().is_some(),
            binding,
        }
    }

    fn authentication(&self) -> Authentication {
        let legacy = self.policy.map(|policy| LegacyAuthentication {
            origins: policy.origins.clone(),
            origin_is_optional: policy.origin_is_optional,
            peer: self.peer(),
            peer_is_optional: policy.peer_is_optional,
            principal_binding: policy.principal_binding,
        });
        Authentication {
            rules: Vec::new(),
            legacy,
        }
    }

    fn mode(&self) -> Option<MtlsMode> {
        self.policy
            .map(|_| self.peer().unwrap_or(MtlsMode::Disable))
    }

    /// How a certificate is demanded; `None`: not at all, and there is no peer identity.
    fn peer(&self) -> Option<MtlsMode> {
        let Some(modes) = self.replaced.modes else {
            return peer_mode(self.policy?);
        };
        let port = self.service.port;
        let mode = port.map_or(modes.default, |port| *modes.get(port));
        (mode != MtlsMode::Disable).then_some(mode)
    }
}

/// The first resource of 2018 that can concern a workload of the namespace, and whether it selects
/// by service, as a Policy of the whole namespace and a MeshPolicy do not; before others one that
/// does.
fn first_of<'r>(resources: &'r Resources, namespace: &str) -> Option<(&'r Meta, bool)> {
    let is_ours = |meta: &Meta| meta.namespace == namespace;
    let policies = resources.legacy_policies.iter();
    let policies =
        policies.filter(|policy| policy.meta.kind == MESH_POLICY || is_ours(&policy.meta));
    let targeted = policies.clone().filter(|policy| !policy.targets.is_empty());
    let targeted = targeted.map(|policy| &policy.meta);
    // Of these the one named `default` speaks for all, wherever it was written.
    let configs = resources.rbac_configs.iter().map(|config| &config.meta);
    let roles = resources.service_roles.iter().map(|role| &role.meta);
    let bindings = resources.service_role_bindings.iter();
    let bindings = bindings.map(|binding| &binding.meta);
    let roles = roles.chain(bindings).filter(|meta| is_ours(meta));
    let by_service = targeted.chain(configs).chain(roles);
    let broad = policies.map(|policy| &policy.meta);
    let by_service = by_service.map(|meta| (meta, true));
    by_service.chain(broad.map(|meta| (meta, false))).next()
}
