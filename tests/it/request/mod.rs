//! What guards and applications see of a request.

mod extractors;
mod gate;
mod gate_and_policy;
mod guards_that_ask;
mod guards_that_read;
mod header_trust;
pub(crate) mod layers_alone;
mod nested;
mod one_host;
mod routes;
mod seen_headers;
mod typed_claims;
mod whole_target;
