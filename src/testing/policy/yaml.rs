//! Reads tables in YAML.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::row::{Names, answers, claims, row};
use super::{Policies, Table};
use crate::Workload;
use crate::identity::TrustDomain;
use crate::istio::{Cursor, Fields, Limits, Problem, Problems, Sink, documents};
use crate::policy::ProviderAnswer;
use crate::source::Directory;

/// A table of policy tests in a YAML file: whose policies are asked, and what each row expects.
///
/// # Example
/// ```
/// use tower_mesh::testing::policy::TableFile;
///
/// let file = TableFile::parse("tests/patients.yaml", "
/// workload: default/patients
/// labels: {app: patients}
/// config: [../examples/patients/policies/v1]
/// callers:
///   desk: cluster.local/ns/default/sa/patient-check-in
/// users:
///   receptionist: {iss: https://idp.clinic.example, sub: receptionist}
/// tests:
/// - {as: desk, user: receptionist, request: GET /patients/7, expect: allowed, by: check-in/0}
/// - {as: desk, user: receptionist, request: DELETE /patients/7, expect: denied}
/// ")?;
/// let run = file.table().run(&file.policies()?);
/// run.assert();
/// # Ok::<(), tower_mesh::istio::Problems>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TableFile {
    workload: Workload,
    config: Vec<PathBuf>,
    mesh_config: Option<PathBuf>,
    authorizers: Vec<String>,
    providers: Option<Vec<(String, ProviderAnswer)>>,
    table: Table,
    coverage: Option<f64>,
}

impl TableFile {
    /// Reads a table. Its paths start at the file's own directory.
    ///
    /// # Errors
    /// Everything that is wrong with it, with file, line, column and field.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, Problems> {
        let file = file.as_ref();
        let name = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(&name, &text),
            Err(error) => Err(Problem::of_file(name, format!("cannot be read: {error}")).into()),
        }
    }

    /// Reads the text of a table; `file` is what problems call it, and where its paths start.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let sink = Sink::new(file);
        let folder = Path::new(file).parent().unwrap_or_else(|| Path::new(""));
        let mut documents = documents(text, Limits::default(), &sink);
        let table = documents.next().and_then(|root| {
            if let Some(second) = documents.next() {
                Cursor::root(&second, &sink).wrong("a second document; write all rows in one");
            }
            decode(&Cursor::root(&root, &sink), folder)
        });
        drop(documents);
        let nothing = "holds no table; write `workload`, `config` and `tests`";
        sink.finish(table, nothing)
    }

    /// The same rows for the policies at this path.
    pub fn config(self, path: impl Into<PathBuf>) -> Self {
        Self {
            config: vec![path.into()],
            ..self
        }
    }

    /// The policies that the table names.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn policies(&self) -> Result<Policies, Problems> {
        let mut paths = self.config.iter();
        let first = paths.next().cloned().unwrap_or_default();
        let mut directory = paths.fold(Directory::new(first), Directory::and);
        if let Some(file) = &self.mesh_config {
            directory = directory.mesh_config(file);
        }
        let authorizers: Vec<_> = self.authorizers.iter().map(String::as_str).collect();
        let policies = Policies::load_with(&self.workload, &directory, &authorizers)?;
        let Some(providers) = &self.providers else {
            return Ok(policies);
        };
        let policies = policies.demand_provider_answers();
        let answers = providers.iter();
        Ok(answers.fold(policies, |policies, (name, answer)| {
            policies.provider(name, *answer)
        }))
    }

    /// The rows.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Which share of the rules the rows must put to the test, in percent.
    #[must_use]
    pub fn least_coverage(&self) -> Option<f64> {
        self.coverage
    }
}

const FILE: &[&str] = &[
    "workload",
    "labels",
    "services",
    "trustDomain",
    "config",
    "meshConfig",
    "callers",
    "users",
    "authorizers",
    "providers",
    "coverage",
    "tests",
];

