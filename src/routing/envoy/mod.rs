//! Prints routes as Envoy's own configuration (proto3 JSON, field names as in the `.proto` files),
//! in the shape that Istio gives it.

mod action;
mod json;
mod matches;
mod policies;
mod table;

pub use table::{route, route_configuration};
