use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, Request, StatusCode, request};
use proptest::prelude::*;

use super::super::facts::{Call, Kept};
use super::*;
use crate::context::{Exchange, Peer, SpanId, TlsFacts, TraceContext, TraceId};
use crate::identity::PeerCertificate;
use crate::matcher::path_redaction::PathRedaction;
#[cfg(all(feature = "server", feature = "client"))]
use crate::message::{CallFailure, CallProgress};
use crate::message::{Direction, End, EndKind, GrpcStatus, Report, ResponseFlags};

/// 2026-11-23T18:11:28.767Z.
fn began() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_795_457_488_767)
}

fn ends() -> [SocketAddr; 2] {
    [
        "10.0.0.5:43210".parse().unwrap(),
        "10.0.0.6:9080".parse().unwrap(),
    ]
}

fn head(uri: &str, headers: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn written(
    format: &Format,
    head: &request::Parts,
    exchange: Option<&Exchange>,
    change: impl Fn(&mut Report<'_>, &mut Kept),
    omits: bool,
) -> String {
    let ended = Instant::now() + Duration::from_secs(1);
    let mut kept = Kept::new(head, began(), &format.request_headers);
    let headers = HeaderMap::from_iter([("server".parse().unwrap(), "a \"b\"".parse().unwrap())]);
    let answered = ended - Duration::from_millis(1);
    kept.answered(&headers, &format.response_headers, answered);
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "9 9".parse().unwrap())]);
    kept.trailed(&trailers, &format.trailers);
    let mut end = End::failed();
    end.kind = EndKind::Complete;
    end.bytes = 300;
    let mut report = Report {
        direction: match exchange {
            Some(_) => Direction::Inbound,
            None => Direction::Outbound,
        },
        exchange,
        peer: exchange.and_then(Exchange::peer),
        server_address: None,
        #[cfg(all(feature = "server", feature = "client"))]
        progress: None,
        method: &head.method,
        version: head.version,
        authority: None,
        path: None,
        status: Some(StatusCode::OK),
        counted_status: Some(StatusCode::OK),
        end,
        flags: ResponseFlags::none(),
        request_bytes: 7,
        request_took: None,
        duration: Duration::from_micros(2_900),
        ended,
    };
    change(&mut report, &mut kept);
    let redaction = PathRedaction::default();
    let facts = Facts {
        report: &report,
        kept: &kept,
        redaction: &redaction,
        own: Some("spiffe://cluster.local/ns/default/sa/app"),
    };
    let (mut out, mut scratch) = (Vec::new(), Vec::new());
    format.write(&mut out, &mut scratch, facts, omits);
    String::from_utf8(out).unwrap()
}

fn exchange() -> Exchange {
    let exchange = Exchange::default();
    let [remote, local] = ends();
    exchange.set_peer(Peer::plaintext(remote, local));
    exchange
}

const HEADERS: [(&str, &str); 4] = [
    ("host", "reviews:9080"),
    ("user-agent", "curl/8"),
    ("x-request-id", "7f1c"),
    ("x-forwarded-for", "192.0.2.1"),
];

/// The columns of the sidecar's line.
#[test]
fn the_default_text_is_the_sidecars() {
    let format = Format::default_text();
    let nothing = |_: &mut Report<'_>, _: &mut Kept| {};
    let line = written(
        &format,
        &head("/a?b", &HEADERS),
        Some(&exchange()),
        nothing,
        false,
    );
    assert_eq!(
        line,
        "[2026-11-23T18:11:28.767Z] \"GET /a?… HTTP/1.1\" 200 - via_upstream - \"-\" 7 300 2 1 \
         \"192.0.2.1\" \"curl/8\" \"7f1c\" \"reviews:9080\" \"-\" inbound|9080|| - 10.0.0.6:9080 \
         10.0.0.5:43210 - default\n"
    );
    let denied = exchange();
    denied.set_details("rbac access denied".into());
    let refuse = |report: &mut Report<'_>, _: &mut Kept| {
        report.status = Some(StatusCode::FORBIDDEN);
        report.flags = ResponseFlags::RATE_LIMITED.union(ResponseFlags::DOWNSTREAM_DISCONNECT);
    };
    let line = written(&format, &head("*", &[]), Some(&denied), refuse, false);
    assert_eq!(
        line,
        "[2026-11-23T18:11:28.767Z] \"GET * HTTP/1.1\" 403 DC,RL rbac_access_denied - \"-\" 7 300 \
         2 - \"-\" \"-\" \"-\" \"-\" \"-\" inbound|9080|| - 10.0.0.6:9080 10.0.0.5:43210 - default\n"
    );
}

