//! Timeouts: which of several holds.

use std::time::Duration;

/// The times that a route allows: VirtualService `timeout` and `retries.perTryTimeout`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// For all tries, the answer's body included. `None` or zero: as long as it takes.
    pub overall: Option<Duration>,
    /// For each try, from the end of its request to the head of its answer.
    pub per_try: Option<Duration>,
}

/// The times that a call itself asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallTimeouts {
    /// Instead of the route's: `x-envoy-upstream-rq-timeout-ms`, of a caller that is trusted. Zero:
    /// as long as it takes.
    pub overall: Option<Duration>,
    /// Instead of the route's: `x-envoy-upstream-rq-per-try-timeout-ms`.
    pub per_try: Option<Duration>,
    /// `grpc-timeout`, of a gRPC call.
    pub grpc: Option<Duration>,
}

/// The times that hold for a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// For all tries. It begins when the request has been sent completely.
    pub overall: Option<Duration>,
    /// For each try.
    pub per_try: Option<Duration>,
    /// What `grpc-timeout` says upstream, if the call brought one.
    pub grpc: Option<Duration>,
}

impl Timeouts {
    /// Overall, the first of: what the call asks for; its `grpc-timeout`, but no longer than the
    /// route allows; what the route allows. A time for each try that is not less than that does not
    /// count.
    ///
    /// As Envoy's `FilterUtility::finalTimeout`. A call that asks for no time at all has none.
    #[must_use]
    pub fn new(route: RouteTimeouts, call: CallTimeouts) -> Self {
        let some = |time: Duration| (!time.is_zero()).then_some(time);
        let allowed = route.overall.and_then(some);
        let grpc = call
            .grpc
            .map(|grpc| allowed.map_or(grpc, |allowed| allowed.min(grpc)));
        let overall = match (call.overall, grpc) {
            (Some(asked), _) => some(asked),
            // A gRPC call whose time is up has no more.
            (None, Some(grpc)) => Some(grpc),
            (None, None) => allowed,
        };
        let per_try = call.per_try.or(route.per_try).and_then(some);
        Self {
            overall,
            per_try: per_try.filter(|per_try| overall.is_none_or(|overall| *per_try < overall)),
            grpc: call.grpc.map(|_| overall.or(grpc).unwrap_or_default()),
        }
    }

    /// `x-envoy-expected-rq-timeout-ms` of a try: how long its answer may take, with so much of the
    /// overall time gone.
    #[must_use]
    pub fn expected(&self, elapsed: Duration) -> Option<Duration> {
        let left = self.overall.map(|overall| overall.saturating_sub(elapsed));
        match (left, self.per_try) {
            (Some(left), Some(per_try)) => Some(left.min(per_try)),
            (left, per_try) => left.or(per_try),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    fn of(route: Option<Duration>, header: Option<Duration>, grpc: Option<Duration>) -> Timeouts {
        let route = RouteTimeouts {
            overall: route,
            per_try: None,
        };
        let call = CallTimeouts {
            overall: header,
            per_try: None,
            grpc,
        };
        Timeouts::new(route, call)
    }

    #[test]
    fn the_overall_time_is_the_callers_then_grpcs_then_the_routes() {
        for (route, header, grpc, overall, upstream) in [
            (None, None, None, None, None),
            (ms(500), None, None, ms(500), None),
            (ms(0), None, None, None, None),
            (ms(500), None, ms(5000), ms(500), ms(500)),
            (None, None, ms(200), ms(200), ms(200)),
            (ms(0), None, ms(200), ms(200), ms(200)),
            (ms(500), None, ms(200), ms(200), ms(200)),
            (ms(500), ms(2000), None, ms(2000), None),
            (ms(500), ms(2000), ms(200), ms(2000), ms(2000)),
            (ms(500), ms(0), None, None, None),
            (ms(500), None, ms(0), ms(0), ms(0)),
        ] {
            let timeouts = of(route, header, grpc);
            let case = (route, header, grpc);
            assert_eq!(
                (timeouts.overall, timeouts.grpc),
                (overall, upstream),
                "{case:?}"
            );
        }
    }

    #[test]
    fn the_time_of_a_try_counts_only_below_the_overall_one() {
        for (overall, route, header, expected) in [
            (ms(1000), ms(300), None, ms(300)),
            (ms(1000), ms(1000), None, None),
            (ms(1000), ms(2000), None, None),
            (None, ms(2000), None, ms(2000)),
            (None, ms(0), None, None),
            (ms(1000), ms(300), ms(400), ms(400)),
            (ms(1000), ms(300), ms(4000), None),
            (ms(1000), None, ms(400), ms(400)),
            (ms(1000), ms(300), ms(0), None),
        ] {
            let route = RouteTimeouts {
                overall,
                per_try: route,
            };
            let call = CallTimeouts {
                per_try: header,
                ..CallTimeouts::default()
            };
            let timeouts = Timeouts::new(route, call);
            assert_eq!(timeouts.per_try, expected, "{route:?} {header:?}");
        }
    }

    #[test]
    fn a_server_is_told_what_is_left() {
        let timeouts = |overall, per_try| Timeouts {
            overall,
            per_try,
            grpc: None,
        };
        let elapsed = Duration::from_millis(800);
        assert_eq!(
            timeouts(ms(1000), ms(300)).expected(Duration::ZERO),
            ms(300)
        );
        assert_eq!(timeouts(ms(1000), ms(300)).expected(elapsed), ms(200));
        assert_eq!(timeouts(ms(500), None).expected(elapsed), ms(0));
        assert_eq!(timeouts(None, ms(300)).expected(elapsed), ms(300));
        assert_eq!(timeouts(None, None).expected(elapsed), None);
    }
}
