//! What routes refer to.

use std::sync::Arc;

use crate::istio::Text;
use crate::istio::traffic::Destination;
use crate::istio::traffic::gateway_api::{BackendRef, ReferenceGrant};
use crate::routing::host::resolve_host;
use crate::routing::virtual_service::UNKNOWN;

/// The route that refers.
pub(super) struct Referrer<'r> {
    pub(super) kind: &'static str,
    pub(super) namespace: &'r str,
    pub(super) grants: &'r [Arc<ReferenceGrant>],
    pub(super) domain: &'r str,
}

/// The destination of a reference: a Service with a port, of the route's namespace or granted to
/// it; or Istio's kind Hostname. Anything else is known to nobody, so that calls fail with 500.
pub(super) fn destination(backend: &BackendRef, referrer: &Referrer<'_>) -> Destination {
    let namespace = backend.namespace.as_deref().unwrap_or(referrer.namespace);
    let is_service = backend.group.is_empty() && matches!(&*backend.kind, "" | "Service");
    let is_host = backend.group == "networking.istio.io" && backend.kind == "Hostname";
    let may_refer = namespace == referrer.namespace || referrer.is_granted(backend, namespace);
    let host = match (is_service, is_host) {
        _ if !may_refer || backend.port.is_none() => UNKNOWN.to_owned(),
        (true, _) => resolve_host(&backend.name, namespace, referrer.domain).into_owned(),
        (_, true) => backend.name.as_str().to_owned(),
        (false, false) => UNKNOWN.to_owned(),
    };
    Destination {
        host: Text::new(host, backend.name.at().clone()),
        subset: None,
        port: backend.port,
        at: backend.at.clone(),
    }
}

impl Referrer<'_> {
    fn is_granted(&self, backend: &BackendRef, namespace: &str) -> bool {
        let mut grants = self.grants.iter();
        grants.any(|grant| {
            grant.meta.namespace == namespace
                && grant.from.iter().any(|from| {
                    from.group == "gateway.networking.k8s.io"
                        && from.kind == self.kind
                        && from.namespace == self.namespace
                })
                && grant.to.iter().any(|to| {
                    let name = to.name.as_deref();
                    to.group == backend.group
                        && (to.kind == backend.kind
                            || (backend.kind.is_empty() && to.kind == "Service"))
                        && name.is_none_or(|name| name == backend.name.as_str())
                })
        })
    }
}
