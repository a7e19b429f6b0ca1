//! Makes the question from a request.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use http::{Method, Version};

use super::messages::{
    Address, AttributeContext, CheckRequest, HttpRequest, Peer, Request, SocketAddress, Timestamp,
};
use crate::context::ForwardedPeer;
use crate::external::AuthorizationRequest;
use crate::external::check_headers::{PARTIAL_BODY, stored};

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

/// The length of the body as `content-length` states it, 0 without a body, and -1 if it is unknown.
fn size(request: &AuthorizationRequest) -> i64 {
    let headers = request.headers();
    if let Some(length) = request.content_length() {
        return length.try_into().unwrap_or(i64::MAX);
    }
    let has_body = match request.version() {
        Version::HTTP_2 | Version::HTTP_3 => {
            let bodiless = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE];
            !bodiless.contains(request.method())
        }
        _ => headers.contains_key(http::header::TRANSFER_ENCODING),
    };
    if has_body { -1 } else { 0 }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

/// Bytes as text. Each byte that is not UTF-8 becomes `!`, as in Envoy.
fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '!'));
    }
    text
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
    fn the_size_is_what_the_request_says() {
        let http2 = |method: &str| get("/").method(method).version(Version::HTTP_2);
        for (builder, size) in [
            (get("/"), 0),
            (get("/").header("content-length", "17"), 17),
            (get("/").header("transfer-encoding", "chunked"), -1),
            (http2("GET"), 0),
            (http2("POST"), -1),
            (http2("POST").header("content-length", "0"), 0),
        ] {
            let request = request(false, builder);
            assert_eq!(asked(&request).size, size, "{:?}", request.headers());
        }
    }

    #[test]
    fn a_body_is_text_or_bytes_and_its_header_says_whether_it_is_whole() {
        let whole = || request(false, get("/").header("content-length", "9"));
        let partial = |http: &HttpRequest| http.headers["x-envoy-auth-partial-body"].clone();
        let text = asked(&whole().with_body(&b"caf\xc3\xa9 \xff"[..]));
        assert_eq!((&*text.body, text.raw_body.len()), ("caf\u{e9} !", 0));
        assert_eq!((partial(&text), text.size), ("false".into(), 9));
        let message = check_request(&whole().with_partial_body(&b"\xff1"[..]), None, true);
        let bytes = message.attributes.unwrap().request.unwrap().http.unwrap();
        assert_eq!((&*bytes.body, &*bytes.raw_body), ("", &b"\xff1"[..]));
        assert_eq!((partial(&bytes), bytes.size), ("true".into(), 9));
    }
}
