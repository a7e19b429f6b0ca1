//! What a mesh refuses is an error of vet at the same line, and what it warns of is a note there: asked of the mesh itself.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};

use tower_mesh::jwt::SvidKeys;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::vet::{Code, Report, Severity, Vet};
use tower_mesh::{Mesh, Workload};

use super::fixtures::workload;

/// Texts of which a mesh makes something to talk about, beside those of `tests/vet`.
const TEXTS: &[&str] = &[
    // Two of one selector, and two whose selectors meet on the workload only.
    "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: one, namespace: clinic}
spec: {selector: {matchLabels: {app: ward}}, mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: two, namespace: clinic}
spec: {selector: {matchLabels: {app: ward}}, portLevelMtls: {'9000': {mode: DISABLE}}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
",
    "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: two, namespace: clinic, creationTimestamp: '2024-06-30T08:00:00Z'}
spec: {selector: {matchLabels: {tier: bedside}}, mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: one, namespace: clinic}
spec: {selector: {matchLabels: {app: ward}}, mtls: {mode: STRICT}}
",
    "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: z, namespace: clinic}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: a, namespace: clinic}
spec: {mtls: {mode: STRICT}}
",
    // Keys and headers of tokens.
    "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: clinic}
spec:
  jwtRules:
  - issuer: one
    jwks: '{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"a\",\"use\":\"enc\",\"n\":\"AAAA\",\"e\":\"AQAB\"}]}'
  - issuer: two
    jwks: '{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}'
  - issuer: three
    jwks: '{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\",\"d\":\"AAAA\"}]}'
  - issuer: four
    jwks: '{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\",\"key_ops\":[\"encrypt\"]}]}'
  - issuer: five
    jwks: '{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\",\"alg\":\"RS256\"}]}'
",
    "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: clinic}
spec:
  jwtRules:
  - issuer: one
    jwksUri: http://127.0.0.1/keys
  - issuer: two
    jwksUri: http://[::1]:8080/keys
  - issuer: three
    jwksUri: http://localhost/keys
  - issuer: accounts.example
  - issuer: http://accounts.example
  - issuer: ftp://accounts.example
  - issuer: https://accounts.example
  - jwksUri: 'https://keys.example/{tenant}/keys'
    issuer: four
",
    "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: istio-system}
spec:
  jwtRules:
  - issuer: https://idp.example
    jwksUri: https://idp.example/keys
    outputPayloadToHeader: Host
  - issuer: https://idp.example
    jwksUri: https://idp.example/keys
    outputClaimToHeaders:
    - {header: Content-Length, claim: sub}
    - {header: x-user, claim: sub}
    - {header: connection, claim: sub}
    - {header: AUTHORIZATION, claim: sub}
",
    // Attached to what the workload is not.
    "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: viewer, namespace: clinic}
spec:
  targetRefs:
  - {kind: Service, group: '', name: ward}
  rules:
  - to: [{operation: {methods: [GET]}}]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: clinic}
spec:
  targetRefs:
  - {kind: Gateway, group: gateway.networking.k8s.io, name: door}
  jwtRules: [{issuer: 'https://idp.example', jwksUri: 'https://idp.example/keys'}]
",
    // Providers.
    "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: clinic}
spec:
  action: CUSTOM
  provider:
    name: gate
  rules:
  - to: [{operation: {methods: [GET]}}]
",
    "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - name: gate
      envoyExtAuthzHttp: {service: gate.clinic.svc.cluster.local, port: 8000}
    - name: log
      envoyOtelAls: {service: otel.clinic.svc.cluster.local, port: 4317}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: clinic}
