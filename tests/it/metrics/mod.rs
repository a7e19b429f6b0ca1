//! Metrics beyond the plain scrape: options, exemplars, other libraries, collectors, and the cases of the sidecar that they must equal.

mod adapters;
mod cases;
mod conventions;
mod exemplars;
mod expressions;
mod options;
mod otlp;
mod plans;

use std::collections::BTreeMap;

use axum::Router;
use axum::routing::{get, post};
use http::{Request, StatusCode};
use tower_mesh::Mesh;
use tower_mesh::mesh::ClientBody;
use tower_mesh::metrics::{Format, Registry};

/// A small application.
fn routes() -> Router {
    Router::new()
        .route("/text", get(async || "hello"))
        .route("/echo", post(async |body: String| body))
        .route("/fails", get(async || StatusCode::INTERNAL_SERVER_ERROR))
}

/// One call to the application, read to its end.
async fn call(mesh: &Mesh, path: &str) -> u16 {
    let request = Request::get(format!("http://app.default{path}"));
    let request = request.body(ClientBody::empty()).unwrap();
    let answer = mesh.client().request(request).await.unwrap();
    crate::support::mesh::read(answer).await.0
}

/// The samples of a text, by name and sorted labels. Values and bounds are compared as numbers.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let sample = |line: &str| {
        let (series, rest) = match line.split_once("} ") {
            Some((series, rest)) => (series.to_owned(), rest),
            None => {
                let (name, rest) = line.split_once(' ').unwrap();
                (name.to_owned(), rest)
            }
        };
        let value = rest.split(' ').next().unwrap().parse().unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((&series, ""));
        let labels = labels.split("\",").map(|label| label.trim_end_matches('"'));
        let mut labels: Vec<_> = labels
            .map(|label| match label.strip_prefix("le=\"") {
                Some("+Inf") | None => label.to_owned(),
                Some(bound) => format!("le={}", bound.parse::<f64>().unwrap()),
            })
            .collect();
        labels.sort();
        (format!("{name} {}", labels.join(",")), value)
    };
    lines.map(sample).collect()
}

fn text(registry: &Registry) -> String {
    registry.render(Format::Text)
}
