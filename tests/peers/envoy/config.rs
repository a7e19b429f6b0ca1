//! What Envoy is told, as Istio tells its sidecars.

use serde_json::{Value, json};
use tower_mesh::testing::{Leaf, Pki};

use crate::site::{OURS, Site, THEIRS};

/// What Envoy speaks to a cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Http {
    One,
    Two,
    /// Whatever its own client sends.
    Bytes,
}

/// Where Envoy calls us, and what it shows and expects.
pub(super) struct Cluster {
    port: u16,
    http: Http,
    alpn: Vec<String>,
    newest: &'static str,
    own: Option<Value>,
    roots: String,
    expected: String,
    groups: Vec<String>,
    by_domain: bool,
    plaintext: bool,
}

impl Cluster {
    /// As Istio makes it for a workload with mutual TLS: its own id shown, ours expected.
    pub(super) fn new(site: &Site, alpn: &str, http: Http) -> Self {
        Self::to(site.address.port(), &site.pki, alpn, http)
    }

    /// As [`new`](Self::new), to any port.
    pub(super) fn to(port: u16, pki: &Pki, alpn: &str, http: Http) -> Self {
        Self {
            port,
            http,
            alpn: names(alpn),
            newest: "TLSv1_3",
            own: Some(certificate(pki, THEIRS)),
            roots: pki.root_pem(),
            expected: OURS.to_owned(),
            groups: Vec::new(),
            by_domain: false,
            plaintext: false,
        }
    }

    /// Agrees on keys with these groups only.
    pub(super) fn groups(mut self, groups: &str) -> Self {
        self.groups = names(groups);
        self
    }

    /// Judges us as Istio's sidecars do once there are several trust domains: by Envoy's own rules for SPIFFE.
    pub(super) fn by_domain(mut self) -> Self {
        self.by_domain = true;
        self
    }

    /// No TLS at all.
    pub(super) fn plaintext(mut self) -> Self {
        self.plaintext = true;
        self
    }

    pub(super) fn newest(mut self, version: &'static str) -> Self {
        self.newest = version;
        self
    }

    pub(super) fn expects(mut self, id: &str) -> Self {
        self.expected = id.to_owned();
        self
    }

    pub(super) fn trusts(mut self, pki: &Pki) -> Self {
        self.roots = pki.root_pem();
        self
    }

    pub(super) fn shows(mut self, issuer: Option<&Pki>) -> Self {
        self.own = issuer.map(|pki| certificate(pki, THEIRS));
        self
    }

    fn print(&self, name: &str) -> Value {
        let mut tls = common(&self.roots, &self.expected, &self.alpn, self.newest);
        if let Some(own) = &self.own {
            tls["tls_certificates"] = json!([own]);
        }
        if !self.groups.is_empty() {
            tls["tls_params"]["ecdh_curves"] = json!(self.groups);
        }
        if self.by_domain {
            judge_by_domain(&mut tls);
        }
        let mut cluster = json!({
            "name": name,
            "type": "STATIC",
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(self.port)}}]}],
            },
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                    "common_tls_context": tls,
                    "sni": "outbound_.8080_._.ours.default.svc.cluster.local",
                },
            },
        });
        if self.plaintext {
            cluster.as_object_mut().unwrap().remove("transport_socket");
        }
        if self.http != Http::Bytes {
            let options = match self.http {
                Http::Two => json!({"http2_protocol_options": {}}),
                Http::One | Http::Bytes => json!({"http_protocol_options": {}}),
            };
            cluster["typed_extension_protocol_options"] = json!({
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": options,
                },
            });
        }
        cluster
    }
}

/// A port of Envoy's.
pub(super) enum Listener {
    /// Plaintext, passed on to a cluster.
    To(Cluster),
    /// Mutual TLS, answered by Envoy itself.
    Demanding { tls: Value },
    /// As Istio's PERMISSIVE: mutual TLS for those who offer its names, a certificate that nobody trusts for other TLS, and plaintext.
    Permissive { tls: Value },
    /// Handles `x-forwarded-client-cert` in this mode, with or without mutual TLS; passes requests on, or tells the caller what they hold then.
    ClientCert {
        mode: &'static str,
        tls: Option<Value>,
        to: Option<Cluster>,
    },
}

