//! Resources in, Envoy's configuration out: each `tests/golden/NAME.yaml` against `NAME.json`.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it golden` writes the files anew; read the difference before it is committed.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use tower_mesh::Workload;
use tower_mesh::policy::Engine;
use tower_mesh::policy::envoy::{http_filters, network_filters};

#[test]
fn golden_files_compile_to_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    names.sort();
    assert!(!names.is_empty());
    let mut wrong = String::new();
    for yaml in names {
        let compiled = compile(&yaml);
        let golden = yaml.with_extension("json");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &compiled).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if expected != compiled {
            let name = golden.file_name().unwrap().display();
            let _ = writeln!(wrong, "{name}: {}", first_difference(&expected, &compiled));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Every golden file is for this workload; a ConfigMap `istio` in it gives the mesh's settings.
fn compile(yaml: &Path) -> String {
    let workload = Workload::new("foo", "httpbin")
        .label("app", "httpbin")
        .service("httpbin", 8080);
    let text = std::fs::read_to_string(yaml).unwrap();
    let engine = Engine::builder(&workload).yaml(&text).build().unwrap();
    let program = engine.program();
    let printed = json!({
        "http": http_filters(program.http.get(8080), None),
        "tcp": network_filters(program.tcp.get(8080)),
    });
    serde_json::to_string_pretty(&printed).unwrap() + "\n"
}

fn first_difference(expected: &str, found: &str) -> String {
    let mut lines = expected.lines().zip(found.lines()).enumerate();
    let different = lines.find(|(_, (expected, found))| expected != found);
    different.map_or_else(
        || "one is longer".to_owned(),
        |(line, (expected, found))| {
            format!("line {}: expected {expected:?}, found {found:?}", line + 1)
        },
    )
}
