//! Makes the question from a request.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use http::Version;

use super::messages::{
    Address, AttributeContext, CheckRequest, HttpRequest, Metadata, Peer, Request, SocketAddress,
    Timestamp,
};
use crate::context::ForwardedPeer;
use crate::external::AuthorizationRequest;
use crate::external::check_headers::{PARTIAL_BODY, stored, text};

/// The question about a request. `own` is our own identity, which counts on connections of the
/// mesh's TLS; `packs_bytes` sends the body as bytes instead of text.
pub(super) fn check_request(
    request: &AuthorizationRequest,
    own: Option<&str>,
    packs_bytes: bool,
) -> CheckRequest {
    let peer = request.peer();
    let id = match request.forwarded_peer() {
        Some(caller) => ForwardedPeer::spiffe_id(caller),
        None => peer.spiffe_id(),
    };
    let service = request.headers().get("x-envoy-downstream-service-cluster");
    let service = service.map_or_else(String::new, |service| text(service.as_bytes()));
    let source = Peer {
        address: Some(address(request.source_addr())),
        service,
        principal: id.map_or_else(String::new, |id| id.to_string()),
    };
    let own = own.filter(|_| peer.is_tls()).unwrap_or_default();
    let destination = Peer {
        address: Some(address(peer.local_addr())),
        service: String::new(),
        principal: own.to_owned(),
    };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(source),
            destination: Some(destination),
            request: Some(Request {
                time: Some(timestamp(request.time())),
                http: Some(http_request(request, packs_bytes)),
            }),
            metadata_context: Some(Metadata {}),
            route_metadata_context: Some(Metadata {}),
        }),
    }
}

fn address(address: SocketAddr) -> Address {
    Address {
        socket_address: Some(SocketAddress {
            address: address.ip().to_canonical().to_string(),
            port_value: Some(address.port().into()),
        }),
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: since.as_secs().try_into().unwrap_or(i64::MAX),
        nanos: since.subsec_nanos().try_into().unwrap_or_default(),
    }
}

fn http_request(request: &AuthorizationRequest, packs_bytes: bool) -> HttpRequest {
    let whole = request.body().cloned().unwrap_or_default();
    let (body, raw_body) = match packs_bytes {
        true => (String::new(), whole),
        false => (text(&whole), bytes::Bytes::new()),
    };
    HttpRequest {
        id: FIRST_ID
            .wrapping_add(NEXT_ID.fetch_add(1, Ordering::Relaxed))
            .to_string(),
        method: request.method().as_str().to_owned(),
        headers: headers(request),
        path: request.path().to_owned(),
        host: request.host().unwrap_or_default().to_owned(),
        scheme: request.scheme().to_owned(),
        size: size(request),
        protocol: protocol(request.version()).to_owned(),
        body,
        raw_body,
    }
}

/// All headers as Envoy stores them, the lines of one name joined with commas, and the pseudo
/// headers.
fn headers(request: &AuthorizationRequest) -> BTreeMap<String, String> {
    let pseudo = [
        (":authority", request.host().unwrap_or_default()),
        (":method", request.method().as_str()),
        (":path", request.path()),
        (":scheme", request.scheme()),
    ];
    let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut headers = BTreeMap::from(pseudo);
    headers.insert("x-forwarded-proto".to_owned(), request.scheme().to_owned());
    for name in request.headers().keys() {
        if let Some(value) = stored(request, name, b",") {
            headers.insert(name.as_str().to_owned(), text(&value));
        }
    }
    if request.body().is_some() {
        let is_partial = request.has_partial_body().to_string();
        headers.insert(PARTIAL_BODY.as_str().to_owned(), is_partial);
    }
    headers
}