spec:
  action: CUSTOM
  provider:
    name: gate
  rules:
  - to: [{operation: {methods: [GET]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: log, namespace: clinic}
spec:
  action: CUSTOM
  provider:
    name: log
  rules:
  - to: [{operation: {methods: [GET]}}]
",
    // What cannot be read.
    "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: typo, namespace: clinic}
spec:
  rules:
  - from: [{source: {principles: [a]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: typo, namespace: clinic}
spec: {action: DENY}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: clinic}
spec: {action: CUSTOM, rules: [{}]}
",
    "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: quoted, namespace: clinic}
spec:
  rules:
  - to: [{operation: {methods: [“GET”]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: quoted, namespace: clinic}
spec: {}
",
    // Words that the loader has of values.
    "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: odd, namespace: clinic}
spec:
  selector: {}
  rules:
  - from:
    - source:
        principals:
        - spiffe://cluster.local/ns/clinic/sa/desk
  - when:
    - key: source.principal
      values:
      - spiffe://cluster.local/ns/clinic/sa/desk
",
    // The resources of 2018.
    "
apiVersion: authentication.istio.io/v1alpha1
kind: Policy
metadata: {name: one, namespace: clinic}
spec: {targets: [{name: ward}], peers: [{mtls: {}}]}
---
apiVersion: authentication.istio.io/v1alpha1
kind: Policy
metadata: {name: two, namespace: clinic}
spec: {targets: [{name: ward}], peers: [{mtls: {}}]}
",
    "
apiVersion: authentication.istio.io/v1alpha1
kind: Policy
metadata: {name: default, namespace: clinic}
spec:
  peers: [{mtls: {}}]
  origins:
  - jwt:
      issuer: https://idp.example
      jwksUri: http://127.0.0.1/keys
  - jwt:
      issuer: https://idp.example
      jwksUri: https://idp.example/keys
      trigger_rules:
      - excluded_paths: [{regex: '('}]
",
    "
apiVersion: rbac.istio.io/v1alpha1
kind: ClusterRbacConfig
metadata: {name: default}
spec: {mode: 'ON'}
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRole
metadata: {name: reader, namespace: clinic}
spec:
  rules:
  - services: [ward.clinic.svc.cluster.local]
    methods: [GET]
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRole
metadata: {name: unbound, namespace: clinic}
spec:
  rules:
  - services: ['*']
    constraints: [{key: destination.labels[app], values: [ward]}]
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRoleBinding
metadata: {name: desk, namespace: clinic}
spec:
  subjects:
  - user: '*'
    properties:
      weather: rain
  roleRef: {kind: ServiceRole, name: writer}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: today, namespace: clinic}
spec: {selector: {matchLabels: {app: ward}}}
",
];

const WORKLOADS: &[&str] = &[
    "clinic/ward app=ward tier=bedside ward:8080 ward:9000/tcp",
    "clinic/ward app=ward",
    "office/desk app=desk desk:8080",
];

/// Codes of what a mesh refuses, and of nothing else.
const REFUSED: &[Code] = &[
    Code::AgelessPeerAuthentication,
    Code::ClaimHeaderReserved,
    Code::DuplicateResource,
    Code::JwksOverHttp,
    Code::JwksUnusable,
    Code::MeshRefuses,
    Code::TypographicQuotes,
];

/// Codes of what a mesh warns of, and of nothing else.
const WARNED: &[Code] = &[Code::MeshWarns, Code::TargetRefsElsewhere];

#[test]
fn what_a_mesh_refuses_is_an_error_and_what_it_warns_of_is_a_note() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vet");
    let read = |path: std::path::PathBuf| fs::read_to_string(&path).unwrap();
    let fixtures = Code::ALL.iter().flat_map(|code| {
        ["fires.yaml", "silent.yaml"].map(|name| read(folder.join(code.as_str()).join(name)))
    });
    let texts: Vec<String> = TEXTS
        .iter()
        .map(|text| (*text).to_owned())
        .chain(fixtures)
        .collect();
    let (mut refused, mut warned) = (0, 0);
    for text in &texts {
        let stated = text
            .lines()
            .filter_map(|line| line.strip_prefix("# workload: "));
        for words in stated.chain(WORKLOADS.iter().copied()) {
            let mesh = mesh(text, workload(words));
            compare(text, words, &mesh);
            refused += usize::from(!mesh.refused.is_empty());
            warned += usize::from(!mesh.warned.is_empty());
        }
    }
    assert!(refused > 20 && warned > 20, "{refused} {warned}");
}

fn compare(text: &str, words: &str, mesh: &Said) {
    let workload = workload(words);
    let namespace = workload.namespace().to_owned();
    let report = match Vet::new()
        .workload(workload)
        .yaml("p.yaml", text, &namespace)
    {
        Ok(report) => report,
        Err(problems) => {
            let lines: BTreeSet<u32> = problems
                .as_slice()
                .iter()
                .map(|problem| problem.at.line)
                .collect();
            assert_eq!(lines, mesh.refused, "{words}: {problems}\n{text}");
            return;
        }
    };
    let errors = lines(&report, |_, severity| severity == Severity::Error);
    let missing: Vec<_> = mesh.refused.difference(&errors).collect();
    assert!(
        missing.is_empty(),
        "{words}: line {missing:?} is refused\n{report:#?}\n{text}"
    );
    let notes = lines(&report, |_, _| true);
    let missing: Vec<_> = mesh.warned.difference(&notes).collect();
    assert!(
        missing.is_empty(),
        "{words}: line {missing:?} is warned of\n{report:#?}\n{text}"
    );
    // The other way round: of this workload's resources, and where the mesh got so far.
    let own = |resource: &str| {
        resource.contains(&format!(" {namespace}/")) || resource.contains(" istio-system/")
    };
    if mesh.refused.is_empty() {
        let said = report
            .notes
            .iter()
            .filter(|note| REFUSED.contains(&note.code) && own(&note.resource));
        let said: Vec<_> = said.collect();
        assert!(
            said.is_empty(),
            "{words}: the mesh starts\n{said:#?}\n{text}"
        );
        let said = report.notes.iter().filter(|note| {
            WARNED.contains(&note.code)
                && own(&note.resource)
                && !mesh.warned.contains(&note.at.line)
        });
        let said: Vec<_> = said.collect();
        assert!(
            said.is_empty(),
            "{words}: the mesh is silent\n{said:#?}\n{text}"
        );
    }
}

fn lines(report: &Report, is_meant: impl Fn(Code, Severity) -> bool) -> BTreeSet<u32> {
    let notes = report.notes.iter();
    let notes = notes.filter(|note| is_meant(note.code, note.severity()));
    notes.map(|note| note.at.line).collect()
}

/// What a mesh says of a configuration, by line.
#[derive(Debug, Default)]
struct Said {
    refused: BTreeSet<u32>,
    warned: BTreeSet<u32>,
}

/// Builds a mesh of it.
fn mesh(text: &str, workload: Workload) -> Said {
    let (told, log) = channel();
    let _guard = tracing::subscriber::set_default(
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .without_time()
            .with_writer(move || Log(told.clone()))
            .finish(),
    );
    let pki = Pki::new("cluster.local").unwrap();
    let identity = pki.identity(workload.namespace(), workload.service_account());
    let mut builder = Mesh::builder(workload, identity.unwrap())
        .tokens(|tokens| tokens.jwks_roots(pki.root_pem()))
        .config(Fixed::yaml("p.yaml", text.to_owned()));
    // Nobody is there, and nobody is asked where that is.
    let nobody: SocketAddr = (Ipv4Addr::LOCALHOST, 1).into();
    for host in hosts(text) {
        builder = builder.tokens(|tokens| tokens.resolve(&format!("{host}:443"), nobody));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // One whose identity comes from the Workload API has bundles, and vet only warns that others
    // have none.
    builder = builder.tokens(|tokens| tokens.svid_keys(SvidKeys::new()));
    let built = runtime.block_on(builder.build());
    let mut said = Said::default();
    if let Err(error) = built {
        let problems = error.problems();
        let problems = problems
            .unwrap_or_else(|| panic!("{error}\n{text}"))
            .as_slice();
        said.refused = problems.iter().map(|problem| problem.at.line).collect();
        return said;
    }
    // One write a line.
    for line in log.try_iter() {
        // Istio says it of every such rule; vet says of known ports what it comes to.
        if line.contains("so it denies every raw TCP connection") {
            continue;
        }
        if let Some(place) = line.split("note=p.yaml:").nth(1) {
            let number = place.split(':').next().unwrap();
            said.warned.insert(number.parse().unwrap());
        }
    }
    said
}

/// The hosts that keys are fetched from.
fn hosts(text: &str) -> BTreeSet<&str> {
    let addresses = text.split("https://").skip(1);
    let end = |c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-';
    addresses
        .filter_map(|rest| rest.split(end).next())
        .collect()
}

/// What is logged, a line each.
struct Log(Sender<String>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The mesh may log after nobody listens any more.
        let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
