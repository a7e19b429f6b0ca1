//! Checks the resources of 2018: bindings, whether they count, and what replaces them.

use crate::identity::Workload;
use crate::istio::{Meta, RbacMode, ServiceRole};
use crate::vet::Code;
use crate::vet::logic::pattern_matches;
use crate::vet::report::note::{name_and_place, resource_name};
use crate::vet::report::notes::Notes;
use crate::vet::world::known::{Scope, Selects, World};

/// Adds notes about the resources of 2018.
pub(in crate::vet) fn check(world: World<'_>, notes: &mut Notes) {
    bindings(world, notes);
    switch(world, notes);
    replaced_roles(world, notes);
    replaced_policies(world, notes);
    properties(world, notes);
}

/// Bindings without their role, and roles without a binding.
fn bindings(world: World<'_>, notes: &mut Notes) {
    let roles = &world.resources.service_roles;
    let bindings = &world.resources.service_role_bindings;
    for binding in bindings.iter().filter(|binding| binding.actions.is_empty()) {
        let namespace = &binding.meta.namespace;
        let own = roles
            .iter()
            .filter(|role| role.meta.namespace == *namespace);
        let wanted = binding.role.as_str();
        if own.clone().any(|role| role.meta.name == wanted) {
            continue;
        }
        let elsewhere = roles.iter().find(|role| role.meta.name == wanted);
        let help = match (elsewhere, nearest(wanted, own.map(|role| &**role))) {
            (Some(role), _) => format!(
                "the ServiceRole {} is in another namespace, where it does not count; write it in `{namespace}`",
                resource_name(&role.meta)
            ),
            (None, Some(role)) => {
                format!("did you mean `{role}`? Name a ServiceRole of `{namespace}`")
            }
            (None, None) => {
                format!("write the ServiceRole `{wanted}` in `{namespace}`, or name another")
            }
        };
        let message = format!(
            "`{wanted}` is no ServiceRole of namespace `{namespace}`, so this binding grants nothing"
        );
        let (meta, at) = (&binding.meta, binding.role.at());
        notes.add(Code::BindingWithoutRole, meta, at, message, help);
    }
    for role in roles {
        let is_bound = bindings.iter().any(|binding| {
            binding.meta.namespace == role.meta.namespace && *binding.role == *role.meta.name
        });
        if !is_bound {
            let (meta, name) = (&role.meta, &role.meta.name);
            let message =
                "no ServiceRoleBinding of this namespace names this role, so it grants nothing";
            let help =
                format!("bind it (`roleRef: {{kind: ServiceRole, name: {name}}}`), or take it out");
            notes.add(Code::RoleUnbound, meta, &meta.at, message, help);
        }
    }
}

/// The role whose name shares the most words with what was written.
fn nearest<'r>(wanted: &str, roles: impl Iterator<Item = &'r ServiceRole>) -> Option<&'r str> {
    let words = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric());
        let stem = |word: &str| word.trim_end_matches('s').to_ascii_lowercase();
        words.map(stem).filter(|word| !word.is_empty()).collect()
    };
    let own = words(wanted);
    let shared = |role: &ServiceRole| {
        let theirs = words(&role.meta.name);
        own.iter().filter(|word| theirs.contains(word)).count()
    };
    let best = roles.map(|role| (shared(role), role.meta.name.as_str()));
    let best = best.max_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.cmp(a.1)));
    best.filter(|(shared, _)| *shared > 0).map(|(_, name)| name)
}

/// Roles and bindings that nothing enforces.
fn switch(world: World<'_>, notes: &mut Notes) {
    let configs = &world.resources.rbac_configs;
    if configs.iter().any(|config| config.mode != RbacMode::Off) {
        return;
    }
    let is_off = !configs.is_empty();
    let roles = world.resources.service_roles.iter().map(|role| &role.meta);
    let bindings = world.resources.service_role_bindings.iter();
    let bindings = bindings.map(|binding| &binding.meta);
    if let Some(first) = roles.chain(bindings).min_by_key(|meta| &meta.at) {
        let why = match is_off {
            true => "the mode of the ClusterRbacConfig is OFF",
            false => "there is no ClusterRbacConfig",
        };
        let message =
            format!("{why}, so no role and no binding is enforced, and every request is allowed");
        let help = "write a ClusterRbacConfig named `default` with mode ON or ON_WITH_INCLUSION";
        notes.add(Code::RbacNotSwitchedOn, first, &first.at, message, help);
    }
}

