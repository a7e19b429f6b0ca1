//! Compiles the expressions of Authorizers and Telemetries, so that a bad one is found when it is
//! read.

use crate::istio::{Loader, Problem, TagOverride, Telemetry, Text};

/// Reports every expression that cannot be used, with its place.
pub(super) fn check(loader: &mut Loader) {
    let rules = loader.authorizers().iter();
    let rules = rules.filter_map(|authorizer| authorizer.expression.as_ref());
    let rules = rules.map(|rule| (rule, "spec.expression".to_owned(), Use::Rule));
    let telemetries = loader.telemetries().iter();
    let all = rules.chain(telemetries.flat_map(|telemetry| of_telemetry(telemetry)));
    let problem = |(text, field, of): (&Text, String, Use)| {
        let message = mistake(text, of)?;
        Some(Problem::new(text.at().clone(), field, message))
    };
    let problems: Vec<_> = all.filter_map(problem).collect();
    for problem in problems {
        loader.report(problem);
    }
}

/// What an expression is for.
#[derive(Clone, Copy)]
enum Use {
    /// A rule of an Authorizer.
    Rule,
    /// A filter of access logs.
    Filter,
    /// The value of a metric's label.
    Tag,
}

fn of_telemetry(telemetry: &Telemetry) -> Vec<(&Text, String, Use)> {
    let mut found = Vec::new();
    for (index, entry) in telemetry.access_logging.iter().enumerate() {
        let field = format!("spec.accessLogging[{index}].filter.expression");
        found.extend(
            entry
                .filter
                .iter()
                .map(|text| (text, field.clone(), Use::Filter)),
        );
    }
    for (index, entry) in telemetry.metrics.iter().enumerate() {
        for (place, one) in entry.overrides.iter().enumerate() {
            for (label, tag) in &one.tag_overrides {
                if let TagOverride::Upsert(text) = tag {
                    let field = format!(
                        "spec.metrics[{index}].overrides[{place}].tagOverrides[{label}].value"
                    );
                    found.push((text, field, Use::Tag));
                }
            }
        }
    }
    found
}

#[cfg(feature = "cel")]
fn mistake(text: &str, of: Use) -> Option<String> {
    let error = match of {
        Use::Rule => crate::cel::Expression::compile(text).err()?,
        Use::Filter => crate::cel::Condition::compile(text).err()?,
        Use::Tag => crate::cel::TagValue::compile(text).err()?,
    };
    Some(error.to_string())
}

#[cfg(not(feature = "cel"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "with the feature `cel` an expression may be good"
)]
fn mistake(_: &str, of: Use) -> Option<String> {
    // They differ only where they are compiled.
    match of {
        Use::Rule | Use::Filter | Use::Tag => {}
    }
    let message = "expressions need the feature `cel` of tower-mesh; build with it";
    Some(message.to_owned())
}
