//! Waits until a connection must end, and reports meanwhile what it carries.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::record::{Cut, Record};
use crate::mesh::client::Bounds;
use crate::tls::{CloseReason, Deadline, HandshakeStats, Lifetime};

/// Resolves when the connection must be cut.
///
/// As for other connections whose protocol we do not know (an upgraded one is such, too), its age
/// and rotations of our identity leave it open. It is cut when an identity on it is no longer good,
/// when it is idle or has lasted for too long, and when `look` says so, which is asked every five
/// seconds.
pub(super) async fn watch(
    record: Arc<Record>,
    lifetime: Lifetime,
    bounds: Bounds,
    stats: Option<Arc<HandshakeStats>>,
    mut look: impl FnMut() -> Option<Cut>,
) -> Cut {
    let mut deadline = Deadline::new(lifetime.while_good());
    let mut reason = CloseReason::Age;
    let idle = bounds.idle.min(FOREVER);
    let over = record.began() + bounds.max_duration.unwrap_or(FOREVER).min(FOREVER);
    let mut next_report = record.began() + record.reporting_interval().min(FOREVER);
    let mut next_look = record.began() + LOOK;
    loop {
        let next = next_report.min(next_look).min(record.used() + idle);
        let no_longer_good = poll_fn(|cx| {
            deadline.poll_cut(cx, |notice| {
                reason = notice.reason;
                if let Some(stats) = &stats {
                    stats.count_ended(notice.reason);
                }
            })
        });
        tokio::select! {
            () = no_longer_good => return Cut::NoLongerGood(reason),
            () = sleep_until(over) => return Cut::Age,
            () = sleep_until(next) => {}
        }
        let now = Instant::now();
        if now >= record.used() + idle {
            return Cut::Idle;
        }
        if now >= next_report {
            record.report();
            next_report = now + record.reporting_interval().min(FOREVER);
        }
        if now >= next_look {
            if let Some(cut) = look() {
                return cut;
            }
            next_look = now + LOOK;
        }
    }
}

/// How often to ask whether it is refused by now.
const LOOK: Duration = Duration::from_secs(5);
/// Longer than any process runs, and short enough that no sum with it overflows.
const FOREVER: Duration = Duration::from_secs(86400 * 365 * 30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Workload;
    use crate::context::Peer;
    use crate::message::Direction;
    use crate::metrics::{Format, Registry};
    use crate::tls::Stream;

    fn record(registry: &Registry) -> Arc<Record> {
        let address = "192.0.2.1:1".parse().unwrap();
        let peer = Peer::plaintext(address, address);
        let metrics = registry.server(&Workload::new("default", "app"));
        let metrics = metrics.connection(&peer);
        Arc::new(Record::new(Direction::Inbound, peer, None, metrics, None))
    }

    fn lifetime() -> Lifetime {
        Stream::unprotected(tokio::io::empty()).lifetime()
    }

    fn bounds(idle: u64, longest: Option<u64>) -> Bounds {
        Bounds {
            idle: Duration::from_secs(idle),
            max_duration: longest.map(Duration::from_secs),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_from_its_last_byte_on() {
        let record = record(&Registry::new());
        let begun = Instant::now();
        let watched = watch(
            Arc::clone(&record),
            lifetime(),
            bounds(60, None),
            None,
            || None,
        );
        let used = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            record.read(1);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            cut = watched => assert!(matches!(cut, Cut::Idle), "{cut:?}"),
            () = used => {}
        }
        assert_eq!(begun.elapsed().as_secs(), 90);
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_duration_counts_whatever_is_carried() {
        let record = record(&Registry::new());
        let begun = Instant::now();
        let look = || {
            record.wrote(1);
            None
        };
        let bounds = bounds(60, Some(600));
        let cut = watch(Arc::clone(&record), lifetime(), bounds, None, look).await;
        assert!(matches!(cut, Cut::Age), "{cut:?}");
        assert_eq!(begun.elapsed().as_secs(), 600);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_reported_every_five_seconds_and_once() {
        let registry = Registry::new();
        let record = record(&registry);
        let seen = || {
            let text = registry.render(Format::Text);
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            let of = |family: &str| {
                let mut lines = lines.clone().filter(|line| line.starts_with(family));
                let value = lines.next().and_then(|line| line.rsplit(' ').next());
                value.unwrap_or("none").to_owned()
            };
            [
                of("istio_tcp_received_bytes_total"),
                of("istio_tcp_sent_bytes_total"),
            ]
        };
        record.read(7);
        record.wrote(11);
        let mut looks = Vec::new();
        let look = || {
            looks.push(seen());
            (looks.len() == 2).then_some(Cut::Shutdown)
        };
        let begun = Instant::now();
        watch(
            Arc::clone(&record),
            lifetime(),
            bounds(60, None),
            None,
            look,
        )
        .await;
        assert_eq!(begun.elapsed().as_secs(), 10);
        assert_eq!(looks, [["7", "11"], ["7", "11"]]);
        record.wrote(1);
        assert_eq!(seen(), ["7", "11"]);
        record.end(&crate::mesh::tcp::record::End::Done);
        assert_eq!(seen(), ["7", "12"]);
    }
}
