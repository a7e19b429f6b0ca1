//! Decisions that are kept and found, without a mesh.

mod bounds;
mod kept;
mod keys;
mod order;
mod times;

use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::{Request, StatusCode};
use serde_json::json;
use tokio::time::advance;

use super::*;
use crate::external::{CacheKey, Changes, Denial};
use crate::policy;

/// A request as policy sees it, and its head.
type Asked = (Parts, policy::Request);

fn get(path: &str) -> Asked {
    of("GET", path, None)
}

fn of(method: &str, path: &str, caller: Option<&str>) -> Asked {
    let head = Request::builder()
        .method(method)
        .uri(path)
        .body(())
        .unwrap();
    let request = policy::Request::new().method(method, path);
    let request = match caller {
        Some(caller) => request.from(caller),
        None => request,
    };
    (head.into_parts().0, request)
}

fn with_header(mut asked: Asked, name: &'static str, value: &'static str) -> Asked {
    asked
        .0
        .headers
        .append(name, HeaderValue::from_static(value));
    asked
}

fn with_claims(mut asked: Asked, claims: &serde_json::Value) -> Asked {
    asked.1 = asked.1.claims(claims.as_object().unwrap().clone());
    asked
}

fn cache(settings: DecisionCache) -> Arc<Decisions> {
    Arc::new(Decisions::new("opa", settings, Arc::default()))
}

fn by_path() -> DecisionCache {
    DecisionCache::keyed_by([CacheKey::Path]).ttl(Duration::from_secs(10))
}

fn look_up(cache: &Arc<Decisions>, (head, request): &Asked) -> LookUp {
    cache.look_up(head, request, Stage::AfterTokens)
}

fn hit(cache: &Arc<Decisions>, asked: &Asked) -> Option<Known> {
    match look_up(cache, asked) {
        LookUp::Known(known) => Some(known),
        LookUp::Ask(_) => None,
    }
}

/// The decision that a request gets; `answer` is the provider's, if it is asked.
fn decide(
    cache: &Arc<Decisions>,
    asked: &Asked,
    answer: Result<Authorization, AuthorizerError>,
) -> Result<Known, AuthorizerError> {
    match look_up(cache, asked) {
        LookUp::Known(known) => Ok(known),
        LookUp::Ask(ticket) => settle(ticket, answer),
    }
}

fn settle(
    ticket: Box<Ticket>,
    answer: Result<Authorization, AuthorizerError>,
) -> Result<Known, AuthorizerError> {
    match ticket.settle(answer) {
        Settled::Answer(answer) => answer.map(Known::from),
        Settled::Stale(known) => Ok(known),
    }
}

fn down() -> Result<Authorization, AuthorizerError> {
    Err(AuthorizerError::from_static("down"))
}

fn is_allowed(known: &Known) -> bool {
    match known {
        Known::Allow => true,
        Known::Decision(decision) => decision.is_allowed(),
    }
}

fn allows(outcome: &Result<Known, AuthorizerError>) -> Option<bool> {
    outcome.as_ref().ok().map(is_allowed)
}
