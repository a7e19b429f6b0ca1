//! Loads everything that the options describe, and composes the mesh.

use std::sync::Arc;

use tokio::sync::Mutex;

#[cfg(feature = "audit")]
use super::audit;
use super::builder::MeshBuilder;
use crate::access_log::AccessLogs;
use crate::concurrency::Limiter;
use crate::context::{Hide, Telling, Via};
use crate::gate::{ForwardClientCert, Gate, Refusals};
use crate::live::Live;
#[cfg(feature = "audit")]
use crate::mesh::audit::follow_keys;
#[cfg(any(feature = "external", feature = "rate-limit-service"))]
use crate::mesh::client::LateClient;
use crate::mesh::client::pool::connection::dial::Dialer;
use crate::mesh::client::pool::names::Names;
use crate::mesh::client::{Client, Outbound};
use crate::mesh::config::driver::Driver;
use crate::mesh::config::identity_source::Origin;
#[cfg(feature = "rate-limit")]
use crate::mesh::config::limits::LimitCompiler;
use crate::mesh::config::loading::ConfigLoader;
use crate::mesh::dangers::Dangers;
use crate::mesh::error::{BuildError, Faults};
use crate::mesh::export;
use crate::mesh::gate_metrics;
use crate::mesh::handle::{Mesh, Parts};
use crate::mesh::own_identity;
use crate::mesh::plaintext::{Plaintext, unproven_id};
#[cfg(feature = "external")]
use crate::mesh::providers::ProviderCompiler;
#[cfg(feature = "otlp")]
use crate::mesh::push::otlp_metrics::MetricsPusher;
use crate::mesh::server::limit_metrics;
use crate::mesh::server::{Inbound, ServerLayer, Trusted, TrustedProxies};
use crate::mesh::shutdown::Shutdown;
use crate::mesh::telemetry::{OwnTelemetry, Reports, TelemetryCompiler};
use crate::mesh::tls_metrics;
use crate::mesh::trust_domain;
use crate::metrics::PlanOwner;
use crate::propagation::Propagation;
#[cfg(feature = "rate-limit-service")]
use crate::rate_limit::OverGrpc;
use crate::rbac::PolicyCheck;
use crate::tls::{Connector, Mode, Rotation};

