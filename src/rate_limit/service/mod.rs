//! Limits that a rate limit service counts: `envoy.service.ratelimit.v3`.
//!
//! ```text
//! messages     the messages of the protocol
//! request      the descriptors of a request, as a message
//! client       sends it, over any client that tonic can use
//! long_answer  what is read of an answer that is too long
//! breaker      leaves a service alone that does not answer
//! counter      one limit of a service: asks, and says what becomes of the request
//! answer       what an answer changes about request and response
//! windows      x-ratelimit-*
//! ```

mod answer;
mod breaker;
mod client;
mod counter;
mod long_answer;
mod messages;
mod request;
mod windows;

pub(super) use answer::Decided;
pub(super) use client::Unanswered;
pub(crate) use client::{CountingService, OverGrpc};
pub(super) use counter::ServiceCounter;
pub(super) use messages::RateLimitRequest;
pub(super) use request::message;
pub(super) use windows::Windows;
