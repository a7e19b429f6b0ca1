//! Fetches one key set through an HTTP client, again and again.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Buf;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body::Body;
use tokio::sync::Notify;
use tokio::time;
use tower_service::Service;

use super::bundle::{Bundle, BundleFault};
use super::key_set::{KeySet, KeySetError};
use super::key_source::{KeySource, check_uri};
use super::keyring::{Jwks, WeakJwks};
use super::remote::RemoteKeys;
use super::schedule::{Clocks, Schedule, rest};
use crate::error_chain::ErrorChain;
use crate::istio::shown_uri;
use crate::jwt::encoding::json;
use crate::policy::{MAX_BYTES, PlainHttp};

type BoxError = Box<dyn Error + Send + Sync>;

/// How deep a discovery document may nest.
const MAX_DEPTH: usize = 16;

/// Keeps one remote key set fresh, through any HTTP client that is a tower service.
///
/// The client decides which addresses and certificates are good; it must not follow redirects.
/// Fetches are bounded in time (the rule's `timeout`, else 5 s) and size (1 MiB). A failed fetch
/// keeps the keys that are there.
#[derive(Debug)]
pub struct Fetcher<S> {
    jwks: WeakJwks,
    wanted: Arc<Notify>,
    schedule: Schedule,
    client: S,
}

impl<S> Fetcher<S> {
    /// A fetcher for keys that [`Keyring::take_unfetched`](super::Keyring::take_unfetched) handed
    /// out; `None` for inline keys.
    #[must_use]
    pub fn new(jwks: &Jwks, client: S) -> Option<Self> {
        Some(Self {
            jwks: jwks.downgrade(),
            wanted: Arc::clone(&jwks.remote()?.wanted),
            schedule: Schedule::new(),
            client,
        })
    }

    /// Lets [`run`](Self::run) fetch at least this often, between once a second and once an hour. A
    /// key that the issuer has withdrawn serves until the next fetch. The issuer's `cache-control`
    /// may still shorten the time between fetches, but no longer lengthen it. istiod's setting of
    /// this is `PILOT_JWT_PUB_KEY_REFRESH_INTERVAL`.
    #[must_use]
    pub fn at_least_every(mut self, interval: Duration) -> Self {
        self.schedule = self.schedule.at_least_every(interval);
        self
    }

