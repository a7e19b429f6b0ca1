//! The differences that are meant, and why.

use serde_json::Value;

/// A field in which the mesh differs from Envoy.
pub(crate) struct Listed {
    /// Its name; a star at the end stands for any.
    pub(crate) field: &'static str,
    pub(crate) why: &'static str,
    /// By the case's name, ours, and Envoy's.
    pub(crate) is: fn(&str, &str, &str) -> bool,
}

impl Listed {
    pub(crate) fn explains(
        &self,
        case: &str,
        field: &str,
        ours: Option<&Value>,
        theirs: Option<&Value>,
    ) -> bool {
        let fits = match self.field.strip_suffix('*') {
            Some(start) => field.starts_with(start),
            None => field == self.field,
        };
        let text = |value: Option<&Value>| match value {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => "nothing".to_owned(),
        };
        fits && (self.is)(case, &text(ours), &text(theirs))
    }
}

/// Cases whose trace headers Envoy does not read, so that it has no span at all.
const UNREAD: [&str; 3] = ["b3 garbage", "w3c zero trace", "w3c garbage"];
/// Cases in which it continues what the standard says to begin anew.
const TOO_LAX: [&str; 2] = ["w3c upper case", "w3c two"];

/// What every run shows.
pub(crate) const LISTED: &[Listed] = &[
    Listed {
        field: "app.headers.x-forwarded-proto",
        why: "a proxy must say which scheme it took off; there is none",
        is: |_, _, theirs| theirs == "https",
    },
    Listed {
        field: "app.headers.x-forwarded-client-cert",
        why: "the application asks the exchange for its peer, which no caller can forge",
        is: |_, ours, theirs| ours == "nothing" && theirs.contains("By=spiffe://cluster.local/"),
    },
    Listed {
        field: "app.headers.content-length",
        why: "no body is sent on, so its length is not written anew",
        is: |_, ours, theirs| ours == "nothing" && theirs == "0",
    },
    Listed {
        field: "app.headers.tracestate",
        why: "an empty tracestate says nothing",
        is: |_, ours, theirs| ours == "nothing" && theirs.is_empty(),
    },
    Listed {
        field: "app.headers.traceparent",
        why: "all configured formats are written, and the bit of random ids is kept and set",
        is: |case, ours, theirs| {
            let is_same = theirs
                .strip_suffix("-01")
                .or_else(|| theirs.strip_suffix("-00"));
            let (start, flags) = ours.rsplit_once('-').unwrap_or_default();
            let is_known = matches!(flags, "00" | "01" | "02" | "03");
            is_known && (theirs == "nothing" || is_same == Some(start))
                || UNREAD.contains(&case)
                || TOO_LAX.contains(&case)
        },
    },
    Listed {
        field: "app.headers.x-b3-*",
        why: "all configured formats are written",
        is: |case, _, theirs| case != "b3 flags" && theirs == "nothing",
    },
    Listed {
        field: "app.headers.x-b3-*",
        why: "no stale context leaves beside the single header",
        is: |case, ours, _| case == "b3 both" && ours == "nothing",
    },
    Listed {
        field: "app.headers.x-b3-sampled",
        why: "the debug flag goes along by itself, as B3 says",
        is: |case, ours, theirs| case == "b3 flags" && ours == "nothing" && theirs == "1",
    },
    Listed {
        field: "app.headers.b3",
        why: "debug stays debug",
        is: |case, ours, theirs| case == "b3 single debug" && ours.replace("-d-", "-1-") == theirs,
    },
    Listed {
        field: "app.headers.b3",
        why: "what is no context is not sent on",
        is: |case, ours, theirs| UNREAD.contains(&case) && ours == "nothing" && theirs == "garbage",
    },
    Listed {
        field: "json.path",
        why: "a caller's x-envoy-original-path does not hide the path that policy judged",
        is: |case, ours, theirs| case == "original path" && ours == "/a" && theirs == "/before",
    },
    Listed {
        field: "text.request",
        why: "a caller's x-envoy-original-path does not hide the path that policy judged",
        is: |case, _, _| case == "original path",
    },
    Listed {
        field: "json.downstream_remote_address",
        why: "x-forwarded-for is believed of a trusted proxy only",
        is: |case, ours, _| case == "forwarded for" && ours == "CALLER",
    },
    Listed {
        field: "text.downstream_remote_address",
        why: "x-forwarded-for is believed of a trusted proxy only",
        is: |case, ours, _| case == "forwarded for" && ours == "CALLER",
    },
    Listed {
        field: "json.upstream_*",
        why: "the application is in the process, so it has no address",
        is: |_, ours, theirs| ours == "null" && theirs.starts_with("127.0.0.1:"),
    },
    Listed {
        field: "text.upstream_*",
        why: "the application is in the process, so it has no address",
        is: |_, ours, theirs| {
            ours.trim_matches('"') == "-" && theirs.trim_matches('"').starts_with("127.0.0.1:")
        },
    },
    Listed {
        field: "text.user_agent",
        why: "no header can forge a column: quotation marks, backslashes, control and invisible characters are escaped",
        is: |case, ours, _| case.ends_with(" in agent") && ours.contains('\\'),
    },
    Listed {
        field: "text.*",
        why: "in Envoy's line the forged column has moved all others",
        is: |case, _, _| case == "quotes in agent",
    },
    Listed {
        field: "json.user_agent",
        why: "what is UTF-8 stays so, beside bytes that are not",
        is: |case, ours, _| case == "bytes in agent" && ours.starts_with("café "),
    },
    Listed {
        field: "more.scheme",
        why: "the scheme is that of the connection, whatever its caller says",
        is: |case, ours, _| case == "forwarded proto" && ours == "https",
    },
    Listed {
        field: "span.tags.http.url",
        why: "the scheme is that of the connection, whatever its caller says",
        is: |case, ours, theirs| {
            case == "forwarded proto" && ours.replacen("https", "http", 1) == theirs
        },
    },
    Listed {
        field: "more.trace",
        why: "what Envoy does not read begins a new trace",
        is: |case, ours, _| (UNREAD.contains(&case) || TOO_LAX.contains(&case)) && ours == "TRACE",
    },
    Listed {
        field: "more.trace",
        why: "a trace id has 32 digits",
        is: |case, ours, theirs| case == "b3 short trace" && ours.trim_start_matches('0') == theirs,
    },
    Listed {
        field: "span*",
        why: "what Envoy does not read begins a new trace",
        is: |case, _, theirs| UNREAD.contains(&case) && matches!(theirs, "nothing" | "none"),
    },
    Listed {
        field: "span*",
        why: "Envoy's protobuf is broken by a text that is not UTF-8",
        is: |case, _, theirs| case == "bytes in agent" && matches!(theirs, "nothing" | "none"),
    },
    Listed {
        field: "span.*",
        why: "upper case, and two headers, begin a new trace, as the standard says",
        is: |case, _, _| TOO_LAX.contains(&case),
    },
    Listed {
        field: "span.debug",
        why: "debug is told to Zipkin",
        is: |case, ours, _| case.starts_with("b3 ") && ours == "true",
    },
    Listed {
        field: "span.localEndpoint.*",
        why: "the service is named; its address is the node's, which is a tag",
        is: |_, ours, theirs| ours == "nothing" && (theirs == "0" || theirs.contains('.')),
    },
    Listed {
        field: "span.status",
        why: "a request without an answer, and one that found no room, are errors",
        is: |case, ours, _| {
            ours == "2" && (case.starts_with("left") || case == "reset" || case == "grpc exhausted")
        },
    },
    Listed {
        field: "span.tags.user_agent",
        why: "a text that is not visible ASCII is not shown, and a long one is cut",
        is: |case, ours, _| match case {
            "long agent" => ours.len() == 256,
            _ => case.ends_with(" in agent") && ours == "-",
        },
    },
    Listed {
        field: "span.tags.user_agent",
        why: "an empty header is one",
        is: |case, ours, theirs| case == "empty agent" && ours.is_empty() && theirs == "nothing",
    },
    Listed {
        field: "*",
        why: "a head that cannot be read is answered without a body",
        is: |case, ours, theirs| {
            ["garbage", "bad header"].contains(&case) && (ours, theirs) == ("0", "11")
        },
    },
    Listed {
        field: "*",
        why: "the application itself answers a request whose body breaks off",
        is: |case, _, theirs| {
            let of_envoy = ["http1.codec_error", "null", "-", "chunked"];
            case == "bad chunk" && of_envoy.contains(&theirs)
        },
    },
    Listed {
        field: "span.tags.zone",
        why: "a tag without a value is left out",
        is: |_, ours, theirs| ours == "nothing" && theirs.is_empty(),
    },
];
