//! Tags that an operator adds to the spans of the mesh.

mod error;
pub(in crate::propagation) mod tag;

pub use error::CustomTagError;
