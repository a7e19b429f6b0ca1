//! The differences that are meant, and why.

use crate::telemetry::listed::Listed;

/// Envoy tries again by Istio's default policy.
const RETRIED: [&str; 9] = [
    "grpc unavailable",
    "grpc, closed",
    "grpc over 1, refused",
    "refused, retried",
    "refused by both",
    "refused by both, over 2",
    "stranger",
    "stranger over 2",
    "plaintext",
];

fn is_unknown(call: &str) -> bool {
    call.contains("unknown")
}

/// What every run shows.
pub(super) const LISTED: &[Listed] = &[
    Listed {
        field: "app.headers.x-forwarded-proto",
        why: "a proxy says by which scheme it was asked; there is none",
        is: |_, ours, theirs| ours == "nothing" && theirs == "http",
    },
    Listed {
        field: "app.headers.x-envoy-attempt-count",
        why: "only retries by a policy are counted for the server",
        is: |_, ours, _| ours == "nothing",
    },
    Listed {
        field: "app.headers.x-envoy-peer-metadata*",
        why: "Istio's own filter adds it to Envoy's requests",
        is: |_, ours, theirs| ours != "nothing" && theirs == "nothing",
    },
    Listed {
        field: "app.headers.x-envoy-decorator-operation",
        why: "a server needs the name only of a span that it records",
        is: |_, ours, theirs| ours == "nothing" && theirs.ends_with(":80/*"),
    },
    Listed {
        field: "app.headers.content-length",
        why: "what has no body needs no length of it, but for a POST",
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
        is: |_, ours, theirs| {
            let is_same = theirs
                .strip_suffix("-01")
                .or_else(|| theirs.strip_suffix("-00"));
            let (start, flags) = ours.rsplit_once('-').unwrap_or_default();
            let is_known = matches!(flags, "00" | "01" | "02" | "03");
            is_known && (theirs == "nothing" || is_same == Some(start))
        },
    },
    Listed {
        field: "app.headers.x-b3-parentspanid",
        why: "the call is a child of its request, which has a span whatever it has brought",
        is: |_, ours, theirs| (ours, theirs) == ("PARENT", "nothing"),
    },
    Listed {
        field: "app.headers.x-b3-*",
        why: "all configured formats are written",
        is: |call, _, theirs| call != "b3 flags" && theirs == "nothing",
    },
    Listed {
        field: "app.headers.x-b3-sampled",
        why: "the debug flag goes along by itself, as B3 says",
        is: |call, ours, theirs| call == "b3 flags" && ours == "nothing" && theirs == "1",
    },
    Listed {
        field: "span.parentId",
        why: "the call is a child of its request, which has a span whatever it has brought",
        is: |_, ours, theirs| ours == "PARENT" && (theirs == "nothing" || theirs.is_empty()),
    },
    Listed {
        field: "app.headers.grpc-timeout",
        why: "a server of gRPC is told of the time in gRPC's own words",
        is: |call, ours, theirs| {
            call == "grpc too late" && (ours, theirs) == ("150000u", "nothing")
        },
    },
    Listed {
        field: "app.headers.x-envoy-expected-rq-timeout-ms",
        why: "a server of gRPC is told of the time in gRPC's own words",
        is: |call, ours, theirs| call == "grpc too late" && (ours, theirs) == ("nothing", "150"),
    },
    Listed {
        field: "span.tags.grpc.timeout",
        why: "a server of gRPC is told of the time in gRPC's own words",
        is: |call, ours, theirs| {
            call == "grpc too late" && (ours, theirs) == ("150000u", "nothing")
        },
    },
    Listed {
        field: "*",
        why: "the application's path goes out as it is; a server normalizes what it judges",
        is: |call, ours, theirs| call == "encoded path" && ours.replace("%7E", "~") == theirs,
    },
    Listed {
        field: "more.trace",
        why: "a trace id has 32 digits",
        is: |call, ours, theirs| call == "b3 short trace" && ours == "TRACE" && theirs.len() == 16,
    },
    Listed {
        field: "span.flags",
        why: "the parent is the request's span in this process, and came over no wire",
        is: |_, ours, theirs| (ours, theirs) == ("257", "769"),
    },
    Listed {
        field: "span.debug",
        why: "debug is told to Zipkin",
        is: |call, ours, _| call.starts_with("b3 ") && ours == "true",
    },
    Listed {
        field: "span.localEndpoint.*",
        why: "the service is named; its address is the node's, which is a tag",
        is: |_, ours, theirs| ours == "nothing" && (theirs == "0" || theirs.contains('.')),
    },
    Listed {
        field: "span.tags.zone",
        why: "a tag without a value is left out",
        is: |_, ours, theirs| ours == "nothing" && theirs.is_empty(),
    },
    Listed {
        field: "span.tags.peer.address",
        why: "it is the server's; a call that goes nowhere has none",
        is: |call, ours, _| is_unknown(call) && ours == "nothing",
    },
    Listed {
        field: "span.tags.grpc.message",
        why: "there is no response with a message, but an error of the call",
        is: |_, ours, theirs| ours == "nothing" && theirs.starts_with("upstream "),
    },
    Listed {
        field: "span.status",
        why: "a call that its caller gave up is an error",
        is: |call, ours, _| call.contains("left") && ours == "2",
    },
    Listed {
        field: "json.downstream_*",
        why: "the caller is in the process, so it has no address",
        is: |_, ours, theirs| ours == "null" && ["CALLER", "OUTBOUND"].contains(&theirs),
    },
    Listed {
        field: "text.downstream_*",
        why: "the caller is in the process, so it has no address",
        is: |_, ours, theirs| ours == "-" && ["CALLER", "OUTBOUND"].contains(&theirs),
    },
    Listed {
        field: "text.user_agent",
        why: "no header can forge a column: quotation marks are escaped",
        is: |call, ours, _| call == "quotes in agent" && ours.contains('\\'),
    },
    Listed {
        field: "text.*",
        why: "in Envoy's line the forged column has moved all others",
        is: |call, _, _| call == "quotes in agent",
    },
    Listed {
        field: "json.bytes_sent",
        why: "an error of a call has no body",
        is: |_, ours, theirs| ours == "0" && theirs != "0",
    },
    Listed {
        field: "text.bytes_sent",
        why: "an error of a call has no body",
        is: |_, ours, theirs| ours == "0" && theirs != "0",
    },
    Listed {
        field: "span.tags.response_size",
        why: "an error of a call has no body",
        is: |_, ours, theirs| ours == "0" && theirs != "0",
    },
    Listed {
        field: "*",
        why: "Envoy drops what came together with what it cannot read",
        is: |call, ours, theirs| call == "bad chunk" && (ours, theirs) == ("4", "0"),
    },
    Listed {
        field: "json.bytes_received",
        why: "what no server takes is not read from the application",
        is: |_, ours, theirs| ours == "0" && theirs != "0",
    },
    Listed {
        field: "text.bytes_received",
        why: "what no server takes is not read from the application",
        is: |_, ours, theirs| ours == "0" && theirs != "0",
    },
    Listed {
        field: "span.tags.request_size",
        why: "what no server takes is not read from the application",
        is: |_, ours, theirs| ours == "0" && theirs != "0",
    },
    Listed {
        field: "*",
        why: "each address is tried once; retries need a policy",
        is: |call, ours, theirs| {
            let is_retried = theirs == format!("URX,{ours}")
                || theirs == format!("UpstreamRetryLimitExceeded,{ours}")
                || (theirs, ours) == ("URX", "-")
                || (theirs, ours) == ("UpstreamRetryLimitExceeded", "-")
                || (theirs == "3" && ["1", "2"].contains(&ours));
            RETRIED.contains(&call) && is_retried
        },
    },
    Listed {
        field: "more.attempts",
        why: "what a server says it has not touched is sent again up to three times",
        is: |call, ours, theirs| call == "refused stream" && (ours, theirs) == ("4", "3"),
    },
    Listed {
        field: "*",
        why: "the reason is that of another TLS library",
        is: |_, ours, theirs| {
            let [ours, theirs] = [ours, theirs].map(|it| it.find("TLS_error:"));
            ours.is_some() && ours == theirs
        },
    },
    Listed {
        field: "*",
        why: "a host that is not configured is the application's mistake, and has no route",
        is: |call, ours, theirs| {
            let pairs = [
                ("404", "502"),
                ("NR", "-"),
                ("NoRouteFound", "-"),
                ("route_not_found", "direct_response"),
                ("null", "block_all"),
                ("-", "block_all"),
                ("nothing", "true"),
                ("12", "14"),
                ("Unimplemented", "Unavailable"),
                ("200, grpc 12", "200, grpc 14"),
            ];
            is_unknown(call) && pairs.contains(&(ours, theirs))
        },
    },
    Listed {
        field: "*",
        why: "half a head is not told from none",
        is: |call, ours, theirs| {
            let pairs = [
                ("503", "502"),
                ("UC", "UPE"),
                ("UpstreamConnectionTermination", "UpstreamProtocolError"),
            ];
            let is_reason =
                ours.ends_with("{connection_termination}") && theirs.ends_with("{protocol_error}");
            call == "half a head" && (pairs.contains(&(ours, theirs)) || is_reason)
        },
    },
];
