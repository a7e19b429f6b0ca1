//! Whether servers take mutual TLS: PeerAuthentication, as callers see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::istio::{MtlsMode, PeerAuthentication};

/// All PeerAuthentications, oldest first.
pub(super) struct PeerModes<'r> {
    all: Vec<&'r PeerAuthentication>,
    root_namespace: &'r str,
}

impl<'r> PeerModes<'r> {
    pub(super) fn new(all: &'r [Arc<PeerAuthentication>], root_namespace: &'r str) -> Self {
        let mut all: Vec<_> = all.iter().map(|it| &**it).collect();
        all.sort_by_key(|it| (&it.meta.created, &it.meta.name));
        Self {
            all,
            root_namespace,
        }
    }

    /// The mode of a namespace, by its own resource without selector, else by the mesh's.
    pub(super) fn of_namespace(&self, namespace: &str) -> MtlsMode {
        let namespaces = [namespace, self.root_namespace].into_iter();
        let modes = namespaces.filter_map(|namespace| {
            let mut whole = self
                .all
                .iter()
                .filter(|it| it.selector.match_labels.is_empty());
            let found = whole.find(|it| it.meta.namespace == namespace)?;
            is_set(found.mode)
        });
        let mut modes = modes;
        modes.next().unwrap_or(MtlsMode::Permissive)
    }

    /// The mode of one workload's port.
    pub(super) fn of_workload(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        port: Option<u16>,
    ) -> MtlsMode {
        let mut selecting = self.all.iter().filter(|it| {
            let selected = &it.selector.match_labels;
            let mut pairs = selected.iter();
            it.meta.namespace == namespace
                && !selected.is_empty()
                && pairs.all(|(key, value)| {
                    let own = labels.get(key);
                    own.is_some_and(|own| own == value.as_str())
                })
        });
        let own = selecting.next();
        let of_port = own.and_then(|it| is_set(*it.port_level.get(&port?)?));
        let of_port = of_port.or_else(|| own.and_then(|it| is_set(it.mode)));
        of_port.unwrap_or_else(|| self.of_namespace(namespace))
    }
}

fn is_set(mode: MtlsMode) -> Option<MtlsMode> {
    (mode != MtlsMode::Unset).then_some(mode)
}
