//! Who may answer for a service.

use std::collections::BTreeSet;
use std::fmt;

use crate::identity::{SpiffeId, TrustDomain};
use crate::istio::Text;
use crate::routing::endpoints::{AccountSource, Endpoint};
use crate::routing::services::{Service, ServiceSource};

/// Who may answer over mutual TLS of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedIdentities {
    /// Certificates with one of these names, URIs among them.
    AnyOf {
        /// The names, each exactly.
        names: Vec<String>,
        /// Where they are stated.
        source: IdentitySource,
    },
    /// Whoever has an id of this trust domain:
    /// [`danger`](super::ClusterOptions::danger) accepts that.
    TrustDomain(TrustDomain),
}

/// Where identities are stated; the first that states any is the only one that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentitySource {
    /// DestinationRule `tls.subjectAltNames`.
    DestinationRule,
    /// ServiceEntry `subjectAltNames`.
    ServiceEntry,
    /// `serviceAccount` of WorkloadEntries and of a ServiceEntry's endpoints.
    WorkloadEntries,
    /// The annotation `mesh.tower/service-accounts` of a Service.
    Annotation,
    /// The service accounts of pods.
    Pods,
    /// [`ClusterOptions::upstreams`](super::ClusterOptions::upstreams).
    Upstream,
}

/// Nothing says who a destination runs as, so nobody may answer for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownIdentities {
    host: String,
}

impl UnknownIdentities {
    /// The destination.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for UnknownIdentities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no identity is known for `{}`: state it in `tls.subjectAltNames` of a \
             DestinationRule, `subjectAltNames` of its ServiceEntry, `serviceAccount` of its \
             WorkloadEntries, the annotation `{ANNOTATION}` of its Service, or as an upstream; or \
             use a source that knows its pods",
            self.host
        )
    }
}

impl std::error::Error for UnknownIdentities {}

/// All that is known of who a service runs as, apart from DestinationRules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownIdentities {
    /// `subjectAltNames` of the ServiceEntry.
    pub service_entry: Vec<String>,
    /// Accounts of WorkloadEntries and listed endpoints.
    pub workload_entries: Vec<String>,
    /// The annotation's.
    pub annotation: Vec<String>,
    /// Accounts of pods.
    pub pods: Vec<String>,
    /// Those that the application states.
    pub upstream: Vec<String>,
}

impl KnownIdentities {
    /// What a service and its endpoints, those of all ports, say. Accounts have an id in each of
    /// the trust domains.
    pub(super) fn new(
        service: &Service,
        endpoints: &[Endpoint],
        trust_domains: &[&str],
        upstream: &[SpiffeId],
    ) -> Self {
        let accounts = |source: AccountSource| {
            let of_source = endpoints.iter().filter(|it| it.account_source == source);
            let ids = of_source.filter_map(|it| {
                let account = it.service_account.as_deref()?;
                Some(ids(trust_domains, &it.namespace, account))
            });
            ids.flatten().collect::<BTreeSet<_>>().into_iter().collect()
        };
        let (service_entry, annotation) = match &service.source {
            ServiceSource::Entry(entry) => {
                let names = entry.subject_alt_names.iter();
                (names.map(|it| it.as_str().to_owned()).collect(), Vec::new())
            }
            ServiceSource::Kubernetes(kubernetes) => {
                let annotation = kubernetes.meta.annotations.get(ANNOTATION);
                let stated = annotation.map(|it| annotated(it, service, trust_domains));
                (Vec::new(), stated.unwrap_or_default())
            }
        };
        Self {
            service_entry,
            workload_entries: accounts(AccountSource::WorkloadEntry),
            annotation,
            pods: accounts(AccountSource::Pod),
            upstream: upstream.iter().map(|id| id.as_str().to_owned()).collect(),
        }
    }

    /// Whom a call over mutual TLS of the mesh expects: by the first source that names any.
    ///
    /// # Errors
    /// None names any.
    pub(super) fn expected(
        &self,
        host: &str,
        of_rule: &[Text],
    ) -> Result<ExpectedIdentities, UnknownIdentities> {
        let of_rule: Vec<_> = of_rule.iter().map(|it| it.as_str().to_owned()).collect();
        let sources = [
            (&of_rule, IdentitySource::DestinationRule),
            (&self.service_entry, IdentitySource::ServiceEntry),
            (&self.workload_entries, IdentitySource::WorkloadEntries),
            (&self.annotation, IdentitySource::Annotation),
            (&self.pods, IdentitySource::Pods),
            (&self.upstream, IdentitySource::Upstream),
        ];
        let first = sources.into_iter().find(|(names, _)| !names.is_empty());
        match first {
            Some((names, source)) => Ok(ExpectedIdentities::AnyOf {
                names: names.clone(),
                source,
            }),
            None => Err(UnknownIdentities {
                host: host.to_owned(),
            }),
        }
    }

    /// Those that Istio has a proxy accept: all that resources state, together, in order.
    #[must_use]
    pub fn of_resources(&self) -> Vec<String> {
        let all = self.service_entry.iter().chain(&self.workload_entries);
        let all = all.chain(&self.annotation).chain(&self.pods).cloned();
        all.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// `ACCOUNT`, `NAMESPACE/ACCOUNT` or a whole id, between commas. What is none of these stays as it
/// is written, so that nobody has it.
fn annotated(written: &str, service: &Service, trust_domains: &[&str]) -> Vec<String> {
    let entries = written.split(',').map(str::trim);
    let entries = entries.filter(|entry| !entry.is_empty());
    let of_entry = |entry: &str| match entry.split_once('/') {
        _ if entry.starts_with("spiffe://") => vec![entry.to_owned()],
        Some((namespace, account)) => ids(trust_domains, namespace, account),
        None => ids(trust_domains, &service.namespace, entry),
    };
    entries.flat_map(of_entry).collect()
}

fn ids(trust_domains: &[&str], namespace: &str, account: &str) -> Vec<String> {
    let id = |domain: &&str| format!("spiffe://{domain}/ns/{namespace}/sa/{account}");
    trust_domains.iter().map(id).collect()
}

const ANNOTATION: &str = "mesh.tower/service-accounts";
