//! A real Envoy with a listener for each chain of filters.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Child;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{spawn, wait};

/// One listener: its filters before the router, and what its route and virtual host have besides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) filters: Vec<Value>,
    pub(crate) route: Value,
    pub(crate) transport_socket: Option<Value>,
}

/// A running Envoy; ends with the value.
pub(crate) struct Envoy {
    process: Child,
    /// Where each listener is, in their order.
    pub(crate) addresses: Vec<SocketAddr>,
    directory: TempDir,
}

impl Envoy {
    /// With an application behind it, and clusters for those that it asks.
    pub(crate) fn start(
        program: &Path,
        app: SocketAddr,
        clusters: &[Value],
        listeners: &[Filter],
    ) -> Self {
        for _ in 0..5 {
            let directory = TempDir::new().unwrap();
            let held: Vec<_> = listeners
                .iter()
                .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
                .collect();
            let addresses: Vec<_> = held.iter().map(|held| held.local_addr().unwrap()).collect();
            let printed = listeners.iter().zip(&addresses);
            let printed = printed.map(|(listener, address)| print(listener, *address));
            let mut all = vec![cluster("app", app, None)];
            all.extend_from_slice(clusters);
            let config = json!({
                "static_resources": {"listeners": printed.collect::<Vec<_>>(), "clusters": all},
                "layered_runtime": {"layers": [{"name": "none", "static_layer": {}}]},
                "node": {"id": "one", "cluster": "web.foo"},
            });
            drop(held);
            let process = spawn(program, directory.path(), &config);
            let mut envoy = Self {
                process,
                addresses,
                directory,
            };
            let ports: Vec<_> = envoy.addresses.iter().map(SocketAddr::port).collect();
            match wait(&mut envoy.process, envoy.directory.path(), &ports) {
                Ok(()) => return envoy,
                Err(log) => assert!(
                    log.contains("Address already in use"),
                    "Envoy refused its configuration:\n{log}"
                ),
            }
        }
        panic!("others take every port before Envoy does");
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A cluster of one address; `http2`: whether it is spoken to in HTTP/2, `None`: as the caller speaks.
pub(crate) fn cluster(name: &str, address: SocketAddr, http2: Option<bool>) -> Value {
    let http = match http2 {
        Some(true) => json!({"explicit_http_config": {"http2_protocol_options": {}}}),
        Some(false) => json!({"explicit_http_config": {"http_protocol_options": {}}}),
        None => {
            json!({"use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}}})
        }
    };
    let mut options = json!({"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"});
    options
        .as_object_mut()
        .unwrap()
        .extend(http.as_object().unwrap().clone());
    let address = json!({"address": address.ip().to_string(), "port_value": address.port()});
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": address}}}]}],
        },
    })
}

fn print(listener: &Filter, address: SocketAddr) -> Value {
    let mut filters = listener.filters.clone();
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            "suppress_envoy_headers": true,
        },
    }));
    let mut route = json!({"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "3s"}});
    if let (Some(route), Some(more)) = (route.as_object_mut(), listener.route.as_object()) {
        for (key, value) in more {
            match route.get_mut(key).and_then(Value::as_object_mut) {
                Some(inner) => inner.extend(value.as_object().unwrap().clone()),
                None => drop(route.insert(key.clone(), value.clone())),
            }
        }
    }
    let manager = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "inbound",
            "use_remote_address": false,
            "generate_request_id": false,
            "server_header_transformation": "PASS_THROUGH",
            "forward_client_cert_details": "APPEND_FORWARD",
            "http_filters": filters,
            "route_config": {
                "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}],
            },
        },
    });
    let mut chain = json!({"filters": [manager]});
    if let Some(socket) = &listener.transport_socket {
        chain["transport_socket"] = socket.clone();
    }
    json!({
        "name": format!("listener-{}", address.port()),
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": address.port()}},
        "filter_chains": [chain],
    })
}
