//! Envoy's response flags.

use std::fmt;

/// Envoy's response flags: why a reply is not simply the application's. `Display` prints the short
/// names, joined with commas, or `-` if the set is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ResponseFlags(u32);

impl ResponseFlags {
    /// `URX`: the last allowed try also failed.
    pub const UPSTREAM_RETRY_LIMIT_EXCEEDED: Self = Self(1);
    /// `DC`: the downstream closed its connection before the reply had ended.
    pub const DOWNSTREAM_DISCONNECT: Self = Self(1 << 1);
    /// `UF`: no connection to the upstream could be made.
    pub const UPSTREAM_CONNECTION_FAILURE: Self = Self(1 << 2);
    /// `UO`: a circuit breaker's limit was exceeded.
    pub const UPSTREAM_OVERFLOW: Self = Self(1 << 3);
    /// `UC`: the upstream's connection ended before its reply had.
    pub const UPSTREAM_CONNECTION_TERMINATION: Self = Self(1 << 4);
    /// `UT`: the upstream took too long.
    pub const UPSTREAM_TIMEOUT: Self = Self(1 << 5);
    /// `UAEX`: the external authorizer refused; JWT and RBAC refusals set no flag.
    pub const UNAUTHORIZED_EXTERNAL: Self = Self(1 << 6);
    /// `NR`: no route.
    pub const NO_ROUTE: Self = Self(1 << 7);
    /// `UH`: no healthy host.
    pub const NO_HEALTHY_UPSTREAM: Self = Self(1 << 8);
    /// `NC`: the cluster does not exist.
    pub const NO_CLUSTER: Self = Self(1 << 9);
    /// `UR`: the upstream reset the stream.
    pub const UPSTREAM_RESET: Self = Self(1 << 10);
    /// `UPE`: the upstream broke the protocol.
    pub const UPSTREAM_PROTOCOL_ERROR: Self = Self(1 << 11);
    /// `UMSDR`: the stream reached its longest duration.
    pub const UPSTREAM_MAX_STREAM_DURATION: Self = Self(1 << 12);
    /// `LR`: we reset the stream.
    pub const LOCAL_RESET: Self = Self(1 << 13);
    /// `SI`: the stream was idle for too long.
    pub const STREAM_IDLE_TIMEOUT: Self = Self(1 << 14);
    /// `DT`: the connection reached its longest duration.
    pub const DURATION_TIMEOUT: Self = Self(1 << 15);
    /// `DR`: the downstream reset the stream.
    pub const DOWNSTREAM_RESET: Self = Self(1 << 16);
    /// `DPE`: the downstream broke the protocol.
    pub const DOWNSTREAM_PROTOCOL_ERROR: Self = Self(1 << 17);
    /// `RL`: rate limited.
    pub const RATE_LIMITED: Self = Self(1 << 18);
    /// `RLSE`: the rate limit service failed.
    pub const RATE_LIMIT_SERVICE_ERROR: Self = Self(1 << 19);
    /// `DI`: delayed by a fault rule.
    pub const DELAY_INJECTED: Self = Self(1 << 20);
    /// `FI`: aborted by a fault rule.
    pub const FAULT_INJECTED: Self = Self(1 << 21);
    /// `OM`: refused under overload.
    pub const OVERLOAD_MANAGER: Self = Self(1 << 22);
    /// `LH`: our own health check fails.
    pub const FAILED_LOCAL_HEALTH_CHECK: Self = Self(1 << 23);
    /// `DF`: the host's name could not be resolved.
    pub const DNS_RESOLUTION_FAILED: Self = Self(1 << 24);
    /// `DO`: dropped by the upstream's drop policy.
    pub const DROP_OVERLOAD: Self = Self(1 << 25);
    /// `UDO`: all calls to the upstream are dropped.
    pub const UNCONDITIONAL_DROP_OVERLOAD: Self = Self(1 << 26);
    /// `IH`: an `x-envoy-` header is not valid.
    pub const INVALID_ENVOY_HEADERS: Self = Self(1 << 27);
    /// `NFCF`: a filter has no configuration.
    pub const NO_FILTER_CONFIG: Self = Self(1 << 28);
    /// `RFCF`: answered from a cache.
    pub const FROM_CACHE: Self = Self(1 << 29);

    /// No flag.
    #[must_use]
    pub const fn none() -> Self {
        Self(0)
    }

