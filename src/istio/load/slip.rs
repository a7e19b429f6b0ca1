//! Judges documents outside our API groups: another tool's, or one of ours with a misspelt group or
//! kind.
//!
//! Nothing else protects from such a slip. A server would answer that it knows no such kind; a file
//! is only read, and the policy in it would be missing silently.

use super::kind::{is_our_group, meant, our_groups};
use crate::istio::yaml::suggest::within;
use crate::istio::yaml::tree::Node;

/// What a document under none of our groups is.
#[derive(Debug)]
pub(super) enum Foreign {
    /// Someone else's.
    Plain,
    /// Someone else's, of a name that ours have, too; with a word about it.
    Namesake(String),
    /// One of ours, misspelt; with what to write as `apiVersion`.
    Slip(String),
}

impl Foreign {
    /// Judges by `apiVersion` and kind, whose group is none of ours.
    ///
    /// A group that is spelled nearly like one of ours is never another's, whatever the kind. One
    /// of our kinds, spelled as it may be, is someone else's only under a group that is plainly
    /// theirs: a domain name that neither has to do with Istio nor is a part of our names.
    pub(in crate::istio) fn classify(api_version: &str, kind: &str) -> Self {
        let group = group(api_version);
        let spelled = tidy(group);
        let meant = meant(kind);
        if let Some((near, own)) = our_groups().find(|(name, _)| within(SLIPS, &spelled, name))
            && !OTHERS_OF_ISTIO.contains(&&*spelled)
            && spelled != GATEWAY_API_EXPERIMENTS
        {
            let write = meant.map_or(own, |(_, api_version)| api_version);
            return Self::Slip(format!(
                "`{group}` is no API group; did you mean {near}? write {write}"
            ));
        }
        let Some((name, write)) = meant else {
            return Self::Plain;
        };
        if is_someone_elses(&spelled) {
            // Every second tool has a `Policy`.
            return if name == kind && name != "Policy" {
                Self::Namesake(format!(
                    "the {kind} of {group} is not Istio's and is passed over; if Istio's is meant, write {write}"
                ))
            } else {
                Self::Plain
            };
        }
        Self::Slip(if name == kind {
            format!("`{api_version}` has no {kind}; write {write}")
        } else {
            format!(
                "`{api_version}` has no `{kind}`; if {name} is meant, write {write} and kind {name}"
            )
        })
    }
}

/// Whether a document holds ours in `items` without being a list of a kind that is read.
pub(super) fn is_unread_list(document: &Node<'_>) -> bool {
    document.items("items").iter().any(is_ours)
}

fn is_ours(item: &Node<'_>) -> bool {
    let (Some(api_version), Some(kind)) = (item.text("apiVersion"), item.text("kind")) else {
        return false;
    };
    let foreign = || Foreign::classify(api_version, kind);
    is_our_group(group(api_version)) || matches!(foreign(), Foreign::Slip(_))
}

/// The group of an `apiVersion`; all of it where there is no version, which makes `v1`, the core
/// group, one of a single word.
pub(in crate::istio) fn group(api_version: &str) -> &str {
    let parts = api_version.split_once('/');
    parts.map_or(api_version, |(group, _)| group)
}

/// The name of a group without what is easily added to it.
fn tidy(group: &str) -> String {
    let trimmed = group.trim_matches(|c: char| c == '.' || c.is_whitespace());
    trimmed.to_lowercase()
}

/// Whether a group is a domain name that has nothing to do with Istio's.
fn is_someone_elses(group: &str) -> bool {
    let labels = || group.split('.');
    let in_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(in_label);
    let is_domain = group.contains('.') && labels().all(is_label);
    let names_istio = group
        .split(['.', '-'])
        .any(|word| word.len() + 1 >= ISTIO.len() && within(1, word, ISTIO));
    // `security.io` is what is left of `security.istio.io`.
    let istios = our_groups().filter(|(name, _)| !name.ends_with(KUBERNETES));
    let is_part = istios.into_iter().any(|(name, _)| {
        let mut whole = name.split('.');
        labels().all(|label| whole.any(|known| known == label))
    });
    let is_near = OTHERS_OF_ISTIO
        .iter()
        .any(|name| within(SLIPS, group, name));
    is_domain && !names_istio && !is_part && !is_near
}

const ISTIO: &str = "istio";

/// What the names of Kubernetes' groups end with.
const KUBERNETES: &str = ".k8s.io";

/// Where kinds of the Gateway API are before they are in the group of nearly the same name.
const GATEWAY_API_EXPERIMENTS: &str = "gateway.networking.x-k8s.io";

/// Slips of the pen that a group may have.
const SLIPS: usize = 2;

/// Istio's groups that are not ours.
const OTHERS_OF_ISTIO: &[&str] = &[
    "config.istio.io",
    "extensions.istio.io",
    "install.istio.io",
    #[cfg(not(feature = "routing"))]
    "networking.istio.io",
    "operator.istio.io",
];
