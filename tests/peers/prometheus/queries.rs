//! What Istio's dashboards and Kiali ask, and what they must get for the requests of [`Traffic`](super::traffic::Traffic).

use super::{dashboards, kiali};

/// A query, and the labels and the value of each series of its answer.
pub(super) struct Query {
    pub(super) expression: String,
    pub(super) answer: Vec<(String, usize)>,
}

pub(super) fn query(expression: impl Into<String>, answer: &[(&str, usize)]) -> Query {
    Query {
        expression: expression.into(),
        answer: answer
            .iter()
            .map(|(labels, value)| ((*labels).to_owned(), *value))
            .collect(),
    }
}

/// The increase of a counter is all that the traffic made.
pub(super) fn all() -> Vec<Query> {
    let mut all = dashboards::all();
    all.extend(kiali::all());
    all
}

pub(super) const REVIEWS: &str = "reviews.bookinfo.svc.cluster.local";
/// The same workload, without HTTP.
pub(super) const DATABASE: &str = "database.bookinfo.svc.cluster.local";
/// The workload that calls both.
pub(super) const WEB: &str = r#"{source_workload="web-v1", source_workload_namespace="bookinfo"}"#;
