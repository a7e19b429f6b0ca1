//! Sources of configuration: what a mesh makes of their updates, and what they get to know of it.

use std::fs;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_mesh::istio::Problems;
use tower_mesh::policy::Request;
use tower_mesh::source::{
    self, Configuration, Directory, Fixed, Merged, NextUpdate, OnOpening, Source, Update,
};
use tower_mesh::testing::Pki;
use tower_mesh::{Guards, Mesh, Workload};
use tracing::Level;

use crate::support::log::Log;
use crate::support::mesh::{pass, pass_until, policy, settle, still, until};
use crate::telemetry::seen::Told;

/// An ALLOW policy for one path.
fn allow(name: &str, path: &str) -> String {
    policy(
        name,
        "ALLOW",
        &format!("[{{to: [{{operation: {{paths: [{path}]}}}}]}}]"),
    )
}

fn configuration(text: &str) -> Configuration {
    Fixed::yaml("policies.yaml", text).load("default").unwrap()
}

fn workload() -> Workload {
    Workload::new("default", "app").service("app", 8443)
}

async fn guards(source: impl Into<source::ConfigSource>) -> Guards {
    let (guards, driver) = Guards::builder(workload())
        .config(source)
        .build()
        .await
        .unwrap();
    tokio::spawn(driver.run());
    guards
}

fn allows(guards: &Guards, path: &str) -> bool {
    guards
        .engine()
        .decide(&Request::new().get(path))
        .is_allowed()
}

#[tokio::test]
async fn a_change_that_is_sent_is_in_use_once_it_is_answered() {
    let (sender, channel) = source::channel(configuration(&allow("one", "/one")));
    let guards = guards(channel).await;
    assert!(allows(&guards, "/one") && !allows(&guards, "/two"));
    sender
        .send(configuration(&allow("one", "/two")))
        .await
        .unwrap();
    assert!(!allows(&guards, "/one") && allows(&guards, "/two"));
    assert_eq!(guards.readiness().generation, 2);
}

#[tokio::test]
async fn a_change_that_opens_is_refused_and_its_sender_learns_why() {
    let (sender, channel) = source::channel(configuration(&allow("one", "/one")));
    let guards = guards(channel).await;
    let error = sender.send(Configuration::default()).await.unwrap_err();
    let problems = error.problems().unwrap().to_string();
    let refused = guards.readiness().refused.unwrap();
    assert_eq!(problems, refused.problems.to_string());
    assert!(!allows(&guards, "/two"));

    let meant = Update::from(Configuration::default()).on_opening(OnOpening::Warn);
    sender.send(meant).await.unwrap();
    assert!(allows(&guards, "/two"));
    assert!(guards.readiness().refused.is_none());
}

#[tokio::test]
async fn a_sender_learns_that_nothing_follows_its_channel() {
    let (sender, channel) = source::channel(configuration(&allow("one", "/one")));
    let (_guards, driver) = Guards::builder(workload())
        .config(channel)
        .build()
        .await
        .unwrap();
    drop(driver);
    let error = sender.send(Configuration::default()).await.unwrap_err();
    assert!(error.problems().is_none());
    assert!(error.to_string().contains("Driver"), "{error}");
}

/// A source of the application's own: gives what is in the list, then ends or waits.
struct Own {
    updates: Vec<Update>,
    ends: bool,
    verdicts: Arc<Mutex<Vec<Result<(), String>>>>,
}

impl Source for Own {
    fn next<'a>(&'a mut self, _: &'a str) -> NextUpdate<'a> {
        Box::pin(async move {
            if !self.updates.is_empty() {
                return Some(self.updates.remove(0));
            }
            if self.ends {
                return None;
            }
            pending().await
        })
    }

    fn answered(&mut self, verdict: Result<(), &Problems>) {
        let verdict = verdict.map_err(ToString::to_string);
        self.verdicts.lock().unwrap().push(verdict);
    }
}

#[tokio::test]
async fn a_source_gets_the_verdict_on_each_update_in_order() {
    let verdicts = Arc::new(Mutex::new(Vec::new()));
    let broken = Fixed::yaml("broken.yaml", "kind: [").load("default");
    let own = Own {
        updates: vec![
            configuration(&allow("one", "/one")).into(),
            Update::new(broken),
            configuration(&allow("one", "/two")).into(),
        ],
        ends: false,
        verdicts: Arc::clone(&verdicts),
    };
    let guards = guards(own).await;
    until("three verdicts", || verdicts.lock().unwrap().len() == 3).await;
    let verdicts = verdicts.lock().unwrap();
    assert_eq!((&verdicts[0], &verdicts[2]), (&Ok(()), &Ok(())));
    let problem = verdicts[1].as_ref().unwrap_err();
    assert!(problem.contains("broken.yaml:1"), "{problem}");
    assert!(allows(&guards, "/two"));
}

