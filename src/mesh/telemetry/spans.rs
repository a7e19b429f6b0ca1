//! The options of traces.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::access_log::OperatorText;
use crate::istio::{CustomTag as Written, Problem, Text};
use crate::matcher::path_redaction::PathRedaction;
use crate::propagation::{CustomTag, CustomTagError, TraceOptions};
use crate::telemetry::EffectiveTracing;

/// The application's options, with what resources change.
pub(super) fn options(
    base: &TraceOptions,
    found: &EffectiveTracing,
    shown: &Shown<'_>,
    problems: &mut Vec<Problem>,
) -> TraceOptions {
    let mut options = base.clone();
    if let Some(sampling) = found.sampling {
        options = options.sample_percent(f64::from(sampling.hundredths()) / 100.0);
    }
    if let Some(uses) = found.uses_request_id {
        options = options.sample_by_request_id(uses);
    }
    if let Some(has) = found.has_istio_tags {
        options = options.istio_tags(has);
    }
    if let Some(propagates) = found.propagates_context {
        options = options.send_context(propagates);
    }
    if found.is_off {
        options = options.report_spans(false);
    }
    if !found.custom_tags.is_empty() {
        options = options.custom_tags(tags(&found.custom_tags, shown, problems));
    }
    options
}

fn tags(
    written: &BTreeMap<String, Written>,
    shown: &Shown<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<CustomTag> {
    let mut tags = Vec::with_capacity(written.len());
    for (name, value) in written {
        let (tag, at) = match value {
            Written::Literal(text) => (CustomTag::literal(name.as_str(), text.as_str()), text.at()),
            Written::Environment {
                name: variable,
                default_value,
            } => (
                environment(name, variable, default_value.as_str()),
                variable.at(),
            ),
            Written::Header {
                name: header,
                default_value,
            } => (
                CustomTag::header(name.as_str(), header, default_value.as_str()),
                header.at(),
            ),
            Written::Formatter(text) => match formatted(name, text, shown) {
                Some(tag) => (tag, text.at()),
                None => continue,
            },
        };
        match tag {
            Ok(tag) => tags.push(tag),
            Err(error) => {
                let field = format!("tracing.customTags[{name}]");
                problems.push(Problem::new(at.clone(), field, error.to_string()));
            }
        }
    }
    tags
}

/// The tag of a variable of the environment. In a sidecar that is the proxy's, without secrets; here
/// it is the application's, of which a resource gets what Istio's injector sets, and nothing else.
fn environment(name: &str, variable: &Text, default: &str) -> Result<CustomTag, CustomTagError> {
    if is_injected(variable) {
        return CustomTag::environment(name, variable, default);
    }
    tracing::warn!(
        target: "tower_mesh::config",
        at = %variable.at(),
        tag = name,
        %variable,
        "a span's tag may not show this variable of the application's environment, so it has its \
         default: only those that Istio's injector sets are read; give others with \
         Propagation::custom_tags"
    );
    CustomTag::literal(name, default)
}

fn is_injected(variable: &str) -> bool {
    let mut prefixes = INJECTED_PREFIXES.iter();
    INJECTED.contains(&variable) || prefixes.any(|prefix| variable.starts_with(prefix))
}

const INJECTED: [&str; 9] = [
    "CANONICAL_SERVICE",
    "CANONICAL_REVISION",
    "HOST_IP",
    "HOSTNAME",
    "INSTANCE_IP",
    "NODE_NAME",
    "PILOT_CERT_PROVIDER",
    "SERVICE_ACCOUNT",
    "TRUST_DOMAIN",
];
const INJECTED_PREFIXES: [&str; 3] = ["POD_", "ISTIO_META_", "PROXY_"];

/// What the texts of formatters may show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    /// What no path shows.
    pub(super) hidden: &'a PathRedaction,
    /// The SPIFFE id of the workload's own certificate.
    pub(super) own_id: Option<&'a Arc<str>>,
}

/// The tag of a formatter. Where a single operator says it all, its value is known when the span
/// begins. `None` where it may not show a variable of the environment, as the log then says.
fn formatted(
    name: &str,
    text: &Text,
    shown: &Shown<'_>,
) -> Option<Result<CustomTag, CustomTagError>> {
    if !text.contains('%') {
        return Some(CustomTag::literal(name, text.as_str()));
    }
    match single(text) {
        Some(("REQ", header)) => return Some(CustomTag::header(name, header, "")),
        Some(("ENVIRONMENT", variable)) => {
            let variable = Text::new(variable, text.at().clone());
            return Some(environment(name, &variable, ""));
        }
        _ => {}
    }
    if let Some(variable) = variables(text).find(|variable| !is_injected(variable)) {
        tracing::warn!(
            target: "tower_mesh::config",
            at = %text.at(),
            tag = name,
            %variable,
            "a span's tag may not show this variable of the application's environment, so the tag is \
             left out: only those that Istio's injector sets are read"
        );
        return None;
    }
    let made = OperatorText::new(text, shown.hidden.clone(), shown.own_id.cloned());
    Some(match made {
        Ok(format) => CustomTag::formatted(name, format),
        Err(error) => Err(CustomTagError::of_format(name, &error)),
    })
}

/// The name and the argument of the operator that is all of a text.
fn single(text: &str) -> Option<(&str, &str)> {
    let operator = text.strip_prefix('%')?.strip_suffix(")%")?;
    let (operator, argument) = operator.split_once('(')?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    argument
        .bytes()
        .all(is_plain)
        .then_some((operator, argument))
}

/// The variables of the environment that a text names.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    let after = text.split("%ENVIRONMENT(").skip(1);
    after.filter_map(|rest| rest.split(')').next())
}
