//! What a provider may not change: an answer that tries is an error of the provider.

use super::answers::{ok, options};
use super::support::{Kind, Stub, Ward, answered, grpc, plain};
use crate::messages::Allowed;
use crate::support::mesh::get2;

const FORBIDDEN: [(&str, &str); 14] = [
    ("host", "other.default"),
    (":authority", "other.default"),
    (":path", "/free"),
    (":method", "GET"),
    ("x-http-method-override", "DELETE"),
    ("x-forwarded-client-cert", "By=spiffe://a;URI=spiffe://b"),
    ("x-forwarded-for", "10.0.0.1"),
    ("x-envoy-peer-metadata-id", "other"),
    ("x-envoy-original-path", "/free"),
    ("connection", "close"),
    ("te", "trailers"),
    ("content-length", "1"),
    ("x-bad\nname", "1"),
    ("x-bad-value", "a\r\nx-evil: 1"),
];

#[tokio::test]
async fn over_grpc_no_forbidden_header_is_set_removed_or_added() {
    for (fail_open, expected) in [("false", 403), ("true", 200)] {
        let mut stub = Stub::new().await;
        let more = format!(", timeout: 5s, failOpen: {fail_open}");
        let ward = Ward::asking(&stub, Kind::Grpc, &more).await;
        let mut caller = ward.caller().await;
        let mut count = 0;
        for (name, value) in FORBIDDEN {
            let headers = || options(&[("x-good", "1"), (name, value)]);
            let set = Allowed {
                headers: headers(),
                ..Allowed::default()
            };
            let added = Allowed {
                headers: options(&[("x-good", "1")]),
                response_headers_to_add: headers(),
                ..Allowed::default()
            };
            let removed = Allowed {
                headers: options(&[("x-good", "1")]),
                headers_to_remove: vec![name.to_owned()],
                ..Allowed::default()
            };
            // Removal of these is ignored, as in Envoy, and a value is not removed.
            let is_ignored = name.starts_with(':') || name == "host" || name == "x-bad-value";
            let removed = (!is_ignored).then_some(removed);
            for changes in [Some(set), Some(added), removed].into_iter().flatten() {
                let waiting = caller.send(get2("/a").header("x-old", "1"), "");
                stub.next().await.answer(grpc(&ok(changes.clone())));
                let (status, headers, body) = answered(waiting).await;
                assert_eq!(status, expected, "{name:?} {changes:?}");
                assert!(headers.get("x-evil").is_none(), "{name:?}");
                let seen = ward.seen(count).await;
                count += 1;
                if status == 200 {
                    // Nothing of the answer counts.
                    let called = ward.called();
                    assert!(called.lines("x-good").is_empty(), "{name:?}");
                    assert_eq!(called.head.uri.path(), "/a");
                } else {
                    assert_eq!(
                        (&*body, seen.details.as_deref()),
                        ("", Some("ext_authz_error"))
                    );
                    assert!(ward.is_uncalled(), "{name:?}");
                }
            }
        }
        let outcome = if expected == 200 {
            "failed_open"
        } else {
            "error"
        };
        assert_eq!(ward.counted(outcome), u64::try_from(count).unwrap());
    }
}

#[tokio::test]
async fn over_http_no_forbidden_header_is_taken() {
    let mut stub = Stub::new().await;
    let more = ", timeout: 5s, headersToUpstreamOnAllow: [x-*, host]";
    let ward = Ward::asking(&stub, Kind::Http, more).await;
    let mut caller = ward.caller().await;
    for (name, value) in [
        ("host", "other.default"),
        ("x-forwarded-client-cert", "By=spiffe://a"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-envoy-original-path", "/free"),
        ("x-http-method-override", "DELETE"),
        ("x-envoy-auth-headers-to-remove", "x-forwarded-client-cert"),
        ("x-envoy-auth-headers-to-remove", "no name"),
    ] {
        let waiting = caller.get("/a");
        stub.next().await.answer(plain(200, &[(name, value)], ""));
        let (status, _, body) = answered(waiting).await;
        assert_eq!((status, &*body), (403, ""), "{name}");
        assert!(ward.is_uncalled());
    }
    assert_eq!(ward.counted("error"), 7);
    // What a proxy in front of the provider adds to each answer is no fault.
    let waiting = caller.get("/a");
    let headers = [("x-envoy-upstream-service-time", "3"), ("x-user", "alice")];
    stub.next().await.answer(plain(200, &headers, ""));
    assert_eq!(answered(waiting).await.0, 200);
    let called = ward.called();
    assert_eq!(called.lines("x-user"), ["alice"]);
    assert!(called.lines("x-envoy-upstream-service-time").is_empty());
}