#[tokio::test]
async fn a_source_that_ends_is_an_error_in_the_log_and_in_readiness() {
    let (log, _guard) = Log::listen(Level::ERROR);
    let own = Own {
        updates: vec![configuration(&allow("one", "/one")).into()],
        ends: true,
        verdicts: Arc::default(),
    };
    let guards = guards(own).await;
    until("the end to be noticed", || guards.readiness().unattended).await;
    assert!(allows(&guards, "/one") && !allows(&guards, "/two"));
    let said = log.with(&["tower_mesh::config", "source", "has ended"]);
    assert_eq!(said.len(), 1, "{said:?}");
}

#[tokio::test]
async fn a_source_without_any_configuration_is_an_error_of_the_build() {
    let own = Own {
        updates: Vec::new(),
        ends: true,
        verdicts: Arc::default(),
    };
    let error = Guards::builder(workload()).config(own).build().await;
    let error = format!("{:?}", error.unwrap_err());
    assert!(error.contains("has ended before it gave any"), "{error}");
}

#[tokio::test]
async fn a_source_that_is_silent_at_first_is_in_the_log_until_it_gives_something() {
    let _still = still();
    let (log, _guard) = Log::listen(Level::WARN);
    let own = Own {
        updates: Vec::new(),
        ends: false,
        verdicts: Arc::default(),
    };
    let building = tokio::spawn(Guards::builder(workload()).config(own).build());
    let silent = || log.with(&["still waiting for the configuration"]).len();
    for seconds in [6, 11] {
        let before = silent();
        settle().await;
        pass(Duration::from_secs(seconds)).await;
        until("a word in the log", || silent() > before).await;
    }
    assert!(!building.is_finished());
    building.abort();
}

#[tokio::test]
async fn several_sources_are_one_configuration_that_changes_with_each() {
    let _still = still();
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.yaml"), allow("files", "/files")).unwrap();
    let (sender, channel) = source::channel(configuration(&allow("sent", "/sent")));
    let merged = Merged::new()
        .and(Fixed::yaml("fixed.yaml", allow("fixed", "/fixed")))
        .and(Directory::watch(directory.path()))
        .and(channel);
    let guards = guards(merged).await;
    for path in ["/files", "/sent", "/fixed"] {
        assert!(allows(&guards, path), "{path}");
    }
    assert!(!allows(&guards, "/other"));

    let changed = configuration(&allow("sent", "/other"));
    sender.send(changed).await.unwrap();
    assert!(allows(&guards, "/other") && !allows(&guards, "/sent"));
    fs::write(directory.path().join("a.yaml"), allow("files", "/new")).unwrap();
    pass_until("the files to count", || allows(&guards, "/new")).await;
    assert!(allows(&guards, "/other") && !allows(&guards, "/files"));
}

#[tokio::test]
async fn two_owners_of_one_resource_are_refused_and_so_are_two_mesh_configs() {
    let (first, one) = source::channel(configuration(&allow("same", "/one")));
    let (second, two) = source::channel(Configuration::default());
    let guards = guards(Merged::new().and(one).and(two)).await;
    let again = Fixed::yaml("second.yaml", allow("same", "/two"));
    let again = again.load("default").unwrap();
    let error = second.send(again).await.unwrap_err();
    let problems = error.problems().unwrap().to_string();
    assert!(problems.contains("second.yaml"), "{problems}");
    assert!(
        problems.contains("already written at policies.yaml"),
        "{problems}"
    );

    // While one owner is wrong, the whole is; a change of the other is refused, too.
    let change = configuration(&allow("same", "/three"));
    assert!(first.send(change.clone()).await.is_err());
    second.send(Configuration::default()).await.unwrap();
    assert!(allows(&guards, "/three"));

    let settings = |domain: &str| {
        let text = format!("trustDomain: {domain}");
        let fixed = Fixed::default().mesh_config("mesh.yaml", text);
        fixed.load("default").unwrap()
    };
    second.send(settings("one.test")).await.unwrap();
    let mut other = settings("two.test");
    other.resources = change.resources;
    let error = first.send(other).await.unwrap_err();
    let problems = error.problems().unwrap().to_string();
    assert!(problems.contains("different MeshConfigs"), "{problems}");
}

