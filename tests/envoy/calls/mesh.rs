//! The calls of a mesh's client.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body_util::Empty;
use tokio::sync::oneshot;
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::access_log::{AccessLog, Side, Sink};
use tower_mesh::mesh::{ClientError, ClientResponseBody, ExternalHost};
use tower_mesh::message::GrpcStatus;
use tower_mesh::propagation::Propagation;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Workload};

use super::call::{Call, End};
use super::envoy::MORE;
use super::party::{self, Party, SHORT, arrived, read};
use super::servers::Servers;
use crate::telemetry::app::Seen;
use crate::telemetry::collector::Collector;
use crate::telemetry::parties::{Lines, Logs};
use crate::telemetry::setting::NODE;

/// A mesh whose application calls.
#[derive(Clone)]
pub(super) struct Caller {
    mesh: Mesh,
    /// Of the requests for which the calls are made.
    requests: Propagation,
}

pub(super) async fn start(pki: &Pki, is_zipkin: bool) -> Party {
    let (servers, collector) = (Servers::start(pki).await, Collector::start().await);
    let kept = [Lines::default(), Lines::default(), Lines::default()];
    let [text, json, more] = kept.clone().map(Sink::custom);
    let url = format!("http://{}", collector.address);
    let workload = Workload::new("foo", "desk").label("app", "desk");
    let mut builder = Mesh::builder(workload, pki.identity("foo", "desk").unwrap());
    for (host, addresses, id) in servers.inside() {
        builder = builder.upstream(&host, addresses, [id]);
    }
    for (host, address) in servers.outside() {
        builder = builder.outside(host, ExternalHost::plaintext().at([address]));
    }
    let builder = builder.telemetry(|telemetry| {
        let propagation = Propagation::new().sample_percent(100.0).node_id(NODE);
        let telemetry = telemetry
            .propagation(propagation)
            .access_log(AccessLog::text().full_queries().side(Side::Client).to(text))
            .access_log(AccessLog::json().full_queries().side(Side::Client).to(json))
            .access_log(AccessLog::labels(MORE).unwrap().side(Side::Client).to(more));
        match is_zipkin {
            true => telemetry.zipkin(&url),
            false => telemetry.otlp(&format!("{url}/v1/traces")),
        }
    });
    let (mesh, driver) = builder.build().await.unwrap();
    tokio::spawn(driver.run());
    let caller = Caller {
        mesh,
        requests: Propagation::new().sample_percent(100.0),
    };
    Party::new(
        servers,
        collector,
        Logs::Kept(kept),
        party::Caller::Mesh(caller),
    )
}

impl Caller {
    /// Makes a call, and says what its application gets.
    pub(super) async fn send(&self, call: &Call, seen: &Seen) -> String {
        if call.context.is_empty() {
            return self.call(call, seen).await;
        }
        let (done, answer) = oneshot::channel();
        let (caller, made, came) = (self.clone(), call.clone(), seen.clone());
        let mut handler = Some(async move {
            let _ = done.send(caller.call(&made, &came).await);
        });
        let service =
            self.requests
                .server_layer()
                .layer(service_fn(move |_: Request<Empty<Bytes>>| {
                    let handler = handler.take().unwrap();
                    async {
                        handler.await;
                        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                    }
                }));
        let mut request = Request::get("http://desk.foo/");
        for (name, value) in &call.context {
            request = request.header(HeaderName::from_static(name), value);
        }
        drop(service.oneshot(request.body(Empty::new()).unwrap()).await);
        answer.await.unwrap()
    }

    async fn call(&self, call: &Call, seen: &Seen) -> String {
        if call.end == End::Leaves {
            tokio::select! {
                _ = self.answer(call) => panic!("{}: an answer", call.name),
                () = arrived(call, seen) => return "left".to_owned(),
            }
        }
        match self.answer(call).await {
            Ok(response) => read(call, response).await,
            // Of Envoy it gets a response.
            Err(error) => match call.is_grpc() {
                true => format!("200, grpc {}", GrpcStatus::from_http(error.status()).code()),
                false => error.status().as_u16().to_string(),
            },
        }
    }

    async fn answer(&self, call: &Call) -> Result<Response<ClientResponseBody>, ClientError> {
        let (client, request) = (self.mesh.client(), call.request());
        if !call.is_short {
            return client.request(request).await;
        }
        let (head, _) = request.into_parts();
        let builder = match call.method {
            "POST" => client.post(head.uri),
            _ => client.get(head.uri),
        };
        let add =
            |builder: tower_mesh::mesh::RequestBuilder, (name, value)| builder.header(name, value);
        let builder = head.headers.iter().fold(builder, add);
        let builder = builder.version(head.version).body(call.body.clone());
        builder.timeout(SHORT).await
    }

    pub(super) fn metrics(&self) -> String {
        let metrics = self.mesh.metrics();
        metrics.render(tower_mesh::metrics::Format::Text)
    }
}
