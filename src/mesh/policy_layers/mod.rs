//! Token rules and policies without a mesh, as layers that an application composes itself: the
//! public [`Guards`]. The trait of a guard is in `src/guard`.

mod builder;
mod handle;
mod order;
mod parts;
mod pinned;

pub use builder::GuardsBuilder;
pub use handle::Guards;
