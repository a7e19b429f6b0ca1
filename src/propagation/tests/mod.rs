//! What the module does as a whole, by subject.

mod any_headers;
mod b3;
mod baggage;
mod client;
mod fixture;
mod ids;
mod optional;
mod options;
mod request_id;
mod server;
mod w3c;
