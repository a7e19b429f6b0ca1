//! What a mesh and an Envoy make of the same requests.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Map, Value, json};
use tokio::time::sleep;
use tower_mesh::mesh::ExternalHost;
use tower_mesh::source::Fixed;
use tower_mesh::{Mesh, Workload};

use super::scenario::{Kind, Scenario};
use super::service::Service;
use crate::stub::{App, Connection, Envoy, Ours, Reply, Seen, closed_port, cluster, difference};

/// The service's host for the mesh.
const HOST: &str = "limits.example";

/// What everybody saw of a step.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    reply: Option<Reply>,
    seen: Option<Seen>,
    asked: Vec<Value>,
}

/// Plays every scenario with both; the differences.
pub(super) async fn compare(program: &Path, scenarios: &[Scenario]) -> Vec<String> {
    let service = Service::start().await;
    let down = closed_port().await;
    let app = App::start().await;
    let clusters = [
        cluster("service", service.address, Some(true)),
        cluster("down", down, Some(true)),
    ];
    let filters: Vec<_> = scenarios.iter().map(Scenario::envoy).collect();
    let envoy = Envoy::start(program, app.address, &clusters, &filters);
    let mut differences = Vec::new();
    for (scenario, address) in scenarios.iter().zip(&envoy.addresses) {
        let theirs = play(*address, scenario, &service).await;
        let at = match scenario.is_down() {
            true => down,
            false => service.address,
        };
        let mesh = ours(scenario, at).await;
        let ours = play(mesh.address, scenario, &service).await;
        differences.extend(scenario.difference(&ours, &theirs));
    }
    differences
}

async fn play(to: SocketAddr, scenario: &Scenario, service: &Service) -> Vec<Outcome> {
    let mut connections = [None, None];
    let mut outcomes = Vec::new();
    for step in &scenario.steps {
        sleep(step.after).await;
        service.answer(&step.answer);
        let connection = &mut connections[step.connection];
        if connection.is_none() {
            *connection = Some(Connection::open(to, step.call.version).await);
        }
        let mut reply = connection.as_mut().unwrap().send(&step.call).await;
        let mut seen = reply
            .as_ref()
            .and_then(|reply| Seen::in_answer(&reply.body));
        if let Some(reply) = &mut reply {
            if seen.is_some() {
                reply.body = "the application's".to_owned();
                reply.headers.remove("content-length");
            }
            for name in ["date", "connection"] {
                reply.headers.remove(name);
            }
        }
        if let Some(seen) = &mut seen {
            for name in OF_REQUESTS {
                seen.headers.remove(*name);
            }
        }
        let asked = service.asked();
        outcomes.push(Outcome { reply, seen, asked });
    }
    outcomes
}

/// A mesh with the same limit.
async fn ours(scenario: &Scenario, service: SocketAddr) -> Ours {
    let limit = json!({
        "apiVersion": "mesh.tower/v1",
        "kind": "RateLimit",
        "metadata": {"name": "limit", "namespace": "foo"},
        "spec": scenario.spec(service.port()),
    });
    let host = format!("{HOST}:{}", service.port());
    let builder = Mesh::danger()
        .plaintext(Workload::new("foo", "web"))
        .config(Fixed::yaml("limit.yaml", limit.to_string()))
        .outside(&host, ExternalHost::plaintext().at([service]));
    Ours::start(builder).await
}

impl Outcome {
    fn told(&self) -> Value {
        json!({
            "reply": self.reply.as_ref().map(Reply::told),
            "application": self.seen.as_ref().map(Seen::told),
            "asked": self.asked,
        })
    }
}

impl Scenario {
    fn is_down(&self) -> bool {
        self.filter["cluster"] == "down"
    }

    fn difference(&self, ours: &[Outcome], theirs: &[Outcome]) -> Option<String> {
        let status = |outcome: &Outcome| outcome.reply.as_ref().map_or(0, |reply| reply.status);
        let is_same = ours == theirs;
        let is_right = match &self.listed {
            None => is_same,
            Some(listed) => !is_same && ours.iter().map(status).eq(listed.statuses.iter().copied()),
        };
        let why = self.listed.as_ref().map(|listed| listed.why);
        (!is_right).then(|| {
            let told = |outcomes: &[Outcome]| outcomes.iter().map(Outcome::told).collect();
            let places = difference(&told(ours), &told(theirs)).join("\n  ");
            format!("{}, listed: {why:?}\n  {places}", self.name)
        })
    }

    /// The fields of our kind.
    fn spec(&self, port: u16) -> Value {
        let mut spec = json!({});
        let filter = self.filter.as_object().unwrap();
        let mut inner = Map::new();
        for (field, value) in filter {
            let (place, name) = match field.as_str() {
                "enable_x_ratelimit_headers" | "rate_limited_as_resource_exhausted" => {
                    (&mut spec, camel(field))
                }
                "status" | "rate_limited_status" => {
                    spec["rateLimitedStatus"] = value["code"].clone();
                    continue;
                }
                "status_on_error" => {
                    inner.insert("statusOnError".to_owned(), value["code"].clone());
                    continue;
                }
                "response_headers_to_add" | "request_headers_to_add_when_not_enforced" => {
                    let headers = value.as_array().unwrap().iter();
                    let headers = headers.map(|added| {
                        json!({"name": added["header"]["key"], "value": added["header"]["value"]})
                    });
                    spec[camel(field)] = headers.collect();
                    continue;
                }
                "filter_enabled" | "cluster" => continue,
                "filter_enforced" => {
                    if value["default_value"]["numerator"] == 0 {
                        spec["reportOnly"] = true.into();
                    }
                    continue;
                }
                "local_rate_limit_per_downstream_connection" => {
                    inner.insert("perConnection".to_owned(), value.clone());
                    continue;
                }
                "max_dynamic_descriptors" => {
                    inner.insert("maxKeys".to_owned(), value.clone());
                    continue;
                }
                _ => {
                    inner.insert(camel(field), camel_all(value));
                    continue;
                }
            };
            place[name] = value.clone();
        }
        if self
            .actions
            .as_array()
            .is_some_and(|actions| !actions.is_empty())
        {
            spec["rateLimits"] = camel_all(&self.actions);
        }
        let field = match self.kind {
            Kind::Local => "local",
            Kind::Global => {
                inner.insert("host".to_owned(), HOST.into());
                inner.insert("port".to_owned(), port.into());
                "service"
            }
        };
        spec[field] = inner.into();
        spec
    }
}

/// What a proxy adds to requests by itself.
const OF_REQUESTS: &[&str] = &[
    "traceparent",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-forwarded-proto",
    "x-request-id",
];

/// `like_this` as `likeThis`.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(1);
        name + &initial.to_ascii_uppercase() + rest
    })
}

/// The same for every field below.
fn camel_all(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter();
            Value::Object(
                fields
                    .map(|(name, value)| (camel(name), camel_all(value)))
                    .collect(),
            )
        }
        Value::Array(list) => list.iter().map(camel_all).collect(),
        value => value.clone(),
    }
}
