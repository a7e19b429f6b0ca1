//! Compiles the rules of Authorizers, so that a bad one is found when it is read.

use crate::istio::{Loader, Problem, Text};

/// Reports every rule that cannot be used, with its place.
pub(super) fn check(loader: &mut Loader) {
    let rules = loader.authorizers().iter();
    let rules = rules.filter_map(|authorizer| authorizer.expression.as_ref());
    let problem = |rule: &Text| {
        let message = mistake(rule)?;
        Some(Problem::new(rule.at().clone(), "spec.expression", message))
    };
    let problems: Vec<_> = rules.filter_map(problem).collect();
    for problem in problems {
        loader.report(problem);
    }
}

#[cfg(feature = "cel")]
fn mistake(rule: &str) -> Option<String> {
    let error = crate::cel::Expression::compile(rule).err()?;
    Some(error.to_string())
}

#[cfg(not(feature = "cel"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "with the feature `cel` a rule may be good"
)]
fn mistake(_: &str) -> Option<String> {
    let message = "expressions need the feature `cel` of tower-mesh; build with it";
    Some(message.to_owned())
}