impl MeshBuilder {
    /// Loads the configuration and the identity, fetches keys, and looks up DNS names, each once.
    ///
    /// Fetched key sets get up to five seconds. The driver fetches those that do not come in time;
    /// until then their tokens are refused with 401, and requests without a token are not affected.
    /// DNS names of upstreams get as long; a call to one without an address fails with 503 until
    /// DNS knows it.
    ///
    /// # Errors
    /// Everything that is wrong with the options, the configuration and the identity. When
    /// something else is wrong already, a source has five seconds to give the identity; if it gives
    /// none, the error does not mention it. The meaning of policies depends on the trust domain of
    /// our own identity, so their problems are known only with the identity.
    pub async fn build(mut self) -> Result<(Mesh, Driver), BuildError> {
        let is_plaintext = self.identity.is_none();
        self.telemetry.connect_exporter();
        if let Some(mistake) = self.telemetry.propagation.mistake() {
            self.telemetry.mistakes.push(mistake.to_owned());
        }
        // Another mesh may be made with the same propagation.
        self.telemetry.propagation = self.telemetry.propagation.with_own_options();
        let mut edge_propagation = self.telemetry.propagation.clone();
        if is_plaintext {
            self.go_plaintext();
        }
        let mut faults = Faults::new("MeshBuilder");
        faults.mistakes("", &self.mistakes);
        faults.mistakes("listener: ", &self.listener.mistakes);
        faults.mistakes("telemetry: ", &self.telemetry.mistakes);
        #[cfg(feature = "external")]
        faults.mistakes("", &self.providers.mistakes);
        #[cfg(feature = "audit")]
        audit::check(self.audit.as_ref(), &mut faults);
        let mut mistakes = Vec::new();
        let namespace = self.workload.namespace();
        let outbound = self
            .upstreams
            .compile(namespace, &self.tls, is_plaintext, &mut mistakes);
        faults.mistakes("", &mistakes);
        let rules = ConfigLoader {
            is_plaintext,
            source: self.source,
            modes: self.modes,
            requires_policy: self.requires_policy,
            tokens: self.tokens,
            tls: &self.tls,
        };
        let rules = rules.read(self.workload.namespace(), &mut faults).await;
        let named = rules.trace_service_name();
        self.workload = self.workload.or_trace_service_name(named);
        if !edge_propagation.exports()
            && let Some(sink) = rules.exporter(&self.workload, &mut faults)
        {
            let propagation = self.telemetry.propagation.clone();
            self.telemetry.propagation = propagation.export_to(Arc::clone(&sink));
            edge_propagation = edge_propagation.export_to(sink);
        }
        let bundles = self.identity.as_ref().and_then(Origin::jwt_bundles);
        let rules = rules.svid_bundles(bundles);
        let own = match self.identity {
            Some(origin) => own_identity::load(origin, &self.tls, &mut faults).await,
            None => None,
        };
        let (credentials, rotation) = match own {
            Some((credentials, rotation)) => (Some(credentials), rotation),
            None => (None, None),
        };
        if let Some(credentials) = &credentials {
            let id = credentials.spiffe_id();
            let checked = own_identity::check(&self.workload, &id, &self.allowed);
            faults.foreign_option(checked.map_err(|mistake| format!("Mesh::builder: {mistake}")));
            self.workload = trust_domain::of_certificate(self.workload, &id);
        }
        let identity = match &credentials {
            Some(credentials) => Some(credentials.spiffe_id()),
            None if is_plaintext => {
                let id = unproven_id(&self.workload, rules.stated_trust_domain());
                faults.foreign_option(
                    id.map_err(|mistake| format!("Mesh::danger().plaintext: {mistake}")),
                )
            }
            None => None,
        };
        let registry = &self.telemetry.registry;
        #[cfg(any(feature = "external", feature = "rate-limit-service"))]
        let late_client = LateClient::default();
        #[cfg(feature = "external")]
        let rules = {
            let own = identity.as_ref().map(ToString::to_string);
            let own = own.unwrap_or_default();
            let registered = self.providers;
            let late_client = late_client.clone();
            let providers = ProviderCompiler::new(late_client, own, registry, registered);
            rules.providers(providers)
        };
        #[cfg(feature = "rate-limit")]
        let rules = {
            let limits = LimitCompiler::new(self.limits, registry);
            #[cfg(feature = "rate-limit-service")]
            let limits = limits.client(late_client.clone());
            rules.limits(limits)
        };
        let mut hidden = AccessLogs::hidden(&self.telemetry.access_logs);
        hidden.merge(&self.telemetry.hidden);
        let logs = AccessLogs::without(self.telemetry.access_logs, &self.telemetry.hidden);
        let has_event = AccessLogs::server(logs.clone()).has_every_event();
        #[cfg(feature = "otlp")]
        let log_sinks = export::collectors::collectors(&logs, &self.workload);
        let reports = Live::new(Reports::default());
        let plan = PlanOwner::new(registry);
        let rules = rules.telemetry(TelemetryCompiler::new(OwnTelemetry {
            plan: plan.clone(),
            propagation: self.telemetry.propagation.clone(),
            registry: registry.clone(),
            access_logs: logs,
            hidden: hidden.clone(),
            own_id: credentials
                .as_ref()
                .map(|own| own.spiffe_id().as_str().into()),
            reports: reports.clone(),
        }));
        #[cfg(feature = "audit")]
        let rules = rules.audits(self.audit.is_some());
        let rules = rules.compile(&self.workload, outbound, registry, &mut faults);
        #[cfg(feature = "audit")]
        let auditor = {
            let (options, id) = (self.audit, identity.as_ref());
            audit::start(options, id, &self.workload, registry, &mut faults).await
        };
        #[cfg(feature = "audit")]
        let (auditor, ends_audit) = match auditor {
            Some((auditor, is_shared)) => (Some(auditor), !is_shared),
            None => (None, false),
        };
        #[cfg(feature = "audit")]
        let records_allows = self.telemetry.records_allows || auditor.is_some();
        #[cfg(not(feature = "audit"))]
        let records_allows = self.telemetry.records_allows;
        let (Some(identity), Some(rules), true) = (identity, rules, faults.is_empty()) else {
            return Err(faults.into());
        };
        #[cfg(feature = "audit")]
        if let Some(auditor) = &auditor {
            follow_keys(auditor, rules.keyring());
        }
        let rules = rules.begin(registry, credentials.as_ref());
        let (cells, reloads) = (rules.cells.clone(), rules.reloads.clone());
        let token_mode = rules.terms.mode;

        let trusted_proxies = Arc::new(TrustedProxies::new(
            self.trusted_proxies,
            identity.clone(),
            cells.modes.clone(),
        ));
        trusted_proxies.register(registry);
        let hide = (!hidden.is_empty()).then(|| {
            let hide: Hide = Arc::new(move |path: &str| hidden.shown(path));
            hide
        });
        let hide_in = |propagation: Propagation| match &hide {
            Some(hide) => propagation.hide_in_paths(Arc::clone(hide)),
            None => propagation,
        };
        let propagation = hide_in(self.telemetry.propagation.workload(&self.workload));
        export::metrics::register(registry, &propagation);
        let refusals = Arc::new(Refusals::new());
        gate_metrics::register(registry, &refusals);
        let server = ServerLayer::new(Inbound {
            config: cells.inbound.clone(),
            gate: self.gate.unwrap_or_else(Gate::istio),
            edge_gate: self.gate.unwrap_or_else(Gate::strict),
            refusals,
            id: identity.clone(),
            propagation: propagation.clone(),
            edge_propagation: hide_in(edge_propagation.workload(&self.workload)),
            metrics: registry.server_as(&self.workload, &identity),
            tokens: rules.terms.clone(),
            rbac: PolicyCheck::new().record_allows(records_allows),
            #[cfg(feature = "rate-limit-service")]
            counting: Arc::new(OverGrpc::new(late_client.clone())),
            guards: self.guards,
            concurrency: self.concurrency.map(|limit| {
                let limiter = Arc::new(Limiter::new(&limit));
                limit_metrics::register_concurrency(registry, &limiter);
                limiter
            }),
            quiet: self.listener.quiet.clone(),
            telling: {
                let hide = hide.clone();
                #[cfg(feature = "audit")]
                let audit = auditor.as_ref().map(|auditor| auditor.trail().shared());
                #[cfg(feature = "audit")]
                let is_audited = audit.is_some();
                #[cfg(not(feature = "audit"))]
                let is_audited = false;
                let is_special = hide.is_some() || has_event || is_audited;
                is_special.then(|| {
                    Arc::new(Telling {
                        hide,
                        has_event,
                        #[cfg(feature = "audit")]
                        audit,
                    })
                })
            },
            reports: reports.clone(),
            observers: self.telemetry.request_observers,
            trusted_proxies: Arc::clone(&trusted_proxies),
            #[cfg(feature = "audit")]
            auditor: auditor.clone(),
        });
        let plaintext = is_plaintext.then(|| Plaintext {
            upstreams: cells.outbound.load().inside(),
        });
        let dangers = Dangers {
            plaintext,
            proxies: Arc::clone(trusted_proxies.names()),
            shows_every_client_cert: self.listener.trust.client_cert
                == ForwardClientCert::AlwaysForwardOnly,
        };
        let (mut names, wanted) = Names::new(
            cells.outbound.load().names(),
            &self.client.resolver,
            registry,
        );
        let connector = match &credentials {
            Some(credentials) => Connector::new(credentials.clone()),
            None => Connector::plaintext(),
        };
        let connector = connector
            .timeout(self.client.connect_timeout)
            .lifetimes(self.lifetimes);
        tls_metrics::connector(registry, &connector.stats());
        let client = Client::new(Outbound {
            trust_domain: identity.trust_domain().clone(),
            propagation: propagation.clone(),
            metrics: registry.client_as(&self.workload, &identity),
            reports,
            observers: self.telemetry.call_observers,
            upstreams: cells.outbound.clone(),
            dialer: Arc::new(Dialer::new(
                connector,
                credentials.clone(),
                self.client.connect_timeout,
            )),
            response_timeout: self.client.response_timeout,
            inherits_deadlines: self.client.inherits_deadlines,
            tcp_bounds: self.client.tcp_bounds,
        });
        #[cfg(any(feature = "external", feature = "rate-limit-service"))]
        {
            late_client.set(client.clone());
            rules.warn_of_unknown_hosts();
        }
        let renewal = rotation.as_ref().map(Rotation::stats);
        if let Some(credentials) = &credentials {
            tls_metrics::identity(registry, credentials, renewal.clone());
        }
        dangers.warn();
        let (driver, ()) = tokio::join!(rules.driver(rotation), names.first());
        let driver = driver.remind_of(dangers).names(names);
        #[cfg(feature = "audit")]
        let mut driver = driver.audits(auditor.clone(), credentials.clone());
        #[cfg(feature = "audit")]
        driver.record_start().await;
        #[cfg(feature = "otlp")]
        let pusher = self
            .telemetry
            .metrics_collector
            .map(|to| MetricsPusher::new(to, registry, &self.workload));
        #[cfg(feature = "otlp")]
        let driver = driver.pushes(pusher.clone());
        #[cfg(any(feature = "external", feature = "rate-limit-service"))]
        late_client.warm_up();
        let parts = Parts {
            workload: self.workload,
            cells,
            credentials,
            otherwise: identity,
            server,
            client,
            registry: registry.clone(),
            _plan: plan,
            propagation,
            #[cfg(feature = "otlp")]
            pusher,
            #[cfg(feature = "otlp")]
            log_sinks,
            tls: self.tls,
            names: Mutex::new(wanted),
            lifetimes: self.lifetimes,
            shutdown: Shutdown::new(),
            rotation: renewal,
            pulse: driver.pulse(),
            needs_driver: driver.follows(),
            reloads,
            trusted_proxies,
            token_mode,
            #[cfg(feature = "audit")]
            auditor,
            #[cfg(feature = "audit")]
            ends_audit,
        };
        let mesh = Mesh::new(parts, self.listener);
        Ok((mesh, driver))
    }

    /// Makes every port take plaintext. An option that asks for TLS is a mistake.
    fn go_plaintext(&mut self) {
        let proves = |proxy: &Trusted| matches!(proxy.via, Via::Identity(_));
        if self.trusted_proxies.iter().any(proves) {
            self.mistakes.push(
                "danger().trusted_proxy: identities: the mesh speaks plaintext \
                 (`danger().plaintext()`), so no proxy can prove its identity: leave one of them out"
                    .to_owned(),
            );
        }
        let telemetry = &mut self.telemetry;
        telemetry.propagation = telemetry.propagation.clone().among_strangers();
        let forced = self.modes.forced.replace(Mode::Disable);
        let asked = [
            self.listener
                .own_tls
                .is_some()
                .then_some("listener: own_tls"),
            forced
                .is_some_and(|mode| mode != Mode::Disable)
                .then_some("mode"),
        ];
        for option in asked.into_iter().flatten() {
            self.mistakes.push(format!(
                "{option}: this asks for TLS, and `danger().plaintext()` for none: leave one of \
                 them out"
            ));
        }
    }
}
