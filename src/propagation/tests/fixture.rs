use std::net::SocketAddr;
use std::time::SystemTime;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, response};

use crate::context::{Exchange, Peer, TlsFacts, TraceContext};
use crate::identity::PeerCertificate;
use crate::propagation::Propagation;

pub(super) const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
pub(super) const SPAN: &str = "b7ad6b7169203331";
pub(super) const UUID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

pub(super) fn request(headers: &[(&str, &str)]) -> Parts {
    let (mut request, ()) = Request::new(()).into_parts();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        request
            .headers
            .append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    request
}

pub(super) fn answer() -> response::Parts {
    Response::new(()).into_parts().0
}

pub(super) fn outsider() -> Exchange {
    let exchange = Exchange::default();
    exchange.set_peer(Peer::plaintext(address(), address()));
    exchange
}

pub(super) fn insider() -> Exchange {
    let exchange = Exchange::default();
    let certificate = PeerCertificate {
        spiffe_id: Some("spiffe://cluster.local/ns/default/sa/web".parse().unwrap()),
        ..PeerCertificate::default()
    };
    let facts = TlsFacts {
        certificate: Some(certificate),
        ..TlsFacts::default()
    };
    exchange.set_peer(Peer::tls(address(), address(), facts));
    exchange
}

pub(super) fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH
}

pub(super) fn address() -> SocketAddr {
    ([127, 0, 0, 1], 8443).into()
}

/// The context and the headers that a request with these headers gets.
pub(super) fn begin_with(
    propagation: &Propagation,
    exchange: &Exchange,
    headers: &[(&str, &str)],
) -> (TraceContext, HeaderMap) {
    let mut request = request(headers);
    drop(propagation.begin(&mut request, exchange, epoch));
    (exchange.trace().unwrap().clone(), request.headers)
}

pub(super) fn begin(headers: &[(&str, &str)]) -> (TraceContext, HeaderMap) {
    begin_with(&Propagation::new(), &Exchange::default(), headers)
}

pub(super) fn shown(headers: &HeaderMap, name: &str) -> String {
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    values.join("|")
}