#[cfg(all(feature = "server", feature = "client"))]
fn progress() -> &'static CallProgress {
    Box::leak(Box::default())
}

#[cfg(all(feature = "server", feature = "client"))]
#[test]
fn a_call_names_what_was_called_and_what_failed() {
    let [_, server] = ends();
    let fail = |report: &mut Report<'_>, kept: &mut Kept| {
        report.status = None;
        report.counted_status = Some(StatusCode::SERVICE_UNAVAILABLE);
        report.end = End::failed();
        report.flags = ResponseFlags::UPSTREAM_CONNECTION_FAILURE;
        kept.call = Call {
            cluster: Some("outbound|9080||reviews.default.svc.cluster.local".into()),
            route: Some("default"),
        };
        let progress = progress();
        progress.fails(CallFailure {
            details: "upstream_reset_before_response_started{x y}".into(),
            transport: Some("delayed_connect_error:_Connection refused".into()),
            address: Some(server),
        });
        report.progress = Some(progress);
    };
    let head = head("http://u:p@reviews:9080/a", &[]);
    let format = Format::default_text();
    let line = written(&format, &head, None, fail, false);
    assert_eq!(
        line,
        "[2026-11-23T18:11:28.767Z] \"GET /a HTTP/1.1\" 503 UF \
         upstream_reset_before_response_started{x_y} - \
         \"delayed_connect_error:_Connection_refused\" 7 0 2 1 \"-\" \"-\" \"-\" \"reviews:9080\" \
         \"10.0.0.6:9080\" outbound|9080||reviews.default.svc.cluster.local - - - - default\n"
    );
}

/// The keys are in the order of their bytes, as Envoy has written them since 1.33.
#[test]
fn the_default_json_is_the_sidecars_byte_for_byte() {
    let format = Format::default_json();
    let nothing = |_: &mut Report<'_>, _: &mut Kept| {};
    let (head, exchange) = (head("/a?b", &HEADERS), exchange());
    let line = written(&format, &head, Some(&exchange), nothing, false);
    let expected = r#"{"authority":"reviews:9080","bytes_received":7,"bytes_sent":300,
"connection_termination_details":null,"downstream_local_address":"10.0.0.6:9080",
"downstream_remote_address":"10.0.0.5:43210","duration":2,"method":"GET","path":"/a?…",
"protocol":"HTTP/1.1","request_id":"7f1c","requested_server_name":null,"response_code":200,
"response_code_details":"via_upstream","response_flags":"-","route_name":"default",
"start_time":"2026-11-23T18:11:28.767Z","upstream_cluster":"inbound|9080||","upstream_host":null,
"upstream_local_address":null,"upstream_service_time":"1","upstream_transport_failure_reason":null,
"user_agent":"curl/8","x_forwarded_for":"192.0.2.1"}"#;
    assert_eq!(line, expected.replace('\n', "") + "\n");
}

/// Numbers are bare, and what has no value is `null`, but flags are `-`.
#[test]
fn the_default_json_is_the_sidecars() {
    let format = Format::default_json();
    let nothing = |_: &mut Report<'_>, _: &mut Kept| {};
    let (head, exchange) = (head("/a?b", &HEADERS), exchange());
    let line = written(&format, &head, Some(&exchange), nothing, false);
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        value,
        serde_json::json!({
            "start_time": "2026-11-23T18:11:28.767Z", "method": "GET", "path": "/a?…",
            "protocol": "HTTP/1.1", "response_code": 200, "response_flags": "-",
            "response_code_details": "via_upstream", "connection_termination_details": null,
            "upstream_transport_failure_reason": null, "bytes_received": 7, "bytes_sent": 300,
            "duration": 2, "upstream_service_time": "1", "x_forwarded_for": "192.0.2.1",
            "user_agent": "curl/8", "request_id": "7f1c", "authority": "reviews:9080",
            "upstream_host": null, "upstream_cluster": "inbound|9080||",
            "upstream_local_address": null, "downstream_local_address": "10.0.0.6:9080",
            "downstream_remote_address": "10.0.0.5:43210", "requested_server_name": null,
            "route_name": "default",
        })
    );
    let line = written(&format, &head, Some(&exchange), nothing, true);
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value.as_object().unwrap().len(), 19);
}

