use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::providers::{ProviderCoverage, SeenProviders};
use super::rules::{Clause, SeenRule};

/// The coverage of each file. Prints the gaps for people, serializes for programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The share of covered points in percent, rounded down to one decimal; `None` when there is no
    /// rule.
    pub percent: Option<f64>,
    /// Covered points.
    pub covered: usize,
    /// All points.
    pub points: usize,
    /// How many requests were judged.
    pub requests: u64,
    /// The external providers that were asked, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<ProviderCoverage>,
    /// The files that hold rules, by name.
    pub files: Vec<FileCoverage>,
}

/// The coverage of the rules in one file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FileCoverage {
    /// The file, as problems name it.
    pub file: String,
    /// The share of covered points in percent, rounded down to one decimal.
    pub percent: Option<f64>,
    /// Covered points.
    pub covered: usize,
    /// All points.
    pub points: usize,
    /// The rules in the order in which they are written.
    pub rules: Vec<RuleCoverage>,
}

/// The coverage of one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RuleCoverage {
    /// `CUSTOM`, `AUDIT`, `DENY` or `ALLOW`.
    pub action: &'static str,
    /// Evaluated and reported, never enforced.
    pub dry_run: bool,
    /// The rule's name.
    pub policy: String,
    /// Where it starts.
    pub line: u32,
    /// Where it starts.
    pub column: u32,
    /// How many requests it matched.
    pub matched: u64,
    /// How many requests reached it and did not match.
    pub unmatched: u64,
    /// Its clauses in the order in which they are written.
    pub clauses: Vec<ClauseCoverage>,
}

/// The coverage of one clause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClauseCoverage {
    /// The field's path; of a legacy role what the clause asks for.
    pub field: String,
    /// Where its first value was written; for a legacy role, where the role starts.
    pub line: u32,
    /// Where its first value was written.
    pub column: u32,
    /// Whether some request's answer hung on it.
    pub decisive: bool,
}

impl Report {
    pub(super) fn new(rules: &[SeenRule], providers: &SeenProviders, requests: u64) -> Self {
        let mut by_file: BTreeMap<&str, Vec<&SeenRule>> = BTreeMap::new();
        for rule in rules {
            by_file.entry(&rule.at.file).or_default().push(rule);
        }
        let files = by_file.into_iter();
        let files = files.map(|(file, rules)| FileCoverage::new(file, rules));
        let files: Vec<_> = files.collect();
        let covered = files.iter().map(|file| file.covered).sum();
        let points = files.iter().map(|file| file.points).sum();
        Self {
            percent: percent(covered, points),
            covered,
            points,
            requests,
            providers: providers.list(),
            files,
        }
    }

    /// Whether at least this share is covered, in percent. Never when there is no rule: nothing was
    /// tested then.
    #[must_use]
    pub fn is_at_least(&self, percent: f64) -> bool {
        self.points > 0 && share(self.covered, self.points) >= percent
    }
}

impl FileCoverage {
    fn new(file: &str, mut rules: Vec<&SeenRule>) -> Self {
        rules.sort_by(|a, b| (&a.at, &a.key.policy).cmp(&(&b.at, &b.key.policy)));
        let rules: Vec<_> = rules.into_iter().map(RuleCoverage::new).collect();
        let covered = rules.iter().map(RuleCoverage::covered).sum();
        let points = rules.iter().map(RuleCoverage::points).sum();
        Self {
            file: file.to_owned(),
            percent: percent(covered, points),
            covered,
            points,
            rules,
        }
    }
}

impl RuleCoverage {
    fn new(rule: &SeenRule) -> Self {
        let mut clauses: Vec<&Clause> = rule.clauses.iter().collect();
        clauses.sort_by(|a, b| (&a.at, &a.field).cmp(&(&b.at, &b.field)));
        Self {
            action: rule.key.action.as_str(),
            dry_run: rule.key.dry_run,
            policy: rule.key.policy.to_string(),
            line: rule.at.line,
            column: rule.at.column,
            matched: rule.matched,
            unmatched: rule.unmatched,
            clauses: clauses
                .into_iter()
                .map(|clause| ClauseCoverage {
                    field: clause.field.clone(),
                    line: clause.at.line,
                    column: clause.at.column,
                    decisive: clause.decisive,
                })
                .collect(),
        }
    }

    fn covered(&self) -> usize {
        let decisive = self.clauses.iter().filter(|clause| clause.decisive);
        usize::from(self.matched > 0)
            + usize::from(self.can_fail() && self.unmatched > 0)
            + decisive.count()
    }

    fn points(&self) -> usize {
        1 + usize::from(self.can_fail()) + self.clauses.len()
    }

    /// A rule without clauses matches everything.
    fn can_fail(&self) -> bool {
        !self.clauses.is_empty()
    }
}

fn share(covered: usize, points: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "nobody writes 2^52 rules")]
    let (covered, points) = (covered as f64, points as f64);
    100.0 * covered / points
}

/// Rounded down, so that 100 means all.
fn percent(covered: usize, points: usize) -> Option<f64> {
    (points > 0).then(|| (share(covered, points) * 10.0).floor() / 10.0)
}

impl fmt::Display for Report {
    /// Prints a line for each file, its gaps below it, a line for each provider, and the total.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.iter().try_for_each(|file| file.fmt(f))?;
        let mut providers = self.providers.iter();
        providers.try_for_each(|provider| writeln!(f, "{provider}"))?;
        let Some(percent) = self.percent else {
            return writeln!(f, "total: no rule applies to this workload");
        };
        let (covered, points) = (self.covered, self.points);
        let requests = match self.requests {
            1 => "1 request".to_owned(),
            count => format!("{count} requests"),
        };
        writeln!(
            f,
            "total: {percent:.1}% ({covered} of {points}) by {requests}"
        )
    }
}

impl fmt::Display for FileCoverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.percent.unwrap_or_default();
        let (file, covered, points) = (&self.file, self.covered, self.points);
        writeln!(f, "{file}: {percent:.1}% ({covered} of {points})")?;
        let rules = self.rules.iter();
        let mut gaps = rules.filter(|rule| rule.covered() < rule.points());
        gaps.try_for_each(|rule| rule.fmt(f))
    }
}

impl fmt::Display for RuleCoverage {
    /// What of it is not covered.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dry_run = if self.dry_run { " (dry run)" } else { "" };
        let (line, column, action, policy) = (self.line, self.column, self.action, &self.policy);
        writeln!(f, "  {line}:{column} {action}{dry_run} {policy}")?;
        if self.matched == 0 {
            writeln!(f, "    no request made it match")?;
        }
        if self.can_fail() && self.unmatched == 0 {
            writeln!(f, "    no request made it fail to match")?;
        }
        let idle = self.clauses.iter().filter(|clause| !clause.decisive);
        for clause in idle {
            let (line, column, field) = (clause.line, clause.column, &clause.field);
            writeln!(f, "    {line}:{column} {field} was never decisive")?;
        }
        Ok(())
    }
}
