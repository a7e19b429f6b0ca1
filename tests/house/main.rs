//! The house keeps its shape: every `crate::` path in `src` points down, files stay small, `mod.rs` only opens doors.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may panic"
)]
mod graph;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use graph::Graph;

/// Which rooms a room may import. A room that is not listed here does not exist.
const ARROWS: &[(&str, &[&str])] = &[
    // Floor 1: the ground.
    ("istio", &[]),
    ("matcher", &[]),
    ("identity", &[]),
    ("live", &[]),
    ("log_limit", &[]),
    ("error_chain", &[]),
    ("peer_text", &[]),
    ("bounded_cache", &[]),
    ("macros", &[]),
    ("striped", &[]),
    // Floor 2: engines and facts. An exchange carries the engine's decision, so context may name it.
    ("policy", &["istio", "matcher", "identity"]),
    ("routing", &["istio", "matcher", "identity"]),
    ("context", &["identity", "policy", "log_limit"]),
    ("message", &["matcher", "context"]),
    (
        "refusal_log",
        &[
            "istio",
            "matcher",
            "context",
            "message",
            "policy",
            "log_limit",
            "peer_text",
        ],
    ),
    ("cel", &["identity", "istio", "matcher", "policy"]),
    // What decides about a request before a service is called: the guards of floor 3 are its kinds.
    (
        "guard",
        &[
            "identity",
            "matcher",
            "context",
            "message",
            "policy",
            "refusal_log",
            "log_limit",
        ],
    ),
    // What brings a request into one form; the guards of floor 3 judge that form.
    (
        "gate",
        &["matcher", "policy", "context", "message", "guard"],
    ),
    // Floor 3: layers and feeds, side by side.
    (
        "tls",
        &[
            "identity",
            "matcher",
            "istio",
            "policy",
            "context",
            "live",
            "log_limit",
            "error_chain",
        ],
    ),
    (
        "jwt",
        &[
            "bounded_cache",
            "identity",
            "matcher",
            "istio",
            "policy",
            "context",
            "message",
            "refusal_log",
            "guard",
            "live",
            "log_limit",
            "error_chain",
        ],
    ),
    (
        "rbac",
        &[
            "matcher",
            "istio",
            "policy",
            "context",
            "message",
            "refusal_log",
            "guard",
            "gate",
            "live",
            "log_limit",
        ],
    ),
    (
        "propagation",
        &[
            "identity",
            "matcher",
            "context",
            "message",
            "gate",
            "live",
            "error_chain",
        ],
    ),
    ("metrics", &["identity", "context", "message", "striped"]),
    (
        "access_log",
        // Propagation has what sends to a collector.
        &["matcher", "context", "message", "propagation", "log_limit"],
    ),
    // As the access log's: a collector.
    (
        "audit",
        &["context", "identity", "propagation", "log_limit"],
    ),
    ("concurrency", &["context", "message", "refusal_log"]),
    (
        "external",
        &[
            "identity",
            "istio",
            "matcher",
            "context",
            "message",
            "log_limit",
            "error_chain",
            "peer_text",
            "policy",
            "cel",
            "gate",
            "bounded_cache",
        ],
    ),
    (
        "rate_limit",
        &[
            "identity",
            "matcher",
            "policy",
            "context",
            "message",
            "refusal_log",
            "guard",
            "log_limit",
            "error_chain",
            "peer_text",
            "striped",
        ],
    ),
    ("telemetry", &["identity", "istio", "policy"]),
    ("source", &["istio", "policy", "cel"]),
    ("coverage", &["istio", "policy"]),
    (
        "vet",
        &[
            "identity", "matcher", "istio", "policy", "routing", "gate", "cel",
        ],
    ),
    ("diff", &["identity", "matcher", "istio", "policy"]),
    ("convert", &["istio"]),
    // Floor 5: the roof.
    ("mesh", EVERYTHING),
    ("testing", EVERYTHING),
    ("lib", EVERYTHING),
    ("bin", EVERYTHING),
    // Pages of documentation.
    ("guide", &[]),
];

const EVERYTHING: &[&str] = &["*"];

