//! What a mesh and an Envoy make of the same rows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use tower_mesh::mesh::ExternalHost;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::tls::{Connector, Credentials, Destination, Protocol, Settings};
use tower_mesh::{Mesh, Workload};

use super::authorizer::Authorizer;
use super::row::{Listed, Row};
use super::setting::{HOST, Setting, settings};
use crate::server;
use crate::stub::{
    App, Connection, Envoy, Filter, Ours, Reply, Seen, closed_port, cluster, difference,
};

/// What everybody saw of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    reply: Option<Reply>,
    seen: Option<Seen>,
    asked: Vec<Value>,
}

/// The parties, all on the loopback.
pub(super) struct World {
    pki: Pki,
    authorizer: Authorizer,
    /// One address of each for every setting.
    envoy: Envoy,
    ours: Vec<Ours>,
    settings: Vec<Setting>,
}

impl World {
    pub(super) async fn start(program: &Path, rows: &[Row]) -> Self {
        let pki = Pki::new("cluster.local").unwrap();
        let answers = rows.iter().map(|row| row.answer.clone()).collect();
        let authorizer = Authorizer::start(answers).await;
        let down = closed_port().await;
        let app = App::start().await;
        let settings = settings();
        let mut ours = Vec::new();
        for setting in &settings {
            let at = match setting.is_down {
                true => down,
                false => authorizer.address,
            };
            ours.push(ours_of(setting, at, &pki).await);
        }
        let clusters = [
            cluster("grpc", authorizer.address, Some(true)),
            cluster("http", authorizer.address, Some(false)),
            cluster("down", down, Some(true)),
        ];
        let filters: Vec<_> = settings
            .iter()
            .map(|setting| Filter {
                transport_socket: setting.is_mutual.then(|| server::tls(&pki)),
                ..setting.filter()
            })
            .collect();
        let envoy = Envoy::start(program, app.address, &clusters, &filters);
        Self {
            pki,
            authorizer,
            envoy,
            ours,
            settings,
        }
    }

    /// Where the two differ in a row, and where the difference is not the listed one.
    pub(super) async fn difference(&self, number: usize, row: &Row) -> Option<String> {
        let at = self.settings.iter();
        let at = at
            .clone()
            .position(|setting| setting.name == row.setting)
            .unwrap();
        let setting = &self.settings[at];
        let theirs = self
            .ask(self.envoy.addresses[at], number, row, setting)
            .await;
        let ours = self.ask(self.ours[at].address, number, row, setting).await;
        let is_same = ours == theirs;
        let is_right = match &row.listed {
            None => is_same,
            Some(listed) => !is_same && ours.is(listed),
        };
        let why = row.listed.as_ref().map(|listed| listed.why);
        (!is_right).then(|| {
            let places = difference(&ours.told(), &theirs.told()).join("\n  ");
            let (name, setting) = (row.name, row.setting);
            format!("{name} [{setting}] {number}, listed: {why:?}\n  {places}")
        })
    }

    async fn ask(&self, to: SocketAddr, number: usize, row: &Row, setting: &Setting) -> Outcome {
        let version = row.call.version;
        let mut connection = match setting.is_mutual {
            true => self.mutual(to, version).await,
            false => Connection::open(to, version).await,
        };
        let mut reply = connection.send(&row.call).await;
        let mut seen = reply
            .as_ref()
            .and_then(|reply| Seen::in_answer(&reply.body));
        if let Some(reply) = &mut reply {
            if seen.is_some() {
                reply.body = "the application's".to_owned();
                reply.headers.remove("content-length");
            }
            // Of a body that another application wrote.
            if row.call.method == "HEAD" {
                reply.headers.remove("content-length");
            }
            forget(&mut reply.headers, OF_REPLIES);
        }
        let is_sent = |name: &str| {
            let mut sent = row.call.headers.iter();
            sent.any(|(sent, _)| sent.eq_ignore_ascii_case(name))
        };
        let own: Vec<_> = OF_REQUESTS.iter().filter(|name| !is_sent(name)).collect();
        if let Some(seen) = &mut seen {
            forget(&mut seen.headers, own.iter().copied());
            seen.headers.remove("transfer-encoding");
            if seen
                .headers
                .get("content-length")
                .is_some_and(|length| length == "0")
            {
                seen.headers.remove("content-length");
            }
        }
        let mut asked = self.authorizer.asked(number);
        for asked in &mut asked {
            let headers = asked["headers"].as_object_mut().unwrap();
            for name in own.iter().copied().chain(OF_CLIENTS) {
                headers.remove(*name);
            }
        }
        Outcome { reply, seen, asked }
    }

    /// A connection of another workload's.
    async fn mutual(&self, to: SocketAddr, version: http::Version) -> Connection {
        let server = self.pki.identity("foo", "web").unwrap();
        let caller = self.pki.identity("default", "caller").unwrap();
        let protocol = match version {
            http::Version::HTTP_2 => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let id = server.svid().spiffe_id().clone();
        let destination =
            Destination::new([id], "outbound_.80_._.web.foo.svc.cluster.local", protocol);
        let credentials = Credentials::new(&caller, Settings::default()).unwrap();
        let connected = Connector::new(credentials)
            .connect(to, &destination.unwrap())
            .await;
        Connection::over(connected.unwrap().0, version).await
    }
}

/// A mesh whose every request is a matter for the provider.
async fn ours_of(setting: &Setting, at: SocketAddr, pki: &Pki) -> Ours {
    let mesh = json!({"extensionProviders": [setting.provider(at)]});
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": mesh.to_string()},
    });
    let policy = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "ask", "namespace": "foo"},
        "spec": {"action": "CUSTOM", "provider": {"name": setting.name}, "rules": [{}]},
    });
    let workload = Workload::new("foo", "web");
    let builder = match setting.is_mutual {
        true => Mesh::builder(workload, pki.identity("foo", "web").unwrap()),
        false => Mesh::danger().plaintext(workload),
    };
    let host = format!("{HOST}:{}", at.port());
    let builder = builder
        .config(Fixed::yaml("mesh.yaml", format!("{map}\n---\n{policy}\n")))
        .outside(&host, ExternalHost::plaintext().at([at]));
    Ours::start(builder).await
}

fn forget<'n>(
    headers: &mut BTreeMap<String, String>,
    names: impl IntoIterator<Item = &'n &'n str>,
) {
    for name in names {
        headers.remove(*name);
    }
}

impl Outcome {
    fn is(&self, listed: &Listed) -> bool {
        self.reply.as_ref().map_or(0, |reply| reply.status) == listed.status
            && self.seen.is_some() == listed.reaches
    }

    fn told(&self) -> Value {
        json!({
            "reply": self.reply.as_ref().map(Reply::told),
            "application": self.seen.as_ref().map(Seen::told),
            "asked": self.asked,
        })
    }
}

/// What says nothing of the answer.
const OF_REPLIES: &[&str] = &[
    "date",
    "connection",
    "transfer-encoding",
    // Of Envoy's own call to the provider.
    "x-envoy-upstream-service-time",
];

/// What a proxy adds to requests by itself.
const OF_REQUESTS: &[&str] = &[
    "traceparent",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-forwarded-client-cert",
    "x-forwarded-proto",
    "x-request-id",
];

/// What the clients add to their calls.
const OF_CLIENTS: &[&str] = &[
    "x-b3-parentspanid",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-internal",
];
