use std::collections::{BTreeMap, BTreeSet};

/// Describes services: which labels their workloads carry, and on which ports they listen.
/// The old resources name services, the new ones select by labels.
///
/// A service without a description is assumed to select `app: NAME`, and a note says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services(Vec<Said>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    name: String,
    /// `None`: in whichever namespace.
    namespace: Option<String>,
    labels: BTreeMap<String, String>,
    port: Option<u16>,
}

impl Services {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// States a service's labels, and one port on which its workloads listen; may be said again for
    /// more ports. Without a namespace it is true of services of this name everywhere; without
    /// labels they are `app: NAME`.
    #[must_use]
    pub fn with(
        mut self,
        name: impl Into<String>,
        namespace: Option<String>,
        port: Option<u16>,
        labels: BTreeMap<String, String>,
    ) -> Self {
        self.0.push(Said {
            name: name.into(),
            namespace,
            labels,
            port,
        });
        self
    }

    /// The names stated for a namespace.
    pub(super) fn names(&self, namespace: &str) -> impl Iterator<Item = &str> {
        let said = self.0.iter();
        said.filter(move |said| said.is_in(namespace))
            .map(|said| said.name.as_str())
    }

    /// A service, with its labels and ports.
    pub(super) fn find(&self, name: &str, namespace: &str) -> Backend {
        let said = self.0.iter();
        let said = said.filter(|said| said.name == name && said.is_in(namespace));
        let mut place = Backend {
            service: name.to_owned(),
            labels: BTreeMap::new(),
            ports: BTreeSet::new(),
            is_assumed: false,
        };
        for said in said {
            place.labels.extend(said.labels.clone());
            place.ports.extend(said.port);
        }
        if place.labels.is_empty() {
            place.is_assumed = true;
            place.labels.insert("app".to_owned(), name.to_owned());
        }
        place
    }
}

impl Said {
    fn is_in(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }
}

/// Workloads behind a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Backend {
    /// The service's short name.
    pub(super) service: String,
    pub(super) labels: BTreeMap<String, String>,
    /// Empty: not known.
    pub(super) ports: BTreeSet<u16>,
    /// Its labels are assumed.
    pub(super) is_assumed: bool,
}

impl Backend {
    /// Whether a workload can be behind both: no label tells them apart.
    pub(super) fn may_meet(&self, other: &Self) -> bool {
        let mut labels = self.labels.iter();
        labels.all(|(key, value)| other.labels.get(key).is_none_or(|own| own == value))
    }
}
