//! Why no root vouches for a chain, for people: which issuer is missing.

use rustls_pki_types::{CertificateDer, TrustAnchor};
use x509_parser::certificate::X509Certificate;

use crate::identity::TrustDomain;

use super::leaf::parse;
use super::reason::{Reason, Refusal};

/// What to say of a chain that ends at none of the roots of its trust domain. A peer may write what
/// it likes into a name, so names are cut, and freed of what may harm a log.
pub(super) fn refusal(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &[TrustAnchor<'_>],
    domain: &TrustDomain,
) -> Refusal {
    let Ok(leaf) = parse(leaf) else {
        return Reason::UnknownIssuer.into();
    };
    let between: Vec<_> = intermediates
        .iter()
        .filter_map(|der| parse(der).ok())
        .collect();
    let top = top(&leaf, &between);
    let issuer = harmless(&top.issuer().to_string());
    let roots_are = match roots.len() {
        1 => "the only root".to_owned(),
        count => format!("any of the {count} roots"),
    };
    // An anchor's subject goes without the header of its SEQUENCE.
    let has_name = |root: &TrustAnchor<'_>| {
        !root.subject.is_empty() && top.issuer().as_raw().ends_with(&root.subject)
    };
    let text = if roots.iter().any(has_name) {
        format!(
            "it was not signed by {roots_are} of trust domain {domain}: a root of its issuer's name, \"{issuer}\", is there with another key; \
             issue the certificate by that root, or add the root that signed it"
        )
    } else if top.issuer().as_raw() == top.subject().as_raw() {
        format!(
            "it was not signed by {roots_are} of trust domain {domain}, but ends at \"{issuer}\", which signed itself: \
             issue the certificate by a root, or add that one to the roots"
        )
    } else {
        format!(
            "it was not signed by {roots_are} of trust domain {domain}: its issuer \"{issuer}\" is neither a root nor in the chain; \
             put the missing intermediate after the leaf, or add the root that signed it"
        )
    };
    Refusal::with(Reason::UnknownIssuer, text)
}

/// The last certificate on the way up whose issuer is not in the chain.
fn top<'a, 'b>(
    leaf: &'a X509Certificate<'b>,
    between: &'a [X509Certificate<'b>],
) -> &'a X509Certificate<'b> {
    let mut top = leaf;
    // Each step once at most, as names may run in a ring.
    for _ in between {
        let is_above = |above: &&X509Certificate<'_>| {
            above.subject().as_raw() == top.issuer().as_raw()
                && above.subject().as_raw() != top.subject().as_raw()
        };
        match between.iter().find(is_above) {
            Some(above) => top = above,
            None => break,
        }
    }
    top
}

/// A name that is bounded and holds only what a log takes without harm.
pub(super) fn harmless(name: &str) -> String {
    let is_good = |c: char| c == ' ' || c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    let shown = name.chars().map(|c| if is_good(c) { c } else { '?' });
    let mut shown: String = shown.take(LONGEST).collect();
    if name.chars().count() > LONGEST {
        shown.push_str("...");
    }
    shown
}

const LONGEST: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_bounded_and_harmless() {
        for (name, shown) in [
            ("O=cluster.local, CN=root", "O=cluster.local, CN=root"),
            ("CN=a\n\u{1b}[31m\"b\\", "CN=a??[31m?b?"),
            ("CN=\u{e9}", "CN=?"),
        ] {
            assert_eq!(harmless(name), shown);
        }
        assert_eq!(harmless(&"x".repeat(10_000)).len(), LONGEST + 3);
    }
}