fn decode(root: &Cursor<'_, '_>, folder: &Path) -> Option<TableFile> {
    let fields = root.fields(FILE)?;
    let (workload, port) = workload(fields)?;
    let config = fields.texts("config", |_, _| {});
    let config: Vec<_> = config.iter().map(|path| folder.join(&**path)).collect();
    if config.is_empty() {
        let message = "write the paths of the policies, as in [../policies]";
        root.missing("config", message);
    }
    let mesh_config = fields.filled("meshConfig");
    let authorizers = fields.texts("authorizers", |_, _| {});
    let providers = fields.get("providers").map(|at| answers(&at));
    let names = Names {
        callers: callers(fields),
        users: users(fields),
        port,
        has_providers: providers.is_some(),
    };
    let mut known = HashSet::new();
    let mut table = Table::new();
    for (name, request, expectation) in fields.each("tests", |at| row(at, &names, &mut known)) {
        table = table.row(name, request, expectation);
    }
    if fields.listed("tests").is_none() {
        root.missing("tests", "write the rows; a table without any tests nothing");
    }
    Some(TableFile {
        workload,
        config,
        mesh_config: mesh_config.map(|path| folder.join(&*path)),
        authorizers: authorizers.into_iter().map(String::from).collect(),
        providers,
        table,
        coverage: fields.get("coverage").and_then(|at| percent(&at)),
    })
}

/// The workload, and the port of its first service.
fn workload(fields: Fields<'_, '_>) -> Option<(Workload, u16)> {
    let message = "write the namespace and the service account, as in default/patients";
    let at = fields.demand("workload", message)?;
    let text = at.filled()?;
    let is_named = |(namespace, account): &(&str, &str)| {
        !namespace.is_empty() && !account.is_empty() && !account.contains('/')
    };
    let Some((namespace, account)) = text.split_once('/').filter(is_named) else {
        at.wrong(format!(
            "`{text}` is no workload; write NAMESPACE/SERVICE-ACCOUNT"
        ));
        return None;
    };
    let mut workload = Workload::new(namespace, account);
    if let Some(labels) = fields.get("labels") {
        for (key, value) in labels.pairs() {
            if let Some(value) = value.str() {
                workload = workload.label(key, value);
            }
        }
    }
    if let Some(at) = fields.get("trustDomain")
        && let Some(text) = at.filled()
    {
        match TrustDomain::new(&text) {
            Ok(domain) => workload = workload.trust_domain(domain),
            Err(error) => at.wrong(format!("`{text}`: {error}")),
        }
    }
    let mut first_port = None;
    let services = fields.each("services", |at| {
        let text = at.filled()?;
        let service = text.rsplit_once(':').filter(|(name, _)| !name.is_empty());
        let service = service.and_then(|(name, port)| Some((name.to_owned(), port.parse().ok()?)));
        if service.is_none() {
            at.wrong("is no service; write NAME:PORT");
        }
        service
    });
    for (name, port) in services {
        first_port = first_port.or(Some(port));
        workload = workload.service(name, port);
    }
    Some((workload, first_port.unwrap_or(80)))
}

fn callers(fields: Fields<'_, '_>) -> BTreeMap<String, String> {
    let Some(map) = fields.get("callers") else {
        return BTreeMap::new();
    };
    let principal =
        |(name, at): (&str, Cursor<'_, '_>)| Some((name.to_owned(), at.filled()?.into()));
    map.pairs().filter_map(principal).collect()
}

fn users(fields: Fields<'_, '_>) -> BTreeMap<String, Map<String, Json>> {
    let Some(map) = fields.get("users") else {
        return BTreeMap::new();
    };
    let users = map.pairs();
    users
        .map(|(name, at)| (name.to_owned(), claims(&at)))
        .collect()
}

fn percent(at: &Cursor<'_, '_>) -> Option<f64> {
    let scalar = at.node().scalar();
    let number = scalar.and_then(|scalar| scalar.text.parse().ok());
    let percent = number.filter(|percent| (0.0..=100.0).contains(percent));
    if percent.is_none() {
        at.wrong("is no percentage; write a number from 0 to 100");
    }
    percent
}
