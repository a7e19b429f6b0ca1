//! Envoy's operators that are refused, and why.

/// Why this operator of Envoy's is not written here; `None` if Envoy has no such operator, or if it
/// is written.
pub(super) fn refused(name: &str) -> Option<&'static str> {
    let has = |(names, _): &&(&[&str], _)| names.contains(&name);
    REFUSED.iter().find(has).map(|(_, why)| *why)
}

/// As the table in `docs/access-log.md` has them.
pub(super) const REFUSED: &[(&[&str], &str)] = &[
    (
        &["START_TIME_LOCAL", "EMIT_TIME_LOCAL"],
        "times are written in UTC: write %START_TIME% or %EMIT_TIME%",
    ),
    (
        &[
            "REQUEST_HEADERS_BYTES",
            "RESPONSE_HEADERS_BYTES",
            "RESPONSE_TRAILERS_BYTES",
        ],
        "Envoy counts the headers that it has itself, with those that only a proxy adds, so no other \
         process has these numbers",
    ),
    (
        &[
            "UPSTREAM_WIRE_BYTES_SENT",
            "UPSTREAM_WIRE_BYTES_RECEIVED",
            "UPSTREAM_HEADER_BYTES_SENT",
            "UPSTREAM_HEADER_BYTES_RECEIVED",
            "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
            "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
            "DOWNSTREAM_WIRE_BYTES_SENT",
            "DOWNSTREAM_WIRE_BYTES_RECEIVED",
            "DOWNSTREAM_HEADER_BYTES_SENT",
            "DOWNSTREAM_HEADER_BYTES_RECEIVED",
            "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
            "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
        ],
        "the bytes of frames and heads on the wire are not counted for each stream: write \
         %BYTES_RECEIVED% and %BYTES_SENT%, which count bodies",
    ),
    (
        &[
            "BYTES_RETRANSMITTED",
            "PACKETS_RETRANSMITTED",
            "ROUNDTRIP_DURATION",
        ],
        "it is of HTTP/3, which is not spoken here",
    ),
    (
        &["REQUEST_TX_DURATION"],
        "the end of a request's body is noted once, where the application or the connection takes \
         it: write %REQUEST_DURATION%",
    ),
    (
        &[
            "DOWNSTREAM_HANDSHAKE_DURATION",
            "UPSTREAM_CONNECTION_POOL_READY_DURATION",
        ],
        "the steps of making a connection are not timed for each request",
    ),
    (
        &["VIRTUAL_CLUSTER_NAME", "FILTER_CHAIN_NAME", "CUSTOM_FLAGS"],
        "it names a part of a proxy's configuration, which a process does not have",
    ),
    (
        &[
            "DYNAMIC_METADATA",
            "CLUSTER_METADATA",
            "UPSTREAM_METADATA",
            "METADATA",
            "FILTER_STATE",
            "UPSTREAM_FILTER_STATE",
        ],
        "it holds what a proxy's filters leave for one another, and there are none here",
    ),
    (
        &[
            "UPSTREAM_HOST_NAME",
            "UPSTREAM_HOST_NAME_WITHOUT_PORT",
            "UPSTREAM_HOSTS_ATTEMPTED",
            "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT",
            "UPSTREAM_HOST_NAMES_ATTEMPTED",
            "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT",
        ],
        "a call keeps the address that it used last: write %UPSTREAM_HOST% and \
         %UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    ),
    (
        &[
            "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID",
            "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID",
            "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID",
        ],
        "it is of addresses inside an Envoy",
    ),
    (
        &[
            "UPSTREAM_DETECTED_CLOSE_TYPE",
            "UPSTREAM_LOCAL_CLOSE_REASON",
            "DOWNSTREAM_DETECTED_CLOSE_TYPE",
            "DOWNSTREAM_LOCAL_CLOSE_REASON",
            "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
        ],
        "a line is about an exchange, and is written before its connection ends: write \
         %RESPONSE_FLAGS% and %RESPONSE_CODE_DETAILS%",
    ),
    (
        &[
            "CONNECTION_ID",
            "UPSTREAM_CONNECTION_ID",
            "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
            "UNIQUE_ID",
        ],
        "connections have no numbers here: write %STREAM_ID%, %TRACE_ID% or %SPAN_ID%",
    ),
    (
        &[
            "DOWNSTREAM_LOCAL_DNS_SAN",
            "DOWNSTREAM_LOCAL_IP_SAN",
            "DOWNSTREAM_LOCAL_EMAIL_SAN",
            "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
            "DOWNSTREAM_LOCAL_SUBJECT",
            "UPSTREAM_LOCAL_DNS_SAN",
            "UPSTREAM_LOCAL_IP_SAN",
            "DOWNSTREAM_PEER_IP_SAN",
            "DOWNSTREAM_PEER_EMAIL_SAN",
            "DOWNSTREAM_PEER_OTHERNAME_SAN",
            "UPSTREAM_PEER_IP_SAN",
            "DOWNSTREAM_PEER_ISSUER",
            "UPSTREAM_PEER_ISSUER",
        ],
        "an identity of the mesh is a URI, and of certificates no other such name is kept: write \
         the _URI_SAN of the same side",
    ),
    (
        &[
            "DOWNSTREAM_PEER_FINGERPRINT_1",
            "DOWNSTREAM_PEER_SERIAL",
            "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
            "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
            "DOWNSTREAM_PEER_CHAIN_SERIALS",
            "DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256",
            "DOWNSTREAM_PEER_ISSUER_SERIAL",
            "DOWNSTREAM_PEER_CERT",
            "DOWNSTREAM_PEER_CERT_V_START",
            "DOWNSTREAM_PEER_CERT_V_END",
            "UPSTREAM_PEER_CERT",
            "UPSTREAM_PEER_CERT_V_START",
            "UPSTREAM_PEER_CERT_V_END",
        ],
        "certificates are not kept after the handshake: write %DOWNSTREAM_PEER_FINGERPRINT_256%",
    ),
    (
        &[
            "DOWNSTREAM_TLS_SESSION_ID",
            "UPSTREAM_TLS_SESSION_ID",
            "DOWNSTREAM_TLS_GROUP",
            "UPSTREAM_TLS_GROUP",
            "UPSTREAM_SERVER_NAME",
            "TLS_JA3_FINGERPRINT",
            "TLS_JA4_FINGERPRINT",
        ],
        "of a handshake the version, the cipher suite and the server name that the caller asked for \
         are kept",
    ),
    (
        &["QUERY_PARAM", "QUERY_PARAMS"],
        "a query often holds tokens and names: `AccessLog::full_queries` shows it in %PATH%",
    ),
    (
        &["LOCAL_REPLY_BODY"],
        "write %RESPONSE_CODE_DETAILS%, which says why a guard has answered",
    ),
    (
        &["COALESCE", "CEL", "TYPED_CEL"],
        "formats do not nest and have no expressions: write %REQ(A?B)%, or a filter",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_log::format::operator::Operator;

    /// All of Envoy's documentation ("Substitution Formatter").
    const WRITTEN: &[&str] = &[
        "START_TIME",
        "EMIT_TIME",
        "BYTES_RECEIVED",
        "PROTOCOL",
        "UPSTREAM_PROTOCOL",
        "RESPONSE_CODE",
        "RESPONSE_CODE_DETAILS",
        "CONNECTION_TERMINATION_DETAILS",
        "BYTES_SENT",
        "UPSTREAM_REQUEST_ATTEMPT_COUNT",
        "DURATION",
        "COMMON_DURATION",
        "REQUEST_DURATION",
        "RESPONSE_DURATION",
        "RESPONSE_TX_DURATION",
        "RESPONSE_FLAGS",
        "RESPONSE_FLAGS_LONG",
        "ROUTE_NAME",
        "UPSTREAM_HOST",
        "UPSTREAM_CLUSTER",
        "UPSTREAM_CLUSTER_RAW",
        "UPSTREAM_LOCAL_ADDRESS",
        "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        "UPSTREAM_LOCAL_PORT",
        "UPSTREAM_REMOTE_ADDRESS",
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        "UPSTREAM_REMOTE_PORT",
        "UPSTREAM_TRANSPORT_FAILURE_REASON",
        "DOWNSTREAM_REMOTE_ADDRESS",
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_REMOTE_PORT",
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_DIRECT_REMOTE_PORT",
        "DOWNSTREAM_LOCAL_ADDRESS",
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_LOCAL_PORT",
        "DOWNSTREAM_DIRECT_LOCAL_ADDRESS",
        "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_DIRECT_LOCAL_PORT",
        "STREAM_ID",
        "GRPC_STATUS",
        "GRPC_STATUS_NUMBER",
        "REQUEST_HEADER",
        "REQ",
        "RESPONSE_HEADER",
        "RESP",
        "RESPONSE_TRAILER",
        "TRAILER",
        "REQUESTED_SERVER_NAME",
        "DOWNSTREAM_PEER_DNS_SAN",
        "DOWNSTREAM_LOCAL_URI_SAN",
        "DOWNSTREAM_PEER_URI_SAN",
        "DOWNSTREAM_PEER_SUBJECT",
        "DOWNSTREAM_TLS_CIPHER",
        "DOWNSTREAM_TLS_VERSION",
        "DOWNSTREAM_PEER_FINGERPRINT_256",
        "UPSTREAM_PEER_SUBJECT",
        "UPSTREAM_TLS_CIPHER",
        "UPSTREAM_TLS_VERSION",
        "UPSTREAM_PEER_URI_SAN",
        "UPSTREAM_PEER_DNS_SAN",
        "UPSTREAM_LOCAL_URI_SAN",
        "HOSTNAME",
        "ACCESS_LOG_TYPE",
        "ENVIRONMENT",
        "TRACE_ID",
        "SPAN_ID",
        "PATH",
        "REQ_WITHOUT_QUERY",
    ];

    #[test]
    fn every_operator_of_envoy_is_written_or_refused_with_a_reason() {
        for name in WRITTEN {
            let argument = match *name {
                "COMMON_DURATION" => Some("DS_RX_BEG:DS_TX_END:us"),
                "REQ" | "REQUEST_HEADER" | "RESP" | "RESPONSE_HEADER" | "TRAILER"
                | "RESPONSE_TRAILER" | "REQ_WITHOUT_QUERY" | "ENVIRONMENT" => Some("x-a"),
                _ => None,
            };
            let read = Operator::parse(name, argument);
            assert!(read.is_ok() && refused(name).is_none(), "{name}: {read:?}");
        }
        for (names, why) in REFUSED {
            for name in *names {
                let error = Operator::parse(name, None).unwrap_err();
                assert_eq!(error, format!("%{name}% is no operator here: {why}"));
            }
        }
    }

    /// The documentation lists them all.
    #[test]
    fn the_documentation_names_every_operator() {
        let (module, page) = (
            include_str!("../mod.rs"),
            include_str!("../../../docs/access-log.md"),
        );
        for name in WRITTEN {
            let aliases = ["REQUEST_HEADER", "RESPONSE_HEADER", "RESPONSE_TRAILER"];
            let short = name.strip_suffix("_WITHOUT_PORT").unwrap_or(name);
            let is_there = module.contains(&format!("%{short}"));
            assert!(is_there || aliases.contains(name), "{name}");
        }
        for (names, why) in REFUSED {
            for name in *names {
                assert!(page.contains(&format!("`{name}`")), "{name}");
            }
            assert!(page.contains(&why.replace('|', "\\|")), "{why}");
        }
    }
}
