//! Rate limits as they are compiled for one workload: what is counted, how much of it may pass, and
//! who counts. The shapes are those of Envoy's filters `ratelimit` and `local_ratelimit`.
//!
//! `mesh.tower/v1` RateLimit compiles to a [`Limit`], in [`Program::limits`](crate::policy::Program::limits);
//! an application can make one itself. Nothing here counts.

mod action;
mod spec;

pub use action::{Action, Fallback, PathPattern, QueryMatcher};
pub use spec::{Descriptor, Limit, Local, LocalDescriptor, ServiceLimit, Spec, Stage, TokenBucket};
