#[cfg(all(feature = "server", feature = "client"))]
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderValue;

/// Where a call of a mesh goes, in Envoy's names. Worked out once for each service and port.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    /// The cluster.
    pub(super) cluster: Arc<str>,
    /// What the call's span is named after; `None` outside the mesh.
    pub(super) operation: Option<Operation>,
}

/// The operation of a call.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) name: Arc<str>,
    /// The same for a header; `None` when it cannot stand in one.
    pub(super) value: Option<HeaderValue>,
}

#[cfg(all(feature = "server", feature = "client"))]
impl Destination {
    /// A service of the mesh, by its fully qualified name or its address.
    pub(crate) fn of_service(service: &str, port: u16) -> Self {
        let name = match service.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{port}/*"),
            _ => format!("{service}:{port}/*"),
        };
        Self {
            cluster: format!("outbound|{port}||{service}").into(),
            operation: Some(Operation {
                value: HeaderValue::from_str(&name).ok(),
                name: name.into(),
            }),
        }
    }

    /// A host outside the mesh.
    pub(crate) fn outside() -> Self {
        Self {
            cluster: "PassthroughCluster".into(),
            operation: None,
        }
    }

    /// Envoy's name of the cluster.
    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Envoy's name of the route.
    pub(crate) fn route(&self) -> &'static str {
        match self.operation {
            Some(_) => "default",
            None => "allow_any",
        }
    }
}

#[cfg(all(test, feature = "server", feature = "client"))]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_a_service_and_its_port() {
        for (service, operation, cluster) in [
            (
                "charts.default.svc.cluster.local",
                "charts.default.svc.cluster.local:8080/*",
                "outbound|8080||charts.default.svc.cluster.local",
            ),
            ("10.0.0.1", "10.0.0.1:8080/*", "outbound|8080||10.0.0.1"),
            ("::1", "[::1]:8080/*", "outbound|8080||::1"),
            ("[::1]", "[::1]:8080/*", "outbound|8080||[::1]"),
        ] {
            let destination = Destination::of_service(service, 8080);
            assert_eq!(&*destination.cluster, cluster);
            let named = destination.operation.unwrap();
            assert_eq!(&*named.name, operation);
            assert_eq!(named.value.unwrap(), operation);
        }
        assert!(Destination::outside().operation.is_none());
    }
}
