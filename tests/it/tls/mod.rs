mod connection;
mod identity;
pub(crate) mod support;
