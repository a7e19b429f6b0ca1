//! The client's short form: what is sent for `get`, `post`, `json` and their like, and how answers are read.

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tower_mesh::Mesh;
use tower_mesh::mesh::{ClientBody, ClientBodyError, RequestBuilder};
use tower_mesh::testing::Pki;

use crate::support::mesh::{app, build, caller, read, serve};

/// Answers with the method, some headers and the body of what it got.
fn echo() -> Router {
    let told = |method: Method, headers: HeaderMap, body: String| async move {
        let said = |name: &str| {
            let values = headers.get_all(name).iter();
            let values: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
            values.join("+")
        };
        let (kind, ward) = (said("content-type"), said("x-ward"));
        let token = said("authorization");
        format!("{method}|{kind}|{ward}|{token}|{body}")
    };
    Router::new().fallback(any(told))
}

async fn desk(app_router: Router) -> Mesh {
    let pki = Pki::new("cluster.local").unwrap();
    let served = serve(&build(app(&pki)).await, app_router).await;
    caller(&pki, "desk", served.address).await
}

#[derive(Serialize)]
struct Note {
    text: &'static str,
}

const URI: &str = "http://app.default/notes";

#[tokio::test]
async fn a_call_is_described_in_one_line() {
    let desk = desk(echo()).await;
    let client = desk.client();
    let note = Note { text: "slept" };
    let uri: http::Uri = URI.parse().unwrap();
    let rows: [(RequestBuilder, &str); 13] = [
        (client.get(URI), "GET||||"),
        (client.get(URI.to_owned()), "GET||||"),
        (client.get(&uri), "GET||||"),
        (client.get(uri.clone()), "GET||||"),
        (client.delete(URI), "DELETE||||"),
        (client.post(URI).body("text"), "POST||||text"),
        (client.put(URI).body("text".to_owned()), "PUT||||text"),
        (client.patch(URI).body(b"text".to_vec()), "PATCH||||text"),
        (
            client.post(URI).body(Bytes::from_static(b"text")),
            "POST||||text",
        ),
        (
            client.post(URI).json(&note),
            r#"POST|application/json|||{"text":"slept"}"#,
        ),
        (
            client
                .post(URI)
                .header("content-type", "application/notes+json")
                .json(&[1, 2]),
            "POST|application/notes+json|||[1,2]",
        ),
        (
            client
                .post(URI)
                .header("x-ward", "east")
                .header("x-ward", "west"),
            "POST||east+west||",
        ),
        (
            client.get(URI).header("authorization", "x").bearer("abc"),
            "GET|||Bearer abc|",
        ),
    ];
    for (index, (call, wanted)) in rows.into_iter().enumerate() {
        let version = [Version::HTTP_11, Version::HTTP_2][index % 2];
        let response = call.version(version).await.unwrap();
        assert_eq!(response.version(), version);
        assert_eq!(response.into_body().text().await.unwrap(), wanted);
    }
    let response = client.get(URI).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_11);
}

