//! One connection that came in: its first byte, what policy says, its handler, and its end.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use http::Extensions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::judge::judge;
use super::record::{Cut, End, Record};
use super::refused::{Refused, RefusedCounts};
use super::stream::{Io, TcpConnection};
use super::watch::watch;
#[cfg(feature = "audit")]
use crate::audit::{Outcome, Text};
use crate::context::Exchange;
use crate::error_chain::ErrorChain;
use crate::log_limit::limited;
#[cfg(feature = "audit")]
use crate::mesh::audit::{AUDIT_UNAVAILABLE, ConnectionAudit, RecordedFirst};
use crate::mesh::options::TcpOptions;
use crate::mesh::server::Inbound;
#[cfg(feature = "audit")]
use crate::message::ResponseFlags;
use crate::message::{Direction, LocalReply, contained};
use crate::refusal_log;
use crate::tls::{Connection, Incoming, WhenWoken};

/// What all connections of one server share.
pub(super) struct Service<H> {
    pub(super) inbound: Arc<Inbound>,
    pub(super) options: TcpOptions,
    pub(super) refused: RefusedCounts,
    pub(super) handler: H,
}

/// Serves one connection to its end.
pub(super) async fn serve<H, F>(
    service: Arc<Service<H>>,
    incoming: Incoming,
    stop: CancellationToken,
    cut: Arc<AtomicUsize>,
) where
    H: Fn(TcpConnection) -> F,
    F: Future<Output = io::Result<()>>,
{
    let connection = tokio::select! {
        connection = incoming.handshake() => connection,
        // The shutdown ends handshakes that are not complete.
        () = stop.cancelled() => None,
    };
    let Some(connection) = connection else {
        return;
    };
    let connection = Box::new(connection);
    let (lifetime, stats) = (connection.stream().lifetime(), connection.stats());
    let stats = Some(Arc::clone(stats));
    let exchange = Exchange::from_peer(&mut Extensions::new(), connection.peer());
    let record = Arc::new(service.begin(&connection, &exchange, &stop));
    let judged = Arc::new(Judged::not_yet(&service.inbound, &exchange));
    let mut ending = Ending {
        record: Arc::clone(&record),
        #[cfg(feature = "audit")]
        judged: Arc::clone(&judged),
        cut,
        end: None,
    };
    let look = service.look(exchange.clone(), Arc::clone(&judged));
    let bounds = service.options.bounds();
    let watched = watch(Arc::clone(&record), lifetime, bounds, stats, look);
    // First, because a client may give the handler so much to do that tokio makes whatever is asked
    // behind it wait, time and again.
    let end = tokio::select! {
        biased;
        cut = WhenWoken::new(Box::pin(watched)) => End::Cut(cut),
        end = service.run(connection, &record, &exchange, &stop, &judged) => end,
    };
    ending.end = Some(end);
}

/// What was decided about a connection.
struct Judged {
    /// The generation of the configuration that has judged it; 0 before that.
    generation: AtomicU64,
    /// Its records in the audit trail, if the mesh has one.
    #[cfg(feature = "audit")]
    audit: Option<ConnectionAudit>,
}

impl Judged {
    fn not_yet(inbound: &Inbound, exchange: &Exchange) -> Self {
        #[cfg(not(feature = "audit"))]
        let _ = (inbound, exchange);
        #[cfg(feature = "audit")]
        let auditor = inbound.auditor.as_ref();
        Self {
            generation: AtomicU64::new(0),
            #[cfg(feature = "audit")]
            audit: auditor.map(|auditor| ConnectionAudit::begin(auditor, exchange)),
        }
    }
}

/// What must be durable in the audit trail before the handler gets the connection.
struct Passed {
    #[cfg(feature = "audit")]
    recorded: Option<RecordedFirst>,
}

impl<H> Service<H> {
    fn begin(
        &self,
        connection: &Connection,
        exchange: &Exchange,
        stop: &CancellationToken,
    ) -> Record {
        let peer = connection.peer();
        let metrics = self.inbound.metrics.connection(peer);
        let reports = self.inbound.reports.load();
        let line = reports.server.access_logs.open_connection(SystemTime::now);
        let exchange = Some(exchange.clone());
        Record::new(Direction::Inbound, peer.clone(), exchange, metrics, line).until(stop)
    }

