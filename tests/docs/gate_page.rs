//! The tables of `docs/gate.md`: what the module's documentation says of each profile, the reasons of the code, and the tests of each rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use tower_mesh::gate::Refusal;

use super::{Page, root, rule_ids};

/// A row of `docs/rules.md` about requests and paths.
struct Rule {
    id: String,
    demand: String,
    /// Names without marks.
    tests: BTreeSet<String>,
    /// As they are written.
    cell: String,
}

/// The page is what is generated from the code; `UPDATE_DOCS=1` writes it.
#[test]
fn the_gate_page_is_generated_from_the_code() {
    let path = root().join("docs/gate.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let mut expected = page.clone();
    for (name, table) in [
        ("profiles", profiles()),
        ("reasons", reasons()),
        ("tests", tests_of_rules()),
    ] {
        let (begin, end) = (format!("<!-- {name} -->\n\n"), "\n<!-- end -->");
        let (before, rest) = expected.split_once(&begin).unwrap();
        let after = &rest[rest.find(end).unwrap()..];
        expected = format!("{before}{begin}{table}{after}");
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let hint = "docs/gate.md is not what the code says; UPDATE_DOCS=1 writes it";
    assert!(
        page == expected || std::env::var_os("UPDATE_DOCS").is_some(),
        "{hint}"
    );
}

/// Every rule of the gate has a test, and each says in its comment which rules it holds.
#[test]
fn every_rule_of_the_gate_has_tests_that_name_it() {
    let rules = rules();
    let ids: BTreeSet<_> = rules.iter().map(|rule| rule.id.as_str()).collect();
    let numbers = (1..=15).chain(20..=28).chain(30..=37);
    let expected: BTreeSet<_> = numbers.map(|number| format!("B-{number:02}")).collect();
    assert_eq!(ids, expected.iter().map(String::as_str).collect());
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for folder in ["src", "tests"] {
        read_tests(&root().join(folder), &mut named);
    }
    for Rule { id, tests, .. } in &rules {
        assert_eq!(
            Some(tests),
            named.get(id),
            "{id}: the row of docs/rules.md, and the tests whose comments name the rule"
        );
    }
    for reason in Refusal::ALL {
        assert!(reason.rule().starts_with("H-") || ids.contains(reason.rule()));
    }
    for row in module_rows() {
        assert!(ids.contains(row[0].as_str()), "{row:?}");
    }
}

/// The table of the module's documentation.
fn profiles() -> String {
    let mut table = "| rule | request | `Istio` | `Strict` |\n|---|---|---|---|\n".to_owned();
    for [id, request, istio, strict] in module_rows() {
        let _ = writeln!(table, "| {id} | {request} | {istio} | {strict} |");
    }
    table
}

/// Each reason with its rule and answer.
fn reasons() -> String {
    let mut table = "| reason | rule | answer | when |\n|---|---|---|---|\n".to_owned();
    for reason in Refusal::ALL {
        let (label, rule, status) = (reason.label(), reason.rule(), reason.status().as_u16());
        let _ = writeln!(table, "| `{label}` | {rule} | {status} | {reason} |");
    }
    table
}

/// Each rule with its tests.
fn tests_of_rules() -> String {
    let mut table = "| rule | what it demands | tests |\n|---|---|---|\n".to_owned();
    for Rule {
        id, demand, cell, ..
    } in rules()
    {
        let _ = writeln!(table, "| {id} | {demand} | {cell} |");
    }
    table
}

/// The rules up to B-37, which are the gate's.
fn rules() -> Vec<Rule> {
    let page = Page::read("docs/rules.md");
    let rows = page
        .text
        .lines()
        .filter(|line| line.starts_with("| B-") && &line[2..6] < "B-40");
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, demand, cell] = cells[..] else {
            panic!("{row}")
        };
        let tests = cell
            .split(", ")
            .map(|name| name.trim_matches('`').to_owned());
        Rule {
            id: id.to_owned(),
            demand: demand.to_owned(),
            tests: tests.collect(),
            cell: cell.to_owned(),
        }
    })
    .collect()
}

/// The rows of the table in the module's documentation, with links as the names that they lead to.
fn module_rows() -> Vec<[String; 4]> {
    let text = std::fs::read_to_string(root().join("src/gate/mod.rs")).unwrap();
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("//! | B-"));
    rows.map(|row| {
        let row = format!("B-{}", row.trim_end_matches(" |"));
        let cells: Vec<_> = row.split(" | ").map(without_links).collect();
        cells.try_into().unwrap()
    })
    .collect()
}

/// `[knob](Gate::name)` becomes ``knob `Gate::name` ``.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((label, (target, after))) = link
            .split_once("](")
            .and_then(|(label, link)| Some((label, link.split_once(')')?)))
        else {
            break;
        };
        let _ = write!(plain, "{before}{label} `{target}`");
        rest = after;
    }
    plain + rest
}

/// Adds to each rule the names of the tests whose comments have its id; `B-20 to B-28` names all of them.
fn read_tests(folder: &Path, named: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_tests(&path, named);
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let (mut comment, mut is_test) = (String::new(), false);
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let line = line.trim();
            if let Some(text) = line.strip_prefix("///") {
                comment += text;
            } else if line.starts_with("#[") {
                is_test |= line.contains("test]");
            } else {
                let name = line
                    .split_once("fn ")
                    .and_then(|(_, rest)| rest.split_once('('));
                if let Some((name, _)) = name.filter(|_| is_test) {
                    for id in ids_of(&comment) {
                        named.entry(id).or_default().insert(name.to_owned());
                    }
                }
                (comment, is_test) = (String::new(), false);
            }
        }
    }
}

fn ids_of(comment: &str) -> BTreeSet<String> {
    let mut ids = rule_ids(comment);
    for (before, after) in comment
        .match_indices(" to B-")
        .map(|(at, _)| comment.split_at(at))
    {
        let number = |text: &str| -> u32 { text.parse().unwrap() };
        let (from, to) = (number(&before[before.len() - 2..]), number(&after[6..8]));
        ids.extend((from..=to).map(|number| format!("B-{number:02}")));
    }
    ids
}
