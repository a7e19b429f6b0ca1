use crate::identity::Workload;
use crate::metrics::store::labels::ServiceLabels;

/// The service that a caller names by its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceName {
    /// The fully qualified name, else the host as called.
    pub(crate) host: String,
    pub(in crate::metrics) name: String,
    pub(in crate::metrics) namespace: Option<String>,
}

impl ServiceName {
    /// Reads a host as Kubernetes' DNS search does from `own_namespace`: `charts`,
    /// `charts.default`, `charts.default.svc` and `charts.default.svc.cluster.local` are one
    /// service. Any other host is outside the mesh, as Istio's `PassthroughCluster`.
    pub(crate) fn from_host(host: &str, own_namespace: &str) -> Self {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let short = host
            .strip_suffix(CLUSTER_DOMAIN)
            .or_else(|| host.strip_suffix(".svc"));
        let parts: Vec<_> = short.unwrap_or(&host).split('.').collect();
        let labels = parts.iter().all(|part| is_dns_label(part));
        match parts.as_slice() {
            ["localhost"] => Self::outside(host),
            [name] if labels && short.is_none() => Self::inside(name, own_namespace),
            [name, namespace] if labels => Self::inside(name, namespace),
            _ => Self::outside(host),
        }
    }

    /// Reads the host of a call that leaves the mesh: a name of two labels, as `example.com`, is one
    /// of the public DNS, and no service of a namespace.
    pub(in crate::metrics) fn of_external(host: &str, own_namespace: &str) -> Self {
        let read = Self::from_host(host, own_namespace);
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match host.split_once('.') {
            Some((_, parent)) if !parent.contains('.') => Self::outside(host),
            _ => read,
        }
    }

    pub(in crate::metrics) fn inside(name: &str, namespace: &str) -> Self {
        Self {
            host: format!("{name}.{namespace}{CLUSTER_DOMAIN}"),
            name: name.to_owned(),
            namespace: Some(namespace.to_owned()),
        }
    }

    fn outside(host: String) -> Self {
        Self {
            host,
            name: "PassthroughCluster".to_owned(),
            namespace: None,
        }
    }

    /// A host that the mesh does not call.
    pub(in crate::metrics) fn refused(host: &str) -> Self {
        Self {
            name: "BlackHoleCluster".to_owned(),
            ..Self::outside(host.trim_end_matches('.').to_ascii_lowercase())
        }
    }

    /// The service of a port of this workload. If the port is not known, it is the workload's only
    /// service, if there is only one.
    pub(in crate::metrics) fn for_port(workload: &Workload, port: Option<u16>) -> Self {
        let services = workload.services();
        let found = match (port, services) {
            (None, [only]) => Some(only),
            (port, services) => services.iter().find(|service| Some(service.port) == port),
        };
        let canonical = workload.canonical_service();
        match found {
            Some(service) => Self::inside(&service.name, workload.namespace()),
            None => Self {
                host: canonical.to_owned(),
                name: if services.is_empty() {
                    canonical.to_owned()
                } else {
                    "InboundPassthroughCluster".to_owned()
                },
                namespace: Some(workload.namespace().to_owned()),
            },
        }
    }

    pub(in crate::metrics) fn labels(&self) -> ServiceLabels<'_> {
        ServiceLabels {
            host: (!self.host.is_empty()).then_some(self.host.as_str()),
            name: Some(&self.name),
            namespace: self.namespace.as_deref(),
        }
    }

    /// Whether the mesh knows it.
    pub(in crate::metrics) const fn is_inside(&self) -> bool {
        self.namespace.is_some()
    }
}

/// At least one letter: a bare IPv4 address is no service.
fn is_dns_label(part: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    part.len() <= 63
        && part.bytes().all(legal)
        && part.bytes().any(|byte| byte.is_ascii_lowercase())
}

const CLUSTER_DOMAIN: &str = ".svc.cluster.local";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_as_the_cluster_would_resolve_it() {
        let inside = [
            ("charts", "charts.own.svc.cluster.local"),
            ("charts.default", "charts.default.svc.cluster.local"),
            ("Charts.Default.", "charts.default.svc.cluster.local"),
            ("charts.default.svc", "charts.default.svc.cluster.local"),
            (
                "charts.default.svc.cluster.local",
                "charts.default.svc.cluster.local",
            ),
        ];
        for (host, expected) in inside {
            let service = ServiceName::from_host(host, "own");
            assert_eq!(service.host, expected, "{host}");
            assert_eq!(service.name, "charts", "{host}");
            assert!(service.is_inside());
        }
        for host in [
            "api.example.com",
            "10.0.0.1",
            "[::1]",
            "localhost",
            "charts.svc",
            "a.b.c.svc.cluster.local",
            "",
        ] {
            let service = ServiceName::from_host(host, "own");
            assert_eq!(service.host, host);
            assert_eq!(service.name, "PassthroughCluster", "{host}");
            assert!(!service.is_inside());
        }
    }

    #[test]
    fn a_name_outside_the_mesh_is_one_of_the_public_dns() {
        for host in [
            "example.com",
            "Example.com.",
            "charts.svc",
            "api.example.com",
        ] {
            let service = ServiceName::of_external(host, "own");
            assert_eq!(service.name, "PassthroughCluster", "{host}");
            assert_eq!(service.host, host.trim_end_matches('.').to_lowercase());
        }
        for (host, expected) in [
            ("charts", "charts.own.svc.cluster.local"),
            ("charts.default.svc", "charts.default.svc.cluster.local"),
        ] {
            assert_eq!(ServiceName::of_external(host, "own").host, expected);
        }
    }

    #[test]
    fn a_port_leads_to_its_service() {
        let bare = Workload::new("ns", "account").label("app", "shop");
        let two = bare.clone().service("web", 80).service("admin", 81);
        let one = bare.clone().service("web", 80);
        let web = ("web.ns.svc.cluster.local", "web");
        for (workload, port, expected) in [
            (&two, Some(80), web),
            (&two, Some(81), ("admin.ns.svc.cluster.local", "admin")),
            (&two, Some(82), ("shop", "InboundPassthroughCluster")),
            (&two, None, ("shop", "InboundPassthroughCluster")),
            (&one, None, web),
            (&bare, Some(80), ("shop", "shop")),
            (&bare, None, ("shop", "shop")),
        ] {
            let service = ServiceName::for_port(workload, port);
            assert_eq!((service.host.as_str(), service.name.as_str()), expected);
            assert_eq!(service.namespace.as_deref(), Some("ns"));
        }
    }
}
