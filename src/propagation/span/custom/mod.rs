//! Tags that an operator adds to the spans of the mesh.

mod error;
#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, reason = "resources of a mesh have such tags")
)]
pub(in crate::propagation) mod formatted;
pub(in crate::propagation) mod tag;
pub(in crate::propagation) mod texts;

pub use error::CustomTagError;
