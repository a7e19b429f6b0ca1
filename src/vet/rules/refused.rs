//! Values that the gate lets no request have: it refuses the request, or takes the value off.

use super::carried::header_name;
use super::lists::{Field, List};
use super::written::{Fault, Written};
use crate::gate::{Gate, Refusal};
use crate::policy::{Attributes, Request};

/// Why the gate lets no request have what a value of the list asks for. Of methods and paths,
/// which have codes of their own, see [`method`] and [`path`].
pub(in crate::vet) fn never(gate: Option<Gate>, list: List<'_>, value: &str) -> Option<Fault> {
    let gate = gate?;
    match list.field {
        Field::Host => host(gate, value),
        Field::Header => header(gate, list.name),
        _ => None,
    }
}

/// Why the gate refuses every request with a method like this one.
pub(in crate::vet) fn method(gate: Option<Gate>, value: &str) -> Option<Refusal> {
    let written = Written::from_value(value)?;
    refused(gate?, written, &["X"], &["X"], |method| {
        Request::new().method(method, "/")
    })
}

/// Why the gate refuses every request with a path, or a path and query, like this one. Variables of
/// a template are any text.
pub(in crate::vet) fn path(gate: Option<Gate>, value: &str) -> Option<Refusal> {
    let value = filled(value);
    let written = Written::from_value(&value)?;
    // `/x%` may be the start of an escape, `zz` the end of another text than of one.
    let (before, behind) = (["/", "/x", "/%4", "/%"], ["", "x", "1", "20"]);
    refused(gate?, written, &before, &behind, |path| {
        Request::new().get(path)
    })
}

/// The host of a request that passes has no user.
fn host(gate: Gate, value: &str) -> Option<Fault> {
    let written = Written::from_value(value)?;
    let before = ["x", "x:", "x:8", "[", "[::"];
    let behind = ["", "x", "8", ":1]", "]"];
    let is_whole = |host: &String| {
        let judged = gate.judge(&Request::new().authority(host));
        judged.is_ok_and(|passed| Attributes::authority(&passed) == Some(host))
    };
    let texts = texts(written, &before, &behind);
    if texts.iter().any(is_whole) {
        return None;
    }
    let first = texts.first()?;
    let why = match gate.judge(&Request::new().authority(first)) {
        Ok(_) => "the gate takes the user off a host, or refuses it".to_owned(),
        Err(refusal) => by_the_gate(refusal),
    };
    Some(Fault::new(
        format!("no host is like `{value}`: {why}"),
        "write the host alone",
    ))
}

/// A header that the gate takes off reaches no rule.
fn header(gate: Gate, key: &str) -> Option<Fault> {
    let name = header_name(key);
    let passed = gate.judge(&Request::new().header(&name, "x")).ok()?;
    let is_left =
        name.starts_with(':') || name == "host" || passed.any_header(&name, &mut |_| true);
    let was_there = Request::new()
        .header(&name, "x")
        .any_header(&name, &mut |_| true);
    (was_there && !is_left).then(|| {
        Fault::new(
            format!("no request has the header `{name}`: the gate takes it off"),
            "name a header that clients send",
        )
    })
}

/// How a note names the gate's refusal.
pub(in crate::vet) fn by_the_gate(refusal: Refusal) -> String {
    format!(
        "the gate refuses such a request: {refusal} (rule {})",
        refusal.rule()
    )
}

/// Why every text that the value takes is refused; `None` if one passes.
fn refused(
    gate: Gate,
    written: Written<'_>,
    before: &[&str],
    behind: &[&str],
    request: impl Fn(String) -> Request,
) -> Option<Refusal> {
    let mut why = None;
    for text in texts(written, before, behind) {
        why = Some(gate.judge(&request(text)).err()?);
    }
    why
}

/// Texts that the value takes: itself, or with something in place of its star.
fn texts(written: Written<'_>, before: &[&str], behind: &[&str]) -> Vec<String> {
    let literal = written.literal;
    match (written.open_start, written.open_end) {
        (true, _) => before
            .iter()
            .map(|text| format!("{text}{literal}"))
            .collect(),
        (_, true) => behind
            .iter()
            .map(|text| format!("{literal}{text}"))
            .collect(),
        _ => vec![literal.to_owned()],
    }
}

/// A path with a text in place of the variables of a template.
fn filled(path: &str) -> String {
    let mut filled = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((start, variable)) = rest.split_once('{') {
        let Some((_, end)) = variable.split_once('}') else {
            break;
        };
        filled.push_str(start);
        filled.push('x');
        rest = end;
    }
    filled + rest
}
