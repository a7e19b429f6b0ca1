use super::text::{Pattern, pattern};
use crate::istio::Text;
use crate::matcher::StringMatcher;
use crate::policy::ir::{MetadataMatcher, Principal, ValueMatcher};
use crate::policy::rules::metadata::JWT_FILTER;

/// A request principal of the list: `iss/sub`, split at the value's last `/`.
pub(super) fn request_principals(values: &[Text]) -> Option<Principal> {
    let node = |value: &Text| {
        let (issuer, subject) = issuer_and_subject(value);
        Principal::And(vec![claim_is("iss", issuer), claim_is("sub", subject)])
    };
    one_or_several(values.iter().map(node).collect(), Principal::Or)
}

/// A claim that is a string of the list, or a list that holds one.
pub(super) fn claim(path: &[String], values: &[Text]) -> Option<Principal> {
    let strings = values
        .iter()
        .map(|value| ValueMatcher::String(pattern(value)));
    let value = one_or_several(strings.collect(), ValueMatcher::Or)?;
    let in_list = ValueMatcher::ListOneOf(Box::new(value.clone()));
    let path = std::iter::once(PAYLOAD).chain(path.iter().map(String::as_str));
    let value = ValueMatcher::Or(vec![in_list, value]);
    Some(Principal::Metadata(MetadataMatcher::new(
        JWT_FILTER, path, value,
    )))
}

/// The names between brackets: `[a][b]` is a path of two; a text that is no clean chain is one name
/// without its outer brackets.
pub(super) fn claim_path(brackets: &str) -> Option<Vec<String>> {
    let whole = brackets.strip_prefix('[')?.strip_suffix(']')?;
    let names: Vec<_> = whole.split("][").map(str::to_owned).collect();
    if names.iter().any(|name| name.contains(['[', ']'])) {
        return Some(vec![whole.to_owned()]);
    }
    Some(names)
}

/// A single alternative is not wrapped, as Istio prints it.
pub(super) fn one_or_several<T>(mut nodes: Vec<T>, or: impl FnOnce(Vec<T>) -> T) -> Option<T> {
    match nodes.len() {
        0 | 1 => nodes.pop(),
        _ => Some(or(nodes)),
    }
}

/// The tests of `iss` and of `sub` that a request principal is cut into.
pub(crate) fn issuer_and_subject(value: &str) -> (StringMatcher, StringMatcher) {
    use StringMatcher as Is;
    match (Pattern::new(value), value.rsplit_once('/')) {
        (Pattern::Present, _) => (Is::non_empty(), Is::non_empty()),
        (Pattern::Suffix(_), Some((issuer, subject))) => {
            let issuer = match issuer.strip_prefix('*') {
                None | Some("") => Is::non_empty(),
                Some(suffix) => Is::suffix(suffix),
            };
            (issuer, Is::exact(subject))
        }
        (Pattern::Suffix(subject), None) => (Is::non_empty(), Is::suffix(subject)),
        (Pattern::Prefix(_), Some((issuer, subject))) => {
            let subject = match subject.strip_suffix('*') {
                None | Some("") => Is::non_empty(),
                Some(prefix) => Is::prefix(prefix),
            };
            (Is::exact(issuer), subject)
        }
        (Pattern::Prefix(issuer), None) => (Is::prefix(issuer), Is::non_empty()),
        (Pattern::Exact(_), Some((issuer, subject))) => (Is::exact(issuer), Is::exact(subject)),
        (Pattern::Exact(issuer), None) => (Is::exact(issuer), Is::exact("")),
    }
}

fn claim_is(name: &str, matcher: StringMatcher) -> Principal {
    let value = ValueMatcher::String(matcher);
    Principal::Metadata(MetadataMatcher::new(JWT_FILTER, [PAYLOAD, name], value))
}

/// Envoy's JWT filter leaves all claims in its metadata, under this key.
const PAYLOAD: &str = "payload";
