//! `docs/testing-policies.md`: its Rust is tested with the documentation, everything else here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use tower_mesh::testing::policy::TableFile;

const PAGE: &str = include_str!("../../docs/testing-policies.md");

/// The fenced blocks of one kind.
fn blocks(kind: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut fences = PAGE.split("\n```");
    fences.next();
    while let (Some(block), Some(_)) = (fences.next(), fences.next()) {
        let (info, body) = block.split_once('\n').unwrap();
        if info == kind {
            found.push(body);
        }
    }
    assert!(!found.is_empty(), "{kind}");
    found
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policy_tests")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(example().join(path)).unwrap()
}

fn table() -> TableFile {
    TableFile::read(example().join("tests/tables/patients.yaml")).unwrap()
}

#[test]
fn every_kind_of_block_is_one_that_is_tested() {
    let mut fences = PAGE.split("\n```").skip(1).step_by(2);
    let known = ["toml", "rust", "rust,no_run", "yaml", "text", "console"];
    assert!(fences.all(|block| known.contains(&block.lines().next().unwrap())));
}

#[test]
fn tables_on_the_page_pass() {
    for block in blocks("yaml") {
        // Where the example's own table stands, so that the paths are right.
        let file = example().join("tests/tables/page.yaml");
        let file = TableFile::parse(file.to_str().unwrap(), block);
        let file = file.unwrap_or_else(|problems| panic!("{problems}"));
        file.table().run(&file.policies().unwrap()).assert();
    }
}

#[test]
fn what_the_page_shows_stands_in_the_example() {
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.trim().to_owned());
        lines.filter(|line| !line.is_empty()).collect()
    };
    let manifest = read("Cargo.toml");
    for block in blocks("toml") {
        for line in lines(block) {
            let is_own = line.starts_with("tower-mesh = ");
            let features = line.split_once("default-features").map(|(_, rest)| rest);
            let wanted = if is_own {
                features.unwrap()
            } else {
                line.as_str()
            };
            assert!(manifest.contains(wanted), "{line}");
        }
    }
    let program: BTreeSet<_> = lines(&read("tests/tables.rs")).into_iter().collect();
    for block in blocks("rust,no_run") {
        for line in lines(block) {
            assert!(program.contains(&line), "{line}");
        }
    }
    // Rows make tests, which run with the example and not with the documentation.
    let rows: BTreeSet<_> = lines(&read("tests/rows.rs")).into_iter().collect();
    let table = blocks("rust")
        .into_iter()
        .find(|block| block.contains("policy_tests!"));
    for line in lines(table.unwrap())
        .iter()
        .filter(|line| !line.starts_with('#'))
    {
        assert!(rows.contains(line), "{line}");
    }
}

#[test]
fn the_example_passes_and_its_broken_policies_fail_as_the_page_says() {
    let good = table();
    let run = good.table().run(&good.policies().unwrap());
    run.assert();
    run.assert_covers(good.least_coverage().unwrap());

    let broken = table().config(example().join("broken"));
    let run = broken.table().run(&broken.policies().unwrap());
    let folder = format!("{}/", example().display());
    let reports: Vec<_> = run
        .failures
        .iter()
        .map(|failure| {
            let why = failure.why.replace(&folder, "");
            format!("---- patients::{} ----\n{why}", failure.row)
        })
        .collect();
    let shown = blocks("text");
    assert_eq!(shown[1].trim_end(), reports.join("\n\n"));
    for line in shown[0].lines() {
        let name = line.strip_prefix("test patients::").unwrap();
        let name = name.strip_suffix("... ok").unwrap().trim_end();
        let known = good.table().run(&good.policies().unwrap()).passed;
        assert!(known.contains(&name.to_owned()), "{name}");
    }
}

/// The README's rows pass among the example's callers, and its failure is the example's.
#[test]
fn the_readme_shows_rows_and_a_failure_of_the_example() {
    let readme = include_str!("../../README.md");
    let section = readme.split("## Test your policies").nth(1).unwrap();
    let block = |kind: &str| {
        let after = section.split(&format!("```{kind}\n")).nth(1).unwrap();
        after.split("```").next().unwrap()
    };
    let table = read("tests/tables/patients.yaml").replace("coverage: 100\n", "");
    let head = table.split("tests:\n").next().unwrap();
    let file = example().join("tests/tables/readme.yaml");
    let rows = format!("{head}tests:\n{}", block("yaml"));
    let file = TableFile::parse(file.to_str().unwrap(), &rows).unwrap();
    let run = file.table().run(&file.policies().unwrap());
    assert_eq!((run.passed.len(), run.failures.len()), (2, 0), "{run}");
    assert!(blocks("text")[1].contains(block("text")));
}

/// The broken policies are the clinic's own but for the two mistakes.
#[test]
fn the_broken_policies_differ_in_two_lines() {
    let good = read("../patients/policies/v1/patients.yaml");
    let broken = read("broken/patients.yaml");
    let (comment, rest) = broken.split_once('\n').unwrap();
    assert!(comment.starts_with("# Broken on purpose"));
    assert_eq!(good.lines().count(), rest.lines().count());
    let lines = good.lines().zip(rest.lines());
    let changed: Vec<_> = lines.filter(|(one, other)| one != other).collect();
    assert_eq!(changed.len(), 2, "{changed:?}");
}

#[test]
fn commands_on_the_page_print_what_it_shows() {
    let program = Path::new(env!("CARGO_BIN_EXE_tower-mesh"));
    let inherited = std::env::var("PATH").unwrap();
    let path = format!("{}:{inherited}", program.parent().unwrap().display());
    let mut printed = String::new();
    let mut shown = String::new();
    for block in blocks("console") {
        shown += &format!("{}\n\n", block.trim_end());
        for command in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
            let output = Command::new("sh")
                .args(["-c", &format!("exec 2>&1; {command}")])
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .env("PATH", &path)
                .output()
                .unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            printed += &format!("$ {command}\n{}\n\n", said.trim_end());
        }
    }
    assert_eq!(
        shown, printed,
        "the page shows:\n{shown}\nprinted was:\n{printed}"
    );
}
