//! A real Envoy, with one listener for each policy set.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tower_mesh::testing::{Leaf, Pki};

use crate::tokens::SHOWN;
use crate::world::World;

/// A running Envoy; ends with the value.
pub(crate) struct Server {
    process: Child,
    /// The port of each set, in their order.
    pub(crate) ports: Vec<u16>,
    /// The `x-case` of each request that the external provider was asked about.
    pub(crate) asked: mpsc::Receiver<String>,
    access_log: PathBuf,
}

impl Server {
    /// Starts the Envoy at `program` with what `tower-mesh envoy` prints for each set; `change` may falsify the filters.
    pub(crate) fn start(
        program: &Path,
        directory: &Path,
        worlds: &[World],
        pki: &Pki,
        change: impl Fn(&mut Value),
    ) -> Self {
        // Between our letting go of a port and Envoy's taking it another process can be faster.
        for _ in 0..5 {
            match Self::try_start(program, directory, worlds, pki, &change) {
                Ok(server) => return server,
                Err(log) => assert!(
                    log.contains("Address already in use"),
                    "Envoy refused its configuration:\n{log}"
                ),
            }
        }
        panic!("others take every port before Envoy does");
    }

    /// As [`start`](Self::start), once; the log of an Envoy that ends.
    fn try_start(
        program: &Path,
        directory: &Path,
        worlds: &[World],
        pki: &Pki,
        change: &impl Fn(&mut Value),
    ) -> Result<Self, String> {
        // All are held until all are known, so that no port is given twice.
        let held: Vec<_> = worlds.iter().map(|_| ephemeral()).collect();
        let ports: Vec<_> = held.iter().map(port).collect();
        let provider = ephemeral();
        let tls = tls(pki);
        let access_log = directory.join("access.log");
        let listeners = worlds.iter().zip(&ports).map(|(world, port)| {
            let words = ["--protocol", world.protocol()];
            let printed = world.tower_mesh(directory, *port, "envoy", &words);
            let mut filters: Value = serde_json::from_str(&printed).unwrap();
            change(&mut filters);
            listener(world, *port, &filters, &tls, &access_log)
        });
        let config = json!({
            "static_resources": {
                "listeners": listeners.collect::<Vec<_>>(),
                "clusters": [cluster(port(&provider))],
            },
        });
        drop(held);
        let process = spawn(program, directory, &config);
        let mut server = Self {
            process,
            ports,
            asked: answer_all(provider),
            access_log,
        };
        wait(&mut server.process, directory, &server.ports)?;
        Ok(server)
    }

