//! `exportTo`.

use std::collections::BTreeSet;

use crate::istio::Text;

/// To which namespaces a resource is visible, by `exportTo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exports {
    /// `*`, also beside others: to all.
    Everybody,
    /// `~`: to none.
    Nobody,
    /// To these, by name; `.` is the resource's own.
    Namespaces(BTreeSet<String>),
}

/// How a resource reaches a namespace. What is meant for fewer comes first in Istio's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// It is of this namespace and names it.
    Private,
    /// It is of another namespace and names this one.
    Named,
    /// It is for everybody.
    Public,
}

impl Exports {
    /// What `written` says in a resource of `namespace`; without a word of its own, `default` (of
    /// MeshConfig); without that, everybody.
    ///
    /// Of a default only `.` and `*` count, and `.` before `*`; one that names only others shows
    /// the resource to nobody.
    #[must_use]
    pub fn new(written: &[Text], default: &[Text], namespace: &str) -> Self {
        let has = |list: &[Text], word| list.iter().any(|text| text.as_str() == word);
        let own = || Self::Namespaces(BTreeSet::from([namespace.to_owned()]));
        if written.is_empty() {
            return match default {
                [] => Self::Everybody,
                _ if has(default, ".") => own(),
                _ if has(default, "*") => Self::Everybody,
                _ => Self::Nobody,
            };
        }
        if has(written, "*") {
            return Self::Everybody;
        }
        if has(written, "~") {
            return Self::Nobody;
        }
        let names = written.iter().map(|text| match text.as_str() {
            "." => namespace.to_owned(),
            name => name.to_owned(),
        });
        Self::Namespaces(names.collect())
    }

    /// How a resource of the namespace `of` reaches `to`; `None`: it does not.
    #[must_use]
    pub fn reach(&self, of: &str, to: &str) -> Option<Reach> {
        match self {
            Self::Everybody => Some(Reach::Public),
            Self::Nobody => None,
            Self::Namespaces(names) if !names.contains(to) => None,
            Self::Namespaces(_) if of == to => Some(Reach::Private),
            Self::Namespaces(_) => Some(Reach::Named),
        }
    }
}
