//! The faults of a disk, through a running mesh over real sockets.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tower_mesh::audit::{FaultKind, Trail, Verify};
use tower_mesh::mesh::AuditedRoute;
use tower_mesh::testing::Pki;

use super::clinic::{Clinic, SetClock, ask};
use super::{PATIENCE, Records};
use crate::support::mesh::app;

pub(super) fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "jsonl"));
    paths.sort();
    paths
}

/// A full disk: 503, no handler, and once there is room again the gap has the exact number.
#[tokio::test]
async fn a21_a_full_disk_refuses_until_there_is_room_and_the_gap_is_exact() {
    let (records, clock) = (Records::default(), SetClock::new());
    let (trail, set) = (records.trail(), clock.clone());
    let clinic = Clinic::new(|audit| audit.trail(trail).clock(set)).await;
    assert_eq!(clinic.ask().await, 200);
    records.fails(true);
    for _ in 0..3 {
        assert_eq!(clinic.ask().await, 503);
    }
    assert_eq!(clinic.handled(), 1);
    records.fails(false);
    clock.pass(Duration::from_secs(2));
    assert!(clinic.mesh.flush_audit(PATIENCE).await);
    assert_eq!(clinic.ask().await, 200);
    assert_eq!(clinic.handled(), 2);
    let all = records.all(&clinic.mesh).await;
    let count = |kind| all.iter().filter(|one| one["type"] == kind).count() as u64;
    let gaps = all.iter().filter_map(|one| one["n"].as_u64());
    // Each of the five requests has an intent and a completion.
    assert_eq!(count("access") + gaps.sum::<u64>(), 10, "{all:?}");
    assert_eq!(count("gap"), 1);
}

/// The volume of a trail goes away while the mesh serves, so that nothing can be made in it, also by root; and comes
/// back.
#[tokio::test]
async fn a20_a_volume_that_is_gone_refuses_and_the_trail_goes_on_when_it_is_back() {
    let base = tempfile::tempdir().unwrap();
    let (folder, away) = (base.path().join("trail"), base.path().join("away"));
    let clock = SetClock::new();
    let (trail, set) = (Trail::folder(&folder), clock.clone());
    let clinic = Clinic::new(|audit| audit.trail(trail).clock(set)).await;
    assert_eq!(clinic.ask().await, 200);
    fs::rename(&folder, &away).unwrap();
    for _ in 0..2 {
        assert_eq!(clinic.ask().await, 503);
    }
    assert_eq!(clinic.handled(), 1);
    fs::rename(&away, &folder).unwrap();
    clock.pass(Duration::from_secs(2));
    assert!(clinic.mesh.flush_audit(PATIENCE).await);
    assert_eq!(clinic.ask().await, 200);
    let report = clinic.verified(&folder).await;
    assert!(report.is_whole(), "{report}");
    assert!(report.gaps().1 > 0, "{report}");
}

/// A disk that is slow: requests wait for it and not for each other.
#[tokio::test]
async fn a20_requests_that_wait_for_a_slow_disk_share_its_fsync() {
    let records = Records::default();
    let trail = records.trail();
    let clinic = Clinic::new(|audit| audit.trail(trail).clock(SetClock::new())).await;
    assert!(clinic.mesh.flush_audit(PATIENCE).await);
    let slow = records.block_flush();
    let asking = (0..8).map(|_| {
        let (pki, address) = (Arc::clone(&clinic.pki), clinic.served.address);
        tokio::spawn(async move { ask(&pki, address).await })
    });
    let asking: Vec<_> = asking.collect();
    slow.reached().await;
    // The first waits for its fsync, and the others for the next.
    let taken = || {
        let queued = clinic.mesh.audit().unwrap().counters();
        let queued: u64 = queued.map(|trail| trail.queued().0).sum();
        usize::try_from(queued).unwrap() + records.text().matches("\"intent\"").count()
    };
    while taken() < 8 {
        tokio::task::yield_now().await;
    }
    assert_eq!(clinic.handled(), 0, "no handler runs before its record");
    let before = records.flushes();
    drop(slow);
    for one in asking {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_eq!(clinic.handled(), 8);
    assert!(records.flushes() - before <= 1, "{}", records.flushes());
}

/// A segment is deleted, or another file put in its place, while the mesh serves.
#[tokio::test]
async fn a_segment_that_goes_while_the_mesh_serves_costs_no_request_and_verify_finds_it() {
    for is_replaced in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let trail = Trail::folder(folder.path());
        let clinic = Clinic::new(|audit| audit.trail(trail)).await;
        assert_eq!(clinic.ask().await, 200);
        assert!(clinic.mesh.flush_audit(PATIENCE).await);
        let segment = segments(folder.path()).remove(0);
        let text = fs::read_to_string(&segment).unwrap();
        fs::remove_file(&segment).unwrap();
        if is_replaced {
            let (first, _) = text.split_once('\n').unwrap();
            fs::write(&segment, format!("{first}\n")).unwrap();
        }
        assert_eq!(clinic.ask().await, 200, "{is_replaced}");
        assert_eq!(clinic.handled(), 2);
        assert_eq!(segments(folder.path()).len(), 1 + usize::from(is_replaced));
        let report = clinic.verified(folder.path()).await;
        let fault = report.first_fault().unwrap();
        assert_eq!(fault.kind(), FaultKind::Missing, "{report}");
    }
}

/// A folder belongs to one mesh. The error says which folder, and what to do.
#[tokio::test]
async fn two_meshes_on_one_folder_are_refused_with_its_name_and_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let trail = Trail::folder(folder.path());
    let clinic = Clinic::new(|audit| audit.trail(trail)).await;
    let pki = Pki::new("cluster.local").unwrap();
    let second = || {
        let trail = Trail::folder(folder.path());
        let route = AuditedRoute::new("/patients/{id}");
        app(&pki).audit(|audit| audit.trail(trail).route(route))
    };
    let error = second().build().await.unwrap_err().to_string();
    for piece in [
        &*folder.path().display().to_string(),
        "another process writes the audit trail",
        "each process needs a folder of its own",
    ] {
        assert!(error.contains(piece), "{piece}: {error}");
    }
    assert_eq!(clinic.ask().await, 200);
    // When the first has ended, the second goes on with the trail.
    assert!(clinic.verified(folder.path()).await.is_whole());
    let (mesh, _driver) = second().build().await.unwrap();
    assert!(mesh.stop_audit(PATIENCE).await);
    let report = Verify::new(folder.path()).run().unwrap();
    assert!(report.is_whole(), "{report}");
}

/// The clock steps back and forth while the mesh serves: the trail stays whole, and the steps are told.
#[tokio::test]
async fn a28_a_clock_that_steps_both_ways_harms_no_trail() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), SetClock::new());
    let (trail, set) = (Trail::folder(folder.path()), clock.clone());
    let clinic = Clinic::new(|audit| audit.trail(trail).clock(set)).await;
    for step in [-86_400, 172_800, -3] {
        assert_eq!(clinic.ask().await, 200);
        clock.step(step);
        assert_eq!(clinic.ask().await, 200);
    }
    let text = fs::read_to_string(segments(folder.path()).remove(0)).unwrap();
    for step in [-86_400_000_i64, 172_800_000, -3000] {
        assert!(
            text.contains(&format!("\"clock_step_ms\":{step},")),
            "{step}: {text}"
        );
    }
    let report = clinic.verified(folder.path()).await;
    assert!(report.is_whole(), "{report}");
    assert_eq!(report.clock_steps().0, 2, "{report}");
}
