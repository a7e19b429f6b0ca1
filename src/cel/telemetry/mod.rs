//! Expressions that are evaluated at the end of an exchange, for Telemetry resources.

// expression   compiled, and evaluated over facts
//   names      the names of facts in an expression
//     fact     what is asked for, and its value

mod expression;
mod fact;
mod names;
#[cfg(test)]
mod tests;

pub use expression::{Condition, TagValue};
pub use fact::{Fact, FactValue, Facts, PeerField};