impl Listener {
    /// Shows `own` of this authority, trusts that authority alone, takes nobody but `expected`.
    pub(super) fn demanding(
        pki: &Pki,
        own: &str,
        expected: &str,
        alpn: &str,
        newest: &str,
    ) -> Self {
        let tls = downstream(pki, own, expected, alpn, newest);
        Self::Demanding { tls }
    }

    /// Agrees on keys with these groups only.
    pub(super) fn groups(mut self, groups: &str) -> Self {
        if let Self::Demanding { tls } = &mut self {
            let context = &mut tls["typed_config"]["common_tls_context"];
            context["tls_params"]["ecdh_curves"] = json!(names(groups));
        }
        self
    }

    /// Judges us by Envoy's own rules for SPIFFE.
    pub(super) fn by_domain(mut self) -> Self {
        if let Self::Demanding { tls } = &mut self {
            judge_by_domain(&mut tls["typed_config"]["common_tls_context"]);
        }
        self
    }

    pub(super) fn permissive(pki: &Pki, own: &str, expected: &str) -> Self {
        let alpn = "istio-peer-exchange,h2,http/1.1";
        let tls = downstream(pki, own, expected, alpn, "TLSv1_3");
        Self::Permissive { tls }
    }

    /// Plaintext, told to the caller; Envoy's mode by its own name.
    pub(super) fn client_cert(mode: &'static str) -> Self {
        Self::ClientCert {
            mode,
            tls: None,
            to: None,
        }
    }

    /// Shows `own`, and takes nobody but `expected`, over mutual TLS.
    pub(super) fn mutual(self, pki: &Pki, own: &str, expected: &str) -> Self {
        let mutual = downstream(pki, own, expected, "h2,http/1.1", "TLSv1_3");
        match self {
            Self::ClientCert { mode, to, .. } => Self::ClientCert {
                mode,
                tls: Some(mutual),
                to,
            },
            other => other,
        }
    }

    pub(super) fn passed_on(self, cluster: Cluster) -> Self {
        match self {
            Self::ClientCert { mode, tls, .. } => Self::ClientCert {
                mode,
                tls,
                to: Some(cluster),
            },
            other => other,
        }
    }

    pub(super) fn cluster(&self, port: u16) -> Option<Value> {
        match self {
            Self::To(cluster)
            | Self::ClientCert {
                to: Some(cluster), ..
            } => Some(cluster.print(&name(port))),
            Self::Demanding { .. } | Self::Permissive { .. } | Self::ClientCert { .. } => None,
        }
    }

    pub(super) fn listener(&self, port: u16) -> Value {
        let chains = match self {
            Self::To(cluster) if cluster.http == Http::Bytes => json!([{"filters": [{
                "name": "envoy.filters.network.tcp_proxy",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                    "stat_prefix": "bytes",
                    "cluster": name(port),
                },
            }]}]),
            Self::To(_) => json!([{"filters": [http(&json!({
                "match": {"prefix": "/"},
                "route": {"cluster": name(port)},
            }))]}]),
            Self::ClientCert { mode, tls, to } => {
                let route = match to {
                    Some(_) => json!({"match": {"prefix": "/"}, "route": {"cluster": name(port)}}),
                    None => answer(),
                };
                let mut filter = http(&route);
                let config = &mut filter["typed_config"];
                config["forward_client_cert_details"] = json!(mode);
                // As Istio has it.
                config["set_current_client_cert_details"] =
                    json!({"subject": true, "uri": true, "dns": true});
                let mut chain = json!({"filters": [filter]});
                if let Some(tls) = tls {
                    chain["transport_socket"] = tls.clone();
                }
                json!([chain])
            }
            Self::Demanding { tls } => {
                json!([{"transport_socket": tls, "filters": [http(&answer())]}])
            }
            Self::Permissive { tls } => {
                // Whoever lands here was not asked for a certificate, and is told so by the answer.
                let mut anybody = tls.clone();
                anybody["typed_config"]["require_client_certificate"] = json!(false);
                let context = &mut anybody["typed_config"]["common_tls_context"];
                context
                    .as_object_mut()
                    .unwrap()
                    .remove("validation_context");
                json!([
                    {
                        "filter_chain_match": {
                            "transport_protocol": "tls",
                            "application_protocols": ["istio-http/1.0", "istio-http/1.1", "istio-h2"],
                        },
                        "transport_socket": tls,
                        "filters": [http(&answer())],
                    },
                    {
                        "filter_chain_match": {"transport_protocol": "tls"},
                        "transport_socket": anybody,
                        "filters": [http(&answer())],
                    },
                    {
                        "filter_chain_match": {"transport_protocol": "raw_buffer"},
                        "filters": [http(&answer())],
                    },
                ])
            }
        };
        json!({
            "name": name(port),
            "address": address(port),
            "listener_filters": [{
                "name": "envoy.filters.listener.tls_inspector",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"},
            }],
            "filter_chains": chains,
        })
    }
}

