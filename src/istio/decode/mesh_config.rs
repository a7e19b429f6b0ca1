//! Decodes MeshConfig.

use std::collections::BTreeMap;

use crate::istio::yaml::cursor::{Cursor, digits};
use crate::istio::yaml::fields::Fields;
use crate::istio::{
    ExtensionProvider, MeshConfig, PathNormalization, ProviderKind, RequestBodyInCheck,
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
    let mut config = MeshConfig::default();
    if let Some(domain) = fields.filled("trustDomain") {
        config.trust_domain = Some(domain.as_str().to_owned());
    }
    if let Some(namespace) = fields.filled("rootNamespace") {
        namespace.as_str().clone_into(&mut config.root_namespace);
    }
    config.trust_domain_aliases = strings(fields, "trustDomainAliases");
    if let Some(paths) = fields.get("pathNormalization")
        && let Some(paths) = paths.fields(&["normalization"])
    {
        config.path_normalization = paths.word("normalization", NORMALIZATIONS);
    }
    config.extension_providers = fields.each("extensionProviders", provider);
    for (index, provider) in config.extension_providers.iter().enumerate() {
        let mut earlier = config.extension_providers.iter().take(index);
        if earlier.any(|other| other.name == provider.name) {
            let message = format!(
                "the provider `{}` is written twice; rename one",
                provider.name
            );
            at.sink().report(crate::istio::Problem::new(
                provider.name.at().clone(),
                "extensionProviders",
                message,
            ));
        }
    }
    config.unused = fields.other_than(&[
        "trustDomain",
        "trustDomainAliases",
        "rootNamespace",
        "pathNormalization",
        "extensionProviders",
    ]);
    Some(config)
}

fn strings(fields: Fields<'_, '_>, name: &'static str) -> Vec<String> {
    fields.each(name, |item| {
        item.filled().map(|text| text.as_str().to_owned())
    })
}

fn provider(at: &Cursor<'_, '_>) -> Option<ExtensionProvider> {
    let fields = at.any_fields()?;
    let Some(name) = fields.get("name") else {
        at.missing("name", "is missing; write a name");
        return None;
    };
    let text = name.filled()?;
    let kind = if let Some(grpc) = fields.get("envoyExtAuthzGrpc") {
        check_name(&name, &text);
        ext_authz(&grpc, false)?
    } else if let Some(http) = fields.get("envoyExtAuthzHttp") {
        check_name(&name, &text);
        ext_authz(&http, true)?
    } else {
        ProviderKind::Other
    };
    Some(ExtensionProvider::new(text, kind))
}

/// The name becomes a prefix of policy names.
fn check_name(at: &Cursor<'_, '_>, text: &str) {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.len() > 63 || !text.bytes().all(inner) || text.starts_with('-') || text.ends_with('-') {
        at.wrong(format!(
            "`{text}` is no provider name; write 1 to 63 of a-z, 0-9 and -, no hyphen at the ends"
        ));
    }
}

fn ext_authz(at: &Cursor<'_, '_>, is_http: bool) -> Option<ProviderKind> {
    let fields = at.any_fields()?;
    let Some(service) = fields.filled("service") else {
        at.missing(
            "service",
            "is missing; write the host of the service, or NAMESPACE/HOST",
        );
        return None;
    };
    let Some(port) = fields.get("port") else {
        at.missing("port", "is missing; write the service's port");
        return None;
    };
    let service = service.as_str().to_owned();
    let port = port.port()?;
    let timeout = fields.get("timeout").and_then(|timeout| timeout.duration());
    let fail_open = fields.boolean("failOpen");
    let status_on_error = fields
        .get("statusOnError")
        .and_then(|status| http_status(&status));
    let include_request_body = fields
        .get("includeRequestBodyInCheck")
        .and_then(|body| request_body(&body));
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
        path_prefix: fields
            .text("pathPrefix")
            .map_or_else(String::new, |text| text.as_str().to_owned()),
        include_request_body,
        clear_route_cache,
        include_request_headers_in_check: headers,
        include_additional_headers_in_check: additional_headers(fields),
        headers_to_upstream_on_allow: header_patterns(fields, "headersToUpstreamOnAllow"),
        headers_to_downstream_on_allow: header_patterns(fields, "headersToDownstreamOnAllow"),
        headers_to_downstream_on_deny: header_patterns(fields, "headersToDownstreamOnDeny"),
    })
}

/// Names, prefixes and suffixes of headers.
fn header_patterns(fields: Fields<'_, '_>, name: &'static str) -> Vec<String> {
    fields.each(name, |item| {
        let text = item.filled()?;
        if text.as_str() == "*" {
            item.wrong("a single `*` is not supported; write a prefix such as x-* or a suffix such as *-id");
        }
        Some(text.as_str().to_owned())
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
    let Some(max) = fields.get("maxRequestBytes") else {
        at.missing("maxRequestBytes", "is missing; write a number of bytes");
        return None;
    };
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
