//! CUSTOM: a mesh and a real Envoy with the filter that Istio gives it ask the same server, which answers both alike; callers, the
//! application and the server must see the same.

mod authorizer;
mod row;
mod setting;
mod table_grpc;
mod table_http;

pub(crate) use authorizer::{Answer, Authorizer};
pub(crate) use row::Row;
pub(crate) use setting::{Kind, Setting, settings};

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::stub::{App, Call, Envoy, Reply, Seen, call, closed_port, cluster};

/// All rows, each with its number in its path.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = table_grpc::rows();
    rows.extend(table_http::rows());
    for (number, row) in rows.iter_mut().enumerate() {
        row.call.path = row.call.path.replace('@', &number.to_string());
    }
    rows
}

/// What everybody saw of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) reply: Option<Reply>,
    pub(crate) seen: Option<Seen>,
    pub(crate) asked: Vec<Value>,
}

/// Sends a row's request.
pub(crate) async fn ask(to: SocketAddr, number: usize, row: &Row, authorizer: &Authorizer) -> Outcome {
    let mut reply = call(to, &row.call).await;
    let seen = reply.as_ref().and_then(|reply| Seen::in_answer(&reply.body));
    if let (Some(reply), true) = (&mut reply, seen.is_some()) {
        reply.body = "the application's".to_owned();
        reply.headers.remove("content-length");
    }
    Outcome { reply, seen, asked: authorizer.asked(number) }
}

pub(crate) fn start_envoy(program: &Path, app: SocketAddr, authorizer: SocketAddr, down: SocketAddr) -> Envoy {
    let clusters = [
        cluster("grpc", authorizer, Some(true)),
        cluster("http", authorizer, Some(false)),
        cluster("down", down, Some(true)),
    ];
    let filters: Vec<_> = settings().iter().map(Setting::filter).collect();
    Envoy::start(program, app, &clusters, &filters)
}
