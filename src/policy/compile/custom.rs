use std::collections::BTreeMap;

use super::compiler::Compiler;
use super::policies::{Policies, add_rules};
use crate::istio::{AuthorizationPolicy, ExtensionProvider, Position, ProviderKind};
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
            });
        let prefix = format!("istio-ext-authz-{provider}-");
        add_rules(compiler, policy, &prefix, &mut asked.http, &mut asked.tcp);
    }

    /// The filters for HTTP and for raw TCP, in byte order of the providers.
    ///
    /// Requests that a provider cannot be asked about are refused. Istio supports one provider for
    /// a workload, so that of several none is usable.
    pub(super) fn filters(
        self,
        compiler: &mut Compiler<'_>,
    ) -> (Vec<CustomFilter>, Vec<CustomFilter>) {
        let several = self.by_name.len() > 1;
        let (mut http, mut tcp) = (Vec::new(), Vec::new());
        for (name, asked) in self.by_name {
            let usable = match usable(compiler, &name) {
                Ok(_) if several => Err("a workload can have one CUSTOM provider and has several"),
                other => other,
            };
            if let Err(reason) = &usable {
                let message =
                    format!("{reason}; every request that a rule of {name:?} matches is refused");
                compiler.note(&asked.at, "spec.provider.name", message);
            }
            let usable = usable.ok();
            if usable.is_none() {
                rename_origins(compiler, &asked.http);
            }
            let http_only = usable
                .as_ref()
                .is_some_and(|provider| matches!(provider.kind, ProviderKind::ExtAuthzHttp { .. }));
            // Istio leaves an HTTP provider out of raw TCP.
            if !http_only {
                tcp.push(filter(name.clone(), usable.clone(), asked.tcp));
            }
            http.push(filter(name, usable, asked.http));
        }
        (http, tcp)
    }
}

fn filter(
    provider: String,
    usable: Option<ExtensionProvider>,
    mut policies: Policies,
) -> CustomFilter {
    if usable.is_none() {
        let named = policies.into_iter();
        policies = named.map(|(id, rule)| (unusable_name(&id), rule)).collect();
    }
    CustomFilter {
        provider,
        usable,
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

fn usable(compiler: &Compiler<'_>, name: &str) -> Result<ExtensionProvider, &'static str> {
    let providers = &compiler.mesh.extension_providers;
    let mut named = providers.iter().filter(|provider| *provider.name == *name);
    match (named.next(), named.next()) {
        (None, _) => Err("no such provider in MeshConfig's extensionProviders"),
        (Some(_), Some(_)) => Err("MeshConfig's extensionProviders name it twice"),
        (Some(provider), None) => match provider.kind {
            ProviderKind::ExtAuthzGrpc { .. } | ProviderKind::ExtAuthzHttp { .. } => {
                Ok(provider.clone())
            }
            ProviderKind::Other => Err("the provider cannot authorize"),
        },
    }
}
