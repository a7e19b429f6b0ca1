use std::fmt;

use super::policies::or_fail;
use super::{Expectation, Policies};
use crate::coverage::{Coverage, Report};
use crate::policy::Request;

/// Requests and what each should be answered with.
///
/// # Example
/// ```
/// use tower_mesh::Workload;
/// use tower_mesh::testing::policy::{Expectation, Policies, Table, request};
///
/// let patients = Policies::parse(&Workload::new("default", "patients"), "
/// apiVersion: security.istio.io/v1
/// kind: AuthorizationPolicy
/// metadata: {name: readers}
/// spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}
/// ");
/// let run = Table::new()
///     .row("anyone reads", request().get("/patients/7"), Expectation::allowed())
///     .row("nobody deletes", request().delete("/patients/7"), Expectation::denied())
///     .run(&patients);
/// run.assert();
/// run.assert_covers(100.0);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Table {
    rows: Vec<Row>,
}

/// One line of a table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) request: Request,
    pub(super) expectation: Expectation,
}

impl Table {
    /// A table without rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row.
    pub fn row(
        mut self,
        name: impl Into<String>,
        request: Request,
        expectation: Expectation,
    ) -> Self {
        self.rows.push(Row {
            name: name.into(),
            request,
            expectation,
        });
        self
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Asks the policies about every row.
    #[must_use]
    pub fn run(&self, policies: &Policies) -> Run {
        let mut coverage = Coverage::new(policies.engine());
        let (mut passed, mut failures) = (Vec::new(), Vec::new());
        for row in &self.rows {
            if let Ok(admitted) = &policies.answer(&row.request).admitted {
                let stubs = row.expectation.stubs(policies.stubs());
                coverage.observe_with(admitted, &|asked, form| stubs.answer(asked, form));
            }
            let name = row.name.clone();
            match policies.check(&row.expectation, &row.request) {
                Ok(()) => passed.push(name),
                Err(why) => failures.push(Failure { row: name, why }),
            }
        }
        Run {
            passed,
            failures,
            coverage: coverage.report(),
        }
    }
}

/// How the rows of a table came out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Run {
    /// The names of the rows that were answered as expected.
    pub passed: Vec<String>,
    /// The rows that were answered differently.
    pub failures: Vec<Failure>,
    /// Which rules the rows put to the test.
    pub coverage: Report,
}

/// A row that was answered differently.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The row's name.
    pub row: String,
    /// What was asked, what was expected, what came, and what each rule says to it.
    pub why: String,
}

impl Run {
    /// Every row was answered as expected.
    ///
    /// # Panics
    /// When one was not; the message says of each why.
    #[track_caller]
    pub fn assert(&self) {
        or_fail(match self.failures.as_slice() {
            [] => Ok(()),
            _ => Err(self),
        });
    }

    /// The rows put at least this share of the rules to the test, in percent.
    ///
    /// # Panics
    /// When they do not; the message says what is not covered.
    #[track_caller]
    pub fn assert_covers(&self, percent: f64) {
        or_fail(covers(&self.coverage, percent));
    }
}

/// Whether enough is covered, or what is not.
pub(super) fn covers(coverage: &Report, percent: f64) -> Result<(), String> {
    if coverage.is_at_least(percent) {
        return Ok(());
    }
    Err(format!("less than {percent}% is covered:\n{coverage}"))
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Failure { row, why } in &self.failures {
            writeln!(f, "{row}: {why}\n")?;
        }
        let (passed, failed) = (self.passed.len(), self.failures.len());
        writeln!(f, "{failed} of {} rows failed", passed + failed)
    }
}
