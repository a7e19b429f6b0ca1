//! A service that calls whom it is told to, for the W3C's trace-context test suite to judge our propagation.
//!
//! ```text
//! cargo run --example trace_context -- 127.0.0.1:5000
//! STRICT_LEVEL=2 SPEC_LEVEL=2 python3 test.py http://127.0.0.1:5000/test     # in the suite's own directory
//! ```
//!
//! `POST /test` takes `[{"url": .., "arguments": [..]}]`, sends each `arguments` to its `url`, all at once, and answers when every call has
//! ended. Nothing here speaks of traces: the server layer opens a span for the request, the client layer one for each call.

#![allow(
    clippy::print_stdout,
    unreachable_pub,
    reason = "a program speaks to its user; the tests run its service as a module"
)]

use std::net::SocketAddr;

use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt};
use tower_mesh::context::{self, TraceContext};
use tower_mesh::propagation::{ClientPropagation, Propagation};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = match std::env::args().nth(1) {
        Some(text) => text.parse().map_err(std::io::Error::other)?,
        None => SocketAddr::from(([127, 0, 0, 1], 5000)),
    };
    let listener = TcpListener::bind(address).await?;
    println!("listening http://{}/test", listener.local_addr()?);
    axum::serve(listener, service()).await
}

/// The service, its propagation around it and around its client.
pub fn service() -> Router {
    let propagation = Propagation::new();
    let client = legacy::Client::builder(TokioExecutor::new()).build_http();
    Router::new()
        .route("/test", post(call_all))
        .with_state(propagation.client_layer().layer(client))
        .layer(propagation.server_layer())
}

type Client = ClientPropagation<legacy::Client<HttpConnector, Full<Bytes>>>;

/// One call to make.
#[derive(Deserialize)]
struct Call {
    url: String,
    arguments: Value,
}

async fn call_all(
    State(client): State<Client>,
    Json(calls): Json<Vec<Call>>,
) -> Result<Json<Value>, (StatusCode, String)> {
    // What is spawned is no longer the request's own task: the trace is handed over.
    let trace = context::current_trace();
    let mut running = JoinSet::new();
    for call in calls {
        running.spawn(call_one(client.clone(), call, trace.clone()));
    }
    let ended = running.join_all().await;
    let statuses: Result<Vec<_>, _> = ended.into_iter().collect();
    match statuses {
        Ok(statuses) => Ok(Json(statuses.into())),
        Err(problem) => Err((StatusCode::BAD_GATEWAY, problem.to_string())),
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn call_one(
    client: Client,
    call: Call,
    trace: Option<TraceContext>,
) -> Result<u16, BoxError> {
    let mut request = Request::post(call.url).header(header::CONTENT_TYPE, "application/json");
    if let Some(trace) = trace {
        request = request.extension(trace);
    }
    let request = request.body(Full::from(call.arguments.to_string()))?;
    let response = client.oneshot(request).await?;
    let status = response.status().as_u16();
    // The call has ended when its answer has been read.
    response.into_body().collect().await?;
    Ok(status)
}
