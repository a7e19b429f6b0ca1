//! The application: it says what it has got.

use std::net::SocketAddr;

use http::HeaderMap;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use super::serve::{Reaction, Whole, plain, serve};

/// The application, as it reaches the caller: the answer's body is what it has seen.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
}

/// What reached the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl App {
    pub(crate) async fn start() -> Self {
        let address = serve(|whole| async move { answer(&whole) }).await;
        Self { address }
    }
}

/// Tells what it has got.
pub(crate) fn answer(whole: &Whole) -> Reaction {
    let told = json!({
        "method": whole.method().as_str(),
        "path": whole.uri().path_and_query().map_or("", |path| path.as_str()),
        "host": whole.uri().authority().map(|host| host.as_str()),
        "headers": joined(whole.headers()),
        "body": text(whole.body()),
    });
    let headers = [
        ("content-type", "application/json"),
        ("x-app", "yes"),
        ("x-both", "app"),
        ("set-cookie", "app=1"),
    ];
    plain(200, &headers, told.to_string())
}

impl Seen {
    pub(crate) fn told(&self) -> Value {
        json!({
            "method": self.method,
            "path": self.path,
            "headers": self.headers,
            "body": self.body,
        })
    }

    /// What the application wrote; `None` where the answer is not its own.
    pub(crate) fn in_answer(body: &str) -> Option<Self> {
        let bytes: Vec<u8> = body.chars().map(|letter| letter as u8).collect();
        let told: Value = serde_json::from_slice(&bytes).ok()?;
        let text = |name: &str| Some(told[name].as_str()?.to_owned());
        let mut headers: BTreeMap<String, String> =
            serde_json::from_value(told["headers"].clone()).ok()?;
        if let Some(host) = text("host") {
            headers.insert("host".to_owned(), host);
        }
        Some(Self {
            method: text("method")?,
            path: text("path")?,
            headers,
            body: text("body")?,
        })
    }
}

/// Every header once, its lines joined by ` | `.
pub(crate) fn joined(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = text(value.as_bytes());
        joined
            .entry(name.as_str().to_owned())
            .and_modify(|lines| *lines += &format!(" | {value}"))
            .or_insert(value);
    }
    joined
}

/// Bytes as text, one character for each.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