    /// The lines of the access log by their `x-case`, as soon as all of these are there.
    pub(crate) fn seen(&self, cases: &[usize]) -> HashMap<usize, Value> {
        let start = Instant::now();
        loop {
            let log = std::fs::read_to_string(&self.access_log).unwrap_or_default();
            let lines = log.lines().filter_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                Some((line["case"].as_str()?.parse().ok()?, line))
            });
            let seen: HashMap<_, _> = lines.collect();
            if cases.iter().all(|case| seen.contains_key(case)) {
                return seen;
            }
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "Envoy logs nothing"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the Envoy at `program` with this configuration, which is kept below `directory` with its log.
pub(crate) fn spawn(program: &Path, directory: &Path, config: &Value) -> Child {
    let file = directory.join("envoy.json");
    std::fs::write(&file, config.to_string()).unwrap();
    Command::new(program)
        .args([
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--file-flush-interval-msec",
            "20",
            "-l",
            "warning",
        ])
        .arg("--config-path")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(File::create(log_of(directory)).unwrap())
        .spawn()
        .unwrap()
}

/// Waits until an Envoy listens on its ports; the log of one that ends.
pub(crate) fn wait(process: &mut Child, directory: &Path, ports: &[u16]) -> Result<(), String> {
    let start = Instant::now();
    let log = || std::fs::read_to_string(log_of(directory)).unwrap_or_default();
    for port in ports {
        while TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_err() {
            if process.try_wait().unwrap().is_some() {
                return Err(log());
            }
            assert!(start.elapsed() < Duration::from_secs(120), "{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn log_of(directory: &Path) -> PathBuf {
    directory.join("envoy.log")
}

fn ephemeral() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

/// Plaintext and mutual TLS on one port, as Istio's sidecar listens under PERMISSIVE.
fn listener(world: &World, port: u16, filters: &Value, tls: &Value, log: &Path) -> Value {
    let filters = match world.is_tcp {
        true => network_filters(filters),
        false => vec![connection_manager(world, filters, log)],
    };
    json!({
        "name": format!("listener-{port}"),
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "listener_filters": [{
            "name": "envoy.filters.listener.tls_inspector",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"},
        }],
        "filter_chains": [
            {
                "filter_chain_match": {"transport_protocol": "tls"},
                "transport_socket": tls,
                "filters": filters,
            },
            {"filter_chain_match": {"transport_protocol": "raw_buffer"}, "filters": filters},
        ],
    })
}

fn network_filters(filters: &Value) -> Vec<Value> {
    let echo = json!({
        "name": "envoy.filters.network.echo",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"},
    });
    let mut filters = filters.as_array().unwrap().clone();
    filters.push(echo);
    filters
}

/// The settings that Istio gives a sidecar's inbound connection manager; the access log says why each answer is as it is.
fn connection_manager(world: &World, filters: &Value, log: &Path) -> Value {
    let normalization = world.normalization();
    let merges = ["MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"].contains(&normalization);
    let escaped = match normalization {
        "DECODE_AND_MERGE_SLASHES" => "UNESCAPE_AND_FORWARD",
        _ => "KEEP_UNCHANGED",
    };
    let seen = SHOWN.map(|name| (name.to_owned(), format!("%REQ({name})%").into()));
    let seen = Map::from_iter(seen);
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
            "use_remote_address": false,
            "normalize_path": normalization != "NONE",
            "merge_slashes": merges,
            "path_with_escaped_slashes_action": escaped,
            "forward_client_cert_details": "APPEND_FORWARD",
            "set_current_client_cert_details": {"subject": true, "dns": true, "uri": true},
            "http_filters": filters,
            "route_config": {
                "virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                }],
            },
            "access_log": [{
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": log,
                    "log_format": {"json_format": {
                        "case": "%REQ(X-CASE)%",
                        "details": "%RESPONSE_CODE_DETAILS%",
                        "rbac": "%DYNAMIC_METADATA(envoy.filters.http.rbac)%",
                        "audit": "%DYNAMIC_METADATA(envoy.common:access_log_hint)%",
                        "jwt": "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn)%",
                        "path": "%REQ(:PATH)%",
                        "seen": seen,
                    }},
                },
            }],
        },
    })
}

pub(crate) fn tls(pki: &Pki) -> Value {
    let own = pki
        .issue(&Leaf::workload("spiffe://cluster.local/ns/foo/sa/web"))
        .unwrap();
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": true,
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": {"inline_string": own.chain_pem()},
                    "private_key": {"inline_string": own.key_pem().as_str()},
                }],
                "validation_context": {"trusted_ca": {"inline_string": pki.root_pem()}},
            },
        },
    })
}

/// The cluster of the only external provider.
fn cluster(port: u16) -> Value {
    let name = "outbound|80||opa.opa.svc.cluster.local";
    let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    })
}

/// An external provider that allows everything, and says what it was asked about.
fn answer_all(listener: TcpListener) -> mpsc::Receiver<String> {
    let (asked, questions) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let asked = asked.clone();
            std::thread::spawn(move || {
                let mut writer = stream.try_clone().unwrap();
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if let Some(case) = line.strip_prefix("x-case: ") {
                        let _ = asked.send(case.to_owned());
                    }
                    if line.is_empty() {
                        let _ = writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                    }
                }
            });
        }
    });
    questions
}
