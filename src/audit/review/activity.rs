//! What happened in a period.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::SystemTime;

use serde::Serialize;

use super::filter::RecordFilter;
use super::line::{Plain, who};
use super::show::each;
use crate::audit::record::Entry;
use crate::audit::scalar::Timestamp;
use crate::audit::verify::{Verify, VerifyError, VerifyReport};

/// The answers to an auditor's standing questions about a period: who accessed what and how often,
/// what was refused and by which rule, how the emergency access was used, what changed in the
/// configuration, and what is not in the trail.
///
/// The lists are bounded; what finds no room in them is counted as `more`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ActivityReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    records: u64,
    unreadable: u64,
    accesses: Counted<Access>,
    /// Of the accesses: those whose end is not in the period.
    open: u64,
    refusals: Counted<Refusals>,
    errors: u64,
    break_glass: Vec<Change>,
    break_glass_uses: u64,
    configuration: Vec<Change>,
    configuration_changes: u64,
    identity_changes: u64,
    events: Counted<String>,
    gaps: u64,
    gap_events: u64,
    /// Of the whole trail.
    verification: VerifyReport,
}

/// Counts of things; what found no room is in `more`.
#[derive(Clone, Debug, Serialize)]
struct Counted<T> {
    counts: Vec<Count<T>>,
    more: u64,
    #[serde(skip)]
    by_key: BTreeMap<T, u64>,
}

impl<T> Default for Counted<T> {
    fn default() -> Self {
        Self {
            counts: Vec::new(),
            more: 0,
            by_key: BTreeMap::new(),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Count<T> {
    what: T,
    count: u64,
}

/// Who accessed what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Access {
    /// The user and the workload.
    pub who: String,
    /// The method.
    pub action: String,
    /// The route, or the service.
    pub resource: String,
    /// The issuer that has named the user, if there is one: two of them may name two by one name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issuer: String,
    /// The proxy that spoke for the caller, if one did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub via: String,
}

/// What was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Refusals {
    /// The policy that refused, if one did.
    pub policy: String,
    /// The reason.
    pub reason: String,
    /// The method and the route.
    pub what: String,
}

/// One use of the emergency access, or one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// When.
    pub time: String,
    /// Who, if the record says so.
    pub who: String,
    /// What: the access, or where the configuration came from and what became of it.
    pub what: String,
}

