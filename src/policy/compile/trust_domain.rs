use std::borrow::Cow;

use crate::istio::MeshConfig;

/// Our trust domain and its aliases, which rules name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Domains<'m> {
    own: &'m str,
    aliases: &'m [String],
    is_assumed: bool,
}

impl<'m> Domains<'m> {
    /// Those of a mesh; `own` is the workload's trust domain, when it is known.
    pub(crate) fn new(mesh: &'m MeshConfig, own: Option<&'m str>) -> Self {
        Self {
            own: mesh.trust_domain_or(own),
            aliases: &mesh.trust_domain_aliases,
            is_assumed: own.is_none() && mesh.trust_domain.is_none(),
        }
    }

    /// The values that a written principal means: its trust domain is exchanged for our own
    /// and each of its aliases, when it is one of them.
    ///
    /// Istio treats only texts of five parts (`td/ns/N/sa/S`) so, and takes a written
    /// `cluster.local` for "our own trust domain, whatever it is called".
    pub(super) fn principals<'v>(self, value: &'v str) -> Vec<Cow<'v, str>> {
        let Some((domain, path)) = value.split_once('/') else {
            return vec![value.into()];
        };
        let five_parts = path.bytes().filter(|byte| *byte == b'/').count() == 3;
        if !five_parts || domain == "*" || !self.is_ours(domain) {
            return vec![value.into()];
        }
        let mut values: Vec<Cow<'v, str>> = Vec::new();
        for ours in self.all() {
            let replaced = if ours == domain || matches_suffix(ours, domain) {
                Cow::Borrowed(value)
            } else {
                Cow::Owned(format!("{ours}/{path}"))
            };
            if !values.contains(&replaced) {
                values.push(replaced);
            }
        }
        values
    }

    /// The trust domains that a written one means: all of ours, when it is one of them.
    pub(super) fn trust_domains<'v>(self, value: &'v str) -> Vec<&'v str>
    where
        'm: 'v,
    {
        if self.all().any(|ours| ours == value) {
            self.all().collect()
        } else {
            vec![value]
        }
    }

    /// Whether our trust domain is assumed, and a written principal would mean something else under
    /// another one.
    pub(crate) fn decide_principal(self, value: &str) -> bool {
        self.is_assumed && self.principals(value) != self.unknown().principals(value)
    }

    /// The same of a written trust domain.
    pub(crate) fn decide_trust_domain(self, value: &str) -> bool {
        self.is_assumed && self.trust_domains(value) != self.unknown().trust_domains(value)
    }

    /// Under a trust domain that no value names.
    fn unknown(self) -> Self {
        Self { own: "?", ..self }
    }

    /// Our trust domain, then its aliases.
    fn all(self) -> impl Iterator<Item = &'m str> {
        std::iter::once(self.own).chain(self.aliases.iter().map(String::as_str))
    }

    fn is_ours(self, domain: &str) -> bool {
        domain == CLUSTER_LOCAL
            || self.all().any(|ours| {
                ours == domain
                    || ours == "*"
                    || matches_prefix(domain, ours)
                    || matches_prefix(ours, domain)
                    || matches_suffix(domain, ours)
                    || matches_suffix(ours, domain)
            })
    }
}

fn matches_prefix(text: &str, pattern: &str) -> bool {
    pattern
        .strip_suffix('*')
        .is_some_and(|prefix| text.starts_with(prefix))
}

fn matches_suffix(text: &str, pattern: &str) -> bool {
    pattern
        .strip_prefix('*')
        .is_some_and(|suffix| text.ends_with(suffix))
}

/// In a policy: the local trust domain and its aliases.
const CLUSTER_LOCAL: &str = "cluster.local";
