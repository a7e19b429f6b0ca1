//! Resources of the shape in which a well-known article of 2018 has them: roles under one name, bindings to another, and the quotation
//! marks of a word processor.

use tower_mesh::vet::{Code, Note, Vet};

const CLINIC: &str = "
apiVersion: rbac.istio.io/v1alpha1
kind: ClusterRbacConfig
metadata: {name: default}
spec: {mode: 'ON'}
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRole
metadata: {name: patient-service-querier, namespace: default}
spec:
  rules:
  - services: [patients.default.svc.cluster.local]
    methods: [GET, “PUT”, POST]
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRole
metadata: {name: patients-admin, namespace: default}
spec:
  rules:
  - services: [patients.default.svc.cluster.local]
    methods: [\"*\"]
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRoleBinding
metadata: {name: check-in-asks, namespace: default}
spec:
  subjects: [{user: cluster.local/ns/default/sa/patient-check-in}]
  roleRef:
    kind: ServiceRole
    name: patient-querier
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRoleBinding
metadata: {name: admin-administers, namespace: default}
spec:
  subjects: [{user: cluster.local/ns/default/sa/admin}]
  roleRef:
    kind: ServiceRole
    name: “patient-admin”
";

#[test]
fn both_bindings_without_a_role_are_found() {
    let report = Vet::new().yaml("2018.yaml", CLINIC, "default").unwrap();
    let told = |code| -> Vec<(u32, u32, &str)> {
        let of_code = |note: &&Note| note.code == code;
        let notes = report.notes.iter().filter(of_code);
        notes
            .map(|note| (note.at.line, note.at.column, note.resource.as_str()))
            .collect()
    };
    assert_eq!(
        told(Code::BindingWithoutRole),
        [
            (30, 11, "ServiceRoleBinding default/check-in-asks"),
            (39, 11, "ServiceRoleBinding default/admin-administers"),
        ]
    );
    let helps: Vec<&str> = report
        .notes
        .iter()
        .filter(|note| note.code == Code::BindingWithoutRole)
        .map(|note| note.help.as_str())
        .collect();
    assert!(helps[0].contains("did you mean `patient-service-querier`"));
    assert!(helps[1].contains("did you mean `patients-admin`"));
    assert_eq!(
        told(Code::RoleUnbound),
        [
            (7, 1, "ServiceRole default/patient-service-querier"),
            (15, 1, "ServiceRole default/patients-admin"),
        ]
    );
    assert_eq!(
        told(Code::TypographicQuotes),
        [
            (13, 20, "ServiceRole default/patient-service-querier"),
            (39, 11, "ServiceRoleBinding default/admin-administers"),
        ]
    );
    assert_eq!(report.notes.len(), 6, "{:#?}", report.notes);
}
