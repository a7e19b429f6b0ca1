//! The two servers with the same policies, each in front of an application of its own.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;

use serde_json::{Value, json};

use super::application::{self, View};
use crate::server;
use crate::world::{World, policy};

/// A server and the application behind it.
pub(crate) struct Side {
    process: Child,
    pub(crate) address: SocketAddr,
    /// What has reached the application.
    pub(crate) seen: Receiver<View>,
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A path, a method, a host and a header are denied; everything else is allowed.
pub(crate) fn policies() -> World {
    let denied = [
        (
            "path",
            json!([{"to": [{"operation": {"paths": ["/admin", "/private/*"]}}]}]),
        ),
        (
            "method",
            json!([{"to": [{"operation": {"methods": ["DELETE"]}}]}]),
        ),
        (
            "host",
            json!([{"to": [{"operation": {"hosts": ["secret.com"]}}]}]),
        ),
        (
            "role",
            json!([{"when": [{"key": "request.headers[x-role]", "values": ["evil"]}]}]),
        ),
    ];
    let denied = denied.map(|(name, rules)| policy(name, "DENY", &rules));
    World::of("raw requests", &denied)
}

/// The example, as its users start it.
pub(crate) fn sidecar(directory: &Path, world: &World) -> Side {
    let (application, seen) = application::start();
    let config = world.write(directory, 80);
    let mut process = Command::new(example("sidecar"))
        .args(["--listen", "127.0.0.1:0", "--workload", "foo/web"])
        .args(["--label", "app=web", "--service", "web"])
        .args(["--upstream", &application.to_string()])
        .arg("--config")
        .arg(&config)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.trim().strip_prefix("listening ");
    let address = address.unwrap_or_else(|| panic!("the sidecar printed {line:?}"));
    Side {
        process,
        address: address.parse().unwrap(),
        seen,
    }
}

/// An Envoy with the listener that Istio gives a sidecar for a port of HTTP without TLS.
pub(crate) fn envoy(program: &Path, directory: &Path, world: &World) -> Side {
    let (application, seen) = application::start();
    // Between our letting go of a port and Envoy's taking it another process can be faster.
    for _ in 0..5 {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = held.local_addr().unwrap();
        let words = ["--protocol", "http"];
        let printed = world.tower_mesh(directory, address.port(), "envoy", &words);
        let filters = serde_json::from_str(&printed).unwrap();
        drop(held);
        let config = configuration(address.port(), application.port(), &filters);
        let mut process = server::spawn(program, directory, &config);
        match server::wait(&mut process, directory, &[address.port()]) {
            Ok(()) => {
                return Side {
                    process,
                    address,
                    seen,
                };
            }
            Err(log) => assert!(
                log.contains("Address already in use"),
                "Envoy refused its configuration:\n{log}"
            ),
        }
    }
    panic!("others take every port before Envoy does");
}

fn configuration(port: u16, application: u16, filters: &Value) -> Value {
    let address =
        |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let manager = connection_manager(filters);
    json!({
        "static_resources": {
            "listeners": [{
                "name": "inbound",
                "address": address(port),
                "filter_chains": [{"filters": [manager]}],
            }],
            "clusters": [{
                "name": "application",
                "type": "STATIC",
                "load_assignment": {
                    "cluster_name": "application",
                    "endpoints": [{
                        "lb_endpoints": [{"endpoint": {"address": address(application)}}],
                    }],
                },
            }],
        },
        // Istio's bootstrap has a fragment cut off, where Envoy alone would answer with 400.
        "layered_runtime": {"layers": [{
            "name": "deprecation",
            "static_layer": {"envoy.reloadable_features.http_reject_path_with_fragment": false},
        }]},
    })
}

/// As istiod writes it for an inbound port, without what only its own build of Envoy has.
fn connection_manager(filters: &Value) -> Value {
    let mut filters = filters.as_array().unwrap().clone();
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    }));
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "inbound",
            "server_name": "istio-envoy",
            "stream_idle_timeout": "0s",
            // Istio leaves Envoy's second: for so long a refused connection stays open in silence.
            "delayed_close_timeout": "0.05s",
            "use_remote_address": false,
            "forward_client_cert_details": "APPEND_FORWARD",
            "set_current_client_cert_details": {"subject": true, "dns": true, "uri": true},
            "proxy_100_continue": true,
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "normalize_path": true,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "http_filters": filters,
            "route_config": {
                "virtual_hosts": [{
                    "name": "inbound|http|80",
                    "domains": ["*"],
                    "routes": [{
                        "match": {"prefix": "/"},
                        "route": {"cluster": "application", "timeout": "0s"},
                    }],
                }],
            },
        },
    })
}

/// An example's program, which `cargo` puts beside the tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().with_file_name("examples").join(name);
    assert!(
        program.exists(),
        "build it first: cargo build --all-features --example {name}"
    );
    program
}
