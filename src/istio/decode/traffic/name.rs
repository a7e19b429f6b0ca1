//! Validates names: of hosts, namespaces, subsets, gateways, ports and labels.

use std::collections::{BTreeMap, HashSet};

use crate::istio::Text;
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;

/// A label of DNS, in either case, as Istio takes it.
pub(super) fn is_dns_label(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_outer = |end: Option<u8>| end.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(good)
        && is_outer(text.bytes().next())
        && is_outer(text.bytes().next_back())
}

/// The labels of a name; the last may be empty, and is never a number.
fn check_labels(name: &str) -> Result<(), String> {
    let last = name.rsplit('.').next().unwrap_or_default();
    if !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("its last part `{last}` is a number"));
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    match name.split('.').find(|label| !is_dns_label(label)) {
        Some(label) => Err(format!("`{label}` is no part of a name")),
        None => Ok(()),
    }
}

fn check_length(name: &str) -> Result<(), String> {
    match name.len() {
        0 => Err("it is empty".to_owned()),
        1..=255 => Ok(()),
        _ => Err("it has more than 255 characters".to_owned()),
    }
}

/// A name without a wildcard.
pub(super) fn check_fqdn(name: &str) -> Result<(), String> {
    check_length(name)?;
    check_labels(name)
}

/// A name that may start with a wildcard, `*.example.com` or `*-a.example.com`.
pub(super) fn check_domain(name: &str) -> Result<(), String> {
    check_length(name)?;
    let (first, rest) = match name.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (name, None),
    };
    let bare = first.strip_prefix('*').unwrap_or(first);
    let is_wild = bare.len() < first.len();
    let label = if is_wild {
        bare.trim_start_matches('-')
    } else {
        bare
    };
    if first.len() > 63 || !(is_wild && bare.is_empty() || is_dns_label(label)) {
        return Err(format!("`{first}` is no part of a name"));
    }
    rest.map_or(Ok(()), check_labels)
}

/// Reports a host that is no name, with or without a wildcard.
pub(super) fn domain(at: &Cursor<'_, '_>, text: &str) {
    if let Err(why) = check_domain(text) {
        at.wrong(format!(
            "`{text}` is no host: {why}; write a name such as reviews.default.svc.cluster.local or *.example.com"
        ));
    }
}

/// Hosts, with wildcards among them, that are asked about many others.
#[derive(Debug, Default)]
pub(super) struct HostSet {
    exact: HashSet<String>,
    /// What follows the `*` of the wildcards.
    endings: HashSet<String>,
}

impl HostSet {
    pub(super) fn new<'h>(hosts: impl Iterator<Item = &'h str>) -> Self {
        let mut set = Self::default();
        for host in hosts {
            set.insert(host);
        }
        set
    }

    fn insert(&mut self, host: &str) {
        match host.strip_prefix('*') {
            Some(ending) => self.endings.insert(ending.to_owned()),
            None => self.exact.insert(host.to_owned()),
        };
    }

    /// Whether one of them is this host, or a wildcard before what this one ends with.
    pub(super) fn covers(&self, host: &str) -> bool {
        self.exact.contains(host) || self.has_wildcard_for(host)
    }

    fn has_wildcard_for(&self, host: &str) -> bool {
        // A host has at most 255 bytes, and so many endings; a longer one was refused.
        let ending = host.strip_prefix('*').unwrap_or(host);
        let starts = 0..=ending.len().min(255);
        let mut endings = starts.filter_map(|start| ending.get(start..));
        endings.any(|ending| self.endings.contains(ending))
    }
}

/// The first of several hosts that another one covers, or that is written twice.
pub(super) fn overlapping(hosts: &[Text]) -> Option<&Text> {
    let mut seen = HostSet::default();
    let twice = hosts.iter().find(|host| {
        let is_twice = match host.strip_prefix('*') {
            Some(ending) => seen.endings.contains(ending),
            None => seen.exact.contains(&***host),
        };
        seen.insert(host);
        is_twice
    });
    let all = HostSet::new(hosts.iter().map(|host| &**host));
    twice.or_else(|| {
        hosts.iter().find(|host| match host.strip_prefix('*') {
            // Its own ending is no other's.
            Some(ending) => {
                let next = ending.char_indices().nth(1).map(|(next, _)| next);
                let rest = next.and_then(|next| ending.get(next..));
                !ending.is_empty() && all.has_wildcard_for(rest.unwrap_or_default())
            }
            None => all.has_wildcard_for(host),
        })
    })
}

/// A name that is a label of DNS, such as a subset's or a port's; `what` it names.
pub(super) fn dns_label(at: &Cursor<'_, '_>, text: &str, what: &str) {
    if !is_dns_label(text) {
        at.wrong(format!(
            "`{text}` is no name of a {what}; write at most 63 letters, digits and hyphens, no hyphen at the ends"
        ));
    }
}

/// `sourceNamespace` and the like.
pub(super) fn namespace(at: &Cursor<'_, '_>, text: &str) {
    dns_label(at, text, "namespace");
}

/// One of `gateways`.
pub(super) fn gateway(at: &Cursor<'_, '_>, text: &str) {
    let is_good = match text.split_once('/') {
        Some((namespace, name)) => is_dns_label(namespace) && is_dns_label(name),
        None => check_fqdn(text).is_ok(),
    };
    if !is_good {
        at.wrong(format!(
            "`{text}` is no gateway; write NAME, NAMESPACE/NAME or mesh"
        ));
    }
}

