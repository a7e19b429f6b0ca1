//! Providers that speak plain HTTP: they see the head of the request, and answer with a status.

mod answer;
mod check_request;
mod client;
mod patterns;

pub use client::HttpAuthorizer;
pub use patterns::HeaderPatterns;
