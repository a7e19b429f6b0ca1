//! The metadata and the selectors of resources.

use std::collections::BTreeMap;

use crate::istio::{Position, Text};

/// The part of a resource's `metadata` that decides: name, namespace, annotations, age.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Meta {
    /// The resource's kind, as written.
    pub kind: String,
    /// The resource's `apiVersion`, as written.
    pub api_version: String,
    /// Its name.
    pub name: String,
    /// Its namespace; empty for cluster-wide kinds. A namespaced resource that names none gets the
    /// loader's default namespace.
    pub namespace: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, Text>,
    /// `creationTimestamp` as written (RFC 3339 sorts as text), when there is one.
    pub created: Option<String>,
    /// Where the document starts.
    pub at: Position,
}

/// `spec.selector`: which workloads of its namespace a resource touches. Empty: all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selector {
    /// Labels that a workload must carry, each exactly.
    pub match_labels: BTreeMap<String, Text>,
    /// Where it was written.
    pub at: Position,
}

/// One entry of `spec.targetRefs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TargetRef {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
    /// Where it was written.
    pub at: Position,
}
