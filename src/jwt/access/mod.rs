//! Which requests pass a token guard: how strict it is about missing and bad tokens, and where it
//! reads none.

mod excluded_path;
mod mode;
mod request_path;
mod terms;

pub use excluded_path::{ExcludedPath, ExcludedPathError};
pub use mode::TokenMode;
pub(crate) use request_path::RequestPath;
pub(crate) use terms::Terms;
