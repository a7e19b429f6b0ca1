//! Calls to hosts that nobody knows.

use std::sync::Arc;

use super::virtual_host::VirtualHost;
use crate::istio::Position;
use crate::istio::traffic::{Destination, MeshOutboundMode, OutboundMode, OutboundTrafficPolicy};
use crate::routing::host::resolve_host;
use crate::routing::route::{
    Action, Cluster, ClusterName, Forward, HeaderChanges, Respond, Route, RouteMatch, Split,
};

/// What is done with a host that is none of a service or a VirtualService.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It is called at the address that it has; or at the egress proxy.
    Allow(Option<ClusterName>),
    /// It is resolved and called.
    AllowDynamicDns,
    /// It is refused.
    Block,
}

impl Unknown {
    /// As the Sidecar of `namespace` says, if it says so; else as MeshConfig does.
    pub(in crate::routing) fn new(
        of_sidecar: Option<&OutboundTrafficPolicy>,
        of_mesh: MeshOutboundMode,
        namespace: &str,
        domain: &str,
    ) -> Self {
        match (of_sidecar, of_mesh) {
            (Some(policy), _) => match policy.mode {
                OutboundMode::RegistryOnly => Self::Block,
                OutboundMode::AllowAny => {
                    let proxy = policy.egress_proxy.as_ref();
                    Self::Allow(proxy.map(|proxy| proxy_cluster(proxy, namespace, domain)))
                }
            },
            (None, MeshOutboundMode::AllowAny) => Self::Allow(None),
            (None, MeshOutboundMode::RegistryOnly) => Self::Block,
            (None, MeshOutboundMode::AllowAnyDynamicDns) => Self::AllowDynamicDns,
        }
    }

    /// Where connections go that are not HTTP.
    #[must_use]
    pub fn tcp_cluster(&self) -> Cluster {
        match self {
            Self::Allow(Some(proxy)) => Cluster::Service(proxy.clone()),
            Self::Allow(None) | Self::AllowDynamicDns => Cluster::Passthrough,
            Self::Block => Cluster::BlackHole,
        }
    }

    /// The name of its virtual host, which has no port as those of known hosts have.
    pub(in crate::routing) fn name(&self) -> &'static str {
        match self {
            Self::Allow(_) => "allow_any",
            Self::AllowDynamicDns => "allow_any_dynamic_dns",
            Self::Block => "block_all",
        }
    }

    /// The virtual host `*`: without timeout and retries; a refusal is 502 without a body.
    pub(super) fn virtual_host(&self) -> VirtualHost {
        let forward = |cluster| Action::Forward(Box::new(Forward::to(Split::One(cluster))));
        let name = self.name();
        let action = match self {
            Self::Allow(_) => forward(self.tcp_cluster()),
            Self::AllowDynamicDns => forward(Cluster::DynamicDns),
            Self::Block => {
                let body = Vec::new();
                Action::Respond(Respond { status: 502, body })
            }
        };
        let route = Route {
            name: Some(name.to_owned()),
            matches: RouteMatch::all(),
            action,
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
            fault: None,
            cors: None,
            stat_prefix: None,
            at: Position::default(),
        };
        VirtualHost {
            name: name.to_owned(),
            domains: vec!["*".to_owned()],
            routes: Arc::new([route]),
        }
    }
}

fn proxy_cluster(proxy: &Destination, namespace: &str, domain: &str) -> ClusterName {
    ClusterName {
        port: proxy.port.unwrap_or_default(),
        subset: proxy.subset.as_deref().unwrap_or_default().to_owned(),
        host: resolve_host(&proxy.host, namespace, domain).into_owned(),
    }
}
