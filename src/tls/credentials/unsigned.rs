//! Explains why no root vouches for a chain: which issuer is missing.

use std::time::SystemTime;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor};
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;

use crate::identity::TrustDomain;
use crate::tls::dates::Ago;
use crate::tls::identity::leaf::{not_after, parse};
use crate::tls::reason::{Reason, Refusal};

/// What a chain is judged by.
pub(super) struct Judges<'a> {
    pub(super) domain: &'a TrustDomain,
    /// The roots that have not expired.
    pub(super) roots: &'a [TrustAnchor<'a>],
    pub(super) ended: Vec<&'a CertificateDer<'static>>,
    pub(super) algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
    pub(super) now: SystemTime,
}

/// The refusal for a chain that ends at none of the roots of its trust domain. A peer may write
/// anything into a name, so names are cut short and cleaned before they reach a log.
pub(super) fn refusal(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    judges: &Judges<'_>,
) -> Refusal {
    let Some(leaf) = Link::read(leaf) else {
        return Reason::UnknownIssuer.into();
    };
    let between: Vec<_> = intermediates.iter().filter_map(Link::read).collect();
    let mut checks = Checks {
        algorithms: judges.algorithms,
        left: MOST_CHECKS,
    };
    let (top, is_broken) = top(&leaf, &between, &mut checks);
    let name = top.parsed.issuer();
    let issuer = harmless(&name.to_string());
    let roots_are = match judges.roots.len() {
        1 => "the only root".to_owned(),
        count => format!("any of the {count} roots"),
    };
    let begin = format!(
        "it was not signed by {roots_are} of trust domain {}",
        judges.domain
    );
    // An anchor's subject goes without the header of its SEQUENCE.
    let has_name =
        |root: &TrustAnchor<'_>| !root.subject.is_empty() && name.as_raw().ends_with(&root.subject);
    let text = if is_broken {
        format!(
            "{begin}: the certificate in the chain that has its issuer's name, \"{issuer}\", did not sign it; \
             put the one that did in its place, or issue the certificate anew"
        )
    } else if let Some(end) = ended(top, &judges.ended, &mut checks) {
        format!(
            "{begin} that has not ended: the root that signed it, \"{issuer}\", ended on {}; \
             issue the certificate by a root that is in use now, or set the clock right",
            Ago {
                end,
                now: judges.now
            }
        )
    } else if judges.roots.iter().any(has_name) {
        format!(
            "{begin}: a root of its issuer's name, \"{issuer}\", is there with another key; \
             issue the certificate by that root, or add the root that signed it"
        )
    } else if name.as_raw() == top.parsed.subject().as_raw() {
        format!(
            "{begin}, but ends at \"{issuer}\", which signed itself: \
             issue the certificate by a root, or add that one to the roots"
        )
    } else {
        format!(
            "{begin}: its issuer \"{issuer}\" is neither a root nor in the chain; \
             put the missing intermediate after the leaf, or add the root that signed it"
        )
    };
    Refusal::with(Reason::UnknownIssuer, text)
}

/// A certificate of the chain.
struct Link<'a> {
    der: &'a CertificateDer<'a>,
    parsed: X509Certificate<'a>,
}

impl<'a> Link<'a> {
    fn read(der: &'a CertificateDer<'_>) -> Option<Self> {
        let parsed = parse(der).ok()?;
        Some(Self { der, parsed })
    }

    fn is_named_by(&self, below: &Self) -> bool {
        self.parsed.subject().as_raw() == below.parsed.issuer().as_raw()
    }
}

/// The last certificate on the way up whose issuer is not in the chain, or is there by name only;
/// the flag says that it is there by name only.
fn top<'a, 'b>(
    leaf: &'a Link<'b>,
    between: &'a [Link<'b>],
    checks: &mut Checks<'_>,
) -> (&'a Link<'b>, bool) {
    let mut top = leaf;
    // At most one step for each certificate, because names may form a ring.
    for _ in between {
        if top.is_named_by(top) {
            break;
        }
        let mut above = between.iter().filter(|link| link.is_named_by(top));
        let mut named = above.clone().peekable();
        if named.peek().is_none() {
            break;
        }
        match above.find(|above| checks.is_signed(top, above.der)) {
            Some(above) => top = above,
            None => return (top, true),
        }
    }
    (top, false)
}

/// When the root expired that signed a certificate, if one of these did.
fn ended(
    top: &Link<'_>,
    roots: &[&CertificateDer<'_>],
    checks: &mut Checks<'_>,
) -> Option<SystemTime> {
    let roots = roots.iter().filter_map(|root| Link::read(root));
    let mut named = roots.filter(|root| root.is_named_by(top));
    named
        .find(|root| checks.is_signed(top, root.der))
        .and_then(|root| not_after(root.der))
}

/// Checks signatures, but only a few, so that a peer cannot cause much work.
struct Checks<'a> {
    algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
    left: usize,
}

impl Checks<'_> {
    /// Whether the key of one certificate signed another.
    fn is_signed(&mut self, below: &Link<'_>, by: &CertificateDer<'_>) -> bool {
        let Ok(by) = EndEntityCert::try_from(by) else {
            return false;
        };
        let object = below.parsed.signature_algorithm.algorithm.as_bytes();
        let signature = &below.parsed.signature_value.data;
        let signed = below.parsed.tbs_certificate.as_ref();
        self.algorithms.iter().any(|algorithm| {
            let id = algorithm.signature_alg_id();
            // An OBJECT IDENTIFIER, behind its tag and its length.
            if !id.get(2..).is_some_and(|id| id.starts_with(object)) || self.left == 0 {
                return false;
            }
            self.left -= 1;
            by.verify_signature(*algorithm, signed, signature).is_ok()
        })
    }
}

const MOST_CHECKS: usize = 16;

/// A name cut to a length that a log can hold, with only harmless characters.
pub(in crate::tls) fn harmless(name: &str) -> String {
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