#[test]
fn operators_have_their_values() {
    let facts = TlsFacts {
        sni: Some("a.example".into()),
        version: Some("TLSv1.3"),
        certificate: Some(PeerCertificate::from_names(
            vec!["spiffe://cluster.local/ns/default/sa/desk".to_owned()],
            Vec::new(),
            "O=Desk".to_owned(),
        )),
        certificate_sha256: Some([0xa5; 32]),
        ..TlsFacts::default()
    };
    let exchange = Exchange::default();
    let [remote, local] = ends();
    exchange.set_peer(Peer::tls(remote, local, facts));
    let trace = TraceContext::root(
        TraceId::from_bytes([1; 16]).unwrap(),
        SpanId::from_bytes([2; 8]).unwrap(),
        true,
    );
    exchange.set_trace(trace);
    let headers = [
        ("host", "u:p@a"),
        ("x-a", "one"),
        ("x-a", "two"),
        ("x-forwarded-for", "1"),
        ("x-forwarded-for", "2"),
        ("referer", "https://a/b?c#d"),
        ("x-envoy-original-path", "/forged"),
        ("x-empty", ""),
    ];
    let head = head("/a?b", &headers);
    let grpc = |report: &mut Report<'_>, _: &mut Kept| {
        report.request_took = Some(Duration::ZERO);
        report.end.grpc_status = Some(GrpcStatus::new(7));
        report.flags = ResponseFlags::NO_ROUTE;
    };
    for (format, expected) in [
        ("%REQ(X-A)% %REQ(x-a):2% %REQ(none?x-a)%", "one on one"),
        ("%REQ(X-FORWARDED-FOR)%", "1,2"),
        ("%REQ(:AUTHORITY)% %REQ(:SCHEME)% %REQ(host)%", "a https a"),
        ("%REQ(REFERER)%", "https://a/b?…#…"),
        ("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "/a?…"),
        ("%REQ(X-EMPTY)% \"%REQ(X-EMPTY)%\"", "- \"\""),
        (
            "%RESP(SERVER)% '%RESP(:STATUS)%' %RESP(x?y)%",
            r#"a_\"b\" '200' -"#,
        ),
        (
            "%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER%",
            "PermissionDenied PERMISSION_DENIED 7",
        ),
        ("%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%", "NR NoRouteFound"),
        (
            "%DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%",
            "2 1 1",
        ),
        (
            "%DOWNSTREAM_REMOTE_PORT% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
            "43210 10.0.0.5",
        ),
        (
            "%REQUESTED_SERVER_NAME% %DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_PEER_URI_SAN%",
            "a.example TLSv1.3 spiffe://cluster.local/ns/default/sa/desk",
        ),
        (
            "%DOWNSTREAM_LOCAL_URI_SAN% %DOWNSTREAM_PEER_SUBJECT% %UPSTREAM_LOCAL_URI_SAN%",
            "spiffe://cluster.local/ns/default/sa/app O=Desk -",
        ),
        ("%DOWNSTREAM_PEER_FINGERPRINT_256:6%", "a5a5a5"),
        (
            "%REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH)% %REQ(:PATH)% %PATH(NQ)% %PATH%",
            "/a /a?… /a /a?…",
        ),
        (
            "%REQ_WITHOUT_QUERY(none?REFERER)% %REQ_WITHOUT_QUERY(x-a)% %PATH(WQ:ORIG)%",
            "https://a/b one -",
        ),
        (
            "%TRAILER(X-SUM)% %TRAILER(none?x-sum):1% %TRAILER(none)%",
            "9_9 9 -",
        ),
        (
            "%ENVIRONMENT(CARGO_PKG_NAME)% %ENVIRONMENT(TOWER_MESH_NO_SUCH)%",
            "tower-mesh -",
        ),
        ("%UPSTREAM_REQUEST_ATTEMPT_COUNT% %REQUEST_DURATION%", "1 0"),
        (
            "%COMMON_DURATION(US_RX_BEG:DS_TX_END:us)% %COMMON_DURATION(DS_TX_END:DS_RX_BEG:ns)%",
            "1000 -",
        ),
        (
            "%ACCESS_LOG_TYPE% %REQUEST_HEADER(x-none?:METHOD)%",
            "DownstreamEnd GET",
        ),
        ("%SPAN_ID%", "0202020202020202"),
        (
            "%EMIT_TIME% %EMIT_TIME(%T.%3f)%",
            "2026-11-23T18:11:28.769Z 18:11:28.769",
        ),
        (
            "%UPSTREAM_PROTOCOL% %UPSTREAM_PEER_URI_SAN% %UPSTREAM_TLS_VERSION% %UPSTREAM_TLS_CIPHER%",
            "- - - -",
        ),
        ("100%% %START_TIME(%F %T)%", "100% 2026-11-23 18:11:28"),
        ("%UPSTREAM_HOST%|%UPSTREAM_CLUSTER:7%\n", "-|inbound"),
    ] {
        let read = Format::text(format).unwrap();
        let line = written(&read, &head, Some(&exchange), grpc, false);
        assert_eq!(line, format!("{expected}\n"), "{format}");
    }
    let read = Format::text("%UPSTREAM_HOST%|\"%UPSTREAM_PROTOCOL%\"|%DURATION%").unwrap();
    let line = written(&read, &head, Some(&exchange), grpc, true);
    assert_eq!(line, "|\"\"|2\n");
}