/// How much of the body had come when the question was asked: without a body to show, 0. A body
/// that is shown in part counts whole, if its length is known.
fn size(request: &AuthorizationRequest) -> i64 {
    let shown = request.body().map_or(0, bytes::Bytes::len);
    let shown = i64::try_from(shown).unwrap_or(i64::MAX);
    match request
        .content_length()
        .filter(|_| request.has_partial_body())
    {
        Some(length) => length.try_into().unwrap_or(i64::MAX),
        None => shown,
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

/// Envoy's id of a stream is a random number; ours count on from one.
static FIRST_ID: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(()));
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
mod tests {
    use http::request::Builder;

    use super::*;
    use crate::Peer as ConnectionPeer;

    fn peer(is_tls: bool) -> ConnectionPeer {
        let [remote, local] = ["10.0.0.1:4711", "10.0.0.2:8443"].map(|text| text.parse().unwrap());
        match is_tls {
            true => {
                let desk = "spiffe://cluster.local/ns/default/sa/desk".parse().unwrap();
                ConnectionPeer::proven(remote, local, desk)
            }
            false => ConnectionPeer::plaintext(remote, local),
        }
    }

    fn request(is_tls: bool, builder: Builder) -> AuthorizationRequest {
        AuthorizationRequest::new(&peer(is_tls), builder.body(()).unwrap())
    }

    fn asked(request: &AuthorizationRequest) -> HttpRequest {
        let message = check_request(request, None, false);
        message.attributes.unwrap().request.unwrap().http.unwrap()
    }

    fn get(target: &str) -> Builder {
        http::Request::get(target).header("host", "app:8443")
    }

    #[test]
    fn both_ends_are_named_by_address_and_identity() {
        let own = "spiffe://cluster.local/ns/default/sa/app";
        for (is_tls, source, destination) in [
            (true, "spiffe://cluster.local/ns/default/sa/desk", own),
            (false, "", ""),
        ] {
            let request = get("/").header("x-envoy-downstream-service-cluster", "desk");
            let message = check_request(&request_at(is_tls, request), Some(own), false);
            let attributes = message.attributes.unwrap();
            let end = |end: Option<Peer>| {
                let end = end.unwrap();
                let address = end.address.unwrap().socket_address.unwrap();
                (
                    address.address,
                    address.port_value,
                    end.principal,
                    end.service,
                )
            };
            let from = end(attributes.source);
            assert_eq!(
                from,
                ("10.0.0.1".into(), Some(4711), source.into(), "desk".into())
            );
            let to = end(attributes.destination);
            assert_eq!(
                to,
                (
                    "10.0.0.2".into(),
                    Some(8443),
                    destination.into(),
                    String::new()
                )
            );
            let time = attributes.request.unwrap().time.unwrap();
            assert_eq!((time.seconds, time.nanos), (1_700_000_000, 5));
        }
    }

    fn request_at(is_tls: bool, builder: Builder) -> AuthorizationRequest {
        let time = UNIX_EPOCH + std::time::Duration::new(1_700_000_000, 5);
        request(is_tls, builder).with_time(time)
    }

    #[test]
    fn a_request_is_shown_as_envoy_stores_it() {
        let builder = get("/a%20b?q=1")
            .header("x-a", "1")
            .header("X-A", " 2 ")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header(
                "x-raw",
                http::HeaderValue::from_bytes(b"a\xff\xfeb").unwrap(),
            )
            .header("keep-alive", "5")
            .header("x-forwarded-client-cert", "By=spiffe://a/b")
            .header("x-envoy-auth-partial-body", "true");
        let http = asked(&request(false, builder));
        let headers: Vec<_> = http.headers.iter().map(|(k, v)| (&**k, &**v)).collect();
        let expected = [
            (":authority", "app:8443"),
            (":method", "GET"),
            (":path", "/a%20b?q=1"),
            (":scheme", "http"),
            ("cookie", "a=1,b=2"),
            ("x-a", "1,2"),
            ("x-forwarded-proto", "http"),
            ("x-raw", "a!!b"),
        ];
        assert_eq!(headers, expected);
        let facts = (
            &*http.method,
            &*http.path,
            &*http.host,
            &*http.scheme,
            &*http.protocol,
        );
        assert_eq!(facts, ("GET", "/a%20b?q=1", "app:8443", "http", "HTTP/1.1"));
        assert_eq!(asked(&request(true, get("/"))).scheme, "https");
    }

    #[test]
    fn every_question_has_an_id_of_its_own() {
        let request = request(false, get("/"));
        assert_ne!(asked(&request).id, asked(&request).id);
    }

    #[test]
    fn the_size_is_what_has_come_of_a_body_that_is_shown() {
        let post = || get("/").method("POST");
        let long = || post().header("content-length", "17");
        let whole = |builder| request(false, builder).with_body("12345");
        let partial = |builder| request(false, builder).with_partial_body("12345");
        for (request, size) in [
            (request(false, get("/")), 0),
            (request(false, long()), 0),
            (whole(post().header("content-length", "5")), 5),
            (whole(post().header("transfer-encoding", "chunked")), 5),
            (partial(long()), 17),
            (partial(post()), 5),
        ] {
            assert_eq!(asked(&request).size, size, "{:?}", request.headers());
        }
    }

    #[test]
    fn a_body_is_text_or_bytes_and_its_header_says_whether_it_is_whole() {
        let whole = || request(false, get("/").header("content-length", "9"));
        let partial = |http: &HttpRequest| http.headers["x-envoy-auth-partial-body"].clone();
        let text = asked(&whole().with_body(&b"caf\xc3\xa9 \xff"[..]));
        assert_eq!((&*text.body, text.raw_body.len()), ("caf\u{e9} !", 0));
        assert_eq!((partial(&text), text.size), ("false".into(), 7));
        let message = check_request(&whole().with_partial_body(&b"\xff1"[..]), None, true);
        let bytes = message.attributes.unwrap().request.unwrap().http.unwrap();
        assert_eq!((&*bytes.body, &*bytes.raw_body), ("", &b"\xff1"[..]));
        assert_eq!((partial(&bytes), bytes.size), ("true".into(), 9));
    }
}
