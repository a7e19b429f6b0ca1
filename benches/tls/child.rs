//! Processes beside the one that measures: told what to do line by line, looked at from outside.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A process of this very program in another role; it ends with the value.
pub(crate) struct Child {
    process: Process,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Child {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_program(std::env::current_exe().unwrap(), arguments)
    }

    pub(crate) fn start_program(program: impl AsRef<OsStr>, arguments: &[&str]) -> Self {
        // As many descriptors as may be had: each connection is one at either end.
        let mut process = Command::new("sh")
            .args(["-c", "ulimit -n \"$(ulimit -Hn)\"; exec \"$0\" \"$@\""])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let questions = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self {
            process,
            questions,
            answers,
        }
    }

    pub(crate) fn ask(&mut self, question: &str) -> String {
        self.tell(question);
        self.answer()
    }

    /// Asks, but does not wait for the answer.
    pub(crate) fn tell(&mut self, question: &str) {
        writeln!(self.questions.as_mut().unwrap(), "{question}").unwrap();
    }

    pub(crate) fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the other process has ended");
        line.trim().to_owned()
    }

    /// The processor time of all its threads so far, to the nanosecond.
    pub(crate) fn processor(&self) -> Duration {
        let tasks = self.file("task");
        let times = fs::read_dir(tasks).unwrap().filter_map(|task| {
            let text = fs::read_to_string(task.unwrap().path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(times.sum())
    }

    /// Memory of its own, in bytes: what it allocated and touched, not the program's text.
    pub(crate) fn memory(&self) -> i64 {
        let status = fs::read_to_string(self.file("status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let kibibytes = line.unwrap().trim().trim_end_matches(" kB");
        kibibytes.parse::<i64>().unwrap() * 1024
    }

    fn file(&self, name: &str) -> impl AsRef<Path> {
        format!("/proc/{}/{name}", self.process.id())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It reads to the end of what it is told.
        drop(self.questions.take());
        let _ = self.process.wait();
    }
}

/// Tells whoever started this process.
#[expect(clippy::print_stdout, reason = "the answer is read by the parent")]
pub(crate) fn tell(answer: impl std::fmt::Display) {
    println!("{answer}");
    let _ = std::io::stdout().flush();
}