/// Labels of workloads.
pub(super) fn labels(fields: Fields<'_, '_>, name: &'static str) -> BTreeMap<String, Text> {
    let Some(labels) = fields.get(name) else {
        return BTreeMap::new();
    };
    labels
        .pairs()
        .filter_map(|(key, value)| {
            let text = value.text()?;
            if !is_label_key(key) {
                value.wrong(format!("`{key}` is no label; write for example app or example.com/app"));
            } else if !text.is_empty() && !is_qualified(&text) {
                value.wrong(format!(
                    "`{text}` is no value of a label; write letters, digits, hyphens, dots and _, and none but letters and digits at the ends"
                ));
            }
            Some((key.to_owned(), text))
        })
        .collect()
}

fn is_label_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_domain = |prefix: &str| prefix.len() <= 253 && prefix.split('.').all(is_dns_label);
    prefix.is_none_or(is_domain) && name.len() <= 63 && is_qualified(name)
}

fn is_qualified(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_outer = |end: Option<u8>| end.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.bytes().all(good) && is_outer(text.bytes().next()) && is_outer(text.bytes().next_back())
}

/// Whom `exportTo` of a resource in this namespace lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::istio::decode) enum Exports {
    /// `.`, `*` and names.
    Config,
    /// And `~`, nobody.
    Service,
    /// Only its own namespace.
    OwnNamespace,
}

/// `exportTo`.
pub(in crate::istio::decode) fn export_to(
    fields: Fields<'_, '_>,
    name: &'static str,
    own: &str,
    exports: Exports,
) -> Vec<Text> {
    let mut seen: HashSet<String> = HashSet::new();
    let listed = fields.get(name).map_or(0, |list| match &list.node().value {
        crate::istio::yaml::tree::Value::List(items) => items.len(),
        _ => 0,
    });
    fields.each(name, |at| {
        let text = at.filled()?;
        let entry = if &*text == "." { own } else { &*text };
        let earlier = !seen.insert(entry.to_owned());
        match &*text {
            _ if earlier => at.wrong(format!(
                "`{text}` is listed twice, `.` being the own namespace `{own}`; keep one"
            )),
            _ if exports == Exports::OwnNamespace && entry != own => at.wrong(format!(
                "`{text}`: a rule with a workloadSelector stays in its own namespace; write `.` or leave this out"
            )),
            "*" | "~" if listed > 1 && (exports == Exports::Service || &*text == "*") => {
                at.wrong(format!("`{text}` stands alone; leave out the other entries, or this one"));
            }
            "~" if exports != Exports::Service => at.wrong(
                "`~`, nobody, is for services only; to put the resource out of use, take it out",
            ),
            "." | "*" | "~" => {}
            name if !is_dns_label(name) => at.wrong(format!(
                "`{name}` is no namespace; write `.`, `*` or names of namespaces"
            )),
            _ => {}
        }
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_what_istio_takes_for_one() {
        for good in [
            "a", "*", "a.b", "a.b.", "*.b.c", "*-x.b", "*x.b", "A.b", "1", "1.a", "a-b.c",
        ] {
            assert_eq!(check_domain(good), Ok(()), "{good}");
        }
        let long = format!("{}.b", "a".repeat(64));
        for bad in [
            "", "a..b", ".a", "-a.b", "a-.b", "a_b", "a.*", "**", "a.*.b", "1.2.3.4", "a.1", &long,
        ] {
            assert!(check_domain(bad).is_err(), "{bad}");
        }
        assert!(check_fqdn("*.a").is_err());
        assert!(check_fqdn("1").is_err(), "a number is no top level domain");
    }

    #[test]
    fn a_wildcard_covers_what_ends_like_it() {
        for (wide, narrow) in [
            ("a.b", "a.b"),
            ("*.b", "a.b"),
            ("*.b", "*.a.b"),
            ("*", "a.b"),
            ("*", "*.b"),
        ] {
            assert!(
                HostSet::new([wide].into_iter()).covers(narrow),
                "{wide} {narrow}"
            );
        }
        for (wide, narrow) in [("*.b", "b"), ("a.b", "*.b"), ("*.a.b", "*.b"), ("a", "b")] {
            assert!(
                !HostSet::new([wide].into_iter()).covers(narrow),
                "{wide} {narrow}"
            );
        }
    }

    #[test]
    fn hosts_that_overlap_are_found() {
        let first = |hosts: &[&str]| {
            let hosts: Vec<Text> = hosts.iter().map(|host| Text::from(*host)).collect();
            overlapping(&hosts).map(|host| host.as_str().to_owned())
        };
        for apart in [
            &["a.b", "*.a.b"][..],
            &["a.b", "b", "*.c"],
            &["*.a.b", "*.c.b"],
            &["*"],
            &[],
        ] {
            assert_eq!(first(apart), None, "{apart:?}");
        }
        for (hosts, found) in [
            (&["a.b", "c", "a.b"][..], "a.b"),
            (&["*.b", "a.b"], "a.b"),
            (&["a.b", "*.b"], "a.b"),
            (&["*.b", "*.a.b"], "*.a.b"),
            (&["*", "*.b"], "*.b"),
            (&["*.b", "*.b"], "*.b"),
        ] {
            assert_eq!(first(hosts).as_deref(), Some(found), "{hosts:?}");
        }
    }
}
