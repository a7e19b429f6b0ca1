//! An Envoy that is set up as Istio sets up a sidecar's outbound listener, and its caller.

use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::path::Path;
use std::process::Child;

use http::{HeaderName, HeaderValue, Request, Uri, Version};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tower_mesh::testing::{Leaf, Pki};

use super::call::{Call, End};
use super::party::{self, Party, SHORT, arrived, read};
use super::servers::Servers;
use crate::server::{spawn, wait};
use crate::stub::cluster;
use crate::telemetry::app::Seen;
use crate::telemetry::collector::Collector;
use crate::telemetry::parties::Logs;
use crate::telemetry::setting::{NODE, access_logs, tracing};

/// An application that calls through the Envoy.
pub(super) struct Caller {
    envoy: Child,
    address: SocketAddr,
    /// Where its logs are.
    _directory: TempDir,
}

/// Operators that Istio's formats do not have.
pub(super) const MORE: [(&str, &str); 11] = [
    ("case", "%REQ(X-CASE)%"),
    ("trace", "%TRACE_ID%"),
    ("grpc", "%GRPC_STATUS%"),
    ("grpc_number", "%GRPC_STATUS_NUMBER%"),
    ("flags_long", "%RESPONSE_FLAGS_LONG%"),
    ("scheme", "%REQ(:SCHEME)%"),
    ("status", "%RESP(:STATUS)%"),
    ("san", "%UPSTREAM_PEER_URI_SAN%"),
    ("tls", "%UPSTREAM_TLS_VERSION%"),
    ("protocol", "%UPSTREAM_PROTOCOL%"),
    ("attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
];

pub(super) async fn start(program: &Path, pki: &Pki, is_zipkin: bool) -> Party {
    let (servers, collector) = (Servers::start(pki).await, Collector::start().await);
    for _ in 0..5 {
        let directory = TempDir::new().unwrap();
        let held = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = held.local_addr().unwrap();
        let mut manager = manager(&servers);
        manager["tracing"] = tracing(collector.address, is_zipkin, "desk");
        manager["access_log"] = access_logs(directory.path(), &MORE);
        let mut config = configuration(address, &manager, &servers, pki);
        let clusters = config["static_resources"]["clusters"].as_array_mut();
        let to_collector = cluster("collector", collector.address, Some(false));
        clusters.unwrap().push(to_collector);
        drop(held);
        let mut envoy = spawn(program, directory.path(), &config);
        match wait(&mut envoy, directory.path(), &[address.port()]) {
            Ok(()) => {
                let files = ["text.log", "json.log", "more.log"];
                let logs = Logs::Files(files.map(|file| directory.path().join(file)));
                let caller = Caller {
                    envoy,
                    address,
                    _directory: directory,
                };
                return Party::new(servers, collector, logs, party::Caller::Envoy(caller));
            }
            Err(log) => assert!(
                log.contains("Address already in use"),
                "Envoy refused its configuration:\n{log}"
            ),
        }
    }
    panic!("others take every port before Envoy does");
}

fn configuration(address: SocketAddr, manager: &Value, servers: &Servers, pki: &Pki) -> Value {
    let at = json!({"address": "127.0.0.1", "port_value": address.port()});
    let mut clusters = Vec::new();
    for (host, addresses, id) in servers.inside() {
        let mut made = cluster(&format!("outbound|80||{host}"), addresses[0], None);
        let endpoints = addresses.iter().map(|address| {
            let at = json!({"address": address.ip().to_string(), "port_value": address.port()});
            json!({"endpoint": {"address": {"socket_address": at}}})
        });
        let endpoints: Vec<_> = endpoints.collect();
        made["load_assignment"]["endpoints"] = json!([{"lb_endpoints": endpoints}]);
        made["connect_timeout"] = "10s".into();
        made["transport_socket"] = tls(pki, id);
        clusters.push(made);
    }
    for (_, address) in servers.outside() {
        clusters.push(cluster("PassthroughCluster", address, None));
    }
    json!({
        "static_resources": {
            "listeners": [{
                "name": "0.0.0.0_80",
                "traffic_direction": "OUTBOUND",
                "address": {"socket_address": at},
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": manager,
                }]}],
            }],
            "clusters": clusters,
        },
        "layered_runtime": {"layers": [{
            "name": "tracing",
            "static_layer": {
                "tracing.zipkin.min_flush_spans": 1,
                "tracing.opentelemetry.min_flush_spans": 1,
            },
        }]},
        "node": {"id": NODE, "cluster": "desk.foo"},
    })
}

