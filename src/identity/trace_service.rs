/// The name by which a workload's spans call their service: `service.name` in OpenTelemetry,
/// `localEndpoint.serviceName` in Zipkin. Istio's `tracingServiceName`.
///
/// ```
/// use tower_mesh::Workload;
/// use tower_mesh::identity::TraceServiceName;
///
/// let workload = Workload::new("default", "patients").label("app", "clinic");
/// assert_eq!(workload.trace_service(), "clinic.default");
/// let workload = workload.trace_service_name(TraceServiceName::CanonicalNameOnly);
/// assert_eq!(workload.trace_service(), "clinic");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TraceServiceName {
    /// `APP.NAMESPACE`, by which Kiali looks for traces: the first label present of `app`,
    /// `app.kubernetes.io/name` and `service.istio.io/canonical-name`, else the workload's name.
    #[default]
    AppLabelAndNamespace,
    /// The [canonical service](crate::Workload::canonical_service).
    CanonicalNameOnly,
    /// The canonical service and the namespace, with a dot between.
    CanonicalNameAndNamespace,
}

impl TraceServiceName {
    /// The choice that Istio's `ProxyConfig` writes so.
    pub(super) fn from_istio(name: &str) -> Option<Self> {
        match name {
            "APP_LABEL_AND_NAMESPACE" => Some(Self::AppLabelAndNamespace),
            "CANONICAL_NAME_ONLY" => Some(Self::CanonicalNameOnly),
            "CANONICAL_NAME_AND_NAMESPACE" => Some(Self::CanonicalNameAndNamespace),
            _ => None,
        }
    }
}
