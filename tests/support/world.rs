//! One policy set and the requests to ask it about.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Map, Value, json};
use tower_mesh::testing::Issuer;

/// A policy set, the mesh's settings, and requests as `tower-mesh check` takes them.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) name: String,
    /// Resources; `PORT` in a text stands for the port that is listened on.
    pub(crate) resources: Vec<Value>,
    pub(crate) mesh: Value,
    pub(crate) is_tcp: bool,
    pub(crate) requests: Vec<Value>,
}

impl World {
    /// A set of one enforced ALLOW (or other) policy with these rules.
    pub(crate) fn of(name: &str, policies: &[Value]) -> Self {
        Self {
            name: name.to_owned(),
            resources: policies.to_vec(),
            mesh: json!({}),
            is_tcp: false,
            requests: Vec::new(),
        }
    }

    pub(crate) fn mesh(mut self, mesh: Value) -> Self {
        self.mesh = mesh;
        self
    }

    pub(crate) fn tcp(mut self) -> Self {
        self.is_tcp = true;
        self
    }

    pub(crate) fn ask(mut self, requests: impl IntoIterator<Item = Value>) -> Self {
        self.requests.extend(requests);
        self
    }

    pub(crate) fn protocol(&self) -> &'static str {
        if self.is_tcp { "tcp" } else { "http" }
    }

    /// How paths are normalized.
    pub(crate) fn normalization(&self) -> &str {
        self.mesh
            .pointer("/pathNormalization/normalization")
            .and_then(Value::as_str)
            .unwrap_or("DEFAULT")
    }

    /// Writes the resources below `directory`; where they are.
    pub(crate) fn write(&self, directory: &Path, port: u16) -> PathBuf {
        let config = directory.join("resources.json");
        let list = json!({"apiVersion": "v1", "kind": "List", "items": self.resources});
        let text = list.to_string().replace("PORT", &port.to_string());
        std::fs::write(&config, text).unwrap();
        config
    }

    /// Runs `tower-mesh` on this set, which is written below `directory`; fails the test when it refuses the set.
    pub(crate) fn tower_mesh(
        &self,
        directory: &Path,
        port: u16,
        command: &str,
        words: &[&str],
    ) -> String {
        let config = self.write(directory, port);
        let mesh = directory.join("mesh.yaml");
        std::fs::write(&mesh, self.mesh.to_string()).unwrap();
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new(env!("CARGO_BIN_EXE_tower-mesh"))
            .arg(command)
            .arg("--config")
            .arg(&config)
            .arg("--mesh-config")
            .arg(&mesh)
            .args(["--workload", "foo/web", "--label", "app=web"])
            .args(["--service", "web", "--port", &port.to_string()])
            .args(words)
            .output()
            .unwrap();
        assert!(
            status.success(),
            "{}: {}\n{}",
            self.name,
            String::from_utf8_lossy(&stderr),
            serde_json::to_string_pretty(&self.resources).unwrap(),
        );
        String::from_utf8(stdout).unwrap()
    }
}

/// An AuthorizationPolicy in the workload's namespace.
pub(crate) fn policy(name: &str, action: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": "foo"},
        "spec": {"action": action, "rules": rules},
    })
}

/// A RequestAuthentication for the issuers, with their keys.
pub(crate) fn authentication(issuers: &Issuers) -> Value {
    let rules: Vec<_> = issuers
        .0
        .values()
        .map(|issuer| {
            json!({
                "issuer": issuer.name(),
                "jwks": issuer.jwks(),
                "spaceDelimitedClaims": ["perms"],
            })
        })
        .collect();
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "RequestAuthentication",
        "metadata": {"name": "users", "namespace": "foo"},
        "spec": {"jwtRules": rules},
    })
}

/// Who signs tokens, by name.
pub(crate) struct Issuers(BTreeMap<&'static str, Issuer>);

impl Issuers {
    pub(crate) const NAMES: [&'static str; 2] = ["https://a.example", "https://b.example"];

    pub(crate) fn new() -> Self {
        let named = |name: &'static str| (name, Issuer::es256(name));
        Self(Self::NAMES.into_iter().map(named).collect())
    }

    /// A token with exactly these claims.
    pub(crate) fn sign(&self, claims: &Map<String, Value>) -> String {
        let name = claims["iss"].as_str().unwrap();
        let mut token = self.0[name].token().without_claim("exp");
        for (name, value) in claims {
            token = token.claim(name, value.clone());
        }
        token.sign()
    }
}
