//! Labels with an expression, when Telemetry resources replace it while the mesh runs.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use http::{HeaderName, Request, StatusCode};
use tower::Service as _;
use tower_mesh::metrics::{Format, Registry};
use tower_mesh::source::{Configuration, Fixed, Sender, channel};
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Peer};

use super::text;
use crate::support::mesh::{app, build, proven, read};

/// A workload whose Telemetry resources a test changes.
struct Ward {
    mesh: Mesh,
    sender: Sender,
    router: Router,
}

/// Overrides of these metrics, each with a label and its expression.
fn overrides(tags: &[(&str, &str, &str)]) -> Configuration {
    let mut text = "
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: labels, namespace: istio-system}
spec:
  metrics:
  - overrides:
"
    .to_owned();
    for (metric, label, expression) in tags {
        text += &format!(
            "    - {{match: {{metric: {metric}, mode: SERVER}}, tagOverrides: {{{label}: {{value: \"{expression}\"}}}}}}\n"
        );
    }
    Fixed::yaml("telemetry.yaml", text).load("default").unwrap()
}

impl Ward {
    async fn new(tags: &[(&str, &str, &str)]) -> Self {
        let (sender, channel) = channel(overrides(tags));
        let pki = Pki::new("cluster.local").unwrap();
        let mesh = build(app(&pki).config(channel)).await;
        let router = Router::new().fallback(async || "ok").layer(mesh.server());
        Self {
            mesh,
            sender,
            router,
        }
    }

    async fn change(&self, tags: &[(&str, &str, &str)]) {
        self.sender.send(overrides(tags)).await.unwrap();
    }

    async fn ask(&mut self, from: &Peer, headers: &[(&str, &str)]) {
        let mut request = Request::get("http://app.default/")
            .body(Body::empty())
            .unwrap();
        request.extensions_mut().insert(from.clone());
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let answer = self.router.call(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        read(answer).await;
    }
}

/// How many requests a family has counted, by the value of a label.
fn by_value(registry: &Registry, family: &str, label: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for line in text(registry).lines() {
        let Some(labels) = line.strip_prefix(family).and_then(|l| l.strip_prefix('{')) else {
            continue;
        };
        let (_, rest) = labels.split_once(&format!("{label}=\"")).unwrap();
        let (value, _) = rest.split_once('"').unwrap();
        let (_, count) = line.rsplit_once(' ').unwrap();
        *found.entry(value.to_owned()).or_default() += count.parse::<u64>().unwrap();
    }
    found
}

/// the values of expressions share bounded room, which each new expression finds free.
#[tokio::test]
async fn an_expression_that_is_replaced_gives_its_places_to_the_next() {
    let mut ward = Ward::new(&[]).await;
    let callers = [proven("desk"), proven("lab")];
    let family = "istio_requests_total";
    for round in 0..11_u64 {
        let header = format!("x-{round}");
        let expression = format!("request.headers['{header}']");
        ward.change(&[("REQUEST_COUNT", "x", &expression)]).await;
        for caller in &callers {
            let name = caller.principal().unwrap();
            for value in 0..450 {
                let value = format!("{name}-{value}");
                ward.ask(caller, &[(&header, &value)]).await;
            }
        }
        let mut found = by_value(ward.mesh.metrics(), family, "x");
        let before = found.remove("unknown").unwrap_or_default();
        assert_eq!(before, 900 * round, "round {round}");
        assert_eq!(found.len(), 900, "round {round}");
        assert!(found.values().all(|count| *count == 1), "round {round}");
    }
    // Without an expression, one series for each caller is left, with all that it has counted.
    ward.change(&[]).await;
    let found = by_value(ward.mesh.metrics(), family, "source_principal");
    assert_eq!(
        found.into_values().collect::<Vec<_>>(),
        [11 * 450, 11 * 450]
    );
}

/// A counter with a label whose expression stays goes on, whatever becomes of other expressions.
#[tokio::test]
async fn an_expression_that_stays_keeps_its_values() {
    let team = ("REQUEST_COUNT", "team", "request.headers['x-team']");
    let region = |expression| ("REQUEST_SIZE", "region", expression);
    let mut ward = Ward::new(&[team, region("request.headers['x-a']")]).await;
    let desk = proven("desk");
    let headers = [("x-team", "blue"), ("x-a", "one"), ("x-b", "two")];
    for _ in 0..3 {
        ward.ask(&desk, &headers).await;
    }
    let teams = |ward: &Ward| by_value(ward.mesh.metrics(), "istio_requests_total", "team");
    let regions = |ward: &Ward| {
        let family = "istio_request_bytes_count";
        by_value(ward.mesh.metrics(), family, "region")
    };
    let counts = |counts: &[(&str, u64)]| {
        let counts = counts.iter();
        counts
            .map(|(value, count)| ((*value).to_owned(), *count))
            .collect::<BTreeMap<_, _>>()
    };
    assert_eq!(teams(&ward), counts(&[("blue", 3)]));
    assert_eq!(regions(&ward), counts(&[("one", 3)]));

    ward.change(&[team, region("request.headers['x-b']")]).await;
    assert_eq!(teams(&ward), counts(&[("blue", 3)]));
    assert_eq!(regions(&ward), counts(&[("unknown", 3)]));
    ward.ask(&desk, &headers).await;
    assert_eq!(teams(&ward), counts(&[("blue", 4)]));
    assert_eq!(regions(&ward), counts(&[("unknown", 3), ("two", 1)]));

    // One more, and one less.
    ward.change(&[team]).await;
    ward.ask(&desk, &headers).await;
    assert_eq!(teams(&ward), counts(&[("blue", 5)]));
    let host = ("REQUEST_DURATION", "host", "request.host");
    ward.change(&[host, team]).await;
    ward.ask(&desk, &headers).await;
    assert_eq!(teams(&ward), counts(&[("blue", 6)]));
}

#[tokio::test]
async fn a_series_with_a_value_has_exemplars() {
    let team = ("REQUEST_COUNT", "team", "request.headers['x-team']");
    let mut ward = Ward::new(&[team]).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let headers = [("x-team", "blue"), ("traceparent", parent.as_str())];
    ward.ask(&proven("desk"), &headers).await;
    let text = ward.mesh.metrics().render(Format::OpenMetrics);
    let of = |line: &&str| line.starts_with("istio_requests_total{") && line.contains("\"blue\"");
    let line = text.lines().find(of).unwrap();
    assert!(line.contains(&format!("trace_id=\"{trace}\"")), "{line}");
}
