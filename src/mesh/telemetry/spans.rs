//! The options of traces.

use std::collections::BTreeMap;

use crate::istio::{CustomTag as Written, Position, Problem, Text};
use crate::propagation::{CustomTag, CustomTagError, TraceOptions};
use crate::telemetry::EffectiveTracing;

/// The application's options, with what resources change.
pub(super) fn options(
    base: &TraceOptions,
    found: &EffectiveTracing,
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
        options = options.custom_tags(tags(&found.custom_tags, problems));
    }
    options
}

fn tags(written: &BTreeMap<String, Written>, problems: &mut Vec<Problem>) -> Vec<CustomTag> {
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
            Written::Formatter(text) => match formatted(name, text) {
                Some(tag) => (tag, text.at()),
                None => {
                    warn_of_formatter(name, text.at());
                    continue;
                }
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
    let is_injected = |variable: &str| {
        INJECTED.contains(&variable)
            || INJECTED_PREFIXES
                .iter()
                .any(|prefix| variable.starts_with(prefix))
    };
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

/// The tag of a formatter that is one operator alone, or none.
fn formatted(name: &str, text: &Text) -> Option<Result<CustomTag, CustomTagError>> {
    if !text.contains('%') {
        return Some(CustomTag::literal(name, text.as_str()));
    }
    let operator = text.strip_prefix('%')?.strip_suffix(")%")?;
    let (operator, argument) = operator.split_once('(')?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !argument.bytes().all(is_plain) {
        return None;
    }
    match operator {
        "REQ" => Some(CustomTag::header(name, argument, "")),
        "ENVIRONMENT" => {
            let variable = Text::new(argument, text.at().clone());
            Some(environment(name, &variable, ""))
        }
        _ => None,
    }
}

fn warn_of_formatter(name: &str, at: &Position) {
    tracing::warn!(
        target: "tower_mesh::config",
        %at,
        tag = name,
        "a formatter of a span's tag is read only as a plain text, %REQ(name)% or \
         %ENVIRONMENT(NAME)%: the tag is left out"
    );
}
