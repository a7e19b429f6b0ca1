use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use http::Request;

use super::super::queue::Lines;
use super::*;
use crate::access_log::format::Kept;
use crate::matcher::path_redaction::PathRedaction;
use crate::message::{Direction, End, Report, ResponseFlags};

const SOON: Duration = Duration::from_secs(20);

/// A queue and its writer, which does not begin before it is told to.
fn held(target: Target, lines: usize, bytes: usize) -> (Queue, SyncSender<()>, JoinHandle<()>) {
    let (queue, received) = queue(lines, bytes);
    let (begin, begun) = sync_channel::<()>(0);
    let run = move |begun: Receiver<()>, lines: Lines| {
        let _ = begun.recv();
        writer::run(&lines, target);
    };
    let thread = thread::spawn(move || run(begun, received));
    (queue, begin, thread)
}

/// Sends a line, of some exchange.
fn send(sink: &Sink, line: &[u8]) {
    let (head, ()) = Request::new(()).into_parts();
    let report = Report {
        direction: Direction::Inbound,
        exchange: None,
        peer: None,
        server_address: None,
        #[cfg(all(feature = "server", feature = "client"))]
        progress: None,
        method: &head.method,
        version: head.version,
        authority: None,
        path: None,
        status: None,
        counted_status: None,
        end: End::cancelled(),
        flags: ResponseFlags::none(),
        request_bytes: 0,
        request_took: None,
        duration: Duration::ZERO,
        ended: Instant::now(),
    };
    let facts = Facts {
        report: &report,
        kept: &Kept::new(&head, SystemTime::now(), &[]),
        redaction: &PathRedaction::default(),
        own: None,
    };
    sink.send(line, facts);
}

fn file(path: &Path) -> Target {
    Target::File {
        file: open(path).unwrap(),
        next: Arc::default(),
    }
}

#[test]
fn what_has_no_room_is_dropped_and_counted_and_the_rest_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (queue, begin, thread) = held(file(&path), 3, 1_000);
    for line in ["1\n", "2\n", "3\n", "4\n", "5\n"] {
        queue.send(line.as_bytes());
    }
    assert_eq!(queue.counts.full(), 2);
    drop(begin);
    assert!(queue.flush(SOON));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n3\n");
    // There is room again.
    queue.send(b"6\n");
    drop(queue);
    thread.join().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n3\n6\n");
}

#[test]
fn the_queue_is_bounded_in_bytes_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (queue, begin, thread) = held(file(&path), 100, 10);
    for line in ["1234\n", "5678\n", "9\n"] {
        queue.send(line.as_bytes());
    }
    assert_eq!(queue.counts.full(), 1);
    drop(begin);
    assert!(queue.flush(SOON));
    queue.send(b"9\n");
    assert!(queue.flush(SOON));
    assert_eq!(queue.counts.written(), 3);
    drop(queue);
    thread.join().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "1234\n5678\n9\n");
}

/// A writer that does not come forward holds nobody up for longer than they wait.
#[test]
fn a_flush_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, begin, thread) = held(file(&folder.path().join("a")), 1, 100);
    assert!(!queue.flush(Duration::from_millis(5)));
    // The question of the first is in the queue, so the second finds no room.
    assert!(!queue.flush(Duration::from_millis(5)));
    drop((begin, queue));
    thread.join().unwrap();
}

#[test]
fn a_file_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("access.log"), folder.path().join("old"));
    let sink = Sink::file(&path).unwrap();
    send(&sink, b"before\n");
    assert!(sink.flush(SOON));
    std::fs::rename(&path, &old).unwrap();
    send(&sink, b"moved\n");
    assert!(sink.flush(SOON));
    sink.reopen().unwrap();
    send(&sink, b"after\n");
    assert!(sink.flush(SOON));
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "before\nmoved\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "after\n");
    assert_eq!(sink.written_lines(), 3);
}

/// The old file stays in use when the new one cannot be opened.
#[test]
fn a_file_that_cannot_be_opened_again_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("logs");
    std::fs::create_dir(&inside).unwrap();
    let sink = Sink::file(inside.join("access.log")).unwrap();
    std::fs::rename(&inside, folder.path().join("moved")).unwrap();
    assert!(sink.reopen().is_err());
    send(&sink, b"still\n");
    assert!(sink.flush(SOON));
    let moved = folder.path().join("moved/access.log");
    assert_eq!(std::fs::read_to_string(moved).unwrap(), "still\n");
    assert!(Sink::file(folder.path().join("none/a")).is_err());
    assert!(Sink::stdout().reopen().is_ok());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
    let next = Arc::<ArcSwapOption<File>>::default();
    let target = Target::File {
        file: full,
        next: Arc::clone(&next),
    };
    let (queue, begin, thread) = held(target, 100, 1_000);
    drop(begin);
    queue.send(b"1\n");
    queue.send(b"2\n");
    assert!(queue.flush(SOON));
    assert_eq!((queue.counts.failed(), queue.counts.written()), (2, 0));
    // There is room again.
    next.store(Some(Arc::new(open(&path).unwrap())));
    queue.send(b"3\n");
    assert!(queue.flush(SOON));
    assert_eq!((queue.counts.failed(), queue.counts.written()), (2, 1));
    drop(queue);
    thread.join().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "3\n");
}

/// What was written in part ends before the next line, so that a torn line spoils no other.
#[cfg(unix)]
#[test]
fn a_closed_pipe_costs_lines_and_tears_no_later_one() {
    use std::io::{BufRead, BufReader};

    let (reader, pipe) = io::pipe().unwrap();
    let pipe = File::from(std::os::fd::OwnedFd::from(pipe));
    let next = Arc::<ArcSwapOption<File>>::default();
    let target = Target::File {
        file: pipe,
        next: Arc::clone(&next),
    };
    let (queue, begin, thread) = held(target, 100, 100_000_000);
    drop(begin);
    queue.send(b"1\n");
    let mut first = String::new();
    let mut reader = BufReader::new(reader);
    reader.read_line(&mut first).unwrap();
    assert_eq!(first, "1\n");
    // More than a pipe holds: its reader leaves while this is written.
    let long = [vec![b'x'; 4_000_000], b"\n".to_vec()].concat();
    queue.send(&long);
    let mut some = [0; 10];
    io::Read::read_exact(&mut reader, &mut some).unwrap();
    drop(reader);
    assert!(queue.flush(SOON));
    assert_eq!((queue.counts.written(), queue.counts.failed()), (1, 1));
    queue.send(b"2\n");
    assert!(queue.flush(SOON));
    assert_eq!((queue.counts.written(), queue.counts.failed()), (1, 2));
    let (reader, pipe) = io::pipe().unwrap();
    let pipe = File::from(std::os::fd::OwnedFd::from(pipe));
    next.store(Some(Arc::new(pipe)));
    queue.send(b"3\n");
    assert!(queue.flush(SOON));
    drop(queue);
    thread.join().unwrap();
    drop(next);
    let rest: Result<Vec<_>, _> = BufReader::new(reader).lines().collect();
    assert_eq!(rest.unwrap(), ["3"]);
}

#[test]
fn a_sink_of_ones_own_says_what_it_takes() {
    struct First(AtomicBool);
    impl LineSink for First {
        fn take(&self, _: &[u8]) -> bool {
            !self.0.swap(true, Ordering::Relaxed)
        }
    }
    let sink = Sink::custom(First(AtomicBool::default()));
    send(&sink, b"1\n");
    send(&sink, b"2\n");
    assert_eq!((sink.written_lines(), sink.dropped_lines()), (1, 1));
    assert!(sink.flush(Duration::ZERO));
}
