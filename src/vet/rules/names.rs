//! The names of identities, `TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`, all of it in lower case; and
//! those of labels.

use super::written::{Fault, Written, no_name, no_star};
use crate::istio::MeshConfig;

/// Why no caller has such a principal.
pub(in crate::vet) fn principal(mesh: &MeshConfig, value: &str) -> Option<Fault> {
    let written = Written::from_value(value)?;
    if let Some((scheme, rest)) = value.split_once("://") {
        return Some(Fault::new(
            format!(
                "`{value}` matches no caller: Istio puts spiffe:// before what is written here"
            ),
            if scheme.eq_ignore_ascii_case("spiffe") {
                format!("write `{rest}`")
            } else {
                SHAPE.to_owned()
            },
        ));
    }
    if let Some(fault) = no_name(value, "identity").or_else(|| no_star(value, "identity")) {
        return Some(fault);
    }
    if let Some(bad) = written.literal.chars().find(|c| !is_name(*c) && *c != '/') {
        return Some(Fault::new(
            format!("no identity is like `{value}`: none holds `{bad}`"),
            SHAPE,
        ));
    }
    let parts: Vec<&str> = written.literal.split('/').collect();
    if written.is_whole() && parts.last().is_some_and(|last| last.is_empty()) {
        let without = value.trim_end_matches('/');
        return Some(Fault::new(
            format!("no identity ends in a slash, as `{value}` does"),
            format!("write `{without}`, or `{without}/*` for all below"),
        ));
    }
    // What is cut off by a star may be a piece of a part.
    let first_whole = usize::from(written.open_start);
    let past_whole = parts.len() - usize::from(written.open_end);
    let mut whole = parts.iter().take(past_whole).skip(first_whole);
    if whole.any(|part| part.is_empty()) {
        return Some(Fault::new(
            format!("no identity has an empty part, as `{value}` does"),
            SHAPE,
        ));
    }
    if !has_shape(&parts, written) && is_meant_so(mesh, &parts, written) {
        return Some(Fault::new(
            format!(
                "no identity is like `{value}`: one has five parts, TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT"
            ),
            SHAPE,
        ));
    }
    let upper = upper_case(&parts, written)?;
    Some(Fault::new(
        format!(
            "no identity is like `{value}`: `{upper}` holds capital letters, and names of trust domains, namespaces and service accounts do not"
        ),
        format!("write `{}`", value.to_ascii_lowercase()),
    ))
}

/// Whether something of Istio's shape is like these parts.
fn has_shape(parts: &[&str], written: Written<'_>) -> bool {
    let fits = |part: &str, place: usize, cut_start: bool, cut_end: bool| {
        let fixed = match place {
            1 => "ns",
            3 => "sa",
            _ => return true,
        };
        match (cut_start, cut_end) {
            (true, _) => fixed.ends_with(part),
            (false, true) => fixed.starts_with(part),
            (false, false) => fixed == part,
        }
    };
    let count = parts.len();
    if count > FIVE || written.is_whole() && count != FIVE {
        return false;
    }
    // What has its end ends in the account; what has its start starts with the trust domain.
    let skipped = if written.open_start { FIVE - count } else { 0 };
    parts.iter().enumerate().all(|(index, part)| {
        let cut_start = written.open_start && index == 0;
        let cut_end = written.open_end && index + 1 == count;
        fits(part, index + skipped, cut_start, cut_end)
    })
}

/// Whether the parts are meant as an identity of Istio's, and not as one that some other authority
/// has made in its own shape.
fn is_meant_so(mesh: &MeshConfig, parts: &[&str], written: Written<'_>) -> bool {
    let names_a_part = parts.iter().any(|part| matches!(*part, "ns" | "sa"));
    let [domain, path @ ..] = parts else {
        return false;
    };
    let is_ours = || {
        let aliases = mesh.trust_domain_aliases.iter();
        let mut ours = aliases
            .map(String::as_str)
            .chain([mesh.trust_domain_or(None), "cluster.local"]);
        ours.any(|ours| ours == *domain)
    };
    let starts = !written.open_start;
    let lacks_path = written.is_whole() && path.is_empty();
    // `NAMESPACE/ACCOUNT` is how serviceAccounts are written.
    let is_short = written.is_whole() && path.len() == 1 && !domain.contains('.');
    names_a_part || lacks_path || is_short || starts && !path.is_empty() && is_ours()
}

/// A part with a capital letter where only lower case is possible.
fn upper_case<'p>(parts: &[&'p str], written: Written<'_>) -> Option<&'p str> {
    let has_upper = |part: &&str| part.bytes().any(|byte| byte.is_ascii_uppercase());
    let domain = parts.first().filter(|_| !written.open_start).copied();
    domain.filter(has_upper).or_else(|| {
        // Another shape's path may hold capital letters.
        let mut own = parts.iter().copied();
        own.find(|part| has_shape(parts, written) && has_upper(part))
    })
}

/// Why no namespace has such a name; a star is any text, in every place.
pub(in crate::vet) fn namespace(value: &str) -> Option<Fault> {
    no_name(value, "namespace").or_else(|| {
        let mut pieces = value.replace('*', "");
        // A star takes slashes, too: `shop/sa*` is all of `shop`.
        if pieces != value {
            pieces = pieces.replace('/', "");
        }
        lower_name(value, &pieces, "namespace")
    })
}

/// Why no service account is like this: `ACCOUNT`, `NAMESPACE/ACCOUNT`.
pub(in crate::vet) fn service_account(value: &str) -> Option<Fault> {
    no_name(value, "service account").or_else(|| {
        let parts = value.replacen('/', "", 1);
        lower_name(value, &parts, "service account")
    })
}

/// Why nothing has a label of this value, which is compared whole.
pub(in crate::vet) fn label(value: &str) -> Option<Fault> {
    no_name(value, "label").or_else(|| {
        let bad = value.chars().find(|c| !is_name(*c))?;
        Some(Fault::new(
            format!("no label is like `{value}`: none holds `{bad}`"),
            "write the label as the workload has it",
        ))
    })
}

/// Why no trust domain is like this.
pub(in crate::vet) fn trust_domain(value: &str) -> Option<Fault> {
    let literal = Written::from_value(value)?.literal;
    no_name(value, "trust domain")
        .or_else(|| no_star(value, "trust domain"))
        .or_else(|| lower_name(value, literal, "trust domain"))
}

fn lower_name(value: &str, text: &str, noun: &str) -> Option<Fault> {
    if value.is_empty() {
        return Some(Fault::new(
            format!("no {noun} has an empty name"),
            "write the name, or leave the list out",
        ));
    }
    if let Some(bad) = text.chars().find(|c| !is_name(*c)) {
        return Some(Fault::new(
            format!("no {noun} is like `{value}`: none holds `{bad}`"),
            "write the name alone",
        ));
    }
    text.bytes().any(|byte| byte.is_ascii_uppercase()).then(|| {
        Fault::new(
            format!(
                "no {noun} is like `{value}`: names are in lower case, and compared with their case"
            ),
            format!("write `{}`", value.to_ascii_lowercase()),
        )
    })
}

/// What a SPIFFE id holds between its slashes.
fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

const FIVE: usize = 5;
const SHAPE: &str = "write TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT, such as `cluster.local/ns/shop/sa/desk`, or one star at its start or end";
