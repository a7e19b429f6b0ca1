//! Keeps the addresses of upstreams with DNS names up to date.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::dial::Address;
use crate::error_chain::ErrorChain;
use crate::live::Live;
use crate::metrics::Registry;

/// A DNS name of an upstream, and the addresses that DNS last returned for it.
pub(in crate::mesh) struct Name {
    host: Box<str>,
    port: u16,
    found: Live<Box<[SocketAddr]>>,
    /// How often DNS was asked with success, and without.
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Name {
    pub(in crate::mesh) fn new(host: Box<str>, port: u16) -> Self {
        Self {
            host,
            port,
            found: Live::new(Box::default()),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    pub(in crate::mesh) fn is(&self, host: &str, port: u16) -> bool {
        (&*self.host, self.port) == (host, port)
    }

    /// Adds the current addresses; adds none until DNS has returned any.
    pub(in crate::mesh) fn add_to(&self, addresses: &mut Vec<Address>) {
        addresses.extend(self.found.load().iter().copied().map(Address::Socket));
    }

    /// A number that changes when DNS returns other addresses.
    pub(in crate::mesh) fn version(&self) -> u64 {
        self.found.generation()
    }

    /// Shows how often DNS was asked for the name, for as long as an upstream has it.
    fn count_in(self: &Arc<Self>, registry: &Registry) {
        const HELP: &str = "Times that DNS was asked for the addresses of an upstream.";
        let text = self.to_string();
        let show = |result, count: fn(&Self) -> &AtomicU64| {
            let labels = [("name", text.as_str()), ("result", result)];
            let name = Arc::downgrade(self);
            registry.counter_of("mesh_upstream_lookups_total", HELP, &labels, move || {
                Some(count(&*name.upgrade()?).load(Ordering::Relaxed))
            });
        };
        show("success", |name| &name.succeeded);
        show("failure", |name| &name.failed);
    }

    /// Whether both have the same name and port.
    pub(in crate::mesh) fn is_same(&self, other: &Self) -> bool {
        self.is(&other.host, other.port)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

/// Looks up the addresses of a host and port.
#[derive(Clone)]
pub(in crate::mesh) struct Resolver(Arc<Ask>);

type Ask = dyn Fn(&str, u16) -> Answer + Send + Sync;
type Answer = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

impl Resolver {
    /// A resolver that calls this function.
    pub(in crate::mesh) fn new(ask: impl Fn(&str, u16) -> Answer + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }
}

impl Default for Resolver {
    /// The operating system's resolver.
    fn default() -> Self {
        Self::new(|host, port| {
            let host = host.to_owned();
            Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// Keeps the addresses of the upstreams' DNS names up to date.
#[derive(Debug)]
pub(in crate::mesh) struct Names {
    followed: Vec<Followed>,
    asking: Asking,
    /// The names of the current upstreams.
    wanted: watch::Receiver<Arc<[Arc<Name>]>>,
}

/// Changes the set of names that are followed.
#[derive(Debug)]
pub(in crate::mesh) struct WantedNames {
    asking: Asking,
    names: watch::Sender<Arc<[Arc<Name>]>>,
}

/// The resolver, and the counter of its queries.
#[derive(Clone, Debug)]
struct Asking {
    resolver: Resolver,
    registry: Registry,
}

impl WantedNames {
    /// Asks once for each of these names that is not followed yet, within [`FIRST`].
    pub(in crate::mesh) async fn first(&self, names: &[Arc<Name>]) {
        let known = Arc::clone(&self.names.borrow());
        let is_new = |name: &&Arc<Name>| !known.iter().any(|known| Arc::ptr_eq(known, name));
        let mut new = self.asking.follow(names.iter().filter(is_new));
        all(new.iter_mut().map(|name| name.ask(FIRST)).collect()).await;
    }

    /// From now on follows these names and no others.
    pub(in crate::mesh) fn follow(&self, names: &[Arc<Name>]) {
        let is_same = |known: &Arc<[Arc<Name>]>| {
            known.len() == names.len() && known.iter().zip(names).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        self.names.send_if_modified(|known| {
            let changes = !is_same(known);
            if changes {
                *known = names.into();
            }
            changes
        });
        if self.names.is_closed() && !names.is_empty() {
            tracing::warn!(
                target: "tower_mesh::client",
                "upstreams have DNS names, but no driver follows them: their addresses stay \
                 as they are; run the driver that MeshBuilder::build returns"
            );
        }
    }
}

impl Asking {
    fn follow<'n>(&self, names: impl Iterator<Item = &'n Arc<Name>>) -> Vec<Followed> {
        names
            .map(|name| Followed::new(Arc::clone(name), &self.resolver, &self.registry))
            .collect()
    }
}

impl Names {
    pub(in crate::mesh) fn new(
        names: &[Arc<Name>],
        resolver: &Resolver,
        registry: &Registry,
    ) -> (Self, WantedNames) {
        let asking = Asking {
            resolver: resolver.clone(),
            registry: registry.clone(),
        };
        let followed = asking.follow(names.iter());
        let (names, wanted) = watch::channel(names.into());
        let following = Self {
            followed,
            asking: asking.clone(),
            wanted,
        };
        (following, WantedNames { asking, names })
    }

    /// Asks for all names once, within [`FIRST`]. A name without an answer by then is asked for
    /// again later.
    pub(in crate::mesh) async fn first(&mut self) {
        let asked = self.followed.iter_mut().map(|name| name.ask(FIRST));
        all(asked.collect()).await;
    }

    /// Asks for each name repeatedly and never returns.
    pub(in crate::mesh) async fn refresh(&mut self) -> Infallible {
        loop {
            let asked = self.followed.iter_mut().map(Followed::follow).collect();
            tokio::select! {
                // When the mesh is gone, the set of names no longer changes.
                Ok(()) = self.wanted.changed() => {}
                () = forever(asked) => {}
            }
            let wanted = Arc::clone(&self.wanted.borrow_and_update());
            self.followed
                .retain(|known| wanted.iter().any(|name| Arc::ptr_eq(name, &known.name)));
            let is_new = |name: &&Arc<Name>| {
                !self
                    .followed
                    .iter()
                    .any(|known| Arc::ptr_eq(&known.name, name))
            };
            let new = self.asking.follow(wanted.iter().filter(is_new));
            self.followed.extend(new);
        }
    }
}

/// One name, and the state of its lookups.
#[derive(Debug)]
struct Followed {
    name: Arc<Name>,
    resolver: Resolver,
    /// Consecutive failures.
    failures: u32,
    /// When DNS is asked next.
    due: Instant,
    warned: Option<Instant>,
}

impl Followed {
    fn new(name: Arc<Name>, resolver: &Resolver, registry: &Registry) -> Self {
        name.count_in(registry);
        // A name without addresses could not be resolved yet.
        let pause = if name.found.load().is_empty() {
            SHORTEST
        } else {
            USUAL
        };
        let due = Instant::now() + around(pause);
        Self {
            name,
            resolver: resolver.clone(),
            due,
            failures: 0,
            warned: None,
        }
    }

    async fn follow(&mut self) {
        loop {
            sleep_until(self.due).await;
            self.ask(LONGEST).await;
        }
    }

    /// The time until the next query: short after the first failure, doubled after each further
    /// one.
    fn pause(&self) -> Duration {
        match self.failures {
            0 => USUAL,
            failures => SHORTEST
                .saturating_mul(1 << (failures - 1).min(10))
                .min(USUAL),
        }
    }

    async fn ask(&mut self, patience: Duration) {
        let answer = (self.resolver.0)(&self.name.host, self.name.port);
        let answer = match timeout(patience, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
        };
        match answer {
            Ok(addresses) if !addresses.is_empty() => self.found(addresses),
            Ok(_) => self.lost(&io::Error::other("the name has no address")),
            Err(error) => self.lost(&error),
        }
        self.due = Instant::now() + around(self.pause());
    }

    fn found(&mut self, mut addresses: Vec<SocketAddr>) {
        // DNS shuffles addresses; sorting makes them comparable and lets calls take turns.
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MOST);
        self.name.succeeded.fetch_add(1, Ordering::Relaxed);
        if self.failures > 0 {
            tracing::info!(
                target: "tower_mesh::client",
                name = %self.name,
                "DNS knows the upstream again"
            );
        }
        (self.failures, self.warned) = (0, None);
        if **self.name.found.load() == *addresses {
            return;
        }
        tracing::debug!(
            target: "tower_mesh::client",
            name = %self.name,
            ?addresses,
            "the upstream's addresses"
        );
        self.name.found.store(addresses.into());
    }

    /// Records a failure. The addresses stay as they are.
    fn lost(&mut self, error: &io::Error) {
        self.name.failed.fetch_add(1, Ordering::Relaxed);
        self.failures = self.failures.saturating_add(1);
        let now = Instant::now();
        if self.warned.is_some_and(|warned| now < warned + REMIND) {
            return;
        }
        self.warned = Some(now);
        let kept = self.name.found.load().len();
        tracing::warn!(
            target: "tower_mesh::client",
            name = %self.name,
            error = %ErrorChain(error),
            kept,
            "DNS gives no address for the upstream; the previous addresses stay"
        );
    }
}

/// Polls all futures and never returns.
async fn forever<F: Future<Output = ()>>(futures: Vec<F>) {
    all(futures).await;
    pending().await
}

/// Polls all futures until the last one has ended.
async fn all<F: Future<Output = ()>>(futures: Vec<F>) {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    poll_fn(|cx| {
        futures.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if futures.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Varies the time by up to a fifth, so that processes that started together do not query together.
fn around(time: Duration) -> Duration {
    time * fastrand::u32(800..=1200) / 1000
}

/// The longest that `build` waits.
const FIRST: Duration = Duration::from_secs(5);
/// The longest wait for any later answer.
const LONGEST: Duration = Duration::from_secs(30);
/// The usual time between two queries.
const USUAL: Duration = Duration::from_secs(30);
/// The pause after the first failure.
const SHORTEST: Duration = Duration::from_secs(1);
/// The time between two warnings.
const REMIND: Duration = Duration::from_secs(60);
/// The largest number of addresses of one name.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_types, reason = "locked by tests")]

    use std::collections::VecDeque;
    use std::sync::Mutex;

    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;
    use tokio::time::sleep;

    use super::*;
    use crate::metrics::Format;
    use crate::testing::Pki;
    use crate::{Mesh, Workload};

    /// Returns these answers one after the other, and then the last one forever.
    fn answering(answers: &[Option<&'static [&'static str]>]) -> Resolver {
        let answers: Mutex<VecDeque<_>> = Mutex::new(answers.iter().copied().collect());
        Resolver::new(move |_, port| {
            let mut answers = answers.lock().unwrap();
            let answer = match answers.len() {
                1 => answers[0],
                _ => answers.pop_front().unwrap(),
            };
            Box::pin(async move {
                let hosts = answer.ok_or_else(|| io::Error::other("DNS is down"))?;
                let address = |host: &&str| SocketAddr::new(host.parse().unwrap(), port);
                Ok(hosts.iter().map(address).collect())
            })
        })
    }

    fn names(resolver: &Resolver, registry: &Registry) -> (Arc<Name>, Names) {
        let name = Arc::new(Name::new("charts.internal".into(), 8443));
        let (names, _) = Names::new(&[Arc::clone(&name)], resolver, registry);
        (name, names)
    }

    fn known(name: &Name) -> Vec<String> {
        let mut addresses = Vec::new();
        name.add_to(&mut addresses);
        addresses.iter().map(Address::to_string).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_answer_replaces_the_last_one_and_a_failure_does_not() {
        let resolver = answering(&[
            Some(&["10.0.0.2", "10.0.0.1", "10.0.0.2"]),
            None,
            Some(&[]),
            Some(&["10.0.0.3"]),
        ]);
        let registry = Registry::new();
        let (name, mut names) = names(&resolver, &registry);
        names.first().await;
        let before = ["10.0.0.1:8443", "10.0.0.2:8443"];
        assert_eq!(known(&name), before);
        let began = Instant::now();
        let asked = |result: &str| {
            let text = registry.render(Format::Text);
            let labels = format!(r#"{{name="charts.internal:8443",result="{result}"}}"#);
            let line = format!("mesh_upstream_lookups_total{labels} ");
            let count = text.lines().find_map(|line_| line_.strip_prefix(&line));
            count.unwrap().parse::<u64>().unwrap()
        };
        let watch = async {
            while asked("failure") < 2 {
                assert_eq!(known(&name), before);
                sleep(Duration::from_millis(100)).await;
            }
            while known(&name) == before {
                sleep(Duration::from_millis(100)).await;
            }
            began.elapsed()
        };
        let took = tokio::select! {
            took = watch => took,
            _ = names.refresh() => unreachable!(),
        };
        assert_eq!(known(&name), ["10.0.0.3:8443"]);
        // About 30 s, then one second, then two.
        let sooner = Duration::from_secs(26)..Duration::from_secs(41);
        assert!(sooner.contains(&took), "{took:?}");
        assert_eq!((asked("success"), asked("failure")), (2, 2));
    }

    /// A server that sends this answer until the guard is dropped.
    async fn served(pki: &Pki, answer: &'static str) -> (SocketAddr, JoinHandle<()>) {
        let identity = pki.identity("default", "app").unwrap();
        let builder = Mesh::builder(Workload::new("default", "app"), identity);
        let (mesh, _) = builder.build().await.unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let app = axum::Router::new().fallback(move || async move { answer });
        let serving = tokio::spawn(async move {
            let _ = mesh.serve_on(socket, app).await;
        });
        (address, serving)
    }

    #[tokio::test]
    async fn calls_follow_the_addresses_that_dns_gives() {
        let pki = Pki::new("cluster.local").unwrap();
        let (first, serving) = served(&pki, "first").await;
        let (second, _serving) = served(&pki, "second").await;
        let known = Arc::new(Mutex::new(None));
        let asked = Arc::clone(&known);
        let resolver = Resolver::new(move |_, _| {
            let known = *asked.lock().unwrap();
            Box::pin(async move { Ok(known.into_iter().collect()) })
        });
        let identity = pki.identity("default", "desk").unwrap();
        let (mesh, driver) = Mesh::builder(Workload::new("default", "desk"), identity)
            .upstream(
                "app.default",
                ["app.internal:1"],
                ["spiffe://cluster.local/ns/default/sa/app"],
            )
            .client(|client| client.resolver(resolver))
            .build()
            .await
            .unwrap();
        tokio::spawn(driver.run());
        let ask = async || match mesh.client().get("http://app.default/").await {
            Ok(response) => response.into_body().text().await.unwrap(),
            Err(error) => error.to_string(),
        };
        let nowhere = "no connection to app.default: DNS knows no address of app.internal:1";
        assert_eq!(ask().await, nowhere);
        let until = async |wanted: &str| {
            for _ in 0..100 {
                if ask().await == wanted {
                    return;
                }
                tokio::time::pause();
                tokio::time::advance(Duration::from_secs(1)).await;
                tokio::time::resume();
            }
            panic!("{wanted} is never reached: {}", ask().await);
        };
        *known.lock().unwrap() = Some(first);
        until("first").await;
        *known.lock().unwrap() = Some(second);
        serving.abort();
        until("second").await;
        // The known addresses stay.
        *known.lock().unwrap() = None;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(60)).await;
        tokio::time::resume();
        until("second").await;
    }

    /// Each replacement of the upstreams names them anew; what is followed goes on.
    #[tokio::test(start_paused = true)]
    async fn names_that_stay_are_asked_for_however_often_upstreams_are_replaced() {
        let resolver = answering(&[Some(&["10.0.0.1"]), Some(&["10.0.0.2"])]);
        let name = Arc::new(Name::new("charts.internal".into(), 8443));
        let (mut names, wanted) = Names::new(&[Arc::clone(&name)], &resolver, &Registry::new());
        names.first().await;
        let other = Arc::new(Name::new("other.internal".into(), 8443));
        let replacing = async {
            for round in 0..20 {
                let mut all = vec![Arc::clone(&name)];
                all.extend((round % 2 == 0).then(|| Arc::clone(&other)));
                wanted.follow(&all);
                sleep(Duration::from_secs(5)).await;
            }
        };
        tokio::select! {
            () = replacing => {}
            _ = names.refresh() => unreachable!(),
        }
        assert_eq!(known(&name), ["10.0.0.2:8443"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_name_that_dns_does_not_know_yet_is_asked_for_again_soon() {
        let resolver = answering(&[None, Some(&["10.0.0.1"])]);
        let (mut names, wanted) = Names::new(&[], &resolver, &Registry::new());
        let name = Arc::new(Name::new("charts.internal".into(), 8443));
        wanted.first(&[Arc::clone(&name)]).await;
        wanted.follow(&[Arc::clone(&name)]);
        tokio::select! {
            () = sleep(Duration::from_secs(3)) => {}
            _ = names.refresh() => unreachable!(),
        }
        assert_eq!(known(&name), ["10.0.0.1:8443"]);
    }

    #[tokio::test(start_paused = true)]
    async fn dns_that_does_not_answer_delays_the_start_by_five_seconds_at_most() {
        let silent = Resolver::new(|_, _| Box::pin(pending()));
        let (name, mut names) = names(&silent, &Registry::new());
        let began = Instant::now();
        names.first().await;
        assert_eq!(began.elapsed(), FIRST);
        assert_eq!(known(&name), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_addresses_are_kept() {
        let many = Resolver::new(|_, port| {
            let address = move |number: u16| {
                let [high, low] = number.to_be_bytes();
                SocketAddr::from(([10, 0, high, low], port))
            };
            Box::pin(async move { Ok((0..1000).map(address).collect()) })
        });
        let (name, mut names) = names(&many, &Registry::new());
        names.first().await;
        assert_eq!(known(&name).len(), MOST);
    }
}
