//! Tokens: where a request carries them, how one is taken apart, and what a rule demands of it.

mod header;
mod jws;
mod location;
mod registered;
mod svid;
mod verify;

pub(crate) use header::Header;
pub(crate) use jws::Jws;
pub(crate) use location::{Found, Location, without_parameters};
pub use verify::verify_jws;
pub(crate) use verify::{Demands, Issuer, Window, verify};
