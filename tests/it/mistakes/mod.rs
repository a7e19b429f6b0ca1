//! The mistakes of docs/mistakes.md, made, with the words that a user sees.

mod calls;
mod certificates;
mod options;
#[path = "../../support/mistakes.rs"]
mod page;
mod policies;
mod requests;
mod tokens;

use std::error::Error;
use std::iter::successors;

use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Workload};

use crate::support::log::Log;
use crate::support::mesh::until;

/// Ids of rows with what is seen, a line each.
type Seen = Vec<(&'static str, String)>;

#[tokio::test]
async fn each_mistake_is_told_in_the_words_of_the_page() {
    let mut seen = Seen::new();
    options::make(&mut seen).await;
    certificates::make(&mut seen).await;
    policies::make(&mut seen).await;
    tokens::make(&mut seen).await;
    calls::make(&mut seen).await;
    requests::make(&mut seen).await;
    page::compare(&seen, |row| row.place != "command");
}

#[test]
fn the_page_has_more_than_thirty_rows() {
    assert!(page::rows().len() > 30);
}

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

/// A newcomer's workload.
fn patients() -> Workload {
    Workload::new("default", "patients").label("app", "patients")
}

/// The same with a certificate of its own.
fn proven(pki: &Pki) -> MeshBuilder {
    Mesh::builder(patients(), pki.identity("default", "patients").unwrap())
}

/// What `main` prints of the error that it returns.
async fn refused(builder: MeshBuilder) -> String {
    match builder.build().await {
        Ok(_) => "it is built".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

/// The levels of an error, a line each.
fn levels(error: &(dyn Error + 'static)) -> String {
    let levels = successors(Some(error), |error| (*error).source());
    let levels: Vec<_> = levels.map(ToString::to_string).collect();
    levels.join("\n")
}

/// The last line of the log with these pieces, without its time.
fn last(log: &Log, pieces: &[&str]) -> String {
    match log.with(pieces).pop() {
        Some(line) => {
            let words = line.split(' ').skip(1);
            // Of how many lines a limit left out, which is the doing of other tests.
            let words = words.filter(|word| !word.starts_with("suppressed="));
            words.collect::<Vec<_>>().join(" ").trim().to_owned()
        }
        None => format!("no line with {pieces:?}, but\n{}", log.text()),
    }
}

/// Does it again until its line is there: of one kind only some are written each second.
async fn line(log: &Log, pieces: &[&str], mut ask: impl AsyncFnMut()) -> String {
    let begun = std::time::Instant::now();
    while log.with(pieces).is_empty() {
        assert!(begun.elapsed().as_secs() < 30, "{pieces:?}: {}", log.text());
        ask().await;
        tokio::task::yield_now().await;
    }
    last(log, pieces)
}

/// As [`last`], once it is there.
async fn wait(log: &Log, pieces: &[&str]) -> String {
    until(&format!("{pieces:?}"), || !log.with(pieces).is_empty()).await;
    last(log, pieces)
}
