//! The limits of one generation of configuration.

use std::sync::{Arc, LazyLock};
#[cfg(feature = "rate-limit-service")]
use std::time::Duration;
use std::time::Instant;

#[cfg(feature = "rate-limit-service")]
use http::Uri;
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::actions::LimitRequest;
use super::bucket::{Level, Tick};
use super::headers;
use super::running::RunningLimit;
use crate::context::{Exchange, Peer};
#[cfg(feature = "rate-limit-service")]
use crate::guard::Question;
use crate::guard::{RequestAttributes, judged_target};
use crate::identity::Workload;
use crate::log_limit::limited;
use crate::message::LocalReply;
use crate::policy::limit::{Limit, Stage};
use crate::refusal_log;

#[cfg(feature = "rate-limit-service")]
#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, reason = "only a mesh asks services")
)]
mod asked;

#[cfg(feature = "rate-limit-service")]
pub(crate) use asked::Counting;

/// The limits that judge the requests of a workload, in the order in which they do.
///
/// Every limit counts a request until one refuses it; the limits behind that one do not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    early: Box<[Arc<RunningLimit>]>,
    late: Box<[Arc<RunningLimit>]>,
}

impl Limits {
    /// The limits of the next generation. A limit that stays as it was keeps its buckets; one that
    /// was changed keeps its counts, and its buckets if these stay as they were.
    pub(crate) fn next<'l>(
        &self,
        limits: impl IntoIterator<Item = &'l Limit>,
        workload: &Workload,
    ) -> Self {
        let (mut early, mut late) = (Vec::new(), Vec::new());
        for limit in limits {
            let before = self.iter().find(|running| running.is_named(limit));
            let running = match before.filter(|before| before.says(limit)) {
                Some(same) => Arc::clone(same),
                None => {
                    let before = before.map(AsRef::as_ref);
                    Arc::new(RunningLimit::new(limit, workload, before))
                }
            };
            match limit.stage() {
                Stage::Early => early.push(running),
                Stage::Late => late.push(running),
            }
        }
        Self {
            early: early.into(),
            late: late.into(),
        }
    }

    /// All limits, those of the early stage first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<RunningLimit>> {
        self.early.iter().chain(&self.late)
    }

    /// The limits of a stage.
    pub(crate) fn of(&self, stage: Stage) -> &[Arc<RunningLimit>] {
        match stage {
            Stage::Early => &self.early,
            Stage::Late => &self.late,
        }
    }

    /// Judges a request by the local limits of a stage. `path` is the path to judge, where it
    /// differs from the request's.
    ///
    /// # Errors
    ///
    /// The refusal, if a bucket is empty; 500 if a limit needs the facts of a request and the
    /// request has no [`Peer`].
    pub(crate) fn judge(
        &self,
        stage: Stage,
        head: &mut Parts,
        path: Option<&str>,
        exchange: &Exchange,
    ) -> Result<(), LocalReply> {
        match self.of(stage) {
            [] => Ok(()),
            limits => judge(limits, head, path, exchange, now()),
        }
    }
}

#[cfg(feature = "rate-limit-service")]
impl Limits {
    /// What the limits of a stage ask their services about a request; `None` if there is nothing to
    /// ask. `deadline` is what the request itself has left.
    pub(crate) fn ask(
        &self,
        stage: Stage,
        head: &Parts,
        path: Option<&str>,
        exchange: &Exchange,
        counting: Counting<'_>,
        deadline: impl FnOnce() -> Option<Duration>,
    ) -> Option<Question> {
        let limits = self.of(stage);
        if limits.iter().all(|limit| limit.service().is_none()) {
            return None;
        }
        let target = judged_target(path, &head.uri);
        let attributes = RequestAttributes::with_path(head, &target, exchange)?;
        let request = LimitRequest::new(&attributes);
        asked::question(limits, request, counting, deadline())
    }

    /// The services that the limits ask, as `http://host:port`, each with the name of its limit.
    pub(crate) fn services(&self) -> impl Iterator<Item = (&str, &Uri)> {
        self.iter().filter_map(|limit| {
            let origin = limit.service()?.origin()?;
            Some((&**limit.counts().name(), origin))
        })
    }
}

fn judge(
    limits: &[Arc<RunningLimit>],
    head: &mut Parts,
    path: Option<&str>,
    exchange: &Exchange,
    now: Tick,
) -> Result<(), LocalReply> {
    let connection = exchange.peer().map_or(0, Peer::number);
    let reads_request = limits.iter().any(|limit| limit.reads_request());
    let target = judged_target(path, &head.uri);
    let attributes = match reads_request {
        true => RequestAttributes::with_path(head, &target, exchange),
        false => None,
    };
    if reads_request && attributes.is_none() {
        return Err(without_peer());
    }
    let request = attributes.as_ref().map(|facts| LimitRequest::new(facts));
    // Of an earlier stage.
    let shown = head.extensions.get::<Level>().copied();
    let mut least = shown;
    let mut refusal = None;
    let mut reported: Option<HeaderMap> = None;
    for limit in limits {
        let Some(judged) = limit.judge(request, connection, now) else {
            continue;
        };
        if let Some(level) = judged.level
            && (judged.is_refused || least.is_none_or(|least| level.left < least.left))
        {
            least = Some(level);
        }
        if judged.is_refused {
            refusal = limit.refusal();
            if refusal.is_some() {
                break;
            }
            refusal_log::limit_reported(head, exchange, limit.counts().name());
            let reported = reported.get_or_insert_default();
            reported.extend(limit.not_enforced_headers().clone());
        }
    }
    drop(target);
    if let Some(level) = least.filter(|_| least != shown) {
        headers::show(exchange, &level);
        head.extensions.insert(level);
    }
    if let Some(reported) = reported {
        head.headers.extend(reported);
    }
    refusal.map_or(Ok(()), Err)
}

/// The time since the first limit was judged.
fn now() -> Tick {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    Tick::after(START.elapsed())
}

fn without_peer() -> LocalReply {
    limited!(
        ERROR,
        "a request without a peer reached a rate limit: \
         serve it with the mesh's listener, or put a Peer into its extensions"
    );
    LocalReply::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal error",
        "rate_limit_no_peer",
    )
}

#[cfg(test)]
mod tests;
