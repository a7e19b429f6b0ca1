use std::sync::Arc;

use super::compiler::Compiler;
use super::selection::{has_labels, oldest};
use crate::istio::{MtlsMode, PeerAuthentication};
use crate::policy::PerPort;

/// Which connections are accepted on each port; `None` when no PeerAuthentication covers the
/// workload.
///
/// Port beats workload beats namespace beats mesh; an unset mode inherits, and the mesh's own
/// default is PERMISSIVE.
pub(super) fn modes(
    compiler: &mut Compiler<'_>,
    resources: &[Arc<PeerAuthentication>],
) -> Option<PerPort<MtlsMode>> {
    let mut scopes = Scopes::default();
    for resource in resources {
        scopes.place(compiler, resource);
    }
    let scopes = [scopes.mesh, scopes.namespace, scopes.workload];
    let chosen = scopes.map(|scope| oldest(compiler, scope, |resource| &resource.meta));
    let modes = chosen.iter().flatten().map(|resource| resource.mode);
    let inherited = modes.reduce(|broader, mode| set_or(mode, broader))?;
    let inherited = set_or(inherited, MtlsMode::Permissive);
    let [.., workload] = chosen;
    let mut modes = PerPort::same(inherited);
    for (port, mode) in workload.iter().flat_map(|resource| &resource.port_level) {
        modes.by_port.insert(*port, set_or(*mode, inherited));
    }
    Some(modes)
}

/// What competes for each scope.
#[derive(Default)]
struct Scopes<'r> {
    mesh: Vec<&'r PeerAuthentication>,
    namespace: Vec<&'r PeerAuthentication>,
    workload: Vec<&'r PeerAuthentication>,
}

impl<'r> Scopes<'r> {
    fn place(&mut self, compiler: &mut Compiler<'_>, resource: &'r PeerAuthentication) {
        let meta = &resource.meta;
        let in_root = meta.namespace == compiler.mesh.root_namespace;
        if !in_root && meta.namespace != compiler.workload.namespace() {
            return;
        }
        let for_all = resource.selector.match_labels.is_empty();
        match (in_root, for_all) {
            (true, true) => self.mesh.push(resource),
            (true, false) => {
                let message = format!(
                    "PeerAuthentication {}/{} is ignored: in the root namespace a selector selects \
                     nothing",
                    meta.namespace, meta.name
                );
                compiler.note(&resource.selector.at, "spec.selector", message);
            }
            (false, true) => self.namespace.push(resource),
            (false, false) => {
                if has_labels(compiler.workload, &resource.selector) {
                    self.workload.push(resource);
                }
            }
        }
    }
}

/// The mode, or the inherited one where it is unset.
pub(super) fn set_or(mode: MtlsMode, inherited: MtlsMode) -> MtlsMode {
    match mode {
        MtlsMode::Unset => inherited,
        MtlsMode::Disable | MtlsMode::Permissive | MtlsMode::Strict => mode,
    }
}
