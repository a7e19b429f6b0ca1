//! Decodes MeshConfig.

mod telemetry;
#[cfg(feature = "routing")]
mod traffic;

use std::collections::BTreeMap;
use std::time::Duration;

use super::value::is_label;
use crate::istio::yaml::cursor::{Cursor, digits};
use crate::istio::yaml::fields::Fields;
use crate::istio::{
    ExtensionProvider, MeshConfig, PathNormalization, Problem, ProviderKind, RequestBodyInCheck,
};

const NORMALIZATIONS: &[(&str, PathNormalization)] = &[
    ("DEFAULT", PathNormalization::Base),
    ("NONE", PathNormalization::None),
    ("BASE", PathNormalization::Base),
    ("MERGE_SLASHES", PathNormalization::MergeSlashes),
    (
        "DECODE_AND_MERGE_SLASHES",
        PathNormalization::DecodeAndMergeSlashes,
    ),
];

/// MeshConfig's own fields.
pub(in crate::istio) fn mesh_config(at: &Cursor<'_, '_>) -> Option<MeshConfig> {
    let fields = at.any_fields()?;
    let mut config = MeshConfig {
        trust_domain: fields.filled("trustDomain").map(String::from),
        ..MeshConfig::default()
    };
    if let Some(namespace) = fields.filled("rootNamespace") {
        config.root_namespace = namespace.into();
    }
    let aliases = |alias: &Cursor<'_, '_>| alias.filled().map(String::from);
    config.trust_domain_aliases = fields.each("trustDomainAliases", aliases);
    if let Some(paths) = fields.get("pathNormalization")
        && let Some(paths) = paths.fields(&["normalization"])
    {
        config.path_normalization = paths.word("normalization", NORMALIZATIONS);
    }
    config.extension_providers = fields.each("extensionProviders", provider);
    for (index, provider) in config.extension_providers.iter().enumerate() {
        let mut earlier = config.extension_providers.iter().take(index);
        if earlier.any(|other| other.name == provider.name) {
            let name = &provider.name;
            let message = format!("the provider `{name}` is written twice; rename one");
            let at_name = provider.name.at().clone();
            let problem = Problem::new(at_name, "extensionProviders", message);
            at.sink().report(problem);
        }
    }
    config.telemetry = telemetry::mesh_telemetry(fields);
    #[cfg(feature = "routing")]
    {
        config.traffic = traffic::mesh_traffic(fields);
    }
    let mut used = vec![
        "trustDomain",
        "trustDomainAliases",
        "rootNamespace",
        "pathNormalization",
        "extensionProviders",
    ];
    used.extend(telemetry::FIELDS);
    #[cfg(feature = "routing")]
    used.extend(traffic::FIELDS);
    if !telemetry::has_unused_defaults(fields) {
        used.push("defaultConfig");
    }
    config.unused = fields.other_than(&used);
    Some(config)
}

fn provider(at: &Cursor<'_, '_>) -> Option<ExtensionProvider> {
    let fields = at.any_fields()?;
    let name = fields.demand("name", "is missing; write a name")?;
    let text = name.filled()?;
    let kind = if let Some(grpc) = fields.get("envoyExtAuthzGrpc") {
        check_name(&name, &text);
        ext_authz(&grpc, false)?
    } else if let Some(http) = fields.get("envoyExtAuthzHttp") {
        check_name(&name, &text);
        ext_authz(&http, true)?
    } else {
        match telemetry::provider(fields) {
            Some(provider) => ProviderKind::Telemetry(Box::new(provider?)),
            None => ProviderKind::Other,
        }
    };
    Some(ExtensionProvider::new(text, kind))
}

/// The name becomes a prefix of policy names.
fn check_name(at: &Cursor<'_, '_>, text: &str) {
    if !is_label(text) {
        at.wrong(format!(
            "`{text}` is no provider name; write 1 to 63 of a-z, 0-9 and -, no hyphen at the ends"
        ));
    }
}