    /// Fetches now, then every 20 minutes (or as the issuer's `cache-control` says, within 1 to 60
    /// minutes; [`at_least_every`](Self::at_least_every) changes this; a trust domain's bundle every 5
    /// minutes, or as its `spiffe_refresh_hint` says, within 30 s to 60 minutes), and when a token
    /// names a key that is not there or comes when the keys are too old, at most every 30 seconds.
    /// After a failure it tries again soon, then ever later; when the machine slept or its clock was
    /// set, within ten seconds. Ends when the keys are no longer used.
    ///
    /// A request whose token names a key that is not there waits for the fetch that this causes, for
    /// the time of one fetch at most, and is then judged by the keys that there are. 1,024 requests
    /// may wait for the keys of one address; more are refused at once. So are those that come when
    /// that fetch has ended, until there may be another one.
    pub async fn run<ReqBody, ResBody>(mut self)
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>, Error: Into<BoxError>>,
        ReqBody: Default,
        ResBody: Body<Error: Into<BoxError>>,
    {
        while let Some(jwks) = self.jwks.upgrade() {
            let wait = match self.fetch(&jwks).await {
                Ok(hint) if matches!(jwks.source(), Some(KeySource::Bundle(_))) => {
                    self.schedule.after_bundle(hint)
                }
                Ok(max_age) => self.schedule.after_success(max_age),
                Err(error) => {
                    tracing::warn!(
                        target: "tower_mesh::jwt",
                        error = %ErrorChain(&error),
                        "keys could not be fetched"
                    );
                    self.schedule.after_failure()
                }
            };
            // The keys must not be kept alive by the wait for the next ones.
            drop(jwks);
            tokio::select! {
                () = rest(wait, Clocks::read) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    /// Fetches once and publishes the keys. Says how long the issuer lets them be kept, or when a
    /// trust domain asks to look at its bundle again.
    ///
    /// A bundle without keys revokes its trust domain. One that is older than the bundle in use, by
    /// its `spiffe_sequence`, is refused.
    ///
    /// # Errors
    ///
    /// What went wrong; the keys that were there still count, for a day.
    pub async fn fetch<ReqBody, ResBody>(
        &mut self,
        jwks: &Jwks,
    ) -> Result<Option<Duration>, FetchError>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>, Error: Into<BoxError>>,
        ReqBody: Default,
        ResBody: Body<Error: Into<BoxError>>,
    {
        let Some(remote) = jwks.remote() else {
            return Ok(None);
        };
        let (begun, asks) = (remote.begin(), remote.asks());
        let fetched = {
            let download = download(&mut self.client, remote);
            let mut attempt = pin!(time::timeout(remote.timeout, download));
            // A panic of the client is one more failed fetch (rule J-49).
            let attempt = poll_fn(|cx| {
                catch_unwind(AssertUnwindSafe(|| attempt.as_mut().poll(cx)))
                    .unwrap_or(Poll::Ready(Ok(Err(FetchFailure::Panicked))))
            });
            attempt.await.unwrap_or(Err(FetchFailure::Timeout))
        };
        let published = fetched.and_then(|(text, max_age)| {
            let (keys, sequence, kept) = match &remote.source {
                KeySource::Bundle(_) => {
                    let held = remote.held().and_then(|held| held.sequence);
                    let bundle = Bundle::read(&text, held).map_err(FetchFailure::from)?;
                    (bundle.keys, bundle.sequence, bundle.refresh_hint)
                }
                KeySource::Uri(_) | KeySource::Discovery(_) => {
                    let keys = KeySet::parse(&text).map_err(FetchFailure::Keys)?;
                    (keys, None, max_age)
                }
            };
            if keys.private() > 0 {
                tracing::error!(source = %remote.source, "an issuer publishes private keys");
            }
            if keys.doubled() > 0 {
                tracing::warn!(source = %remote.source, "keys share an id; tokens that name it are refused");
            }
            remote.store(keys, text, sequence, begun);
            Ok(kept)
        });
        remote.count(published.is_ok());
        remote.end(asks);
        published.map_err(|failure| FetchError {
            uri: remote.source.to_string(),
            failure,
        })
    }
}

/// The text of a key set, by way of the discovery document when the source is one.
async fn download<S, ReqBody, ResBody>(
    client: &mut S,
    remote: &RemoteKeys,
) -> Result<(String, Option<Duration>), FetchFailure>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>, Error: Into<BoxError>>,
    ReqBody: Default,
    ResBody: Body<Error: Into<BoxError>>,
{
    let first = check_uri(&remote.source.uri(), remote.http).map_err(FetchFailure::Discovery)?;
    let uri = match &remote.source {
        KeySource::Uri(_) | KeySource::Bundle(_) => first,
        KeySource::Discovery(_) => {
            // A remote issuer must not send us to this machine.
            let http = match remote.http {
                PlainHttp::Loopback if first.scheme_str() != Some("http") => PlainHttp::Refused,
                http => http,
            };
            let (document, _) = get(client, first).await?;
            let document = json::object(document.as_bytes(), MAX_DEPTH);
            let uri = document
                .as_ref()
                .and_then(|members| members.get("jwks_uri")?.as_str());
            let uri = uri.ok_or_else(|| FetchFailure::Discovery("no `jwks_uri`".into()))?;
            check_uri(uri, http).map_err(FetchFailure::Discovery)?
        }
    };
    get(client, uri).await
}

async fn get<S, ReqBody, ResBody>(
    client: &mut S,
    uri: Uri,
) -> Result<(String, Option<Duration>), FetchFailure>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>, Error: Into<BoxError>>,
    ReqBody: Default,
    ResBody: Body<Error: Into<BoxError>>,
{
    let failed = |error: BoxError| FetchFailure::Client(redacted(&*error, &uri));
    let request = Request::get(uri.clone())
        .header(header::ACCEPT, "application/json")
        .body(ReqBody::default())
        .map_err(|error| failed(error.into()))?;
    let ready = poll_fn(|cx| client.poll_ready(cx)).await;
    ready.map_err(|error| failed(error.into()))?;
    let response = client.call(request).await;
    let response = response.map_err(|error| failed(error.into()))?;
    // A redirect is not followed: it could lead anywhere (rule J-47).
    if response.status() != StatusCode::OK {
        return Err(FetchFailure::Status(response.status()));
    }
    let max_age = max_age(response.headers());
    let mut body = pin!(response.into_body());
    let mut text = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|error| failed(error.into()))?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        if text.len() + data.remaining() > MAX_BYTES {
            return Err(FetchFailure::TooLarge);
        }
        text.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
    let text = String::from_utf8(text).map_err(|error| failed(error.into()))?;
    Ok((text, max_age))
}

/// The client's error, level by level. Many clients print the whole URI: it is shortened here as
/// elsewhere.
fn redacted(error: &dyn Error, uri: &Uri) -> RedactedError {
    RedactedError {
        text: shown(error.to_string(), uri),
        cause: error.source().map(|cause| Box::new(redacted(cause, uri))),
    }
}

fn shown(mut message: String, uri: &Uri) -> String {
    let whole = uri.to_string();
    message = message.replace(&whole, &shown_uri(&whole));
    if let Some(query) = uri.query().filter(|query| !query.is_empty()) {
        message = message.replace(&format!("?{query}"), "");
    }
    if let Some((user, _)) = uri
        .authority()
        .and_then(|host| host.as_str().rsplit_once('@'))
    {
        message = message.replace(&format!("{user}@"), "");
    }
    message
}

/// How long a reply may be kept (RFC 9111 §5.2.2); zero if it must not be kept.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(header::CACHE_CONTROL);
    let directives = lines
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    directives.into_iter().find_map(|directive| {
        let directive = directive.trim().to_ascii_lowercase();
        match directive.as_str() {
            "no-store" | "no-cache" => Some(Duration::ZERO),
            _ => {
                let seconds = directive.strip_prefix("max-age=")?.parse().ok()?;
                Some(Duration::from_secs(seconds))
            }
        }
    })
}

/// Why keys could not be fetched. Names the URI without userinfo and query.
#[derive(Debug)]
pub struct FetchError {
    uri: String,
    failure: FetchFailure,
}

errors! {
    #[derive(Debug)]
    enum FetchFailure {
        Client(_error: RedactedError) = "the request failed",
        Discovery(message: String) = "discovery of the keys: {message}",
        Keys(_error: KeySetError) = "the answer is no set of keys",
        Older(sequence: u64, held: u64) =
            "the bundle is older than the one in use: `spiffe_sequence` {sequence} after {held}",
        Panicked = "the client panicked",
        Status(status: StatusCode) = "answered {status}",
        Timeout = "took too long",
        TooLarge = "more than {MAX_BYTES} bytes",
    }
}

impl From<BundleFault> for FetchFailure {
    fn from(fault: BundleFault) -> Self {
        match fault {
            BundleFault::KeySet(error) => Self::Keys(error),
            BundleFault::Older { sequence, held } => Self::Older(sequence, held),
        }
    }
}

/// One level of a client's error, without what is secret in the URI.
#[derive(Debug)]
struct RedactedError {
    text: String,
    cause: Option<Box<Self>>,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.uri, self.failure)
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.failure {
            FetchFailure::Client(redacted) => Some(redacted),
            FetchFailure::Keys(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for RedactedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for RedactedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
