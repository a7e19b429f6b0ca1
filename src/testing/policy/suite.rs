use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use super::table::covers;
use super::{Policies, TableFile};

/// Tables in YAML files as tests, one a row, for a test target without the usual harness.
///
/// In `Cargo.toml`:
///
/// ```toml
/// [[test]]
/// name = "policies"
/// harness = false
/// ```
///
/// and in `tests/policies.rs`:
///
/// ```no_run
/// use std::process::ExitCode;
/// use tower_mesh::testing::policy::Suite;
///
/// fn main() -> ExitCode {
///     Suite::new("tests/policies").run()
/// }
/// ```
///
/// `cargo test` then lists and filters the rows as it does with other tests. A file that cannot be
/// read is a failing test, too, and so is a directory without tables.
#[derive(Clone, Debug)]
#[must_use]
pub struct Suite {
    tables: PathBuf,
    config: Option<PathBuf>,
}

impl Suite {
    /// The tables in a file, or in a directory's `*.yaml` and `*.yml`. A relative path starts at
    /// the package's root.
    pub fn new(tables: impl Into<PathBuf>) -> Self {
        Self {
            tables: tables.into(),
            config: None,
        }
    }

    /// Asks the policies at this path instead of those that the tables name: a proposed change,
    /// another cluster's.
    pub fn config(self, path: impl Into<PathBuf>) -> Self {
        Self {
            config: Some(path.into()),
            ..self
        }
    }

    /// Runs the tests that the command line asks for, as the usual harness does.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        libtest_mimic::run(&Arguments::from_args(), self.trials()).exit_code()
    }

    fn trials(&self) -> Vec<Trial> {
        let files = match files(&self.tables) {
            Ok(files) => files,
            Err(why) => return vec![failing(&self.tables.display().to_string(), why)],
        };
        files.iter().flat_map(|file| self.of_file(file)).collect()
    }

    fn of_file(&self, file: &Path) -> Vec<Trial> {
        let stem = file.file_stem().unwrap_or_default().display().to_string();
        let loaded = TableFile::read(file).and_then(|table| {
            let table = match &self.config {
                Some(path) => table.config(path),
                None => table,
            };
            let policies = table.policies()?;
            Ok((table, policies))
        });
        let (table, policies) = match loaded {
            Ok(loaded) => loaded,
            Err(problems) => return vec![failing(&stem, problems.to_string())],
        };
        let rows = table.table().rows().iter().map(|row| {
            let (row, policies) = (row.clone(), policies.clone());
            Trial::test(format!("{stem}::{}", row.name), move || {
                let checked = policies.check(&row.expectation, &row.request);
                checked.map_err(Failed::from)
            })
        });
        let mut trials: Vec<_> = rows.collect();
        trials.extend(table.least_coverage().map(|percent| {
            let name = format!("{stem}::{percent}% of the rules are covered");
            let table = table.table().clone();
            let policies: Policies = policies.clone();
            Trial::test(name, move || {
                covers(&table.run(&policies).coverage, percent).map_err(Failed::from)
            })
        }));
        trials
    }
}

fn failing(name: &str, why: String) -> Trial {
    Trial::test(name, move || Err(Failed::from(why)))
}

/// The file itself, or the tables of a directory, sorted by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error| format!("{} cannot be read: {error}", path.display());
    if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let extension = file.extension();
        if extension.is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(format!("{} holds no table *.yaml or *.yml", path.display()));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use libtest_mimic::Conclusion;

    use super::*;

    const TABLE: &str = "
workload: default/patients
config: [policies.yml]
coverage: 100
tests:
- {name: anyone reads, request: GET /, expect: allowed, by: readers/0}
- {request: DELETE /, expect: denied}
";

    const POLICIES: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers}
spec: {rules: [{to: [{operation: {methods: [METHOD]}}]}]}
";

    fn run(suite: &Suite) -> (Vec<String>, Conclusion) {
        let trials = suite.trials();
        let names = trials.iter().map(|trial| trial.name().to_owned()).collect();
        let quiet = Arguments {
            quiet: true,
            ..Arguments::default()
        };
        (names, libtest_mimic::run(&quiet, trials))
    }

    #[test]
    fn each_row_is_a_test_and_so_is_the_coverage() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("tables")).unwrap();
        let table = TABLE.replace("policies.yml", "../policies.yml");
        std::fs::write(path("tables/patients.yaml"), table).unwrap();
        std::fs::write(path("policies.yml"), POLICIES.replace("METHOD", "GET")).unwrap();
        std::fs::write(path("other.yml"), POLICIES.replace("METHOD", "PUT")).unwrap();
        let suite = Suite::new(path("tables"));
        let (names, conclusion) = run(&suite);
        assert_eq!(
            names,
            [
                "patients::anyone reads",
                "patients::anyone: DELETE / is denied",
                "patients::100% of the rules are covered",
            ]
        );
        assert_eq!((conclusion.num_passed, conclusion.num_failed), (3, 0));
        // The same rows, asked of other policies.
        let (_, conclusion) = run(&suite.config(path("other.yml")));
        assert_eq!((conclusion.num_passed, conclusion.num_failed), (1, 2));
    }

    #[test]
    fn what_cannot_be_read_is_a_test_that_fails() {
        let directory = tempfile::tempdir().unwrap();
        let none = Suite::new(directory.path());
        assert_eq!(run(&none).1.num_failed, 1);
        assert_eq!(run(&Suite::new("no/such/directory")).1.num_failed, 1);
        std::fs::write(directory.path().join("bad.yaml"), "tests: 7").unwrap();
        let (names, conclusion) = run(&none);
        assert_eq!((names, conclusion.num_failed), (vec!["bad".to_owned()], 1));
        // The policies that it names do not exist.
        std::fs::write(directory.path().join("bad.yaml"), TABLE).unwrap();
        assert_eq!(run(&none).1.num_failed, 1);
    }
}