/// Crates that a pure room must not know.
const PURE: &[&str] = &[
    "istio",
    "matcher",
    "identity",
    "policy",
    "cel",
    "convert",
    "coverage",
    "diff",
    "telemetry",
    "vet",
];
const IMPURE_CRATES: &[&str] = &[
    "http",
    "hyper",
    "tower_service",
    "tower_layer",
    "tokio",
    "arc_swap",
    "rustls",
];

#[test]
fn every_import_points_down() {
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (room, file, text) in product_sources() {
        let Some(allowed) = arrows.get(room.as_str()) else {
            wrong.push(format!(
                "{}: room `{room}` is not in the plan",
                file.display()
            ));
            continue;
        };
        if allowed == &EVERYTHING {
            continue;
        }
        for target in imported_rooms(&text) {
            let known = arrows.contains_key(target.as_str());
            if known && target != room && !allowed.contains(&target.as_str()) {
                wrong.push(format!(
                    "{}: `{room}` must not import `{target}`",
                    file.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "forbidden imports:\n{}", wrong.join("\n"));
}

#[test]
fn pure_rooms_know_no_transport_and_no_clock() {
    let mut wrong = Vec::new();
    for (room, file, text) in product_sources() {
        if !PURE.contains(&room.as_str()) {
            continue;
        }
        for name in IMPURE_CRATES {
            if text.contains(&format!("use {name}::")) || text.contains(&format!(" {name}::")) {
                wrong.push(format!("{}: pure room uses `{name}`", file.display()));
            }
        }
        for clock in ["Instant::now", "SystemTime::now"] {
            if text.contains(clock) {
                wrong.push(format!("{}: pure room reads the clock", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn product_code_never_imports_testing() {
    for (room, file, text) in product_sources() {
        let free = ["testing", "lib", "bin"].contains(&room.as_str());
        assert!(
            free || !text.contains("crate::testing"),
            "{} imports testing",
            file.display()
        );
    }
}

#[test]
fn files_are_small_and_mod_files_only_open_doors() {
    let mut wrong = Vec::new();
    for (_, file, text) in product_sources() {
        let lines = text.lines().count();
        if lines > 500 {
            wrong.push(format!(
                "{}: {lines} lines without tests, more than 500",
                file.display()
            ));
        }
        let items = ["fn ", "impl ", "impl<", "struct ", "enum ", "trait "];
        let is_door = file.file_name().is_some_and(|name| name == "mod.rs");
        let starts = |line: &str, item: &str| {
            line.trim_start()
                .trim_start_matches("pub ")
                .starts_with(item)
        };
        if is_door
            && text
                .lines()
                .any(|line| items.iter().any(|item| starts(line, item)))
        {
            wrong.push(format!("{}: mod.rs holds items", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A ring of files cannot be read, tested or moved one at a time.
#[test]
fn no_files_import_each_other_in_a_ring() {
    let graph = Graph::read();
    let rings: Vec<_> = graph
        .rings()
        .iter()
        .map(|ring| {
            ring.iter()
                .map(|module| module.join("::"))
                .collect::<Vec<_>>()
        })
        .map(|ring| ring.join(", "))
        .collect();
    assert!(rings.is_empty(), "rings:\n{}", rings.join("\n"));
}

#[test]
fn the_arrows_of_every_folder_run_one_way() {
    let both = Graph::read().both_ways();
    assert!(both.is_empty(), "both ways:\n{}", both.join("\n"));
}

/// The table of where things are is no help when a file has moved.
#[test]
fn the_table_of_where_things_are_is_true() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cells = |file: &str, before: &str| -> Vec<(String, String)> {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        let text = text.split_once(before).unwrap().1;
        let rows = text.lines().map(|line| line.trim_start_matches("// "));
        rows.skip_while(|line| !line.starts_with('|'))
            .take_while(|line| line.starts_with('|'))
            .skip(2)
            .map(|line| {
                let cells: Vec<_> = line.split('|').map(str::trim).collect();
                (cells[1].to_owned(), cells[2].to_owned())
            })
            .collect()
    };
    let table = cells("src/mesh/mod.rs", "// Where does it go?");
    assert_eq!(table, cells("DESIGN.md", "## Where does it go"));
    assert!(table.len() > 9);
    for (question, answer) in table {
        let paths: Vec<_> = answer
            .split([' ', ',', ';'])
            .filter(|word| word.ends_with(".rs") || word.ends_with('/'))
            .collect();
        assert!(!paths.is_empty(), "{question} names no file");
        for path in paths {
            assert!(root.join("src").join(path).exists(), "{question} {path}");
        }
    }
}

/// An arrow that nobody uses is an invitation.
#[test]
fn every_arrow_of_the_plan_is_used() {
    let mut unused: BTreeSet<_> = ARROWS
        .iter()
        .flat_map(|(room, targets)| targets.iter().map(move |target| (*room, *target)))
        .filter(|(_, target)| *target != "*")
        .collect();
    for (room, _, text) in product_sources() {
        let imported = imported_rooms(&text);
        unused.retain(|(from, to)| *from != room || !imported.contains(*to));
    }
    assert!(unused.is_empty(), "arrows that nobody uses: {unused:?}");
}

#[test]
fn folders_are_narrow() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut widths: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let folders = ["src", "tests", "examples", "benches"];
    for file in folders
        .iter()
        .flat_map(|folder| rust_files(&root.join(folder)))
    {
        let is_door = ["mod.rs", "lib.rs", "main.rs"]
            .iter()
            .any(|door| file.ends_with(door));
        let width = widths.entry(file.parent().unwrap().to_owned()).or_default();
        *width += usize::from(!is_door);
    }
    widths.retain(|_, width| *width > WIDEST);
    assert!(widths.is_empty(), "more than {WIDEST} files: {widths:#?}");
}

/// Files in one folder, besides the door and subfolders.
const WIDEST: usize = 14;

#[test]
fn test_files_are_small() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let in_src = rust_files(&root.join("src"));
    let in_src = in_src.into_iter().filter(|file| {
        let is_tests = |part: std::path::Component<'_>| part.as_os_str() == "tests";
        file.ends_with("tests.rs") || file.components().any(is_tests)
    });
    let mut long = Vec::new();
    for file in in_src.chain(rust_files(&root.join("tests"))) {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        if lines > 700 {
            long.push(format!("{}: {lines}", file.display()));
        }
    }
    assert!(long.is_empty(), "more than 700 lines:\n{}", long.join("\n"));
}

/// Room, path and text without tests of each file of `src`.
fn product_sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files
        .into_iter()
        .filter(|file| file.file_name().is_none_or(|name| name != "tests.rs"))
        .map(|file| {
            let inside = file.strip_prefix(&root).unwrap();
            let first = inside
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_str()
                .unwrap();
            let room = first.trim_end_matches(".rs").to_owned();
            let text = std::fs::read_to_string(&file).unwrap();
            let product = text
                .split("#[cfg(test)]\nmod ")
                .next()
                .unwrap_or_default()
                .to_owned();
            (room, file, product)
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "tests") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The first name after every `crate::` outside comments, braces spread.
fn imported_rooms(text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let name = |text: &str| {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    code.split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(list) => list
                .split('}')
                .next()
                .unwrap_or_default()
                .split(',')
                .map(|item| name(item.trim()))
                .collect(),
            None => vec![name(rest)],
        })
        .collect()
}

#[test]
fn pages_name_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("tests/envoy/table.rs")).unwrap();
    let code: String = ["src", "tests"]
        .iter()
        .flat_map(|folder| rust_files(&root.join(folder)))
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    for (page, least) in [
        ("docs/policy.md", 60),
        ("docs/outages.md", 30),
        ("docs/audit.md", 25),
        ("docs/trace-cases.md", 38),
    ] {
        let mut named = 0;
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        for row in text.lines().filter(|line| line.starts_with("| ")) {
            let Some(tests) = row.trim_end_matches(" |").rsplit(" | ").next() else {
                continue;
            };
            for name in tests.split(", ").filter(|name| name.len() > 1) {
                let inner = &name[1..name.len() - 1];
                let exists = match name.as_bytes()[0] {
                    b'`' => code.contains(&format!("fn {inner}(")),
                    b'"' => table.contains(&format!("\"{inner}\",")),
                    _ => continue,
                };
                assert!(exists, "{page} names {name}, which does not exist");
                named += 1;
            }
        }
        assert!(named > least, "{page}: {named}");
    }
}

/// Every Rust file below a folder, tests included, in the order of their paths.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
