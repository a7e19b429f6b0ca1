//! What commands read: options, requests, lines of input, the configuration.

pub(crate) mod lines;
pub(crate) mod options;
pub(crate) mod providers;
pub(crate) mod question;
pub(crate) mod world;
