//! Merges `accessLogging`.

use std::collections::BTreeMap;

use super::effective::EffectiveAccessLog;
use super::mode::Mode;
use super::providers::{Providers, Use, keys};
use crate::istio::{MeshConfig, Telemetry, TelemetryProvider, Text};

/// What entries say about one provider.
#[derive(Default)]
struct State<'r> {
    is_on: bool,
    filter: Option<&'r Text>,
}

/// The logs that are written.
pub(super) fn merge(
    selected: &[&Telemetry],
    mesh: &MeshConfig,
    mode: Mode,
    providers: &mut Providers<'_>,
) -> Vec<EffectiveAccessLog> {
    let settings = &mesh.telemetry;
    let defaults = keys(&settings.default_access_logging);
    let all = selected
        .iter()
        .flat_map(|resource| &resource.access_logging);
    let is_silent = !all.into_iter().any(|entry| mode.is_of(entry.mode));
    if is_silent && defaults.is_empty() {
        let file = settings.access_log_file.as_ref();
        return file.map(|file| of_mesh(file, mesh)).into_iter().collect();
    }
    let mut in_scope = defaults.clone();
    let mut states: BTreeMap<String, State<'_>> = BTreeMap::new();
    if is_silent {
        for (key, _) in &defaults {
            states.entry(key.clone()).or_default().is_on = true;
        }
    }
    let mut inherited = defaults;
    for resource in selected {
        let entries = || {
            let entries = resource.access_logging.iter();
            entries.filter(|entry| mode.is_of(entry.mode))
        };
        // The entries of one resource list its providers together.
        let listed = entries().flat_map(|entry| &entry.providers);
        let listed: Vec<_> = listed
            .map(|name| (name.to_ascii_lowercase(), name))
            .collect();
        if !listed.is_empty() {
            in_scope = listed;
        }
        for entry in entries() {
            if !entry.providers.is_empty() {
                inherited = keys(&entry.providers);
            }
            for (key, _) in &inherited {
                let state = states.entry(key.clone()).or_default();
                state.is_on = entry.disabled != Some(true);
                if entry.filter.is_some() || !entry.providers.is_empty() {
                    state.filter = entry.filter.as_ref();
                }
            }
        }
    }
    in_scope.sort_by(|(a, _), (b, _)| a.cmp(b));
    in_scope.dedup_by(|(a, _), (b, _)| a == b);
    if in_scope.is_empty() {
        return without_provider(selected, mesh, mode, providers);
    }
    let is_on = |key: &String| states.get(key).is_some_and(|state| state.is_on);
    if let Some((_, name)) = in_scope.iter().find(|(key, _)| is_on(key))
        && !in_scope.iter().any(|(_, name)| providers.is_log(name))
    {
        return instead_of(name, mesh, &in_scope, providers);
    }
    let logs = in_scope.into_iter().filter_map(|(key, name)| {
        let state = states.get(&key).filter(|state| state.is_on)?;
        let found = providers.find(name, Use::AccessLogging)?;
        log(key, found, state.filter)
    });
    logs.collect()
}

/// What is written where entries have no provider, and there is no default one: as istiod, the log of
/// `accessLogFile`, but nothing where the last entry says `disabled`. Both are noted.
fn without_provider(
    selected: &[&Telemetry],
    mesh: &MeshConfig,
    mode: Mode,
    providers: &mut Providers<'_>,
) -> Vec<EffectiveAccessLog> {
    let mut has_entries = selected.iter().filter_map(|resource| {
        let entries = resource.access_logging.iter();
        let last = entries.rev().find(|entry| mode.is_of(entry.mode))?;
        Some((&resource.meta.at, last))
    });
    let (Some((at, last)), Some(file)) = (has_entries.next_back(), &mesh.telemetry.access_log_file)
    else {
        return Vec::new();
    };
    let is_off = last.disabled == Some(true);
    let message = match is_off {
        true => format!(
            "disabled without a provider takes the log of MeshConfig's accessLogFile {file} away, \
             which Istio would write; name the provider `envoy` to say so in both"
        ),
        false => format!(
            "no entry names a provider and MeshConfig has no default one, so MeshConfig's \
             accessLogFile {file} is written as it is, unfiltered; name the provider `envoy`"
        ),
    };
    providers.note(at, "accessLogging", message);
    match is_off {
        true => Vec::new(),
        false => vec![of_mesh(file, mesh)],
    }
}

/// What is written where no provider that an entry names is one of logs: as istiod, which then finds
/// nothing of the Telemetry API, the log of `accessLogFile`. Both cases are noted.
fn instead_of(
    named: &Text,
    mesh: &MeshConfig,
    in_scope: &[(String, &Text)],
    providers: &mut Providers<'_>,
) -> Vec<EffectiveAccessLog> {
    for (_, name) in in_scope {
        let _ = providers.find(name, Use::AccessLogging);
    }
    let file = mesh.telemetry.access_log_file.as_ref();
    let what = match file {
        Some(file) => format!("MeshConfig's accessLogFile {file} is written instead, unfiltered"),
        None => "no line is written".to_owned(),
    };
    let message = format!("none of the providers in force is one of access logs, so {what}");
    providers.note(named.at(), "accessLogging.providers", message);
    file.map(|file| of_mesh(file, mesh)).into_iter().collect()
}

fn log(
    provider: String,
    found: TelemetryProvider,
    filter: Option<&Text>,
) -> Option<EffectiveAccessLog> {
    match found {
        TelemetryProvider::FileAccessLog {
            path,
            format,
            omit_empty_values,
        } => Some(EffectiveAccessLog {
            provider,
            path,
            collector: None,
            format,
            omits_empty_values: omit_empty_values,
            filter: filter.cloned(),
        }),
        TelemetryProvider::OtelAccessLog { collector, format } => Some(EffectiveAccessLog {
            provider,
            collector: Some(collector),
            format,
            filter: filter.cloned(),
            ..EffectiveAccessLog::default()
        }),
        _ => None,
    }
}

/// The log of `accessLogFile`.
fn of_mesh(file: &Text, mesh: &MeshConfig) -> EffectiveAccessLog {
    EffectiveAccessLog {
        path: Some(file.clone()),
        format: mesh.telemetry.access_log_format.clone(),
        ..EffectiveAccessLog::default()
    }
}