    /// Judges the connection, by the configuration of now.
    fn judge(&self, exchange: &Exchange, judged: &Judged) -> Result<Passed, Cut> {
        let config = self.inbound.config.load();
        judged
            .generation
            .store(config.generation(), Ordering::Relaxed);
        let verdict = judge(&config.engine, exchange);
        #[cfg(feature = "audit")]
        let audit = judged.audit.as_ref().zip(self.inbound.audit(&config));
        match verdict {
            #[cfg(feature = "audit")]
            Ok(decision) => Ok(Passed {
                recorded: audit.and_then(|(audit, (_, by))| audit.allowed(&decision, by)),
            }),
            #[cfg(not(feature = "audit"))]
            Ok(_) => Ok(Passed {}),
            Err((cut, reason)) => {
                self.refused.count(reason);
                #[cfg(feature = "audit")]
                if let Some((audit, (_, by))) = audit {
                    audit.refused(by);
                }
                Err(cut)
            }
        }
    }

    /// Closes a connection whose record is not durable.
    #[cfg(feature = "audit")]
    fn unrecorded(&self, exchange: &Exchange) -> Cut {
        self.refused.count(Refused::Audit);
        refusal_log::connection_refused(exchange, AUDIT_UNAVAILABLE, None, None);
        Cut::Refused(AUDIT_UNAVAILABLE.into(), ResponseFlags::none())
    }

    /// A trusted proxy names a caller that cannot be believed.
    fn disbelieved(&self, exchange: &Exchange, judged: &Judged, reply: &LocalReply) -> Cut {
        let details = Arc::clone(reply.details());
        self.refused.count(Refused::Proxy);
        refusal_log::connection_refused(exchange, &details, None, None);
        #[cfg(feature = "audit")]
        if let Some(audit) = &judged.audit
            && let Some((_, by)) = self.inbound.audit(&self.inbound.config.load())
        {
            audit.refused(by);
        }
        #[cfg(not(feature = "audit"))]
        let _ = judged;
        Cut::Refused(details, reply.response_flags())
    }

    /// Whether a connection that was judged is refused by now.
    fn look(
        self: &Arc<Self>,
        exchange: Exchange,
        judged: Arc<Judged>,
    ) -> impl FnMut() -> Option<Cut> + use<H> {
        let service = Arc::clone(self);
        move || {
            if let Err(reply) = service.inbound.trusted_proxies.believes(&exchange) {
                return Some(service.disbelieved(&exchange, &judged, &reply));
            }
            let before = judged.generation.load(Ordering::Relaxed);
            let is_of_before = || before == 0 || before == service.inbound.config.generation();
            if !service.options.judge_again || is_of_before() {
                return None;
            }
            service.judge(&exchange, &judged).err()
        }
    }

    async fn run<F>(
        &self,
        mut connection: Box<Connection>,
        record: &Arc<Record>,
        exchange: &Exchange,
        stop: &CancellationToken,
        judged: &Judged,
    ) -> End
    where
        H: Fn(TcpConnection) -> F,
        F: Future<Output = io::Result<()>>,
    {
        let proxies = &self.inbound.trusted_proxies;
        if let Err(reply) = proxies.introduce_connection(connection.peer(), exchange) {
            return End::Cut(self.disbelieved(exchange, judged, &reply));
        }
        let first = match self.options.server_first {
            true => Vec::new(),
            false => match self.first_bytes(&mut connection, record, stop).await {
                Ok(first) => first,
                Err(end) => return end,
            },
        };
        let passed = match self.judge(exchange, judged) {
            Ok(passed) => passed,
            Err(cut) => return End::Cut(cut),
        };
        #[cfg(feature = "audit")]
        if let Some(recorded) = passed.recorded
            && !recorded.await
        {
            return End::Cut(self.unrecorded(exchange));
        }
        #[cfg(not(feature = "audit"))]
        let Passed {} = passed;
        // Where the server speaks first, the client may have nothing to say.
        connection.may_be_silent();
        let (home, returned) = oneshot::channel();
        let connection = TcpConnection::inbound(connection, first, record, home);
        if let Err(error) = (self.handler)(connection).await {
            let error = ErrorChain(&error);
            limited!(target: "tower_mesh::serve", DEBUG, %error, "the handler of a connection has failed");
            return End::Failed;
        }
        // The handler may have moved the connection into another task.
        if let Ok(io) = returned.await {
            close(io, record).await;
        }
        End::Done
    }

