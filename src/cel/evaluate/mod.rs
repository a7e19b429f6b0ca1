//! What a rule does with a request.

pub(in crate::cel) mod fault;
pub(in crate::cel) mod interpret;
pub(in crate::cel) mod node;
mod read;
pub(in crate::cel) mod value;
