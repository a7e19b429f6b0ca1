//! The kinds that route and balance calls: what is read, and what is refused.

use super::*;
use crate::istio::traffic::TrafficResources;

mod any_text;
mod cases;
mod gateway_api;
mod kinds;
mod kubernetes;
mod mesh;
mod read;
mod refused;

/// What is read of a text.
fn read(text: &str) -> TrafficResources {
    match parse("f", text, "srv") {
        Ok(resources) => resources.traffic,
        Err(problems) => panic!("{text}\n{problems}"),
    }
}

/// A resource of `networking.istio.io` whose `spec` is written in its fourth line.
fn resource(kind: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: a, namespace: srv}}\nspec: {spec}\n"
    )
}

/// The notes of a text that is good.
fn notes(text: &str) -> Vec<String> {
    let resources = parse("f", text, "srv").unwrap();
    let notes = resources.notes.iter();
    notes.map(ToString::to_string).collect()
}
