//! The engine itself: a program made ready to run, and how it is built and asked.

mod builder;
mod claims;
mod judge;
mod judgement;
mod near_miss;
mod request;
mod stages;
mod trigger;

pub use builder::EngineBuilder;
#[cfg(any(feature = "jwt", feature = "diff"))]
pub(crate) use claims::fold_audience;
pub use claims::split_words;
pub use judge::Engine;
#[cfg(feature = "vet")]
pub(crate) use judge::normalization;
pub use judgement::{Access, CustomMatch, Judgement, ProviderAnswers};
pub use near_miss::near_misses;
pub use request::Request;
pub use trigger::Triggers;
