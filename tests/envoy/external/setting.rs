//! The settings of a provider, once for a mesh and once for an Envoy.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::stub::Filter;

/// How a provider is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Grpc,
    Http,
}

/// A provider as MeshConfig has it, without its service and port.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) fields: Value,
    /// Nothing listens where it should be.
    pub(crate) is_down: bool,
    /// The caller and the server prove their identities.
    pub(crate) is_mutual: bool,
}

/// The provider's host in MeshConfig.
pub(crate) const HOST: &str = "authorizer.example";

impl Setting {
    /// The provider of this name in MeshConfig.
    pub(crate) fn provider(&self, at: SocketAddr) -> Value {
        let mut fields = self.fields.clone();
        fields["service"] = HOST.into();
        fields["port"] = at.port().into();
        let kind = match self.kind {
            Kind::Grpc => "envoyExtAuthzGrpc",
            Kind::Http => "envoyExtAuthzHttp",
        };
        json!({"name": self.name, kind: fields})
    }

    /// Envoy's cluster for it.
    pub(crate) fn cluster(&self) -> &'static str {
        match (self.kind, self.is_down) {
            (_, true) => "down",
            (Kind::Grpc, false) => "grpc",
            (Kind::Http, false) => "http",
        }
    }

    /// Envoy's filter, as Istio writes it for this provider.
    pub(crate) fn filter(&self) -> Filter {
        let fields = &self.fields;
        let timeout = fields["timeout"].as_str().unwrap_or("600s");
        let mut config = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            "transport_api_version": "V3",
            "failure_mode_allow": fields["failOpen"] == true,
        });
        if let Some(status) = fields["statusOnError"].as_str() {
            let code: u16 = status.parse().unwrap();
            config["status_on_error"] = json!({"code": code});
        }
        let body = &fields["includeRequestBodyInCheck"];
        if body.is_object() {
            config["with_request_body"] = json!({
                "max_request_bytes": body["maxRequestBytes"],
                "allow_partial_message": body["allowPartialMessage"] == true,
                "pack_as_bytes": body["packAsBytes"] == true,
            });
        }
        match self.kind {
            Kind::Grpc => {
                config["grpc_service"] = json!({
                    "envoy_grpc": {"cluster_name": self.cluster(), "authority": HOST},
                    "timeout": timeout,
                });
            }
            Kind::Http => {
                let mut service = json!({
                    "server_uri": {
                        "uri": format!("http://{HOST}"),
                        "cluster": self.cluster(),
                        "timeout": timeout,
                    },
                });
                if fields["pathPrefix"].is_string() {
                    service["path_prefix"] = fields["pathPrefix"].clone();
                }
                if let Some(added) = fields["includeAdditionalHeadersInCheck"].as_object() {
                    let added = added
                        .iter()
                        .map(|(key, value)| json!({"key": key, "value": value}));
                    service["authorization_request"] =
                        json!({"headers_to_add": added.collect::<Value>()});
                }
                for (istio, envoy) in [
                    ("headersToUpstreamOnAllow", "allowed_upstream_headers"),
                    ("headersToDownstreamOnDeny", "allowed_client_headers"),
                    (
                        "headersToDownstreamOnAllow",
                        "allowed_client_headers_on_success",
                    ),
                ] {
                    if let Some(patterns) = patterns(&fields[istio]) {
                        service["authorization_response"][envoy] = patterns;
                    }
                }
                config["http_service"] = service;
                if let Some(patterns) = patterns(&fields["includeRequestHeadersInCheck"]) {
                    config["allowed_headers"] = patterns;
                }
            }
        }
        Filter {
            filters: vec![json!({"name": "envoy.filters.http.ext_authz", "typed_config": config})],
            ..Filter::default()
        }
    }
}

fn patterns(names: &Value) -> Option<Value> {
    let pattern = |name: &Value| {
        let name = name.as_str().unwrap();
        let (how, text) = match (name.strip_suffix('*'), name.strip_prefix('*')) {
            (Some(text), _) => ("prefix", text),
            (None, Some(text)) => ("suffix", text),
            (None, None) => ("exact", name),
        };
        json!({how: text, "ignore_case": true})
    };
    let patterns: Value = names.as_array()?.iter().map(pattern).collect();
    Some(json!({"patterns": patterns}))
}

/// All that the rows use.
pub(crate) fn settings() -> Vec<Setting> {
    use Kind::{Grpc, Http};
    let setting = |name, kind, fields| Setting {
        name,
        kind,
        fields,
        is_down: false,
        is_mutual: false,
    };
    let down = |name, kind, fields| Setting {
        is_down: true,
        ..setting(name, kind, fields)
    };
    let soon = "1s";
    let body = |max: u32, partial: bool, bytes: bool| {
        json!({
            "timeout": "5s",
            "includeRequestBodyInCheck":
                {"maxRequestBytes": max, "allowPartialMessage": partial, "packAsBytes": bytes},
        })
    };
    let mut open_body = body(8, false, false);
    open_body["failOpen"] = true.into();
    let lists = json!({
        "timeout": "5s",
        "includeRequestHeadersInCheck": ["X-One", "x-pre-*", "*-end", "cookie"],
        "includeAdditionalHeadersInCheck": {"x-added": "by config", "x-one": "from config"},
        "headersToUpstreamOnAllow": ["x-up", "x-Up-*", "*-up"],
        "headersToDownstreamOnAllow": ["x-both", "x-down-*", "set-cookie"],
        "headersToDownstreamOnDeny": ["X-Down", "x-down-*", "*-down"],
    });
    vec![
        setting("grpc", Grpc, json!({"timeout": "5s"})),
        setting(
            "grpc-open",
            Grpc,
            json!({"timeout": soon, "failOpen": true}),
        ),
        setting(
            "grpc-status",
            Grpc,
            json!({"timeout": soon, "statusOnError": "503"}),
        ),
        setting("grpc-whole", Grpc, body(8, false, false)),
        setting("grpc-partial", Grpc, body(8, true, false)),
        setting("grpc-bytes", Grpc, body(8, true, true)),
        setting("grpc-open-whole", Grpc, open_body.clone()),
        down("grpc-down", Grpc, json!({"timeout": "5s"})),
        down(
            "grpc-down-open",
            Grpc,
            json!({"timeout": "5s", "failOpen": true}),
        ),
        down(
            "grpc-down-status",
            Grpc,
            json!({"timeout": "5s", "statusOnError": "500"}),
        ),
        Setting {
            is_mutual: true,
            ..setting("grpc-mutual", Grpc, json!({"timeout": "5s"}))
        },
        setting("http", Http, json!({"timeout": "5s"})),
        setting(
            "http-open",
            Http,
            json!({"timeout": soon, "failOpen": true}),
        ),
        setting(
            "http-status",
            Http,
            json!({"timeout": soon, "statusOnError": "503"}),
        ),
        setting(
            "http-prefix",
            Http,
            json!({"timeout": "5s", "pathPrefix": "/check"}),
        ),
        setting(
            "http-slash",
            Http,
            json!({"timeout": "5s", "pathPrefix": "/check/"}),
        ),
        setting("http-lists", Http, lists),
        setting("http-whole", Http, body(8, false, false)),
        setting("http-partial", Http, body(8, true, false)),
        setting("http-open-whole", Http, open_body),
        down("http-down", Http, json!({"timeout": "5s"})),
        down(
            "http-down-open",
            Http,
            json!({"timeout": "5s", "failOpen": true}),
        ),
        down(
            "http-down-status",
            Http,
            json!({"timeout": "5s", "statusOnError": "500"}),
        ),
    ]
}
