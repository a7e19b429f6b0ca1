//! How `tower-mesh vet` prints, explains and counts.

use std::fs;
use std::path::Path;

use tower_mesh::vet::{Code, Vet};

use super::fixtures::workload;
use crate::program::{run, text};

const NOTES: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: clinic}
spec:
  rules:
  - to: [{operation: {methods: [METHODS]}}]
";

fn vet(methods: &str, words: &[&str]) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a,b.yaml");
    fs::write(&file, NOTES.replace("METHODS", methods)).unwrap();
    let path = file.to_str().unwrap();
    let output = run(&[&["vet", path], words].concat(), "");
    let out = text(&output.stdout).replace(path, "PATH");
    let escaped = path.replace(',', "%2C");
    let code = output.status.code().unwrap();
    (code, out.replace(&escaped, "ESCAPED"), text(&output.stderr))
}

#[test]
fn warnings_fail_when_they_are_denied() {
    let deny = ["--deny-warnings"];
    let silenced = ["--deny-warnings", "--allow", "method-unknown=ours"];
    let table: [(&str, &[&str], i32); 6] = [
        ("GET", &[], 0),
        ("GET", &deny, 0),
        ("GETT", &[], 0),
        ("GETT", &deny, 1),
        ("GETT", &silenced, 0),
        ("get", &deny, 1),
    ];
    for (methods, words, code) in table {
        for format in ["text", "json", "github"] {
            let words = [words, &["--format", format]].concat();
            assert_eq!(vet(methods, &words).0, code, "{methods} {words:?}");
        }
    }
}

#[test]
fn github_is_one_workflow_command_a_note() {
    let words = [
        "--format",
        "github",
        "--allow",
        "redundant-value=50% of them",
        "--show-silenced",
    ];
    let (code, out, stderr) = vet("get, GETT, DELETE, DELETE", &words);
    assert_eq!((code, stderr.as_str()), (1, ""));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 3, "{out}");
    assert!(
        lines[0].starts_with(
            "::error file=ESCAPED,line=6,col=33,title=method-lower-case::`get` is no method"
        ) && lines[0].ends_with("%0Ain: AuthorizationPolicy clinic/readers%0Ahelp: write `GET`"),
        "{out}"
    );
    assert!(
        lines[1].starts_with("::warning file=ESCAPED,line=6,col=38,title=method-unknown::"),
        "{out}"
    );
    assert!(
        lines[2].starts_with("::notice file=ESCAPED,line=6,")
            && lines[2].ends_with("%0Asilenced: 50%25 of them"),
        "{out}"
    );

    let (code, out, stderr) = vet("{", &["--format", "github"]);
    assert_eq!(code, 2);
    assert!(out.starts_with("::error file=ESCAPED,line="), "{out}");
    assert!(!stderr.is_empty());
}

/// What a pull request writes is no command of the runner's, which reads stderr, too.
#[test]
fn no_value_begins_a_line_of_its_own() {
    let name = NOTES.replace("name: readers", r#"name: "x\n::stop-commands::y""#);
    let path = NOTES.replace(
        "methods: [METHODS]",
        r#"paths: ["/a\n::stop-commands::y\e[31m"]"#,
    );
    for (policy, code) in [(name.replace("METHODS", "GET"), 2), (path, 1)] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        fs::write(&file, policy).unwrap();
        for format in ["text", "json", "github"] {
            let output = run(&["vet", file.to_str().unwrap(), "--format", format], "");
            assert_eq!(output.status.code(), Some(code), "{format}");
            for said in [text(&output.stdout), text(&output.stderr)] {
                assert!(!said.contains("\n::stop-commands"), "{format}: {said}");
                assert!(!said.contains('\u{1b}'), "{format}: {said}");
            }
        }
    }
}

#[test]
fn every_code_is_explained_as_on_the_page_with_an_example_that_is_told() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/vet.md")).unwrap();
    for code in Code::ALL {
        let explanation = code.explanation();
        let section = page.split(&format!("### `{code}`\n")).nth(1).unwrap();
        let section = section.split("\n### ").next().unwrap();
        assert_eq!(explanation.text, section.trim(), "{code}");
        let notes = |text: &str| {
            let workloads = text
                .lines()
                .filter_map(|line| line.strip_prefix("# workload: "));
            let vet = workloads.map(workload).fold(Vet::new(), Vet::workload);
            vet.yaml("a.yaml", text, "clinic").unwrap().notes
        };
        let told = notes(explanation.example);
        assert!(told.iter().any(|note| note.code == *code), "{code}");
        assert_eq!(notes(explanation.remedy), [], "{code}");
    }
}

#[test]
fn a_code_is_explained_without_any_policies() {
    let output = run(&["vet", "--explain", "method-lower-case"], "");
    assert_eq!(output.status.code(), Some(0));
    let out = text(&output.stdout);
    let explanation = Code::MethodLowerCase.explanation();
    assert!(out.starts_with("method-lower-case\n\n*error.* An HTTP method is not in upper case"));
    assert!(out.contains(explanation.text));
    for part in [explanation.example, explanation.remedy] {
        for line in part.lines() {
            assert!(out.contains(line), "{line}");
        }
    }
}

#[test]
fn an_unknown_code_gets_near_names() {
    for (name, near) in [
        ("method-lowercase", "near it: `method-lower-case`"),
        ("metod-unknown", "near it: `method-unknown`"),
        (
            "jwks",
            "near it: `jwks-unusable`, `jwks-over-http`, `private-key-in-jwks`",
        ),
        ("weather", "docs/vet.md lists them"),
    ] {
        let output = run(&["vet", "--explain", name], "");
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(output.stdout.is_empty());
        let told = text(&output.stderr);
        assert!(
            told.starts_with(&format!("error: `{name}` is no code of a note; {near}")),
            "{told}"
        );
    }
}
