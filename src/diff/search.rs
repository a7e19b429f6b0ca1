//! The options of a search, and what it returns.

use super::rules::Side;
use super::witness::Witness;
use crate::policy::{Access, Engine, Judgement, Request};

/// Looks for requests that two engines of one workload answer differently.
#[derive(Clone, Debug)]
#[must_use]
pub struct Search<'a> {
    pub(super) old: &'a Engine,
    pub(super) new: &'a Engine,
    pub(super) port: u16,
    pub(super) is_tcp: bool,
    pub(super) limit: usize,
    pub(super) at_most: usize,
    pub(super) access_only: bool,
}

impl<'a> Search<'a> {
    /// A search over HTTP requests to port 80 and the ports that either side names, with at most
    /// 20,000 questions and 1,000 findings.
    pub fn new(old: &'a Engine, new: &'a Engine) -> Self {
        Self {
            old,
            new,
            port: 80,
            is_tcp: false,
            limit: 20_000,
            at_most: 1_000,
            access_only: false,
        }
    }

    /// The port that the workload listens on.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Raw TCP connections instead of HTTP requests.
    pub fn tcp(mut self) -> Self {
        self.is_tcp = true;
        self
    }

    /// Asks at most so many questions.
    pub fn limit(mut self, questions: usize) -> Self {
        self.limit = questions;
        self
    }

    /// Ends when so many requests are found.
    pub fn at_most(mut self, findings: usize) -> Self {
        self.at_most = findings;
        self
    }

    /// Only whether a request passes counts, and which external providers must allow it; not by
    /// which rule or with which status, nor audits and dry runs.
    pub fn access_only(mut self) -> Self {
        self.access_only = true;
        self
    }

    pub(super) fn engine(&self, side: Side) -> &'a Engine {
        match side {
            Side::Old => self.old,
            Side::New => self.new,
        }
    }

    /// Both answers.
    pub(super) fn judge(&self, request: &Request) -> (Judgement, Judgement) {
        (self.old.judge(request), self.new.judge(request))
    }

    /// Whether two answers count as different.
    pub(super) fn differ(&self, old: &Judgement, new: &Judgement) -> bool {
        if self.access_only {
            access(old) != access(new)
        } else {
            old != new
        }
    }

    pub(super) fn plain(&self, port: u16) -> Witness {
        if self.is_tcp {
            Witness::tcp(port)
        } else {
            Witness::http(port)
        }
    }
}

/// Whether a request passes, and which providers must allow it.
fn access(judgement: &Judgement) -> (Access, Vec<&str>) {
    let access = judgement.access();
    let providers = judgement.unknown_answers();
    let providers = providers.filter(|_| access != Access::Refused);
    let names = providers.map(|asked| asked.provider.as_str());
    (access, names.collect())
}

/// What a [`Search`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Found {
    /// Requests that are answered differently, each without anything that does not matter, the
    /// simplest first.
    pub witnesses: Vec<Witness>,
    /// How many requests were asked about.
    pub asked: usize,
    /// Not all that the search had in mind was asked: it ended at its limit, or it shared its
    /// questions among many rules.
    pub is_cut: bool,
    /// The search ended because it had found as much as [`Search::at_most`] says; a higher limit of
    /// questions finds no more.
    pub is_full: bool,
}
