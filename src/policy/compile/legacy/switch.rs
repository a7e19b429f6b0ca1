use std::sync::Arc;

use super::super::compiler::Compiler;
use super::super::selection::refuse_double;
use super::service::Service;
use crate::istio::{EnforcementMode, RbacConfig, RbacMode, RbacTarget};

/// Whether RBAC is on for a service, and whether it counts; `None`: off.
pub(super) fn enforcement(
    compiler: &Compiler<'_>,
    config: Option<&RbacConfig>,
    service: &Service<'_>,
) -> Option<EnforcementMode> {
    let config = config?;
    let namespace = compiler.workload.namespace();
    let is_listed = |target: &RbacTarget| {
        target.namespaces.iter().any(|name| **name == *namespace)
            || target.services.iter().any(|host| **host == *service.host)
    };
    let on = match config.mode {
        RbacMode::Off => false,
        RbacMode::On => true,
        RbacMode::OnWithInclusion => is_listed(&config.inclusion),
        RbacMode::OnWithExclusion => !is_listed(&config.exclusion),
    };
    on.then_some(config.enforcement_mode)
}

/// The ClusterRbacConfig, else the older RbacConfig.
pub(super) fn config<'r>(
    compiler: &mut Compiler<'_>,
    configs: &'r [Arc<RbacConfig>],
) -> Option<&'r RbacConfig> {
    let mut of_kind = |kind: &str| {
        let mut configs = configs.iter().filter(|config| config.meta.kind == kind);
        let first = configs.next();
        for other in configs {
            refuse_double(compiler, &other.meta);
        }
        first.map(|config| &**config)
    };
    let (cluster, older) = (of_kind("ClusterRbacConfig"), of_kind("RbacConfig"));
    cluster.or(older)
}