fn downstream(pki: &Pki, own: &str, expected: &str, alpn: &str, newest: &str) -> Value {
    let mut tls = common(&pki.root_pem(), expected, &names(alpn), newest);
    tls["tls_certificates"] = json!([certificate(pki, own)]);
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": true,
            "disable_stateless_session_resumption": true,
            "common_tls_context": tls,
        },
    })
}

/// Istio's settings: TLS 1.2 or newer with its list of suites, one SPIFFE id.
fn common(roots: &str, expected: &str, alpn: &[String], newest: &str) -> Value {
    json!({
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_2",
            "tls_maximum_protocol_version": newest,
            "cipher_suites": [
                "ECDHE-ECDSA-AES256-GCM-SHA384",
                "ECDHE-RSA-AES256-GCM-SHA384",
                "ECDHE-ECDSA-AES128-GCM-SHA256",
                "ECDHE-RSA-AES128-GCM-SHA256",
                "AES256-GCM-SHA384",
                "AES128-GCM-SHA256",
            ],
        },
        "alpn_protocols": alpn,
        "validation_context": {
            "trusted_ca": {"inline_string": roots},
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": expected}}],
        },
    })
}

/// Roots by trust domain, of which the certificate's own counts.
fn judge_by_domain(tls: &mut Value) {
    let context = &mut tls["validation_context"];
    let roots = context.as_object_mut().unwrap().remove("trusted_ca");
    context["custom_validator_config"] = json!({
        "name": "envoy.tls.cert_validator.spiffe",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig",
            "trust_domains": [{"name": "cluster.local", "trust_bundle": roots}],
        },
    });
}

fn certificate(pki: &Pki, id: &str) -> Value {
    let issued = pki.issue(&Leaf::workload(id)).unwrap();
    json!({
        "certificate_chain": {"inline_string": issued.chain_pem()},
        "private_key": {"inline_string": issued.key_pem().as_str()},
    })
}

/// Envoy's own answer, which says what it knows of its client.
fn answer() -> Value {
    let header = |name: &str, value: &str| json!({"header": {"key": name, "value": value}, "keep_empty_value": true});
    json!({
        "match": {"prefix": "/"},
        "direct_response": {"status": 200},
        "response_headers_to_add": [
            header("x-peer", "%DOWNSTREAM_PEER_URI_SAN%"),
            header("x-sni", "%REQUESTED_SERVER_NAME%"),
            header("x-tls", "%DOWNSTREAM_TLS_VERSION%"),
            header("x-seen", "%REQ(X-FORWARDED-CLIENT-CERT)%"),
        ],
    })
}

fn http(route: &Value) -> Value {
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "http",
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        },
    })
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

fn name(port: u16) -> String {
    format!("port-{port}")
}

fn names(list: &str) -> Vec<String> {
    list.split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}
