use std::fmt;

use crate::istio::distance;
use crate::log_limit::limited;

/// A host that the client may not call, and those that were perhaps meant.
#[derive(Debug)]
pub(in crate::mesh) struct UnknownHost {
    host: Box<str>,
    why: Why,
}

#[derive(Debug)]
enum Why {
    /// At most [`MOST_NEAR`].
    NotConfigured(Vec<Box<str>>),
    NoHost,
    /// The URI names a user, or writes its port in another way than the usual one.
    NotPlain,
    /// `https`, where plaintext is what is configured, by this call.
    InPlaintext(&'static str),
}

impl UnknownHost {
    /// A host that is none of those known.
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

    /// A host that is called in plaintext alone, because of this call of the builder.
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
                "the URI of a call to {host:?} is host[:port] after http://, without a user, the port without a sign or leading zeros"
            ),
            Why::InPlaintext(by) => write!(
                f,
                "no upstream is configured for host {host:?} and TLS: it is called in plaintext ({by}), so its URI begins with http://"
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
                    " (call MeshBuilder::upstream({host:?}, ..) or MeshBuilder::outside({host:?}, ..) to add it)"
                )
            }
        }
    }
}

/// What follows each other with commas.
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

/// The known hosts that a slip of the pen, another port, or a part of a service's full name make of this one.
fn nearest<'k>(host: &str, known: impl Iterator<Item = &'k str>) -> Vec<Box<str>> {
    // A longer one is no slip, and the distance costs its square.
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
            // Hosts come with requests: what cannot be near costs nothing.
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

/// Whether it is the other name, or its first labels.
fn is_within(part: &str, name: &str) -> bool {
    let (head, rest) = name.split_at_checked(part.len()).unwrap_or_default();
    !part.is_empty()
        && head.eq_ignore_ascii_case(part)
        && (rest.is_empty() || rest.starts_with('.'))
}

/// The beginning of a host, as much as an error shows.
fn shown(host: &str) -> &str {
    // A host of a URI is ASCII.
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
