//! The body of a call: streamed once, or kept so that it can be sent again.

pub(in crate::mesh) mod outgoing;
pub(in crate::mesh) mod replay;
pub(in crate::mesh) mod streamed;