/// What a guard has answered was sent to no application, and a call has the facts of its server.
#[cfg(all(feature = "server", feature = "client"))]
#[test]
fn attempts_and_servers_are_those_of_the_exchange() {
    let format = Format::text(
        "%UPSTREAM_REQUEST_ATTEMPT_COUNT% %UPSTREAM_PROTOCOL% %UPSTREAM_PEER_URI_SAN% \
         %UPSTREAM_PEER_SUBJECT% %UPSTREAM_TLS_VERSION% %UPSTREAM_LOCAL_URI_SAN% \
         %DOWNSTREAM_LOCAL_URI_SAN% %REQUEST_DURATION%",
    );
    let (format, head) = (format.unwrap(), head("/", &[]));
    let nothing = |_: &mut Report<'_>, _: &mut Kept| {};
    let denied = exchange();
    denied.set_details("rbac access denied".into());
    let line = written(&format, &head, Some(&denied), nothing, false);
    assert_eq!(line, "0 - - - - - - -\n");
    let [remote, local] = ends();
    let facts = TlsFacts {
        version: Some("TLSv1.3"),
        certificate: Some(PeerCertificate::from_names(
            vec!["spiffe://cluster.local/ns/default/sa/app".to_owned()],
            Vec::new(),
            "O=App".to_owned(),
        )),
        ..TlsFacts::default()
    };
    let peer: &'static Peer = Box::leak(Box::new(Peer::tls(remote, local, facts)));
    let called = |report: &mut Report<'_>, _: &mut Kept| {
        report.peer = Some(peer);
        report.version = http::Version::HTTP_2;
        let progress = progress();
        (0..3).for_each(|_| progress.begins(None));
        report.progress = Some(progress);
    };
    let line = written(&format, &head, None, called, false);
    let id = "spiffe://cluster.local/ns/default/sa/app";
    assert_eq!(line, format!("3 HTTP/2 {id} O=App TLSv1.3 {id} - -\n"));
    let host = Format::labels([("host", "%HOSTNAME%")]).unwrap();
    let line = written(&host, &head, None, called, false);
    if let Ok(name) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        assert_eq!(line, format!("{{\"host\":\"{}\"}}\n", name.trim()));
    }
}