impl ActivityReport {
    /// Reads the trail from one time until before another, and verifies all of it.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(
        verify: &Verify,
        from: Option<SystemTime>,
        to: Option<SystemTime>,
    ) -> Result<Self, VerifyError> {
        let verification = verify.run()?;
        let mut filter = RecordFilter::default();
        let text = |time: SystemTime| Timestamp::from(time).to_string();
        let mut report = Self {
            from: from.map(text),
            to: to.map(text),
            verification,
            ..Self::default()
        };
        if let Some(from) = from {
            filter = filter.from(from);
        }
        if let Some(to) = to {
            filter = filter.to(to);
        }
        let mut open = Open::default();
        report.unreadable = each(verify.folder(), |entry| {
            if filter.passes(entry) {
                report.take(entry, &mut open);
            }
            true
        })
        .map_err(|error| verify.failed(error))?;
        report.take_open(&mut open);
        report.accesses.sort();
        report.refusals.sort();
        report.events.sort();
        Ok(report)
    }

    /// How the whole trail was verified.
    #[must_use]
    pub fn verification(&self) -> &VerifyReport {
        &self.verification
    }

    /// Who accessed what, and how often; the most first.
    ///
    /// A request that waited for its record and then was not let through (its record could not be made
    /// durable, or a guard behind refused) is none. One whose end is not in the trail is: nobody knows
    /// that it was not answered.
    pub fn accesses(&self) -> impl Iterator<Item = (&Access, u64)> {
        self.accesses.iter()
    }

    /// What was refused by which rule, and how often; the most first.
    pub fn refusals(&self) -> impl Iterator<Item = (&Refusals, u64)> {
        self.refusals.iter()
    }

    /// How often the emergency access was used, and the first uses.
    #[must_use]
    pub fn break_glass(&self) -> (u64, &[Change]) {
        (self.break_glass_uses, &self.break_glass)
    }

    /// How often the configuration changed, and the first changes.
    #[must_use]
    pub fn configuration(&self) -> (u64, &[Change]) {
        (self.configuration_changes, &self.configuration)
    }

    /// The accesses that were begun, and whose end did not come.
    fn take_open(&mut self, open: &mut Open) {
        for access in open.calls.drain().map(|(_, access)| access) {
            self.open += 1;
            self.accesses.add(access, 1);
        }
    }

    fn take(&mut self, entry: &Entry<'_>, open: &mut Open) {
        self.records += 1;
        // The numbers of calls are those of a process, as streams are.
        if entry.stream() != open.stream {
            self.take_open(open);
            open.stream = entry.stream().to_owned();
        }
        let text = |field| entry.text(field).unwrap_or_default().into_owned();
        let resource = || match entry.text("resource.route") {
            Some(route) => route.into_owned(),
            None => text("resource.service"),
        };
        let action = || {
            let (action, resource) = (text("action"), resource());
            format!("{action} {resource}").trim().to_owned()
        };
        let change = |what| Change {
            time: entry.time().to_string(),
            who: who(entry),
            what,
        };
        let count = entry.number("count").unwrap_or(1);
        match entry.kind() {
            "access" => {
                let outcome = entry.text("outcome");
                match outcome.as_deref() {
                    Some("deny") => self.refusals.add(
                        Refusals {
                            policy: text("policy"),
                            reason: text("reason"),
                            what: action(),
                        },
                        count,
                    ),
                    Some("error") => self.errors = self.errors.saturating_add(count),
                    _ => {}
                }
                let access = || Access {
                    who: who(entry),
                    action: text("action"),
                    resource: resource(),
                    issuer: text("actor.iss"),
                    via: text("actor.via"),
                };
                let is_refused = outcome.as_deref() == Some("deny")
                    || entry.text("reason").as_deref() == Some(UNAVAILABLE);
                // An intent and its completion are one access.
                match (entry.text("phase").as_deref(), entry.number("call")) {
                    (Some("intent"), Some(call)) if open.calls.len() < MOST_KEYS => {
                        open.calls.insert(call, access());
                    }
                    (Some("completion"), Some(call)) => {
                        // Without a beginning, that was before the period and is counted there.
                        if let Some(access) = open.calls.remove(&call)
                            && !is_refused
                        {
                            self.accesses.add(access, count);
                        }
                    }
                    _ if !is_refused => self.accesses.add(access(), count),
                    _ => {}
                }
            }
            "break_glass" => {
                self.break_glass_uses = self.break_glass_uses.saturating_add(count);
                push(&mut self.break_glass, || change(action()));
            }
            "config" => {
                self.configuration_changes = self.configuration_changes.saturating_add(count);
                let what = || {
                    let (source, result) = (text("source"), text("result"));
                    format!(
                        "{source}: {result}, {} to {}",
                        text("old_hash"),
                        text("hash")
                    )
                };
                push(&mut self.configuration, || change(what()));
            }
            "identity" => {
                self.identity_changes = self.identity_changes.saturating_add(count);
            }
            "event" => self.events.add(text("name"), count),
            "gap" => {
                self.gaps += 1;
                let n = entry.number("n").unwrap_or_default();
                self.gap_events = self.gap_events.saturating_add(n);
            }
            _ => {}
        }
    }
}

/// Accesses of a stream that were begun and have not ended yet.
#[derive(Debug, Default)]
struct Open {
    stream: String,
    /// By the number of the call.
    calls: HashMap<u64, Access>,
}