fn ext_authz(at: &Cursor<'_, '_>, is_http: bool) -> Option<ProviderKind> {
    let fields = at.any_fields()?;
    let Some(service) = fields.filled("service").map(String::from) else {
        let message = "is missing; write the host of the service, or NAMESPACE/HOST";
        at.missing("service", message);
        return None;
    };
    let port = fields.demand("port", "is missing; write the service's port")?;
    let port = port.port()?;
    let timeout = fields
        .get("timeout")
        .and_then(|timeout| asked_for(&timeout));
    let fail_open = fields.boolean("failOpen");
    let status = fields.get("statusOnError");
    let status_on_error = status.and_then(|status| http_status(&status));
    let body = fields.get("includeRequestBodyInCheck");
    let include_request_body = body.and_then(|body| request_body(&body));
    let clear_route_cache = fields.boolean("clearRouteCache");
    if !is_http {
        return Some(ProviderKind::ExtAuthzGrpc {
            service,
            port,
            timeout,
            fail_open,
            status_on_error,
            include_request_body,
            clear_route_cache,
        });
    }
    let mut headers = header_patterns(fields, "includeRequestHeadersInCheck");
    if headers.is_empty() {
        // The older name of the same list.
        headers = header_patterns(fields, "includeHeadersInCheck");
    }
    Some(ProviderKind::ExtAuthzHttp {
        service,
        port,
        timeout,
        fail_open,
        status_on_error,
        path_prefix: fields.string("pathPrefix"),
        include_request_body,
        clear_route_cache,
        include_request_headers_in_check: headers,
        include_additional_headers_in_check: additional_headers(fields),
        headers_to_upstream_on_allow: header_patterns(fields, "headersToUpstreamOnAllow"),
        headers_to_downstream_on_allow: header_patterns(fields, "headersToDownstreamOnAllow"),
        headers_to_downstream_on_deny: header_patterns(fields, "headersToDownstreamOnDeny"),
    })
}

/// A provider's timeout. None could answer within zero, which means no timeout in Envoy.
fn asked_for(at: &Cursor<'_, '_>) -> Option<Duration> {
    let timeout = at.duration()?;
    if timeout < Duration::from_millis(1) {
        at.wrong("is less than a millisecond; write for example 1s");
    }
    Some(timeout)
}

/// Names, prefixes and suffixes of headers.
fn header_patterns(fields: Fields<'_, '_>, name: &'static str) -> Vec<String> {
    fields.each(name, |item| {
        let text = item.filled()?;
        if text.as_str() == "*" {
            item.wrong("a single `*` is not supported; write a prefix such as x-* or a suffix such as *-id");
        }
        Some(text.into())
    })
}

fn additional_headers(fields: Fields<'_, '_>) -> BTreeMap<String, String> {
    let Some(headers) = fields.get("includeAdditionalHeadersInCheck") else {
        return BTreeMap::new();
    };
    headers
        .pairs()
        .filter_map(|(name, value)| Some((name.to_owned(), value.str()?.to_owned())))
        .collect()
}

fn request_body(at: &Cursor<'_, '_>) -> Option<RequestBodyInCheck> {
    let fields = at.fields(&["maxRequestBytes", "allowPartialMessage", "packAsBytes"])?;
    let max = fields.demand("maxRequestBytes", "is missing; write a number of bytes")?;
    let bytes = max.node().scalar().and_then(|scalar| digits(&scalar.text));
    let Some(max_request_bytes) = bytes.filter(|bytes| *bytes > 0) else {
        max.wrong("is no number of bytes; write for example 4096");
        return None;
    };
    Some(RequestBodyInCheck {
        max_request_bytes,
        allow_partial_message: fields.boolean("allowPartialMessage"),
        pack_as_bytes: fields.boolean("packAsBytes"),
    })
}

fn http_status(at: &Cursor<'_, '_>) -> Option<u16> {
    let text = at.str()?;
    let status = digits(text)
        .and_then(|status| u16::try_from(status).ok())
        .filter(|status| (200..600).contains(status));
    if status.is_none() {
        at.wrong(format!(
            "`{text}` is no HTTP status; write for example \"403\""
        ));
    }
    status
}