#[test]
fn labels_are_objects() {
    let labels = [
        ("a\"b", "%DURATION%"),
        ("mixed", "\"%REQ(x-a)%\" took %DURATION% %REQ(none)%"),
        ("unset", "%REQ(none)%"),
        ("fixed", "a\\b"),
    ];
    let format = Format::labels(labels).unwrap();
    let nothing = |_: &mut Report<'_>, _: &mut Kept| {};
    let (head, exchange) = (head("/", &[("x-a", "o\"ne")]), exchange());
    let line = written(&format, &head, Some(&exchange), nothing, false);
    assert_eq!(
        line,
        "{\"a\\\"b\":2,\"fixed\":\"a\\\\b\",\"mixed\":\"\\\"o\\\"ne\\\" took 2 -\",\"unset\":null}\n"
    );
    let line = written(&format, &head, Some(&exchange), nothing, true);
    assert_eq!(
        line,
        "{\"a\\\"b\":2,\"fixed\":\"a\\\\b\",\"mixed\":\"\\\"o\\\"ne\\\" took 2 \"}\n"
    );
    let sorted = Format::labels([
        ("b", "1"),
        ("a!", "2"),
        ("a", "3"),
        ("B", "4"),
        ("a_b", "5"),
    ]);
    let line = written(&sorted.unwrap(), &head, Some(&exchange), nothing, false);
    let expected = r#"{"B":"4","a":"3","a!":"2","a_b":"5","b":"1"}"#;
    assert_eq!(line.trim_end(), expected);
    let twice = Format::labels([("a", "x"), ("a", "y")]).unwrap_err();
    assert_eq!(
        twice.to_string(),
        "label \"a\": at byte 0: the key is there twice"
    );
    let wrong = Format::labels([("a", "x"), ("b", "x %NO%")]).unwrap_err();
    assert_eq!((wrong.label(), wrong.offset()), (Some("b"), 2));
}

/// The columns of a text: blanks separate, but not between quotation marks.
fn columns(line: &str) -> usize {
    let (mut columns, mut is_quoted, mut is_escaped) = (1, false, false);
    for character in line.chars() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => columns += 1,
            _ => {}
        }
    }
    assert!(!is_quoted, "{line}");
    columns
}

proptest! {
    /// Whatever a caller, a certificate or an application says, there is one line, with the columns
    /// or the keys of all others.
    #[test]
    fn nothing_forges_a_line(
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 4),
        path in "[!-~]{0,30}",
        details in any::<String>(),
        sni in any::<String>(),
        long in 0_usize..6_000,
    ) {
        let mut head = head("/", &[]);
        if let Ok(uri) = format!("/{path}").parse() {
            head.uri = uri;
        }
        for (name, value) in ["host", "user-agent", "x-request-id", "x-forwarded-for"].into_iter().zip(&values) {
            if let Ok(value) = http::HeaderValue::from_bytes(value) {
                head.headers.insert(name, value);
            }
        }
        if long > 3_000 {
            head.headers.insert("user-agent", vec![0xff; long].try_into().unwrap());
        }
        let [remote, local] = ends();
        let facts = TlsFacts {
            sni: Some(sni.into()),
            ..TlsFacts::default()
        };
        let exchange = Exchange::default();
        exchange.set_peer(Peer::tls(remote, local, facts));
        exchange.set_details(details.into());
        let nothing = |_: &mut Report<'_>, _: &mut Kept| {};
        for omits in [false, true] {
            let line = written(&Format::default_text(), &head, Some(&exchange), nothing, omits);
            prop_assert_eq!(line.find(char::is_control), Some(line.len() - 1));
            prop_assert_eq!(columns(&line), 22, "{}", line);
            prop_assert!(line.len() < 64 * 1024);
        }
        let line = written(&Format::default_json(), &head, Some(&exchange), nothing, false);
        prop_assert_eq!(line.find(char::is_control), Some(line.len() - 1));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(value.as_object().unwrap().len(), 24);
    }
}
