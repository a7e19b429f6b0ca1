//! Notes that somebody has looked at, and left for a reason.

use tower_mesh::vet::{Code, Severity, Vet};

const DEVICES: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: devices
  namespace: clinic
  annotations:
    tower-mesh.io/vet-ignore: \"method-unknown: our devices speak it\"
spec:
  rules:
  - to: [{operation: {methods: [MEASURE], hosts: [devices.example]}}]
";

#[test]
fn an_annotation_silences_notes_about_its_resource_and_the_reason_is_kept() {
    let report = Vet::new().yaml("a.yaml", DEVICES, "clinic").unwrap();
    let codes: Vec<Code> = report.notes.iter().map(|note| note.code).collect();
    assert_eq!(codes, [Code::HostWithoutPort]);
    assert_eq!(report.silenced.len(), 1);
    let silenced = &report.silenced[0];
    assert_eq!(silenced.note.code, Code::MethodUnknown);
    assert_eq!(silenced.reason, "our devices speak it");
    let json: serde_json::Value = serde_json::from_str(&silenced.to_json()).unwrap();
    assert_eq!(json["severity"], "silenced");
    let message = json["message"].as_str().unwrap();
    assert!(message.ends_with("(silenced: our devices speak it)"));
}

#[test]
fn a_silence_without_a_reason_silences_nothing() {
    let mute = DEVICES.replace(": our devices speak it", "");
    let report = Vet::new().yaml("a.yaml", &mute, "clinic").unwrap();
    let codes: Vec<Code> = report.notes.iter().map(|note| note.code).collect();
    assert_eq!(
        codes,
        [
            Code::SilenceInvalid,
            Code::MethodUnknown,
            Code::HostWithoutPort
        ]
    );
    let report = Vet::new().allow(Code::HostWithoutPort, " ");
    let report = report.yaml("a.yaml", DEVICES, "clinic").unwrap();
    assert_eq!(report.notes.len(), 1);
}

#[test]
fn a_code_is_silenced_everywhere() {
    let vet = Vet::new().allow(Code::HostWithoutPort, "port 443 only");
    let report = vet.yaml("a.yaml", DEVICES, "clinic").unwrap();
    assert_eq!(report.notes, []);
    assert_eq!(report.silenced.len(), 2);
    assert!(!report.has_errors());
    assert_eq!(report.count(Severity::Warning), 0);
}