fn manager(servers: &Servers) -> Value {
    let inside = servers.inside().into_iter().map(|(host, ..)| {
        let short = host.split('.').next().unwrap().to_owned();
        let domains = [host.clone(), format!("{host}:80")];
        let decorator = json!({"operation": format!("{host}:80/*")});
        let route = |prefix: &str, timeout: &str| {
            let mut action = json!({"cluster": format!("outbound|80||{host}"), "timeout": timeout});
            if short != "once" {
                action["retry_policy"] = retries();
            }
            json!({
                "name": "default",
                "match": {"prefix": prefix},
                "decorator": decorator,
                "route": action,
            })
        };
        let time = format!("{}s", SHORT.as_secs_f64());
        json!({
            "name": format!("{host}:80"),
            "domains": domains,
            "routes": [route("/short", &time), route("/pkg.Svc/Short", &time), route("/", "0s")],
            "include_request_attempt_count": true,
        })
    });
    let mut hosts: Vec<_> = inside.collect();
    let (outside, _) = servers.outside()[0];
    hosts.push(json!({
        "name": "allow_any",
        "domains": [outside],
        "routes": [{
            "name": "allow_any",
            "match": {"prefix": "/"},
            "route": {"cluster": "PassthroughCluster", "timeout": "0s"},
        }],
        "include_request_attempt_count": true,
    }));
    hosts.push(json!({
        "name": "block_all",
        "domains": ["*"],
        "routes": [{
            "name": "block_all",
            "match": {"prefix": "/"},
            "direct_response": {"status": 502},
        }],
        "include_request_attempt_count": true,
    }));
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "outbound_0.0.0.0_80",
        "stream_idle_timeout": "0s",
        "use_remote_address": false,
        "proxy_100_continue": true,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "normalize_path": true,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "request_id_extension": {"typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
            "use_request_id_for_trace_sampling": true,
        }},
        "http_protocol_options": {"accept_http_10": true},
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        }],
        "route_config": {"name": "80", "virtual_hosts": hosts, "validate_clusters": false},
    })
}

/// Istio's default.
fn retries() -> Value {
    json!({
        "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
        "num_retries": 2,
        "retry_host_predicate": [{
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
        }],
        "host_selection_retry_max_attempts": "5",
    })
}

/// Mutual TLS to this identity.
fn tls(pki: &Pki, id: &str) -> Value {
    let own = Leaf::workload("spiffe://cluster.local/ns/foo/sa/desk");
    let own = pki.issue(&own).unwrap();
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
                "tls_certificates": [{
                    "certificate_chain": {"inline_string": own.chain_pem()},
                    "private_key": {"inline_string": own.key_pem().as_str()},
                }],
                "validation_context": {
                    "trusted_ca": {"inline_string": pki.root_pem()},
                    "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": id}}],
                },
            },
        },
    })
}

impl Caller {
    /// Makes a call, and says what its application gets.
    pub(super) async fn send(&self, call: &Call, seen: &Seen) -> String {
        let (mut head, body) = call.request().into_parts();
        for (name, value) in &call.context {
            let value = HeaderValue::from_str(value).unwrap();
            head.headers.append(HeaderName::from_static(name), value);
        }
        let is_http2 = call.version == Version::HTTP_2;
        if !is_http2 {
            let host = HeaderValue::from_static(call.host);
            head.headers.insert("host", host);
            head.uri = call.target.parse::<Uri>().unwrap();
        }
        let request = Request::from_parts(head, body);
        let tcp = std::net::TcpStream::connect(self.address).unwrap();
        tcp.set_nonblocking(true).unwrap();
        tcp.set_nodelay(true).unwrap();
        let held = tcp.try_clone().unwrap();
        let io = TokioIo::new(TcpStream::from_std(tcp).unwrap());
        if is_http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(async move { drop(connection.await) });
            let mut one = sender.clone();
            let answer = finish(call, seen, &held, one.send_request(request)).await;
            drop(sender);
            return answer;
        }
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        finish(call, seen, &held, sender.send_request(request)).await
    }
}

async fn finish<F, B>(call: &Call, seen: &Seen, tcp: &std::net::TcpStream, answer: F) -> String
where
    F: Future<Output = hyper::Result<http::Response<B>>>,
    B: http_body::Body + Unpin,
{
    let mut answer = std::pin::pin!(answer);
    if call.end == End::Leaves {
        tokio::select! {
            _ = answer.as_mut() => panic!("{}: an answer", call.name),
            () = arrived(call, seen) => {}
        }
        // Before its future is dropped, which would reset a stream.
        tcp.shutdown(Shutdown::Both).unwrap();
        return "left".to_owned();
    }
    let read = match answer.await {
        Ok(response) => read(call, response).await,
        Err(error) => format!("no response: {error}"),
    };
    if call.end == End::LeavesLater {
        let _ = tcp.shutdown(Shutdown::Both);
    }
    read
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.envoy.kill();
        let _ = self.envoy.wait();
    }
}
