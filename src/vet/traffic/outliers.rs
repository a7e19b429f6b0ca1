//! Checks what outlier detection is needed for, and whether it can eject anybody.

use super::view::View;
use crate::istio::Meta;
use crate::istio::traffic::{
    DestinationRule, FractionalPercent, LoadBalancer, OutlierDetection, Resolution, TrafficPolicy,
};
use crate::routing::services::{Service, ServiceSource};
use crate::vet::Code;
use crate::vet::report::notes::Notes;

/// Istio's `maxEjectionPercent` where none is written.
const TEN_PERCENT: FractionalPercent = FractionalPercent::from_millionths(100_000);

/// Adds notes about failover that nothing sets off, and about ejections that never happen.
pub(super) fn check(view: &View<'_>, notes: &mut Notes) {
    for rule in &view.traffic().destination_rules {
        let host = view.full(&rule.host, &rule.meta);
        let has_default = view.world.mesh.traffic.default_outlier_detection.is_some();
        let of_rule = rule.traffic_policy.as_ref();
        let by_rule = of_rule.and_then(|policy| policy.outlier_detection.as_ref());
        let mut settings = Vec::new();
        if let Some(policy) = of_rule {
            settings.extend(blocks(policy));
            // A subset's block takes the place of the rule's.
            let own = |it: &TrafficPolicy| it.outlier_detection.is_some();
            let is_own = |policy: Option<&TrafficPolicy>| policy.is_some_and(own);
            let mut subsets = rule.subsets.iter();
            let is_base = !rule.subsets.is_empty()
                && subsets.all(|subset| is_own(subset.traffic_policy.as_ref()));
            if !has_default && !is_base {
                unset(rule, policy, None, notes);
            }
        }
        for policy in rule
            .subsets
            .iter()
            .filter_map(|it| it.traffic_policy.as_ref())
        {
            settings.extend(blocks(policy));
            if !has_default {
                unset(rule, policy, by_rule, notes);
            }
        }
        // How many there are of a wildcard's services differs.
        let mut services = view.services(&host).filter(|service| service.host == host);
        if let Some(endpoints) = services.next().and_then(|service| count(view, service)) {
            for detection in settings {
                idle(&rule.meta, detection, endpoints, notes);
            }
        }
    }
}

/// The blocks of a policy and of its ports.
fn blocks(policy: &TrafficPolicy) -> impl Iterator<Item = &OutlierDetection> {
    let ports = policy.port_level_settings.iter();
    let ports = ports.filter_map(|port| port.outlier_detection.as_ref());
    policy.outlier_detection.iter().chain(ports)
}

/// Failover without outlier detection. The settings of a port inherit none.
fn unset(
    rule: &DestinationRule,
    policy: &TrafficPolicy,
    inherited: Option<&OutlierDetection>,
    notes: &mut Notes,
) {
    let own = policy.outlier_detection.as_ref().or(inherited);
    let whole = (&policy.load_balancer, own);
    let ports = policy.port_level_settings.iter();
    let ports = ports.map(|port| (&port.load_balancer, port.outlier_detection.as_ref()));
    for (balancer, detection) in std::iter::once(whole).chain(ports) {
        let setting = balancer.as_ref().and_then(failover);
        if let Some((at, name)) = setting.filter(|_| detection.is_none()) {
            let message = format!(
                "{name} has no effect without outlierDetection: all localities have one priority, and get calls alike"
            );
            let help = "write outlierDetection into the same policy, `outlierDetection: {}` for the defaults";
            let meta = &rule.meta;
            notes.add(
                Code::FailoverWithoutOutlierDetection,
                meta,
                at,
                message,
                help,
            );
        }
    }
}

/// Where failover is written, and by which field.
fn failover(balancer: &LoadBalancer) -> Option<(&crate::istio::Position, &'static str)> {
    let setting = balancer.locality_lb_setting.as_ref()?;
    let name = match (&*setting.failover, &*setting.failover_priority) {
        ([], []) => return None,
        ([_, ..], _) => "failover",
        ([], _) => "failoverPriority",
    };
    (setting.enabled != Some(false)).then_some((&setting.at, name))
}

/// So many endpoints that one of them is more than may be ejected.
fn idle(meta: &Meta, detection: &OutlierDetection, endpoints: usize, notes: &mut Notes) {
    let most = detection.max_ejection_percent.unwrap_or(TEN_PERCENT);
    let share = u64::from(most.millionths());
    let endpoints = u64::try_from(endpoints).unwrap_or(u64::MAX);
    if endpoints == 0 || share.saturating_mul(endpoints) >= 1_000_000 {
        return;
    }
    let due = 100_u64.div_ceil(endpoints);
    let message = format!(
        "one of {endpoints} endpoints is more than {most} of them, the maxEjectionPercent: none is ever ejected"
    );
    let help = format!("write maxEjectionPercent: {due} or more");
    notes.add(Code::EjectsNobody, meta, &detection.at, message, help);
}

/// How many endpoints a service has, where the resources list them.
fn count(view: &View<'_>, service: &Service) -> Option<usize> {
    let count = match &service.source {
        ServiceSource::Entry(entry) => {
            let is_listed = entry.resolution == Resolution::Static;
            if is_listed { entry.endpoints.len() } else { 0 }
        }
        ServiceSource::Kubernetes(_) => {
            let slices = view.traffic().endpoint_slices.iter();
            let own = slices.filter(|slice| {
                let name = slice.service.as_ref();
                slice.meta.namespace == service.namespace
                    && name.is_some_and(|name| name.as_str() == service.name)
            });
            own.flat_map(|slice| &slice.endpoints).count()
        }
    };
    (count > 0).then_some(count)
}
