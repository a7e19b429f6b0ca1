//! The error for a host that the client may not call, with suggestions.

use std::fmt;

use crate::istio::distance;
use crate::log_limit::limited;

/// A host that the client may not call, and the known hosts that the caller may have meant.
#[derive(Debug)]
pub(in crate::mesh) struct UnknownHost {
    host: Box<str>,
    why: Why,
}

#[derive(Debug)]
enum Why {
    /// At most [`MOST_NEAR`] hosts.
    NotConfigured(Vec<Box<str>>),
    NoHost,
    /// The URI names a user, or writes its port in an unusual form.
    NotPlain,
    /// An `https` call to a host that this builder method configured for plaintext.
    InPlaintext(&'static str),
}

impl UnknownHost {
    /// A host that is not among the known ones.
    pub(in crate::mesh) fn new<'k>(
        host: &str,
        known: impl Iterator<Item = &'k str> + Clone,
    ) -> Self {
        limited!(
            target: "tower_mesh::client", DEBUG, host = shown(host), known = %List(known.clone()),
            "no upstream is configured for the host"
        );
        Self::with(host, Why::NotConfigured(nearest(host, known)))
    }

    pub(in crate::mesh) fn none() -> Self {
        Self::with("", Why::NoHost)
    }

    pub(in crate::mesh) fn not_plain(host: &str) -> Self {
        Self::with(host, Why::NotPlain)
    }

    /// A host that is only called in plaintext, because of this builder method.
    pub(in crate::mesh) fn in_plaintext(host: &str, by: &'static str) -> Self {
        Self::with(host, Why::InPlaintext(by))
    }

    fn with(host: &str, why: Why) -> Self {
        Self {
            host: shown(host).into(),
            why,
        }
    }
}

impl fmt::Display for UnknownHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        match &self.why {
            Why::NoHost => f.write_str("the URI of a call names a host: http://charts.default/"),
            Why::NotPlain => write!(
                f,
                "the URI of a call to {host:?} is host[:port] after http://, without a user, \
                 the port without a sign or leading zeros"
            ),
            Why::InPlaintext(by) => write!(
                f,
                "no upstream is configured for host {host:?} and TLS: \
                 it is called in plaintext ({by}), so its URI begins with http://"
            ),
            Why::NotConfigured(near) => {
                write!(f, "no upstream is configured for host {host:?}")?;
                for (index, near) in near.iter().enumerate() {
                    let before = if index == 0 { "; did you mean" } else { " or" };
                    write!(f, "{before} {near:?}")?;
                }
                if !near.is_empty() {
                    f.write_str("?")?;
                }
                write!(
                    f,
                    " (call MeshBuilder::upstream({host:?}, ..) \
                     or MeshBuilder::outside({host:?}, ..) to add it)"
                )
            }
        }
    }
}

/// Writes the items with commas between them.
struct List<I>(I);

impl<'k, I: Iterator<Item = &'k str> + Clone> fmt::Display for List<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.clone().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

/// The known hosts that differ from this one by a typo, by the port, or by a missing part of the
/// service's full name.
fn nearest<'k>(host: &str, known: impl Iterator<Item = &'k str>) -> Vec<Box<str>> {
    // A long host is unlikely to be a typo, and comparing costs the square of its length.
    if host.len() > LONGEST_COMPARED {
        return Vec::new();
    }
    let mut near: Vec<_> = known
        .take(MOST_COMPARED)
        .filter(|known| known.len() <= LONGEST_COMPARED)
        .filter_map(|known| {
            let bare = known.split_once(':').map_or(known, |(bare, _)| bare);
            if is_within(host, bare) || is_within(bare, host) {
                return Some((0, known));
            }
            let most = 1 + bare.len() / 5;
            // Hosts come from requests, so hosts that cannot be near are skipped at no cost.
            if host.len().abs_diff(bare.len()) > most {
                return None;
            }
            let slips = distance(host, bare);
            (slips <= most).then_some((slips, known))
        })
        .collect();
    near.sort_unstable();
    let near = near.into_iter().take(MOST_NEAR);
    near.map(|(_, known)| known.into()).collect()
}

/// Whether the name is the other one, or its first labels.
fn is_within(part: &str, name: &str) -> bool {
    let (head, rest) = name.split_at_checked(part.len()).unwrap_or_default();
    !part.is_empty()
        && head.eq_ignore_ascii_case(part)
        && (rest.is_empty() || rest.starts_with('.'))
}

/// The start of a host, up to the length that an error shows.
fn shown(host: &str) -> &str {
    // A URI's host is ASCII, so any index is a character boundary.
    host.get(..MOST_SHOWN).unwrap_or(host)
}

const MOST_NEAR: usize = 3;
const MOST_SHOWN: usize = 100;
const MOST_COMPARED: usize = 1000;
const LONGEST_COMPARED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_three_nearest_and_no_others() {
        let known = [
            "charts.default",
            "chart.other",
            "charts.default:9090",
            "patients.default",
            "charts2.default",
            "chart5.default",
        ];
        for (host, near) in [
            (
                "chrats.default",
                &["charts.default", "charts.default:9090", "chart5.default"][..],
            ),
            ("charts", &["charts.default", "charts.default:9090"]),
            ("patients.default.svc.cluster.local", &["patients.default"]),
            ("Patients.Default", &["patients.default"]),
            ("weather.example", &[]),
            ("", &[]),
        ] {
            let found = nearest(host, known.into_iter());
            let found: Vec<_> = found.iter().map(|name| &**name).collect();
            assert_eq!(found, near, "{host}");
        }
        assert_eq!(nearest(&"c".repeat(1000), known.into_iter()).len(), 0);
    }
}
