//! What a request's headers may say, and on whose word.

mod trust;

pub use trust::{ForwardClientCert, forwarded_client_cert, forwarded_for, strip};
