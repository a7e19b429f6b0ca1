//! Checks the resources of 2018: bindings, whether they count, and what replaces them.

use crate::identity::Workload;
use crate::istio::{Meta, RbacMode, ServiceRole, Text};
use crate::vet::Code;
use crate::vet::logic::pattern_matches;
use crate::vet::report::note::resource_name;
use crate::vet::report::notes::Notes;
use crate::vet::world::known::{Scope, World};

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
        let own = || {
            roles
                .iter()
                .filter(|role| role.meta.namespace == *namespace)
        };
        let wanted = binding.role.as_str();
        if own().any(|role| role.meta.name == wanted) {
            continue;
        }
        let elsewhere = roles.iter().find(|role| role.meta.name == wanted);
        let help = match (elsewhere, nearest(wanted, own().map(|role| &**role))) {
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
        notes.add(
            Code::BindingWithoutRole,
            &binding.meta,
            binding.role.at(),
            message,
            help,
        );
    }
    for role in roles {
        let is_bound = bindings.iter().any(|binding| {
            binding.meta.namespace == role.meta.namespace && *binding.role == *role.meta.name
        });
        if !is_bound {
            notes.add(
                Code::RoleUnbound,
                &role.meta,
                &role.meta.at,
                "no ServiceRoleBinding of this namespace names this role, so it grants nothing",
                format!(
                    "bind it (`roleRef: {{kind: ServiceRole, name: {}}}`), or take it out",
                    role.meta.name
                ),
            );
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
    let mut configs = world.resources.rbac_configs.iter();
    let is_off = configs.len() > 0 && configs.all(|config| config.mode == RbacMode::Off);
    if !is_off && !world.resources.rbac_configs.is_empty() {
        return;
    }
    let roles = world.resources.service_roles.iter().map(|role| &role.meta);
    let bindings = world.resources.service_role_bindings.iter();
    let bindings = bindings.map(|binding| &binding.meta);
    if let Some(first) = roles.chain(bindings).min_by_key(|meta| &meta.at) {
        let why = if is_off {
            "the mode of the ClusterRbacConfig is OFF"
        } else {
            "there is no ClusterRbacConfig"
        };
        notes.add(
            Code::RbacNotSwitchedOn,
            first,
            &first.at,
            format!("{why}, so no role and no binding is enforced, and every request is allowed"),
            "write a ClusterRbacConfig named `default` with mode ON or ON_WITH_INCLUSION",
        );
    }
}

/// Roles of a workload that an AuthorizationPolicy selects, too.
fn replaced_roles(world: World<'_>, notes: &mut Notes) {
    for role in &world.resources.service_roles {
        let mut policies = world.resources.authorization_policies.iter();
        let replacing = policies.find(|policy| {
            let scope = Scope::from(&***policy);
            let services: Vec<&Text> = role.rules.iter().flat_map(|rule| &rule.services).collect();
            concerns(world, scope, &role.meta.namespace, |short| {
                services
                    .iter()
                    .any(|service| is_service(service, short, &role.meta.namespace))
            })
        });
        if let Some(policy) = replacing {
            let message = format!(
                "{} (at {}) selects the same workload, and where an AuthorizationPolicy does, all of rbac.istio.io is ignored",
                resource_name(&policy.meta),
                policy.meta.at
            );
            let help = "move these rules to AuthorizationPolicies, all of them at once";
            notes.add(
                Code::LegacyIgnored,
                &role.meta,
                &role.meta.at,
                message,
                help,
            );
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
            let namespace = if meta.namespace.is_empty() {
                scope.namespace
            } else {
                &meta.namespace
            };
            if policy.targets.is_empty() && !world.is_known(scope) {
                return world.reaches(&meta.namespace, scope) && !scope.is_attached;
            }
            concerns(world, scope, namespace, is_target)
        };
        let mut say = |replacing: &Meta, part: &str| {
            let message = format!(
                "{} (at {}) speaks of the same workload, so the `{part}` of this {} are ignored there",
                resource_name(replacing),
                replacing.at,
                meta.kind
            );
            let help = "keep one of both; today's resources are those of security.istio.io";
            notes.add(Code::LegacyIgnored, meta, &meta.at, message, help);
        };
        let tokens = world.resources.request_authentications.iter();
        if let Some(first) = tokens
            .map(|r| &**r)
            .find(|r| !policy.origins.is_empty() && is_ours((*r).into()))
        {
            say(&first.meta, "origins");
        }
        let peers = world.resources.peer_authentications.iter();
        if let Some(first) = peers
            .map(|r| &**r)
            .find(|r| policy.mtls.is_some() && is_ours((*r).into()))
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
    let mut known = workloads
        .filter(|workload| workload.namespace() == namespace)
        .peekable();
    if known.peek().is_some() {
        let behind = |workload: &Workload| {
            workload
                .services()
                .iter()
                .any(|service| is_service(&service.name))
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
        let properties = binding
            .subjects
            .iter()
            .flat_map(|subject| &subject.properties);
        for (key, value) in properties.filter(|(key, _)| !is_property(key)) {
            notes.add(
                Code::ValueNeverMatches,
                &binding.meta,
                value.at(),
                format!("no caller has the property `{key}`, so this subject matches no caller"),
                "write one of source.principal, source.namespace, source.ip, request.auth.principal, request.auth.audiences, \
                 request.auth.presenter, request.auth.claims[..] and request.headers[..]",
            );
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
