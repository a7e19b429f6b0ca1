//! What the names of providers mean.

use std::collections::BTreeSet;

use crate::istio::{MeshConfig, Position, Problem, ProviderKind, TelemetryProvider, Text};

/// The providers of a mesh, and what was noted about their names.
pub(super) struct Providers<'m> {
    mesh: &'m MeshConfig,
    pub(super) notes: Vec<Problem>,
    /// What cannot be used at all.
    pub(super) problems: Vec<Problem>,
    noted: BTreeSet<(Position, String)>,
}

/// Whether there is a sink for collectors.
const SERVES_OTLP: bool = cfg!(feature = "otlp");

/// Kinds of access logs that are not served.
const LOG_KINDS: [&str; 2] = ["envoyHttpAls", "envoyTcpAls"];

/// What a list of providers is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Tracing,
    Metrics,
    AccessLogging,
}

impl Use {
    const fn list(self) -> &'static str {
        match self {
            Self::Tracing => "tracing",
            Self::Metrics => "metrics",
            Self::AccessLogging => "accessLogging",
        }
    }

    const fn kinds(self) -> &'static str {
        match self {
            Self::Tracing => "zipkin or opentelemetry",
            Self::Metrics => "prometheus",
            Self::AccessLogging if SERVES_OTLP => "envoyFileAccessLog or envoyOtelAls",
            Self::AccessLogging => "envoyFileAccessLog",
        }
    }

    fn takes(self, provider: &TelemetryProvider) -> bool {
        match provider {
            TelemetryProvider::Zipkin(_) | TelemetryProvider::OpenTelemetry(_) => {
                self == Self::Tracing
            }
            TelemetryProvider::Prometheus => self == Self::Metrics,
            TelemetryProvider::FileAccessLog { .. } => self == Self::AccessLogging,
            TelemetryProvider::OtelAccessLog { .. } => SERVES_OTLP && self == Self::AccessLogging,
            TelemetryProvider::Unserved(_) => false,
        }
    }
}

impl<'m> Providers<'m> {
    pub(super) fn new(mesh: &'m MeshConfig) -> Self {
        Self {
            mesh,
            notes: Vec::new(),
            problems: Vec::new(),
            noted: BTreeSet::new(),
        }
    }

    /// The provider of this name; one that cannot be used is noted once for each place.
    pub(super) fn find(&mut self, name: &Text, of: Use) -> Option<TelemetryProvider> {
        let mut defined = self.mesh.extension_providers.iter();
        let defined = defined.find(|provider| provider.name.eq_ignore_ascii_case(name));
        let kind = defined.map(|provider| &provider.kind);
        let found = match kind {
            Some(ProviderKind::Telemetry(provider)) => Some(&**provider),
            _ => None,
        };
        if let Some(provider) = found.filter(|provider| of.takes(provider)) {
            return Some(provider.clone());
        }
        if kind.is_none()
            && let Some(built_in) = self.built_in(name, of)
        {
            return Some(built_in);
        }
        let kinds = of.kinds();
        let message = match (kind, found) {
            (None, _) => format!(
                "MeshConfig's extensionProviders have no `{name}`, so it counts as not found; \
                 define it, or name one of the kind {kinds}"
            ),
            (_, Some(TelemetryProvider::Unserved(kind))) => format!(
                "the provider `{name}` is of the kind {kind}, which is not served here and counts \
                 as not found; name one of the kind {kinds}"
            ),
            (_, Some(TelemetryProvider::OtelAccessLog { .. })) if of == Use::AccessLogging => {
                format!(
                    "the provider `{name}` is of the kind envoyOtelAls, which needs the feature `otlp` \
                 of tower-mesh, and counts as not found; build with it, or name one of the kind \
                 {kinds}"
                )
            }
            _ => format!(
                "the provider `{name}` is not for {}, so it counts as not found; name one of the \
                 kind {kinds}",
                of.list()
            ),
        };
        self.note(name.at(), format!("{}.providers", of.list()), message);
        None
    }

    /// Whether Istio would write a log to it, be it served here or not.
    pub(super) fn is_log(&self, name: &Text) -> bool {
        let mut defined = self.mesh.extension_providers.iter();
        let defined = defined.find(|provider| provider.name.eq_ignore_ascii_case(name));
        match defined.map(|provider| &provider.kind) {
            None => self.built_in(name, Use::AccessLogging).is_some(),
            Some(ProviderKind::Telemetry(provider)) => match &**provider {
                TelemetryProvider::FileAccessLog { .. }
                | TelemetryProvider::OtelAccessLog { .. } => true,
                TelemetryProvider::Unserved(kind) => LOG_KINDS.contains(&kind.as_str()),
                _ => false,
            },
            Some(_) => false,
        }
    }

    /// Istio's own.
    fn built_in(&self, name: &Text, of: Use) -> Option<TelemetryProvider> {
        let settings = &self.mesh.telemetry;
        if of == Use::Metrics && name.eq_ignore_ascii_case("prometheus") {
            return Some(TelemetryProvider::Prometheus);
        }
        (of == Use::AccessLogging && name.eq_ignore_ascii_case("envoy")).then(|| {
            TelemetryProvider::FileAccessLog {
                path: settings.access_log_file.clone(),
                format: settings.access_log_format.clone(),
                omit_empty_values: false,
            }
        })
    }

    /// Notes something about a place, once.
    pub(super) fn note(&mut self, at: &Position, field: impl Into<String>, message: String) {
        if self.noted.insert((at.clone(), message.clone())) {
            self.notes.push(Problem::new(at.clone(), field, message));
        }
    }

    /// Refuses something at a place, once.
    pub(super) fn refuse(&mut self, at: &Position, field: impl Into<String>, message: String) {
        if self.noted.insert((at.clone(), message.clone())) {
            self.problems.push(Problem::new(at.clone(), field, message));
        }
    }
}

/// The names in lower case, without twins, in order.
pub(super) fn keys(names: &[Text]) -> Vec<(String, &Text)> {
    let mut keys: Vec<(String, &Text)> = Vec::new();
    for name in names {
        let key = name.to_ascii_lowercase();
        if !keys.iter().any(|(known, _)| *known == key) {
            keys.push((key, name));
        }
    }
    keys
}
