use std::fmt;

use serde::Serialize;

use super::host::HostReport;
use super::outcome::Outcome;
use super::sources::Sources;
use super::tried::RouteReport;
use crate::routing::hosts::{RouteTable, Unknown};
use crate::routing::route::CallHead;

/// Why a call is routed as it is: prints for people, serializes for programs.
///
/// It repeats parts of the call (host, path, headers): show it to operators, not to callers.
///
/// # Example
/// ```
/// use tower_mesh::Workload;
/// use tower_mesh::istio::{MeshConfig, parse};
/// use tower_mesh::routing::route::Call;
/// use tower_mesh::routing::{Routing, RoutingOptions};
///
/// let resources = parse("routes.yaml", "
/// apiVersion: v1
/// kind: Service
/// metadata: {name: reviews, namespace: shop}
/// spec: {clusterIP: 10.96.0.5, ports: [{name: http, port: 80}]}
/// ---
/// apiVersion: networking.istio.io/v1
/// kind: VirtualService
/// metadata: {name: reviews, namespace: shop}
/// spec:
///   hosts: [reviews]
///   http:
///   - name: jason
///     match: [{headers: {end-user: {exact: jason}}}]
///     route: [{destination: {host: reviews, subset: v2}}]
///   - name: others
///     route: [{destination: {host: reviews, subset: v1}}]
/// ", "shop")?;
///
/// let (workload, mesh) = (Workload::new("shop", "web"), MeshConfig::default());
/// let routing = Routing::new(&workload, &mesh, &resources.traffic, &(), &RoutingOptions::default())?;
///
/// let why = routing.explain(80, &Call::get("http://reviews/7").header("end-user", "kim"));
/// assert_eq!(why.to_string(), "\
/// routed: outbound|80|v1|reviews.shop.svc.cluster.local
///   host \"reviews\" is of reviews.shop.svc.cluster.local:80: the exact domain reviews
///   route jason of VirtualService shop/reviews (routes.yaml:13): no match
///     headers[end-user] is not {exact: jason}: saw \"kim\"
///   route others of VirtualService shop/reviews (routes.yaml:16): match
///     uri is {prefix: /}
///   timeout none
///   retries 2 on connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes
/// ");
/// # Ok::<(), tower_mesh::istio::Problems>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// Whether the call goes somewhere: a route takes it, and if nobody knows its host, the policy
    /// for such hosts lets it out.
    pub routed: bool,
    /// The port that is called.
    pub port: u16,
    /// The host that the call names, with its port where it names one.
    pub host: String,
    /// The virtual host; `None` where there is none for the host, and on a port that no service
    /// has.
    pub virtual_host: Option<HostReport>,
    /// The routes of the virtual host that were tried, in order; the last one takes the call if any
    /// does. Routes that are not for this workload or this port are not among them.
    pub routes: Vec<RouteReport>,
    /// What becomes of the call; `None` when no route takes it, which is answered with 404.
    pub outcome: Option<Outcome>,
}

/// Explains what a table says to a call; without a table, what is done with unknown hosts.
pub(in crate::routing) fn explain(
    table: Option<&RouteTable>,
    unknown: &Unknown,
    sources: &Sources,
    port: u16,
    call: &dyn CallHead,
) -> Explanation {
    let mut explanation = Explanation {
        routed: false,
        port,
        host: call.authority().to_owned(),
        virtual_host: None,
        routes: Vec::new(),
        outcome: None,
    };
    let is_refused = matches!(unknown, Unknown::Block);
    let Some(table) = table else {
        explanation.routed = !is_refused;
        explanation.outcome = Some(Outcome::to_one(&unknown.tcp_cluster()));
        return explanation;
    };
    let Some(virtual_host) = table.virtual_host(call.authority()) else {
        return explanation;
    };
    explanation.virtual_host = HostReport::new(virtual_host, unknown, call.authority());
    for route in virtual_host.routes.iter() {
        let report = RouteReport::new(route, sources, call);
        let matched = report.matched;
        explanation.routes.push(report);
        if matched {
            let host = explanation.virtual_host.as_ref();
            let is_known = host.is_some_and(|host| host.known);
            explanation.routed = is_known || !is_refused;
            explanation.outcome = Some(Outcome::new(route, call));
            break;
        }
    }
    explanation
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, host, .. } = self;
        match (&self.virtual_host, &self.outcome) {
            (_, Some(outcome)) if self.routed => writeln!(f, "routed: {}", outcome.words())?,
            (Some(_), Some(outcome)) => {
                let words = outcome.words();
                writeln!(
                    f,
                    "not routed: nobody knows the host on port {port}, and the outbound policy refuses it: {words}"
                )?;
            }
            (None, Some(_)) => writeln!(
                f,
                "not routed: no service has port {port}, and the outbound policy refuses it"
            )?,
            (Some(virtual_host), None) => {
                let name = &virtual_host.name;
                writeln!(f, "not routed: no route of {name} takes it")?;
            }
            (None, None) => writeln!(f, "not routed: no virtual host is for it")?,
        }
        match &self.virtual_host {
            Some(virtual_host) => writeln!(f, "  host {host:?} is of {virtual_host}")?,
            None if self.routed => writeln!(
                f,
                "  no service has port {port}: the outbound policy lets it out"
            )?,
            None => {}
        }
        self.routes.iter().try_for_each(|route| route.fmt(f))?;
        match &self.outcome {
            Some(outcome) if self.routed => outcome.fmt(f),
            _ => Ok(()),
        }
    }
}