#[tokio::test]
async fn several_sources_may_open_only_where_each_says_so() {
    let (first, one) = source::channel(configuration(&allow("one", "/one")));
    let warns = Update::from(Configuration::default()).on_opening(OnOpening::Warn);
    let (_second, two) = source::channel(warns);
    let guards = guards(Merged::new().and(one).and(two)).await;
    assert!(first.send(Configuration::default()).await.is_err());
    let meant = Update::from(Configuration::default()).on_opening(OnOpening::Warn);
    first.send(meant).await.unwrap();
    assert!(allows(&guards, "/anything"));
}

/// The part of an owner that is missing must not be taken for an owner without rules.
#[tokio::test]
async fn one_of_several_sources_that_gives_nothing_is_an_error_of_the_build() {
    let ended = || Own {
        updates: Vec::new(),
        ends: true,
        verdicts: Arc::default(),
    };
    let fixed = || Fixed::yaml("fixed.yaml", allow("fixed", "/fixed"));
    for merged in [
        Merged::new().and(ended()).and(fixed()),
        Merged::new().and(fixed()).and(ended()),
        Merged::new(),
    ] {
        let error = Guards::builder(workload()).config(merged).build().await;
        let error = format!("{:?}", error.unwrap_err());
        assert!(error.contains("ended before it gave any"), "{error}");
    }
}

/// A fixed part cannot open anything, so it does not overrule the one that says `Warn`.
#[tokio::test]
async fn a_part_that_cannot_change_has_no_say_in_what_opens() {
    let meant = |configuration| Update::from(configuration).on_opening(OnOpening::Warn);
    let (sender, channel) = source::channel(meant(configuration(&allow("one", "/one"))));
    let fixed = Fixed::yaml(
        "fixed.yaml",
        policy("deny", "DENY", "[{to: [{operation: {paths: [/no]}}]}]"),
    );
    let guards = guards(Merged::new().and(fixed).and(channel)).await;
    sender.send(meant(Configuration::default())).await.unwrap();
    assert!(allows(&guards, "/anything") && !allows(&guards, "/no"));
}

/// A source that waits by the clock, and then gives what it has.
struct Slow(Vec<Update>);

impl Source for Slow {
    fn next<'a>(&'a mut self, _: &'a str) -> NextUpdate<'a> {
        Box::pin(async move {
            if self.0.len() == 1 {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            match self.0.is_empty() {
                true => pending().await,
                false => Some(self.0.remove(0)),
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_may_wait_for_as_long_as_it_likes() {
    let (one, two) = (allow("one", "/one"), allow("one", "/two"));
    let updates = [one, two].map(|text| configuration(&text).into());
    let guards = guards(Slow(updates.to_vec())).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(guards.readiness().generation, 2);
}

/// A source that is broken after its first update.
struct Broken {
    first: Option<Update>,
    panics: bool,
}

impl Source for Broken {
    fn next<'a>(&'a mut self, _: &'a str) -> NextUpdate<'a> {
        Box::pin(async move {
            if let Some(first) = self.first.take() {
                return Some(first);
            }
            assert!(!self.panics, "the source is broken");
            // The same again, at once.
            Some(configuration(&allow("one", "/one")).into())
        })
    }
}

/// The driver also keeps the identity, the keys and the addresses fresh.
#[tokio::test]
async fn a_broken_source_does_not_stop_the_driver() {
    let pki = Pki::new("cluster.local").unwrap();
    for panics in [true, false] {
        let (say, said) = tokio::sync::mpsc::channel(8);
        let next = || pki.identity("default", "app").unwrap();
        say.send(Ok(next())).await.unwrap();
        let first = Some(configuration(&allow("one", "/one")).into());
        let builder = Mesh::builder(workload(), Told(said)).config(Broken { first, panics });
        let (mesh, driver) = builder.build().await.unwrap();
        let driver = tokio::spawn(driver.run());
        if panics {
            until("the end to be noticed", || mesh.readiness().unattended).await;
        }
        let before = mesh.credentials().unwrap().generation();
        say.send(Ok(next())).await.unwrap();
        let generation = || mesh.credentials().unwrap().generation();
        until("the identity to be replaced", || generation() > before).await;
        driver.abort();
    }
}
