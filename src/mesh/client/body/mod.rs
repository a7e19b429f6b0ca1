//! The body of a call: streamed once, or kept to be sent again.

pub(in crate::mesh) mod outgoing;
pub(in crate::mesh) mod replay;
pub(in crate::mesh) mod streamed;
