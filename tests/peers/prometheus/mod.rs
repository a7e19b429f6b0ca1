//! Prometheus' own tools read what we write: `promtool`, the strict parser of its Python client, and a real server that scrapes a mesh. They
//! are asked what Istio's dashboards and Kiali ask.

mod openmetrics;
mod promtool;
mod queries;
mod server;
mod traffic;
