//! Guard for end-user tokens: Istio's RequestAuthentication, and the `origins` of its legacy Policy.

mod algorithm;
mod answer;
mod authenticator;
mod base64url;
mod effect;
mod few;
mod json;
mod key;
mod keyring;
mod keys;
mod layer;
mod legacy;
mod location;
mod refusal;
mod rule;
mod seen;
mod token;
mod verify;

pub use authenticator::Authenticator;
pub use keyring::{Jwks, KeySource, Keyring};
pub use keys::{KeySet, KeySetError};
pub use layer::{Jwt, JwtLayer, ResponseFuture};
pub use refusal::Refusal;
pub use verify::verify_jws;