/// Roles of a workload that an AuthorizationPolicy selects, too.
fn replaced_roles(world: World<'_>, notes: &mut Notes) {
    for role in &world.resources.service_roles {
        let meta = &role.meta;
        let is_for = |short: &str| {
            let mut services = role.rules.iter().flat_map(|rule| &rule.services);
            services.any(|service| is_service(service, short, &meta.namespace))
        };
        let mut policies = world.resources.authorization_policies.iter();
        let replacing =
            policies.find(|policy| concerns(world, policy.scope(), &meta.namespace, is_for));
        if let Some(policy) = replacing {
            let message = format!(
                "{} selects the same workload, and where an AuthorizationPolicy does, all of rbac.istio.io is ignored",
                name_and_place(&policy.meta)
            );
            let help = "move these rules to AuthorizationPolicies, all of them at once";
            notes.add(Code::LegacyIgnored, meta, &meta.at, message, help);
        }
    }
}

/// Policies that RequestAuthentications and PeerAuthentications replace in part.
fn replaced_policies(world: World<'_>, notes: &mut Notes) {
    for policy in &world.resources.legacy_policies {
        let meta = &policy.meta;
        let is_ours = |scope: Scope<'_>| {
            let is_target = |short: &str| {
                policy.targets.is_empty()
                    || policy.targets.iter().any(|target| *target.name == *short)
            };
            let namespace = match meta.namespace.as_str() {
                "" => scope.namespace,
                namespace => namespace,
            };
            if policy.targets.is_empty() && !world.is_known(scope) {
                return world.reaches(&meta.namespace, scope) && !scope.is_attached;
            }
            concerns(world, scope, namespace, is_target)
        };
        let mut say = |replacing: &Meta, part: &str| {
            let message = format!(
                "{} speaks of the same workload, so the `{part}` of this {} are ignored there",
                name_and_place(replacing),
                meta.kind
            );
            let help = "keep one of both; today's resources are those of security.istio.io";
            notes.add(Code::LegacyIgnored, meta, &meta.at, message, help);
        };
        let mut tokens = world.resources.request_authentications.iter();
        if !policy.origins.is_empty()
            && let Some(first) = tokens.find(|resource| is_ours(resource.scope()))
        {
            say(&first.meta, "origins");
        }
        let mut peers = world.resources.peer_authentications.iter();
        if policy.mtls.is_some()
            && let Some(first) = peers.find(|resource| is_ours(resource.scope()))
        {
            say(&first.meta, "peers");
        }
    }
}

/// Whether a resource of today selects a workload behind one of the services that a resource of
/// 2018 is for. What is behind a service is known of known workloads; else a whole namespace is,
/// and a selector whose label says the service's name.
fn concerns(
    world: World<'_>,
    scope: Scope<'_>,
    namespace: &str,
    is_service: impl Fn(&str) -> bool,
) -> bool {
    if scope.is_attached || !world.reaches(namespace, scope) && !world.is_root(scope.namespace) {
        return false;
    }
    let workloads = world.workloads.iter().map(|known| &known.workload);
    let known = workloads.filter(|workload| workload.namespace() == namespace);
    let mut known = known.peekable();
    if known.peek().is_some() {
        let behind = |workload: &Workload| {
            let mut services = workload.services().iter();
            services.any(|service| is_service(&service.name))
        };
        return known.any(|workload| world.selects(scope, workload) && behind(workload));
    }
    scope.is_wide() || scope.label_values().any(is_service)
}

/// Whether a pattern of a role's `services` takes a service of a namespace.
fn is_service(pattern: &str, short: &str, namespace: &str) -> bool {
    let host = format!("{short}.{namespace}.svc.cluster.local");
    pattern_matches(pattern, &host)
}

/// Properties that no caller has.
fn properties(world: World<'_>, notes: &mut Notes) {
    for binding in &world.resources.service_role_bindings {
        let meta = &binding.meta;
        let subjects = binding.subjects.iter();
        let properties = subjects.flat_map(|subject| &subject.properties);
        for (key, value) in properties.filter(|(key, _)| !is_property(key)) {
            let message =
                format!("no caller has the property `{key}`, so this subject matches no caller");
            let help = "write one of source.principal, source.namespace, source.ip, request.auth.principal, request.auth.audiences, \
                 request.auth.presenter, request.auth.claims[..] and request.headers[..]";
            notes.add(Code::ValueNeverMatches, meta, value.at(), message, help);
        }
    }
}

fn is_property(key: &str) -> bool {
    let plain = [
        "source.principal",
        "source.user",
        "source.namespace",
        "source.ip",
        "request.auth.principal",
        "request.auth.audiences",
        "request.auth.presenter",
    ];
    let keyed = ["request.auth.claims[", "request.headers["];
    plain.contains(&key) || keyed.iter().any(|start| key.starts_with(start))
}
