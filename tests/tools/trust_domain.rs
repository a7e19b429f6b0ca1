//! Which trust domain the tools and policy tests mean by the mesh's own.

use tower_mesh::Workload;
use tower_mesh::identity::TrustDomain;
use tower_mesh::testing::policy::{Expectation, Matrix, Policies, Table, TableFile, request};
use tower_mesh::vet::Vet;

use crate::files::Files;
use crate::policy_tests::said;
use crate::program::{run, text};

const POLICY: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: desks}
spec: {rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}], to: [{operation: {paths: [/x]}}]}]}
";
const ASSUMED: &str = "note: policies name the mesh's own trust domain, which is taken for cluster.local; \
    --trust-domain or a MeshConfig says otherwise\n";

#[test]
fn check_takes_mesh_config_then_the_option_then_cluster_local() {
    let site = Files::new(&[
        ("a.yaml", POLICY),
        ("silent.yaml", "rootNamespace: root\n"),
        ("mesh.yaml", "trustDomain: mesh.example\n"),
    ]);
    // The words, the caller's trust domain, whether it may pass, and what stderr says.
    let option = ["--trust-domain", "clinic.example"];
    let (silent, mesh) = (site.path("silent.yaml"), site.path("mesh.yaml"));
    let other = "note: MeshConfig's trustDomain mesh.example counts, and not --trust-domain clinic.example\n";
    let table: [(&[&str], &str, i32, &str); 8] = [
        (&[], "cluster.local", 0, ""),
        (&[], "clinic.example", 1, ASSUMED),
        (&option, "clinic.example", 0, ""),
        (&option, "cluster.local", 1, ""),
        (&["--mesh-config", &silent], "cluster.local", 0, ""),
        (&["--mesh-config", &silent], "clinic.example", 1, ASSUMED),
        (&["--mesh-config", &mesh], "mesh.example", 0, ""),
        (
            &["--mesh-config", &mesh, option[0], option[1]],
            "mesh.example",
            0,
            other,
        ),
    ];
    let policy = site.path("a.yaml");
    for (words, domain, code, stderr) in table {
        let caller = format!("{domain}/ns/default/sa/desk");
        let asked = ["check", "GET", "/x", "--as", &caller, "--config", &policy];
        let output = run(
            &[&asked[..], &["--workload", "default/app"], words].concat(),
            "",
        );
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?} {domain}");
        assert_eq!(told, stderr, "{words:?}");
    }
}

#[test]
fn the_assumption_is_told_only_where_it_matters() {
    let free = |principal: &str| POLICY.replace("cluster.local/ns/default/sa/desk", principal);
    // Istio exchanges texts of five parts alone.
    let table = [
        ("cluster.local/ns/default/sa/desk", true),
        ("cluster.local/ns/default/*", false),
        ("clinic.example/ns/default/sa/desk", false),
        ("'*/ns/default/sa/desk'", false),
        ("'*'", false),
    ];
    let line = |principal: &str| {
        format!(
            "{{\"method\": \"GET\", \"path\": \"/\", \"source\": {{\"principal\": \"{principal}\"}}}}\n"
        )
    };
    let other = line("clinic.example/ns/default/sa/desk");
    for (principal, is_told) in table {
        let site = Files::new(&[
            ("a.yaml", &free(principal)),
            ("b.yaml", &free(principal).replace("/x", "/y")),
        ]);
        let (policy, changed) = (site.path("a.yaml"), site.path("b.yaml"));
        let workload = ["--workload", "default/app"];
        let asked = ["--requests", "-"];
        for (words, depends_on_caller) in [
            (
                &["check", "--config", &policy, asked[0], asked[1]][..],
                true,
            ),
            (&["coverage", "--config", &policy, asked[0], asked[1]], true),
            (&["diff", &policy, &policy, asked[0], asked[1]], true),
            (&["diff", &policy, &changed], false),
            (&["envoy", "--config", &policy], false),
            (&["vet", &policy], false),
        ] {
            let words = [words, &workload].concat();
            let told = |words: &[&str], input: &str| {
                let output = run(words, input);
                text(&output.stderr).matches(ASSUMED).count()
            };
            let due = usize::from(is_told);
            assert_eq!(told(&words, &other), due, "{words:?} {principal}");
            if depends_on_caller {
                let ours = line("cluster.local/ns/default/sa/desk");
                assert_eq!(told(&words, &ours), 0, "{words:?} {principal}");
            }
            let words = [&words, &["--trust-domain", "clinic.example"][..]].concat();
            assert_eq!(told(&words, &other), 0, "{words:?}");
        }
        let same = run(&["diff", &policy, &policy, workload[0], workload[1]], "");
        assert!(!text(&same.stderr).contains(ASSUMED), "nothing differs");
    }
    let bad = run(&["vet", "x", "--trust-domain", "Clinic"], "");
    assert_eq!(bad.status.code(), Some(2));
    assert!(text(&bad.stderr).contains("a trust domain is 1 to 255"));
}

