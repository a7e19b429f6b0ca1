//! Prometheus' own tools read what we write: `promtool`, the strict parser of its Python client, and a real server that scrapes a mesh
//! and the example. They are asked what Istio's dashboards and Kiali ask.

mod dashboards;
mod example;
mod kiali;
mod openmetrics;
mod promtool;
mod queries;
mod server;
mod traffic;
