//! A rate limit service that answers as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::stub::messages::{Pair, RateLimitRequest, RateLimitResponse};
use crate::stub::{Whole, decode, grpc, grpc_error, plain, serve};

/// What the service does with a question.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Says(Box<RateLimitResponse>),
    Grpc(u16),
    Http(u16),
    Hang,
    Close,
}

/// The service; it ends with the runtime.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let answer = Arc::new(Mutex::new(Answer::Hang));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (now, noting) = (Arc::clone(&answer), Arc::clone(&asked));
        let address = serve(move |whole| {
            noting.lock().unwrap().push(told(&whole));
            let answer = now.lock().unwrap().clone();
            async move {
                match answer {
                    Answer::Says(response) => grpc(&*response),
                    Answer::Grpc(code) => grpc_error(code),
                    Answer::Http(status) => plain(status, &[], ""),
                    Answer::Hang => std::future::pending().await,
                    Answer::Close => None,
                }
            }
        })
        .await;
        Self {
            address,
            answer,
            asked,
        }
    }

    /// Answers like this from now on.
    pub(crate) fn answer(&self, answer: &Answer) {
        *self.answer.lock().unwrap() = answer.clone();
    }

    /// What it was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn told(whole: &Whole) -> Value {
    let request: RateLimitRequest = decode(whole);
    let descriptors = request.descriptors.iter().map(|descriptor| {
        let entries = descriptor.entries.iter();
        let entries: Vec<_> = entries
            .map(|pair| format!("{}={}", pair.key, value(pair)))
            .collect();
        json!({
            "entries": entries,
            "limit": descriptor.limit.map(|limit| (limit.requests_per_unit, limit.unit)),
            "hits_addend": descriptor.hits_addend,
        })
    });
    json!({
        "method": whole.uri().path(),
        "domain": request.domain,
        "descriptors": descriptors.collect::<Vec<_>>(),
        "hits_addend": request.hits_addend,
        "has_timeout": whole.headers().contains_key("grpc-timeout"),
    })
}

/// An entry's value. The application's cluster has the name that each gives it: Istio's, or that of the tests.
fn value(pair: &Pair) -> &str {
    match (pair.key.as_str(), pair.value.as_str()) {
        ("destination_cluster", name) if name == "app" || name.starts_with("inbound|") => "app",
        (_, value) => value,
    }
}
