use std::fmt;

use super::Policies;
use super::answer::Answer;
use super::policies::or_fail;
use super::words::{ASSUMED, assumes_trust_domain};
use crate::coverage::{Coverage, Report};
use crate::policy::Request;

/// Callers × operations: who may do what, all at once.
///
/// # Example
/// ```
/// use tower_mesh::Workload;
/// use tower_mesh::testing::policy::{Matrix, Policies, request};
///
/// let workload = Workload::new("default", "patients").label("app", "patients");
/// let patients = Policies::read(&workload, "examples/patients/policies/v1");
/// let by = |account: &str| request().from(account).user("https://idp.clinic.example", "somebody");
///
/// let access = Matrix::new()
///     .caller("check-in", by("cluster.local/ns/default/sa/patient-check-in"))
///     .caller("admin", by("cluster.local/ns/default/sa/admin"))
///     .caller("anyone", request())
///     .operation("GET /patients/7")
///     .operation("DELETE /patients/7")
///     .ask(&patients);
/// access.assert_is("
///               GET /patients/7  DELETE /patients/7
///     check-in  allowed          denied
///     admin     allowed          allowed
///     anyone    denied           denied
/// ");
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct Matrix {
    callers: Vec<(String, Request)>,
    operations: Vec<Operation>,
}

struct Operation {
    name: String,
    apply: Box<dyn Fn(Request) -> Request>,
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Operation").field(&self.name).finish()
    }
}

impl Matrix {
    /// A matrix without callers and operations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a caller: a request with its identity and any operation.
    pub fn caller(mut self, name: impl Into<String>, request: Request) -> Self {
        self.callers.push((name.into(), request));
        self
    }

    /// Adds an operation: a method and a target, as in `GET /patients/7`; it is its own name.
    ///
    /// # Panics
    /// When the text is none.
    #[track_caller]
    pub fn operation(self, operation: &str) -> Self {
        let wrong = || {
            format!(
                "`{operation}` is no operation; write a method and a path, as in GET /patients/7"
            )
        };
        let (method, target) = or_fail(operation.split_once(' ').ok_or_else(wrong));
        let (method, target) = (method.to_owned(), target.trim().to_owned());
        self.operation_with(operation, move |request| request.method(&method, &target))
    }

    /// Adds an operation that takes more words: headers, a host, a port.
    pub fn operation_with(
        mut self,
        name: impl Into<String>,
        apply: impl Fn(Request) -> Request + 'static,
    ) -> Self {
        self.operations.push(Operation {
            name: name.into(),
            apply: Box::new(apply),
        });
        self
    }

    /// Asks the policies about every caller and every operation.
    #[must_use]
    pub fn ask(&self, policies: &Policies) -> Access {
        let engine = policies.engine();
        let mut coverage = Coverage::new(engine);
        let mut callers = self.callers.iter();
        let assumes_trust_domain = callers.any(|(_, caller)| assumes_trust_domain(engine, caller));
        let rows = self.callers.iter().map(|(name, caller)| {
            let answers = self.operations.iter().map(|operation| {
                let request = (operation.apply)(caller.clone());
                let answer = policies.answer(&request);
                if let Ok(admitted) = &answer.admitted {
                    let stubs = answer.stubs();
                    coverage.observe_with(admitted, &|asked, form| stubs.answer(asked, form));
                }
                cell(&answer)
            });
            (name.clone(), answers.collect())
        });
        Access {
            rows: rows.collect(),
            operations: self.operations.iter().map(|one| one.name.clone()).collect(),
            coverage: coverage.report(),
            assumes_trust_domain,
        }
    }
}

/// `allowed`, `denied`, or the status of a refusal that no rule caused.
fn cell(Answer { judgement, .. }: &Answer) -> String {
    match judgement.status {
        _ if judgement.decision.allowed => "allowed".to_owned(),
        Some(status @ (400 | 401 | 414 | 431)) => status.to_string(),
        _ => "denied".to_owned(),
    }
}

/// The access table: prints with a line for each caller and a column for each operation.
#[derive(Clone, Debug)]
pub struct Access {
    operations: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
    coverage: Report,
    assumes_trust_domain: bool,
}

impl Access {
    /// Which rules the matrix put to the test.
    #[must_use]
    pub fn coverage(&self) -> &Report {
        &self.coverage
    }

    /// The table is this one, blanks aside.
    ///
    /// # Panics
    /// When it is another one; the message shows the lines that differ and the table as it is, to
    /// be pasted once it is read.
    #[track_caller]
    pub fn assert_is(&self, expected: &str) {
        let words = |text: &str| -> Vec<String> {
            let lines = text.lines().map(str::split_whitespace);
            let lines = lines.map(|words| words.collect::<Vec<_>>().join(" "));
            lines.filter(|line| !line.is_empty()).collect()
        };
        let printed = self.to_string();
        let (is, due) = (words(&printed), words(expected));
        if is == due {
            return;
        }
        let mut why = String::from("the access table is another one:\n");
        let only = |here: &[String], there: &[String], mark: &str| -> String {
            let lines = here.iter().filter(|line| !there.contains(line));
            lines.map(|line| format!("  {mark} {line}\n")).collect()
        };
        why += &only(&due, &is, "expected:");
        why += &only(&is, &due, "got:     ");
        let note = match self.assumes_trust_domain {
            true => ASSUMED,
            false => "",
        };
        or_fail(Err::<(), _>(format!(
            "{why}the whole table:\n{printed}{note}"
        )));
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.rows.iter().map(|(name, _)| name.chars().count());
        let first = first.max().unwrap_or_default();
        let width = |column: usize, operation: &str| {
            let cells = self.rows.iter().filter_map(|(_, cells)| cells.get(column));
            let cells = cells.map(|cell| cell.chars().count());
            cells.fold(operation.chars().count(), usize::max)
        };
        let widths = self.operations.iter().enumerate();
        let widths: Vec<_> = widths.map(|(column, name)| width(column, name)).collect();
        let line = |name: &str, cells: &[String]| {
            let mut line = format!("{name:first$}");
            for (cell, width) in cells.iter().zip(&widths) {
                line += &format!("  {cell:width$}");
            }
            line.trim_end().to_owned()
        };
        writeln!(f, "{}", line("", &self.operations))?;
        let mut rows = self.rows.iter();
        rows.try_for_each(|(name, cells)| writeln!(f, "{}", line(name, cells)))
    }
}
