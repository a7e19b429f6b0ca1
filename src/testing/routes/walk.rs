//! What a walk found.

use std::fmt;

use http::Method;

use super::answer::Answer;
use super::probes::Probe;

/// The result of [`Routes::walk`](super::Routes::walk); prints as a report.
#[derive(Clone, Debug)]
#[must_use = "it asserts nothing by itself"]
pub struct Walk {
    routes: usize,
    seed: u64,
    left_out: u64,
    requests: usize,
    unguarded: Vec<Unguarded>,
}

/// A route, or a group of paths, that something other than a guard answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unguarded {
    /// The route as it was listed; `unlisted paths at and below /api`, `OPTIONS *` or
    /// `random paths` for the others.
    pub route: String,
    /// The answers, each once.
    pub answers: Vec<Answered>,
}

/// Requests to one route with the same answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// How many requests got it.
    pub requests: usize,
    /// Their methods, each once.
    pub methods: Vec<Method>,
    /// The path of the first of them, asked with the first of the methods.
    pub path: String,
}

impl Walk {
    pub(super) fn new(routes: usize, seed: u64, left_out: u64) -> Self {
        Self {
            routes,
            seed,
            left_out,
            requests: 0,
            unguarded: Vec::new(),
        }
    }

    pub(super) fn answered(&mut self, probe: &Probe, answer: Option<Answer>) {
        self.requests += 1;
        let Some(answer) = answer else {
            return;
        };
        // Requests to one route follow each other.
        match self.unguarded.last_mut() {
            Some(last) if last.route == probe.about => last.add(probe, answer),
            _ => {
                let mut first = Unguarded {
                    route: probe.about.clone(),
                    answers: Vec::new(),
                };
                first.add(probe, answer);
                self.unguarded.push(first);
            }
        }
    }

    /// The routes and groups of paths that are not guarded, in the order in which they were asked.
    #[must_use]
    pub fn unguarded(&self) -> &[Unguarded] {
        &self.unguarded
    }

    /// How many requests were sent.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// Every request was refused by a guard, and every recorded route was asked.
    ///
    /// # Panics
    /// With the report, when that is not so.
    #[track_caller]
    pub fn assert_guarded(&self) {
        assert!(self.unguarded.is_empty() && self.left_out == 0, "{self}");
    }
}

impl Unguarded {
    fn add(&mut self, probe: &Probe, answer: Answer) {
        let (method, path) = (probe.method.clone(), &probe.path);
        let known = self.answers.iter_mut().find(|known| known.answer == answer);
        let Some(known) = known else {
            self.answers.push(Answered {
                answer,
                requests: 1,
                methods: vec![method],
                path: path.to_string(),
            });
            return;
        };
        known.requests += 1;
        if !known.methods.contains(&method) {
            known.methods.push(method);
        }
    }
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            routes,
            seed,
            left_out,
            requests,
            unguarded,
        } = self;
        writeln!(f, "routes: {routes}, requests: {requests}, seed: {seed}")?;
        if *left_out > 0 {
            writeln!(
                f,
                "not asked: {left_out} recorded requests had no room; record more routes with \
                 RecordRoutesLayer::at_most"
            )?;
        }
        if unguarded.is_empty() {
            return writeln!(f, "a guard refused every request");
        }
        writeln!(f, "not guarded:")?;
        for one in unguarded {
            write!(f, "{one}")?;
        }
        writeln!(
            f,
            "Guard the finished service with policies that deny all: Mesh::serve or Mesh::protect, \
             around the last route, merge and fallback."
        )
    }
}

impl fmt::Display for Unguarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {}", self.route)?;
        let mut answers = self.answers.iter();
        answers.try_for_each(|answered| writeln!(f, "    {answered}"))
    }
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            answer,
            requests,
            methods,
            path,
        } = self;
        let methods: Vec<_> = methods.iter().map(Method::as_str).collect();
        let first = methods.first().copied().unwrap_or_default();
        write!(f, "{answer}: {first} {path}")?;
        match requests {
            1 => Ok(()),
            _ => write!(f, " and {} more, by {}", requests - 1, methods.join(", ")),
        }
    }
}
