//! PeerAuthentication.

use std::sync::Arc;

use super::world::{meta, workload};
use crate::istio::{MeshConfig, MtlsMode, PeerAuthentication, Problems, Resources};
use crate::policy::{Program, compile};

fn peers(name: &str, namespace: &str, mode: MtlsMode) -> PeerAuthentication {
    PeerAuthentication {
        meta: meta("PeerAuthentication", namespace, name),
        mode,
        ..PeerAuthentication::default()
    }
}

fn labelled(mut resource: PeerAuthentication, app: &str) -> PeerAuthentication {
    let labels = &mut resource.selector.match_labels;
    labels.insert("app".to_owned(), app.into());
    resource
}

fn compiled(resources: Vec<PeerAuthentication>) -> Result<Program, Problems> {
    let resources = Resources {
        peer_authentications: resources.into_iter().map(Arc::new).collect(),
        ..Resources::default()
    };
    compile(&resources, &MeshConfig::default(), &workload())
}

fn mode(resources: Vec<PeerAuthentication>) -> Option<MtlsMode> {
    compiled(resources).unwrap().mtls.default
}

const MODES: [MtlsMode; 4] = [
    MtlsMode::Unset,
    MtlsMode::Disable,
    MtlsMode::Permissive,
    MtlsMode::Strict,
];

/// M-24: every mode in every scope, above every other one.
#[test]
fn the_narrower_scope_wins_and_unset_inherits() {
    let or = |mode, inherited| {
        if mode == MtlsMode::Unset {
            inherited
        } else {
            mode
        }
    };
    for mesh in MODES {
        for namespace in MODES {
            for own in MODES {
                for port in MODES {
                    let mut workload = labelled(peers("w", "foo", own), "httpbin");
                    workload.port_level.insert(8080, port);
                    let program = compiled(vec![
                        peers("m", "istio-system", mesh),
                        peers("n", "foo", namespace),
                        workload,
                    ]);
                    let mtls = program.unwrap().mtls;
                    let expected = or(own, or(namespace, or(mesh, MtlsMode::Permissive)));
                    assert_eq!(mtls.default, Some(expected));
                    assert_eq!(*mtls.get(8080), Some(or(port, expected)));
                    assert_eq!(*mtls.get(8081), Some(expected));
                }
            }
        }
    }
}

/// Row 56 of spec §8.
#[test]
fn an_unset_workload_takes_its_namespaces_mode() {
    let resources = vec![
        peers("m", "istio-system", MtlsMode::Disable),
        peers("n", "foo", MtlsMode::Strict),
        labelled(peers("w", "foo", MtlsMode::Unset), "httpbin"),
    ];
    assert_eq!(mode(resources), Some(MtlsMode::Strict));
}

#[test]
fn without_a_resource_that_covers_the_workload_nothing_is_said() {
    assert_eq!(mode(vec![]), None);
    assert_eq!(mode(vec![peers("n", "bar", MtlsMode::Strict)]), None);
    let other = labelled(peers("w", "foo", MtlsMode::Strict), "other");
    assert_eq!(mode(vec![other]), None);
    let unset = vec![peers("n", "foo", MtlsMode::Unset)];
    assert_eq!(mode(unset), Some(MtlsMode::Permissive));
}

#[test]
fn a_selector_in_the_root_namespace_selects_nothing_and_is_noted() {
    let root = labelled(peers("m", "istio-system", MtlsMode::Strict), "httpbin");
    let program = compiled(vec![root]).unwrap();
    assert_eq!(program.mtls.default, None);
    assert_eq!(program.notes.len(), 1);
}

#[test]
fn the_oldest_of_a_scope_counts() {
    let dated = |name: &str, created: &str, mode| {
        let mut resource = peers(name, "foo", mode);
        resource.meta.created = Some(created.to_owned());
        resource
    };
    let resources = vec![
        dated("a", "2026-01-02T00:00:00Z", MtlsMode::Disable),
        dated("c", "2026-01-01T00:00:00Z", MtlsMode::Permissive),
        dated("b", "2026-01-01T00:00:00Z", MtlsMode::Strict),
    ];
    let program = compiled(resources).unwrap();
    assert_eq!(program.mtls.default, Some(MtlsMode::Strict));
    assert_eq!(program.notes.len(), 2);
}

#[test]
fn two_of_a_scope_without_times_are_refused() {
    let resources = vec![
        peers("a", "foo", MtlsMode::Strict),
        peers("b", "foo", MtlsMode::Disable),
    ];
    let problems = compiled(resources).unwrap_err();
    assert!(
        problems.to_string().contains("neither is the older"),
        "{problems}"
    );
}