    /// Reads what the client sends first; nothing if it sends its end. Policy is asked then, as in
    /// Envoy.
    async fn first_bytes(
        &self,
        connection: &mut Connection,
        record: &Record,
        stop: &CancellationToken,
    ) -> Result<Vec<u8>, End> {
        let mut first = vec![0; FIRST];
        let read = tokio::select! {
            biased;
            read = connection.read(&mut first) => read,
            () = stop.cancelled() => return Err(End::Cut(Cut::Shutdown)),
            () = sleep(self.options.first_byte.min(LONGEST)) => {
                self.refused.count(Refused::Silent);
                return Err(End::Cut(Cut::Silent));
            }
        };
        match read {
            Ok(read) => {
                first.truncate(read);
                Ok(first)
            }
            // Others need its place.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                self.refused.count(Refused::Silent);
                Err(End::Cut(Cut::Silent))
            }
            Err(_) => {
                record.broke();
                Err(End::Done)
            }
        }
    }
}

/// Closes a connection in order: sends what was written and the end, counts, and gives the client
/// the time to read it. The system answers bytes that nobody reads with a reset, which would take
/// from the client what it has not read yet; so they are read until its end.
async fn close(mut io: Io, record: &Record) {
    let is_ended = matches!(timeout(FAREWELL, io.shutdown()).await, Ok(Ok(())));
    if !is_ended {
        // The client has gone, or takes nothing any more: it may lack some of what was written.
        record.broke();
    }
    record.end(&End::Done);
    if is_ended {
        let rest = async {
            let mut rest = vec![0; FIRST];
            while matches!(io.read(&mut rest).await, Ok(1..)) {}
        };
        let _ = timeout(FAREWELL, rest).await;
    }
}

/// Ends the record of a connection, whatever becomes of its task.
struct Ending {
    record: Arc<Record>,
    #[cfg(feature = "audit")]
    judged: Arc<Judged>,
    /// Counts the connections that are cut at the end of the grace period.
    cut: Arc<AtomicUsize>,
    /// `None` for a task that did not come to its end.
    end: Option<End>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let end = match self.end.take() {
            Some(end) => end,
            // In its farewell.
            None if self.record.is_over() => End::Done,
            None if std::thread::panicking() => End::Panicked,
            None => {
                self.cut.fetch_add(1, Ordering::Relaxed);
                End::Cut(Cut::Shutdown)
            }
        };
        contained(|| self.record.end(&end));
        #[cfg(feature = "audit")]
        if let Some(audit) = &self.judged.audit {
            let reason = self.record.termination(&end).map(Text::from);
            contained(|| audit.ended(outcome(&end), reason));
        }
    }
}

#[cfg(feature = "audit")]
fn outcome(end: &End) -> Outcome {
    match end {
        End::Cut(Cut::Refused(details, _)) if **details == *AUDIT_UNAVAILABLE => Outcome::Error,
        End::Cut(Cut::Refused(..)) => Outcome::Deny,
        End::Cut(_) => Outcome::Cancelled,
        End::Done => Outcome::Allow,
        End::Failed | End::Panicked => Outcome::Error,
    }
}

/// The most bytes that are read before policy is asked.
const FIRST: usize = 1024;
/// How long the end of a connection may take to be sent, and how long the client may then take to
/// end its side. Envoy's delay of a close.
const FAREWELL: Duration = Duration::from_secs(1);
/// Longer than any process runs.
const LONGEST: Duration = Duration::from_secs(86400 * 365 * 30);