#[test]
fn vet_knows_the_trust_domain_of_the_workloads() {
    let wide = POLICY.replace("cluster.local/ns/default/sa/desk", "clinic.example/*");
    let told = |vet: Vet| vet.yaml("a.yaml", &wide, "default").unwrap().notes.len();
    let domain = TrustDomain::new("clinic.example").unwrap();
    let workload = Workload::new("default", "app");
    assert_eq!(told(Vet::new().workload(workload.clone())), 0);
    assert_eq!(told(Vet::new().trust_domain(domain.clone())), 1);
    let of_workload = Vet::new().workload(workload.trust_domain(domain));
    assert_eq!(told(of_workload), 1);
}

#[test]
fn policy_tests_say_what_they_assume_where_a_caller_is_of_elsewhere() {
    const NOTE: &str = "which is taken for cluster.local; Workload::trust_domain";
    let workload = Workload::new("default", "app");
    let assumed = Policies::parse(&workload, POLICY);
    let elsewhere = request()
        .get("/x")
        .from("clinic.example/ns/default/sa/desk");
    let here = request().get("/y").from("cluster.local/ns/default/sa/desk");
    let matrix = |policies: &Policies| {
        let matrix = Matrix::new().caller("desk", elsewhere.clone());
        let access = matrix.operation("GET /x").ask(policies);
        access.assert_is("GET /x\n desk allowed");
    };
    for text in [
        said(|| drop(assumed.expect(elsewhere.clone()).to_be_allowed())),
        said(|| drop(assumed.expect(elsewhere.clone()).to_be_audited_by("x/0"))),
        said(|| {
            let table = Table::new().row("desk", elsewhere.clone(), Expectation::allowed());
            table.run(&assumed).assert();
        }),
        said(|| matrix(&assumed)),
    ] {
        assert!(text.contains(NOTE), "{text}");
    }
    let text = said(|| drop(assumed.expect(here).to_be_allowed()));
    assert!(!text.contains(NOTE), "{text}");

    let domain = TrustDomain::new("clinic.example").unwrap();
    let known = Policies::parse(&workload.trust_domain(domain), POLICY);
    known
        .expect(elsewhere.clone())
        .to_be_allowed()
        .by("desks/0");
    matrix(&known);
}

#[test]
fn a_table_states_the_trust_domain() {
    let site = Files::new(&[("a.yaml", POLICY)]);
    let table = |domain: &str| {
        format!(
            "workload: default/app\ntrustDomain: {domain}\nconfig: [a.yaml]\ntests:\n- {{as: clinic.example/ns/default/sa/desk, request: GET /x, expect: allowed}}\n"
        )
    };
    let file = TableFile::parse(&site.path("table.yaml"), &table("clinic.example")).unwrap();
    file.table().run(&file.policies().unwrap()).assert();
    let wrong = TableFile::parse("table.yaml", &table("Clinic")).unwrap_err();
    assert!(
        wrong
            .to_string()
            .starts_with("table.yaml:2:14: trustDomain: `Clinic`: a trust domain is"),
        "{wrong}"
    );
}
