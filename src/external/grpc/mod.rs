//! Providers that speak gRPC: `envoy.service.auth.v3.Authorization/Check`.

mod answer;
mod check_request;
mod client;
mod messages;

pub use client::GrpcAuthorizer;