#[tokio::test]
async fn a_mistake_comes_out_where_the_call_is_awaited() {
    let desk = desk(echo()).await;
    let client = desk.client();
    let not_json = std::collections::BTreeMap::from([((1, 2), "secret")]);
    let rows = [
        (client.get(URI).header("x ward", "1"), "name of a header"),
        (
            client.get(URI).header("x-ward", "sec\nret"),
            "value of the header x-ward",
        ),
        (client.get(URI).bearer("sec\nret"), "the token"),
        (
            client.post(URI).json(&not_json),
            "cannot be written as JSON",
        ),
        (client.get("http://a b/"), "the URI of the call"),
        // The first one counts.
        (
            client.get("http://a b/").header("x ward", "1"),
            "the URI of the call",
        ),
    ];
    for (call, piece) in rows {
        let error = call.await.unwrap_err();
        let said = error.to_string();
        assert!(said.contains(piece), "{said}");
        assert!(!said.contains("ret"), "nothing that may be secret: {said}");
        assert_eq!(error.status(), StatusCode::NOT_FOUND);
    }
    let shown = format!("{:?}", client.get(URI).bearer("secret"));
    assert!(!shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn a_request_of_http_takes_text_and_bytes_as_a_body() {
    let desk = desk(echo()).await;
    for body in [
        ClientBody::from("text"),
        ClientBody::from("text".to_owned()),
        ClientBody::from(b"text".to_vec()),
        ClientBody::from(Bytes::from_static(b"text")),
    ] {
        let request = http::Request::post(URI).body(body).unwrap();
        let response = desk.client().request(request).await.unwrap();
        assert_eq!(read(response).await.2, "POST||||text");
    }
}

#[derive(Debug, Deserialize, PartialEq)]
struct Patient {
    name: String,
    age: u8,
}

/// Answers with the bytes that it gets.
fn mirror() -> Router {
    Router::new().fallback(any(|body: Bytes| async move { body }))
}

#[tokio::test]
async fn an_answer_is_read_as_bytes_text_and_json() {
    let desk = desk(mirror()).await;
    let body = async |text: &'static [u8]| {
        let response = desk.client().post(URI).body(text).await.unwrap();
        response.into_body()
    };
    assert_eq!(body(b"\xff").await.bytes().await.unwrap(), &b"\xff"[..]);
    assert_eq!(body(b"").await.bytes().await.unwrap(), &b""[..]);
    assert_eq!(body("ä".as_bytes()).await.text().await.unwrap(), "ä");
    let patient: Patient = body(br#"{"name":"Ada","age":7}"#)
        .await
        .json()
        .await
        .unwrap();
    let (name, age) = ("Ada".to_owned(), 7);
    assert_eq!(patient, Patient { name, age });
    let value: serde_json::Value = body(b"[1]").await.json().await.unwrap();
    assert_eq!(value, json!([1]));

    let error = body(b"ab\xff").await.text().await.unwrap_err();
    assert!(error.to_string().contains("byte 2"), "{error}");
    let rows: [(&[u8], &str); 3] = [
        (br#"{"name":"Ada","age":"secret"}"#, "not of the form"),
        (br#"{"name":"Ada","#, "ends too early"),
        (b"secret", "is not JSON: line 1, column 1"),
    ];
    for (text, piece) in rows {
        let error = body(text).await.json::<Patient>().await.unwrap_err();
        let all = chain(&error);
        assert!(all.contains(piece) && all.contains("line 1"), "{all}");
        assert!(!all.contains("secret") && !all.contains("Ada"), "{all}");
        assert!(error.is_unreadable());
    }
}

/// As handlers of axum must be able to.
#[tokio::test]
async fn a_call_and_its_reading_may_move_between_threads() {
    let desk = desk(echo()).await;
    let call = desk.client().post(URI).body("text");
    let whole = tokio::spawn(async move {
        let body = call.await?.into_body();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(body.text().await?)
    });
    assert_eq!(whole.await.unwrap().unwrap(), "POST||||text");
}

fn chain(error: &ClientBodyError) -> String {
    let error: &dyn std::error::Error = error;
    let levels = std::iter::successors(Some(error), |error| (*error).source());
    levels.map(|error| format!("{error:?} {error}")).collect()
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit() {
    // Once with a length and once without.
    let pieces = any(|body: Bytes| async move {
        let pieces: Vec<_> = body
            .chunks(10_000)
            .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
            .collect();
        axum::body::Body::from_stream(Pieces(pieces.into_iter()))
    });
    let whole = any(|body: Bytes| async move { body });
    let router = Router::new()
        .route("/whole", whole)
        .route("/pieces", pieces)
        .layer(axum::extract::DefaultBodyLimit::disable());
    let desk = desk(router).await;
    const USUAL: usize = 2 * 1024 * 1024;
    for path in ["whole", "pieces"] {
        let uri = format!("http://app.default/{path}");
        let ask = async |bytes: usize| {
            let body = vec![b'x'; bytes];
            let response = desk.client().post(&uri).body(body).await.unwrap();
            response.into_body()
        };
        assert_eq!(ask(USUAL).await.bytes().await.unwrap().len(), USUAL);
        let error = ask(USUAL + 1).await.bytes().await.unwrap_err();
        assert!(error.is_too_large(), "{path}: {error}");
        assert!(error.to_string().contains("2097152 bytes"), "{error}");
        let more = ask(USUAL + 1).await.limit(USUAL + 1).text().await;
        assert_eq!(more.unwrap().len(), USUAL + 1, "{path}");
        let less = ask(20_001).await.limit(20_000).text().await;
        assert!(less.unwrap_err().is_too_large(), "{path}");
    }
}

/// Pieces of a body.
struct Pieces<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Pieces<I> {
    type Item = I::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<I::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}
