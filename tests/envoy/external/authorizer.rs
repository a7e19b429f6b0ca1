//! The server that is asked: it answers as the row says whose number is in the path, and notes what it was asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::stub::messages::{Attributes, CheckRequest, CheckResponse, Peer};
use crate::stub::{Reaction, Whole, decode, grpc, grpc_error, joined, plain, serve, text};

/// What the server does with a question.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Http(u16, Vec<(&'static str, &'static str)>, &'static str),
    Check(Box<CheckResponse>),
    Grpc(u16),
    /// None, and no end either.
    Hang,
    /// The connection, or the stream, ends.
    Close,
}

/// The server; it ends with the runtime.
pub(crate) struct Authorizer {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<(usize, Value)>>>,
}

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

impl Authorizer {
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(answers);
        let noting = Arc::clone(&asked);
        let address = serve(move |whole| {
            let (case, told) = told(&whole);
            noting.lock().unwrap().push((case, told));
            let answer = answers[case].clone();
            async move { react(answer).await }
        })
        .await;
        Self { address, asked }
    }

    /// What it was asked for this row since the last time.
    pub(crate) fn asked(&self, case: usize) -> Vec<Value> {
        let mut asked = self.asked.lock().unwrap();
        let (found, rest) = std::mem::take(&mut *asked)
            .into_iter()
            .partition(|(of, _)| *of == case);
        *asked = rest;
        let found: Vec<(usize, Value)> = found;
        found.into_iter().map(|(_, told)| told).collect()
    }
}

async fn react(answer: Answer) -> Reaction {
    match answer {
        Answer::Http(status, headers, body) => plain(status, &headers, body),
        Answer::Check(response) => grpc(&*response),
        Answer::Grpc(code) => grpc_error(code),
        Answer::Hang => std::future::pending().await,
        Answer::Close => None,
    }
}

/// The number in `/case/<n>`.
fn case(path: &str) -> usize {
    let (_, rest) = path.split_once("/case/").unwrap();
    let end = rest.find(|letter: char| !letter.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().unwrap()
}

fn told(whole: &Whole) -> (usize, Value) {
    let path = whole.uri().path_and_query().unwrap().as_str();
    if path != CHECK {
        let told = json!({
            "method": whole.method().as_str(),
            "path": path,
            "headers": joined(whole.headers()),
            "body": text(whole.body()),
        });
        return (case(path), told);
    }
    let request: CheckRequest = decode(whole);
    let attributes = request.attributes.unwrap_or_default();
    let authority = whole.uri().authority().map(|authority| authority.host());
    let http = &attributes.request.as_ref().unwrap().http;
    let case = case(&http.as_ref().unwrap().path);
    let mut told = attributes_told(&attributes);
    told["call"] = json!({
        "authority": authority,
        "has_timeout": whole.headers().contains_key("grpc-timeout"),
        "content-type": joined(whole.headers()).get("content-type"),
    });
    (case, told)
}

fn attributes_told(attributes: &Attributes) -> Value {
    let asked = attributes.request.as_ref().unwrap();
    let http = asked.http.as_ref().unwrap();
    let headers: BTreeMap<_, _> = http.headers.iter().collect();
    json!({
        "source": attributes.source.as_ref().map(peer_told),
        "destination": attributes.destination.as_ref().map(peer_told),
        "has_time": asked.time.is_some_and(|time| time.seconds > 0),
        "has_id": !http.id.is_empty(),
        "method": http.method,
        "path": http.path,
        "host": http.host,
        "scheme": http.scheme,
        "query": http.query,
        "fragment": http.fragment,
        "size": http.size,
        "protocol": http.protocol,
        "body": http.body,
        "raw_body": text(&http.raw_body),
        "headers": headers,
        "context_extensions": attributes.context_extensions.len(),
        "metadata_context": attributes.metadata_context.as_deref().map_or(0, <[u8]>::len),
        "route_metadata_context": attributes.route_metadata_context.as_deref().map_or(0, <[u8]>::len),
        "tls_session": attributes.tls_session.as_ref().map(|bytes| text(bytes)),
    })
}

fn peer_told(peer: &Peer) -> Value {
    let socket = peer
        .address
        .as_ref()
        .and_then(|address| address.socket_address.as_ref());
    json!({
        "address": socket.map(|socket| &socket.address),
        "has_port": socket.is_some_and(|socket| socket.port != 0),
        "service": peer.service,
        "principal": peer.principal,
        "labels": peer.labels.len(),
        "certificate": peer.certificate,
    })
}
