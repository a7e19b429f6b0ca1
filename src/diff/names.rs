//! The parts of SPIFFE ids that rules name, and ids joined from them.

/// More of a kind are not joined.
const MOST: usize = 6;

/// The parts of SPIFFE ids that rules name, joined in every way: a rule may ask for a namespace, an
/// account and a trust domain apart.
#[derive(Debug, Default)]
pub(super) struct Names {
    domains: Vec<String>,
    namespaces: Vec<String>,
    accounts: Vec<String>,
}

impl Names {
    /// Takes a text apart that may be a SPIFFE id, or a part of one.
    pub(super) fn learn(&mut self, text: &str) {
        let until = |text: &str| text.split('/').next().unwrap_or_default().to_owned();
        if let Some(rest) = text.strip_prefix("spiffe://") {
            keep(&mut self.domains, until(rest));
        }
        if let Some((_, rest)) = text.split_once("/ns/") {
            keep(&mut self.namespaces, until(rest));
        }
        if let Some((_, rest)) = text.split_once("/sa/") {
            keep(&mut self.accounts, until(rest));
        }
    }

    /// Every id that can be made of the parts.
    pub(super) fn all(&self) -> Vec<String> {
        let or = |known: &[String], otherwise: &str| {
            let mut known = known.to_vec();
            keep(&mut known, otherwise.to_owned());
            known
        };
        let mut ids = Vec::new();
        for domain in or(&self.domains, "cluster.local") {
            for namespace in or(&self.namespaces, "x") {
                for account in or(&self.accounts, "x") {
                    ids.push(format!("spiffe://{domain}/ns/{namespace}/sa/{account}"));
                }
            }
        }
        ids
    }
}

fn keep(known: &mut Vec<String>, text: String) {
    if !text.is_empty() && known.len() < MOST && !known.contains(&text) {
        known.push(text);
    }
}