impl<T: Ord + Clone> Counted<T> {
    fn add(&mut self, key: T, count: u64) {
        let has_room = self.by_key.len() < MOST_KEYS;
        match self.by_key.get_mut(&key) {
            Some(counted) => *counted = counted.saturating_add(count),
            None if has_room => {
                self.by_key.insert(key, count);
            }
            None => self.more = self.more.saturating_add(count),
        }
    }

    /// Puts the most first.
    fn sort(&mut self) {
        let counts = std::mem::take(&mut self.by_key).into_iter();
        self.counts = counts.map(|(what, count)| Count { what, count }).collect();
        self.counts
            .sort_by_key(|counted| std::cmp::Reverse(counted.count));
    }

    fn iter(&self) -> impl Iterator<Item = (&T, u64)> {
        self.counts
            .iter()
            .map(|counted| (&counted.what, counted.count))
    }
}

fn push(list: &mut Vec<Change>, change: impl FnOnce() -> Change) {
    if list.len() < MOST_CHANGES {
        list.push(change());
    }
}

/// For a person.
impl fmt::Display for ActivityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from.as_deref(), self.to.as_deref());
        let (from, to) = (from.unwrap_or("the beginning"), to.unwrap_or("the end"));
        writeln!(f, "from {from} to {to}: {} records", self.records)?;
        writeln!(f, "\naccesses (who, what, how often)")?;
        for (access, count) in self.accesses() {
            let Access {
                who,
                action,
                resource,
                issuer,
                via,
            } = access;
            let (who, resource) = (Plain(who), Plain(resource));
            write!(f, "{count:>8}  {who}  {} {resource}", Plain(action))?;
            for (word, text) in [("issuer", issuer), ("via", via)] {
                if !text.is_empty() {
                    write!(f, "  {word} {}", Plain(text))?;
                }
            }
            writeln!(f)?;
        }
        more(f, self.accesses.more)?;
        writeln!(f, "{:>8}  of these or their ends failed", self.errors)?;
        if self.open > 0 {
            writeln!(f, "{:>8}  of these have no end in the period", self.open)?;
        }
        writeln!(f, "\nrefused (policy, reason, what, how often)")?;
        for (refusals, count) in self.refusals() {
            let Refusals {
                policy,
                reason,
                what,
            } = refusals;
            let (policy, what) = (Plain(policy), Plain(what));
            writeln!(f, "{count:>8}  {policy}  {}  {what}", Plain(reason))?;
        }
        more(f, self.refusals.more)?;
        writeln!(f, "\nemergency access: {} uses", self.break_glass_uses)?;
        changes(f, &self.break_glass)?;
        writeln!(f, "\nconfiguration: {} changes", self.configuration_changes)?;
        changes(f, &self.configuration)?;
        writeln!(f, "\nidentity: {} changes", self.identity_changes)?;
        writeln!(f, "\nevents of the application")?;
        for (name, count) in self.events.iter() {
            writeln!(f, "{count:>8}  {}", Plain(name))?;
        }
        more(f, self.events.more)?;
        let (gaps, events) = (self.gaps, self.gap_events);
        writeln!(f, "\nnot in the trail: {events} events, in {gaps} gaps")?;
        if self.unreadable > 0 {
            writeln!(f, "lines that are no records: {}", self.unreadable)?;
        }
        writeln!(
            f,
            "\nverification of the whole trail\n{}",
            self.verification
        )
    }
}

fn more(f: &mut fmt::Formatter<'_>, more: u64) -> fmt::Result {
    match more {
        0 => Ok(()),
        _ => writeln!(f, "{more:>8}  more, of others"),
    }
}

fn changes(f: &mut fmt::Formatter<'_>, changes: &[Change]) -> fmt::Result {
    for Change { time, who, what } in changes {
        writeln!(f, "  {time}  {}  {}", Plain(who), Plain(what))?;
    }
    Ok(())
}

/// The reason of a request that was refused because its record was not durable.
const UNAVAILABLE: &str = "audit_unavailable";

const MOST_KEYS: usize = 10_000;
const MOST_CHANGES: usize = 1000;
