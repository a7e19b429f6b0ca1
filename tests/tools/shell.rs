//! Completions, manual pages, help.

use crate::program::{run, text};

/// Every command of the program, as its help lists them.
fn commands() -> Vec<String> {
    let help = text(&run(&["--help"], "").stdout);
    let listed = help.split("Commands:\n").nth(1).unwrap();
    let listed = listed.split("\n\n").next().unwrap();
    let names = listed
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .map(|line| line.split(' ').next().unwrap().to_owned());
    let names: Vec<_> = names.filter(|name| name != "help").collect();
    assert!(names.contains(&"check".to_owned()), "{help}");
    names
}

#[test]
fn each_shell_learns_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = run(&["completions", shell], "");
        assert_eq!(output.status.code(), Some(0), "{shell}");
        let script = text(&output.stdout);
        for command in commands() {
            assert!(script.contains(&command), "{shell}: {command}");
        }
        assert!(script.contains("mesh-config"), "{shell}");
    }
    assert_eq!(run(&["completions", "cmd"], "").status.code(), Some(2));
}

#[test]
fn the_manual_has_a_page_of_each_command() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man/man1");
    let output = run(&["man", "--dir", pages.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let whole = std::fs::read_to_string(pages.join("tower-mesh.1")).unwrap();
    for command in commands() {
        let file = pages.join(format!("tower-mesh-{command}.1"));
        let page = std::fs::read_to_string(file).unwrap();
        assert!(page.contains("Examples:"), "{command}");
        assert!(
            whole.contains(&command.replace('-', "\\-")),
            "{command}: {whole}"
        );
        let printed = run(&["man", &command], "");
        assert_eq!(text(&printed.stdout), page, "{command}");
    }
    assert_eq!(text(&run(&["man"], "").stdout), whole);
}

#[test]
fn a_page_of_no_command_is_an_error() {
    let output = run(&["man", "checks"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert_eq!(
        text(&output.stderr),
        "error: there is no command `checks`\n"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = run(&["man", "--dir", file.path().to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn every_help_has_examples_and_says_what_the_exit_status_means() {
    for command in commands() {
        let output = run(&[&command, "--help"], "");
        assert_eq!(output.status.code(), Some(0));
        let help = text(&output.stdout);
        assert!(
            help.contains("Examples:\n  ") && help.contains("Exit status"),
            "{command}: {help}"
        );
        assert!(
            help.contains(&format!("tower-mesh {command}")),
            "{command}: {help}"
        );
    }
}

#[test]
fn colours_are_for_terminals_only() {
    let is_plain = |bytes: &[u8]| !bytes.contains(&0x1b);
    let help = run(&["--help"], "");
    assert!(is_plain(&help.stdout) && !help.stdout.is_empty());
    let wrong = run(&["chek"], "");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(is_plain(&wrong.stderr) && !wrong.stderr.is_empty());
}
