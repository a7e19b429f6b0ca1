//! Whether a mesh should get traffic, and the service that shows it to probes.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use tower_service::Service;

use super::ClientBody;
#[cfg(feature = "audit")]
use super::audit::AuditState;
use super::config::reload::RefusedReload;
use super::handle::Mesh;
use crate::context::Via;
use crate::jwt::TokenMode;
use crate::metrics::{self, Scrape};

/// Whether a mesh should get traffic, and what is wrong with it: [`Mesh::readiness`],
/// [`Guards::readiness`](crate::mesh::Guards::readiness).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Readiness {
    /// The state of our identity.
    pub identity: IdentityState,
    /// Set while the source of our identity fails: how long ago it last gave a usable answer. The
    /// identity that we have is good until it expires.
    pub source_down_for: Option<Duration>,
    /// Configuration, keys, our identity or the addresses of an upstream with a DNS name may
    /// change, and no driver follows them: the [`Driver`](crate::mesh::Driver) was dropped, or a source has ended. What we have stays in
    /// use and gets old.
    pub unattended: bool,
    /// How many configurations have been in use; 1 is the one of the build.
    pub generation: u64,
    /// When the configuration in use was published, to the second.
    pub configured_at: SystemTime,
    /// When a changed configuration was last refused, to the second, also if a later change was
    /// accepted.
    pub refused_at: Option<SystemTime>,
    /// The configuration has changed and is refused now. The one before stays in use, so the mesh
    /// is still ready; but a restart would fail, so an operator has to act.
    pub refused: Option<RefusedReload>,
    /// What becomes of requests without a good end-user token. [`TokenMode::ReportOnly`] is shown
    /// to probes, because it lets bad tokens pass; it does not count against readiness.
    pub tokens: TokenMode,
    /// A shutdown was requested.
    pub draining: bool,
    /// The proxies whose word about their callers is believed:
    /// [`trusted_proxy`](crate::mesh::DangerousMeshBuilder::trusted_proxy).
    pub trusted_proxies: Arc<[Via]>,
    /// Whether the audit trail can be written. [`AuditState::Unavailable`] counts against readiness:
    /// another instance may have a trail that works.
    #[cfg(feature = "audit")]
    pub audit: AuditState,
}

/// The state of our identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IdentityState {
    /// It is good.
    Valid,
    /// It has expired, and there is no other: the mesh refuses all connections and makes none.
    Expired,
    /// Its issuer no longer gives us one.
    Withdrawn,
    /// There is no identity: [`Guards`](crate::mesh::Guards) have no TLS of their own.
    Absent,
    /// There is no identity: this mesh speaks [plaintext](crate::mesh::DangerousMesh::plaintext).
    Plaintext,
}

impl Mesh {
    /// Whether this mesh should get traffic: its identity is good, the driver follows what may
    /// change, requests that must be recorded first can be, and no shutdown was requested.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let rotation = self.parts().rotation.as_ref();
        let is_followed = self.parts().pulse.load(Ordering::Acquire);
        // Upstreams can be replaced, so names are looked for now.
        let has_names = || !self.parts().cells.outbound.load().names().is_empty();
        Readiness {
            identity: match self.credentials() {
                None => IdentityState::Plaintext,
                Some(credentials) if credentials.is_withdrawn() => IdentityState::Withdrawn,
                Some(credentials) if credentials.is_valid() => IdentityState::Valid,
                Some(_) => IdentityState::Expired,
            },
            source_down_for: rotation
                .filter(|stats| stats.is_down())
                .map(|stats| stats.age()),
            unattended: !is_followed && (self.parts().needs_driver || has_names()),
            generation: self.parts().cells.inbound.generation(),
            configured_at: self.parts().reloads.taken(),
            refused_at: self.parts().reloads.refused_at(),
            refused: self.parts().reloads.refused(),
            tokens: self.parts().token_mode,
            draining: self.parts().shutdown.is_requested(),
            trusted_proxies: Arc::clone(self.parts().trusted_proxies.names()),
            #[cfg(feature = "audit")]
            audit: match &self.parts().auditor {
                None => AuditState::Absent,
                Some(auditor) => auditor.state(),
            },
        }
    }
}

