//! The options of every command that judges requests.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tower_mesh::Workload;
use tower_mesh::gate::Gate;
use tower_mesh::identity::TrustDomain;
use tower_mesh::istio::MeshConfig;

/// What is judged for whom.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct Options {
    /// Istio resources: a file, or a directory of *.yaml, *.yml and *.json; may be given several
    /// times
    #[arg(long, value_name = "PATH", required = true)]
    pub(crate) config: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) guarded: Guarded,
}

/// The workload that is guarded, and the mesh it lives in.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct Guarded {
    /// The mesh's settings: a MeshConfig, or the ConfigMap `istio` that holds one
    #[arg(long, value_name = "FILE")]
    pub(crate) mesh_config: Option<PathBuf>,
    /// A provider that the application registers in Rust, for CUSTOM policies; may be given several
    /// times
    #[arg(long = "authorizer", value_name = "NAME")]
    pub(crate) authorizers: Vec<String>,
    #[command(flatten)]
    pub(crate) domain: Domain,
    /// The workload that is guarded: its namespace and service account
    #[arg(long, value_name = "NS/SA", value_parser = namespace_and_account)]
    workload: (String, String),
    /// A label of the workload, for selectors; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_and_value)]
    labels: Vec<(String, String)>,
    /// A service in front of the workload; legacy resources select by it. Without a port: on the
    /// port of each request
    #[arg(long = "service", value_name = "NAME[:PORT]", value_parser = ServiceName::parse)]
    pub(crate) services: Vec<ServiceName>,
    /// The port the workload listens on [default: 80]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
}

/// The trust domain that policies mean by ours.
#[derive(Clone, Debug, Args)]
pub(crate) struct Domain {
    /// The trust domain of the workload's certificate, where no MeshConfig writes `trustDomain`
    /// [default: cluster.local]
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) trust_domain: Option<TrustDomain>,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    #[value(alias = "table")]
    Text,
    /// One JSON object a line
    Json,
}

/// What a workload without any policy counts for.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct NoPolicy {
    /// Accept that no authorization policy selects the workload; otherwise that ends with exit
    /// status 2
    #[arg(long)]
    pub(crate) allow_no_policy: bool,
}

/// The gate in front of the policies.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Gated {
    /// The profile of the gate, which refuses requests before any rule is asked
    #[arg(long, value_enum)]
    gate: Option<Profile>,
}

/// A profile of the gate, or none.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Profile {
    /// What a mesh has unless it is told otherwise
    Istio,
    /// Refuses also what is legal but has been used to get around rules
    Strict,
    /// No gate: only the rules are asked, as in a sidecar
    Off,
}

impl Gated {
    /// The gate that was asked for.
    pub(crate) fn asked(self) -> Option<Gate> {
        self.gate.and_then(Profile::gate)
    }

    /// Whether nothing is said of a gate.
    pub(crate) fn is_left_open(self) -> bool {
        self.gate.is_none()
    }

    /// The gate that was asked for, else that of a mesh.
    pub(crate) fn or_istio(self) -> Option<Gate> {
        self.gate.unwrap_or(Profile::Istio).gate()
    }
}

impl Profile {
    fn gate(self) -> Option<Gate> {
        match self {
            Self::Istio => Some(Gate::istio()),
            Self::Strict => Some(Gate::strict()),
            Self::Off => None,
        }
    }
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    Http,
    Tcp,
}

/// A service, and the port when one is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServiceName {
    pub(crate) name: String,
    pub(crate) port: Option<u16>,
}

impl Domain {
    /// Says on stderr when the settings have another one than is stated.
    pub(crate) fn tell_if_unused(&self, mesh: &MeshConfig) {
        if let (Some(written), Some(stated)) = (&mesh.trust_domain, &self.trust_domain)
            && written != stated.as_str()
        {
            // It may hold what would command a terminal.
            let written = written.escape_debug();
            eprintln!(
                "note: MeshConfig's trustDomain {written} counts, and not --trust-domain {stated}"
            );
        }
    }
}

/// Says on stderr which trust domain is assumed where nothing states one.
pub(crate) fn tell_assumed_trust_domain() {
    eprintln!("note: {ASSUMED_TRUST_DOMAIN}");
}

pub(crate) const ASSUMED_TRUST_DOMAIN: &str = "policies name the mesh's own trust domain, which is taken for cluster.local; \
    --trust-domain or a MeshConfig says otherwise";

impl Guarded {
    pub(crate) fn namespace(&self) -> &str {
        &self.workload.0
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(80)
    }

    /// The workload, behind these services; those without a port stand on `port`.
    pub(crate) fn workload(&self, services: &[ServiceName], port: u16) -> Workload {
        let (namespace, account) = &self.workload;
        let mut workload = Workload::new(namespace, account);
        if let Some(domain) = &self.domain.trust_domain {
            workload = workload.trust_domain(domain.clone());
        }
        for (key, value) in &self.labels {
            workload = workload.label(key, value);
        }
        for service in services {
            workload = workload.service(&service.name, service.port.unwrap_or(port));
        }
        workload
    }
}

impl ServiceName {
    /// Reads `NAME` or `NAME:PORT`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, port) = match text.rsplit_once(':') {
            None => (text, None),
            Some((name, port)) => {
                let wrong = |_| format!("`{port}` is no port; write NAME or NAME:PORT");
                (name, Some(port.parse().map_err(wrong)?))
            }
        };
        if name.is_empty() || name.contains(['.', ':', '/']) {
            return Err(format!(
                "`{name}` is no short name of a service; write NAME or NAME:PORT"
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            port,
        })
    }
}

/// Reads `KEY=VALUE`; the value may be empty.
pub(crate) fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// Reads `NAMESPACE/SERVICE-ACCOUNT`.
pub(crate) fn namespace_and_account(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, account))
            if !namespace.is_empty() && !account.is_empty() && !account.contains('/') =>
        {
            Ok((namespace.to_owned(), account.to_owned()))
        }
        _ => Err("write NAMESPACE/SERVICE-ACCOUNT".to_owned()),
    }
}
