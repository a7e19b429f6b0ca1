use std::collections::{BTreeMap, BTreeSet};

use super::compiler::Compiler;
use super::policies::{Policies, add_rules};
use super::providers::{Found, cache_notes, find};
use crate::istio::{AuthorizationPolicy, Position, ProviderKind};
use crate::policy::ir::{Rbac, RbacAction};
use crate::policy::{CustomFilter, PolicyId};

/// The CUSTOM policies of the workload, by provider.
#[derive(Default)]
pub(super) struct Providers {
    by_name: BTreeMap<String, Asked>,
}

/// What sends requests to one provider.
struct Asked {
    http: Policies,
    tcp: Policies,
    /// Where the provider was named first.
    at: Position,
    /// The namespaces of the policies that name it.
    namespaces: BTreeSet<String>,
}

impl Providers {
    /// Adds the rules of a CUSTOM policy to its provider's.
    pub(super) fn add(&mut self, compiler: &mut Compiler<'_>, policy: &AuthorizationPolicy) {
        let Some(provider) = &policy.provider else {
            let message =
                "CUSTOM needs a provider; write the name of one of MeshConfig's extensionProviders";
            compiler.refuse(&policy.meta.at, "spec.provider.name", message);
            return;
        };
        let asked = self
            .by_name
            .entry(provider.as_str().to_owned())
            .or_insert_with(|| Asked {
                http: Policies::new(),
                tcp: Policies::new(),
                at: provider.at().clone(),
                namespaces: BTreeSet::new(),
            });
        asked.namespaces.insert(policy.meta.namespace.clone());
        let prefix = format!("istio-ext-authz-{provider}-");
        add_rules(compiler, policy, &prefix, &mut asked.http, &mut asked.tcp);
    }

    /// The filters for HTTP and for raw TCP, in byte order of the providers, and those that Istio
    /// leaves out of raw TCP.
    ///
    /// Requests that a provider cannot be asked about are refused. Istio supports one provider for
    /// a workload, so that of several in MeshConfig none is usable. Providers of the process do not
    /// count there.
    pub(super) fn filters(
        self,
        compiler: &mut Compiler<'_>,
    ) -> (Vec<CustomFilter>, Vec<CustomFilter>, Vec<CustomFilter>) {
        let found = self.by_name.into_iter().map(|(name, asked)| {
            let found = find(compiler, &name, &asked.namespaces);
            (name, asked, found)
        });
        let found: Vec<_> = found.collect();
        let is_of_mesh = |found: &Result<Found, _>| !found.as_ref().is_ok_and(Found::is_in_process);
        let of_mesh = found.iter().filter(|(_, _, found)| is_of_mesh(found));
        let several = of_mesh.count() > 1;
        let (mut http, mut tcp, mut unasked) = (Vec::new(), Vec::new(), Vec::new());
        for (name, asked, found) in found {
            let usable = match found {
                Ok(found) if several && !found.is_in_process() => {
                    Err("a workload can have one CUSTOM provider of MeshConfig and has several")
                }
                other => other,
            };
            match &usable {
                Ok(found) => cache_notes(compiler, found),
                Err(reason) => {
                    let message = format!(
                        "{reason}; every request that a rule of {name:?} matches is refused"
                    );
                    compiler.note(&asked.at, "spec.provider.name", message);
                }
            }
            let usable = usable.ok();
            if usable.is_none() {
                rename_origins(compiler, &asked.http);
            }
            let http_only = usable.as_ref().is_some_and(|found| {
                matches!(found.provider.kind, ProviderKind::ExtAuthzHttp { .. })
            });
            // Istio leaves an HTTP provider out of raw TCP.
            let of_tcp = if http_only { &mut unasked } else { &mut tcp };
            of_tcp.push(filter(name.clone(), usable.clone(), asked.tcp));
            http.push(filter(name, usable, asked.http));
        }
        (http, tcp, unasked)
    }
}

fn filter(provider: String, usable: Option<Found>, mut policies: Policies) -> CustomFilter {
    if usable.is_none() {
        let named = policies.into_iter();
        policies = named.map(|(id, rule)| (unusable_name(&id), rule)).collect();
    }
    let (usable, cache) = usable.map(|found| (found.provider, found.cache)).unzip();
    CustomFilter {
        provider,
        usable,
        cache: cache.flatten(),
        rules: Rbac {
            action: RbacAction::Deny,
            policies,
        },
    }
}

/// Lets the rules of an unusable provider be found under the names by which they are reported.
fn rename_origins(compiler: &mut Compiler<'_>, policies: &Policies) {
    for id in policies.keys() {
        if let Some(origin) = compiler.origins.remove(id) {
            compiler.origins.insert(unusable_name(id), origin);
        }
    }
}

fn unusable_name(id: &PolicyId) -> PolicyId {
    PolicyId::new(format!("{id}-deny-due-to-bad-CUSTOM-action"))
}