impl Readiness {
    /// Whether the mesh should get traffic. A source that fails and a changed configuration that is
    /// refused do not count against it: what we have is still good.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let has_identity = matches!(
            self.identity,
            IdentityState::Valid | IdentityState::Absent | IdentityState::Plaintext
        );
        #[cfg(feature = "audit")]
        let is_recorded = self.audit != AuditState::Unavailable;
        #[cfg(not(feature = "audit"))]
        let is_recorded = true;
        has_identity && is_recorded && !self.unattended && !self.draining
    }
}

/// One line, for the answer to a probe.
impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_ready() {
            "ready"
        } else {
            "not ready"
        })?;
        match self.identity {
            IdentityState::Valid | IdentityState::Absent => {}
            IdentityState::Expired => f.write_str("; our identity has ended")?,
            IdentityState::Withdrawn => f.write_str("; our identity was withdrawn")?,
            IdentityState::Plaintext => {
                f.write_str("; plaintext without identities, for development only")?;
            }
        }
        for (index, proxy) in self.trusted_proxies.iter().enumerate() {
            let before = if index == 0 {
                "; trusted proxies: "
            } else {
                ", "
            };
            write!(f, "{before}{proxy}")?;
        }
        if let Some(down) = self.source_down_for {
            write!(
                f,
                "; the source of our identity is down, last heard {} s ago",
                down.as_secs()
            )?;
        }
        if self.unattended {
            f.write_str("; the driver is gone, nothing is kept fresh")?;
        }
        if let Some(refused) = &self.refused {
            write!(
                f,
                "; the changed configuration is refused ({}) for {} s, the one before serves: {}",
                refused.reason,
                refused.lasts.as_secs(),
                refused.reason.remedy()
            )?;
        }
        if self.tokens == TokenMode::ReportOnly {
            f.write_str("; bad end-user tokens are reported, not refused")?;
        }
        #[cfg(feature = "audit")]
        match self.audit {
            AuditState::Absent | AuditState::Good => {}
            AuditState::Failing(count) => {
                write!(f, "; audit trails that cannot be written: {count}")?
            }
            AuditState::Unavailable => f.write_str(
                "; the audit trail cannot be written, requests that must be recorded first are \
                 refused",
            )?,
        }
        if self.draining {
            f.write_str("; draining")?;
        }
        Ok(())
    }
}

impl Mesh {
    /// Answers probes and scrapes, for [`serve_plaintext`](Self::serve_plaintext): `/metrics`, and
    /// the path of a sidecar, [`/stats/prometheus`](crate::metrics::PATH), with the
    /// [metrics](Self::metrics), as [`Scrape`](crate::metrics::Scrape) does; every other path with
    /// [`Readiness`], status 200 or 503.
    ///
    /// Every client that reaches the port can read the metrics: bind it where only the scraper and
    /// the kubelet can connect.
    #[must_use]
    pub fn probe(&self) -> Probe {
        Probe(self.clone())
    }
}

/// A service that shows whether a mesh is ready, and its metrics: [`Mesh::probe`].
#[derive(Clone, Debug)]
pub struct Probe(Mesh);

impl<B> Service<Request<B>> for Probe {
    type Response = Response<ClientBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if [METRICS, metrics::PATH].contains(&request.uri().path()) {
            let scrape = Scrape::new(self.0.metrics().clone());
            return ready(Ok(scrape.respond(&request).map(ClientBody::stream)));
        }
        let readiness = self.0.readiness();
        let body = Bytes::from(format!("{readiness}\n"));
        let mut response = Response::new(ClientBody::from(body));
        if !readiness.is_ready() {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text);
        ready(Ok(response))
    }
}

/// The path of metrics, Prometheus's default.
const METRICS: &str = "/metrics";