    /// Whether no flag is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether both sets have a flag in common.
    #[must_use]
    pub const fn is_any_of(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The set as bits. Their positions are private to this crate and may change.
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// The set of these [`bits`](Self::bits).
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Envoy's short and long name of each flag that is set (`UF`, `UpstreamConnectionFailure`), in
    /// the order in which they print.
    pub fn names(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let set = NAMES.iter().filter(move |(flag, ..)| self.0 & flag.0 != 0);
        set.map(|(_, short, long)| (*short, *long))
    }

    /// Both sets of flags.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (index, (name, _)) in self.names().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

/// Each flag with its short and its long name, in the order in which they print. `URX` precedes the flag of the last try, because Envoy sets it
/// first.
const NAMES: [(ResponseFlags, &str, &str); 30] = [
    (
        ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED,
        "URX",
        "UpstreamRetryLimitExceeded",
    ),
    (
        ResponseFlags::DOWNSTREAM_DISCONNECT,
        "DC",
        "DownstreamConnectionTermination",
    ),
    (
        ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
        "UF",
        "UpstreamConnectionFailure",
    ),
    (ResponseFlags::UPSTREAM_OVERFLOW, "UO", "UpstreamOverflow"),
    (
        ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
        "UC",
        "UpstreamConnectionTermination",
    ),
    (
        ResponseFlags::UPSTREAM_TIMEOUT,
        "UT",
        "UpstreamRequestTimeout",
    ),
    (
        ResponseFlags::UNAUTHORIZED_EXTERNAL,
        "UAEX",
        "UnauthorizedExternalService",
    ),
    (ResponseFlags::NO_ROUTE, "NR", "NoRouteFound"),
    (
        ResponseFlags::NO_HEALTHY_UPSTREAM,
        "UH",
        "NoHealthyUpstream",
    ),
    (ResponseFlags::NO_CLUSTER, "NC", "NoClusterFound"),
    (ResponseFlags::UPSTREAM_RESET, "UR", "UpstreamRemoteReset"),
    (
        ResponseFlags::UPSTREAM_PROTOCOL_ERROR,
        "UPE",
        "UpstreamProtocolError",
    ),
    (
        ResponseFlags::UPSTREAM_MAX_STREAM_DURATION,
        "UMSDR",
        "UpstreamMaxStreamDurationReached",
    ),
    (ResponseFlags::LOCAL_RESET, "LR", "LocalReset"),
    (
        ResponseFlags::STREAM_IDLE_TIMEOUT,
        "SI",
        "StreamIdleTimeout",
    ),
    (ResponseFlags::DURATION_TIMEOUT, "DT", "DurationTimeout"),
    (
        ResponseFlags::DOWNSTREAM_RESET,
        "DR",
        "DownstreamRemoteReset",
    ),
    (
        ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR,
        "DPE",
        "DownstreamProtocolError",
    ),
    (ResponseFlags::RATE_LIMITED, "RL", "RateLimited"),
    (
        ResponseFlags::RATE_LIMIT_SERVICE_ERROR,
        "RLSE",
        "RateLimitServiceError",
    ),
    (ResponseFlags::DELAY_INJECTED, "DI", "DelayInjected"),
    (ResponseFlags::FAULT_INJECTED, "FI", "FaultInjected"),
    (
        ResponseFlags::OVERLOAD_MANAGER,
        "OM",
        "OverloadManagerTerminated",
    ),
    (
        ResponseFlags::FAILED_LOCAL_HEALTH_CHECK,
        "LH",
        "FailedLocalHealthCheck",
    ),
    (
        ResponseFlags::DNS_RESOLUTION_FAILED,
        "DF",
        "DnsResolutionFailed",
    ),
    (ResponseFlags::DROP_OVERLOAD, "DO", "DropOverload"),
    (
        ResponseFlags::UNCONDITIONAL_DROP_OVERLOAD,
        "UDO",
        "UnconditionalDropOverload",
    ),
    (
        ResponseFlags::INVALID_ENVOY_HEADERS,
        "IH",
        "InvalidEnvoyRequestHeaders",
    ),
    (
        ResponseFlags::NO_FILTER_CONFIG,
        "NFCF",
        "NoFilterConfigFound",
    ),
    (ResponseFlags::FROM_CACHE, "RFCF", "ResponseFromCacheFilter"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_print_their_short_names_joined_with_commas() {
        assert_eq!(ResponseFlags::none().to_string(), "-");
        let failed = ResponseFlags::UPSTREAM_CONNECTION_FAILURE
            .union(ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
        assert_eq!(failed.to_string(), "URX,UF");
        let delayed = ResponseFlags::DELAY_INJECTED;
        assert_eq!(delayed.union(delayed).to_string(), "DI");
    }

    #[test]
    fn every_flag_has_a_bit_and_a_name_of_its_own() {
        let all = NAMES.iter().fold(0, |all, (flag, ..)| {
            assert_eq!(flag.0.count_ones(), 1);
            all | flag.0
        });
        assert_eq!(all.count_ones() as usize, NAMES.len());
        let names: std::collections::BTreeSet<_> = NAMES.iter().map(|(_, name, _)| name).collect();
        assert_eq!(names.len(), NAMES.len());
        let long: std::collections::BTreeSet<_> = NAMES.iter().map(|(.., long)| long).collect();
        assert_eq!(long.len(), NAMES.len());
    }
}
