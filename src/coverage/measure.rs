use std::sync::Arc;

use super::Report;
use super::providers::SeenProviders;
use super::rules::{self, Asked, SeenRule, SeenRules, tests};
use crate::istio::Action;
use crate::policy::ir::Policy;
use crate::policy::{
    Attributes, Chains, Engine, Judgement, PerPort, ProviderAnswers, Request, eval,
};

/// Watches requests being judged, and says what of the rules they put to the test.
///
/// # Example
/// ```
/// use tower_mesh::Workload;
/// use tower_mesh::coverage::Coverage;
/// use tower_mesh::policy::{Engine, Request};
///
/// let engine = Engine::builder(&Workload::new("default", "patients")).named_yaml("readers.yaml", "
/// apiVersion: security.istio.io/v1
/// kind: AuthorizationPolicy
/// metadata: {name: readers}
/// spec:
///   rules:
///   - to: [{operation: {methods: [GET], paths: [/patients/*]}}]
/// ").build()?;
///
/// let mut coverage = Coverage::new(&engine);
/// coverage.observe(&Request::new().get("/patients/7"));
/// coverage.observe(&Request::new().delete("/patients/7"));
/// assert_eq!(coverage.report().to_string(), "\
/// readers.yaml: 100.0% (4 of 4)
/// total: 100.0% (4 of 4) by 2 requests
/// ");
/// # Ok::<(), tower_mesh::istio::Problems>(())
/// ```
#[derive(Clone, Debug)]
pub struct Coverage {
    engine: Engine,
    http: PerPort<Arc<[Option<Asked>]>>,
    tcp: PerPort<Arc<[Option<Asked>]>>,
    rules: SeenRules,
    providers: SeenProviders,
    requests: u64,
}

impl Coverage {
    /// Nothing is covered yet of the rules that this engine runs.
    #[must_use]
    pub fn new(engine: &Engine) -> Self {
        let mut rules = SeenRules::default();
        let program = engine.program();
        let mut prepare = |chains: &Chains, is_http| {
            chains.map_shared(|chain| {
                rules::list(&mut rules, &program.origins, chain, is_http).into()
            })
        };
        let http = prepare(&program.http, true);
        let tcp = prepare(&program.tcp, false);
        Self {
            engine: engine.clone(),
            http,
            tcp,
            rules,
            providers: SeenProviders::default(),
            requests: 0,
        }
    }

    /// Judges a request as [`Engine::judge`] does, and records the answers of the rules that it
    /// reached.
    pub fn observe(&mut self, request: &Request) {
        self.observe_with(request, &|_, _| None);
    }

    /// As [`observe`](Self::observe), with the answers of the external providers: what one refuses
    /// reaches no rule behind CUSTOM.
    pub fn observe_with(&mut self, request: &Request, answers: &ProviderAnswers<'_>) {
        self.requests += 1;
        let judgement = self.engine.judge_with(request, answers);
        self.providers.note(&judgement);
        let Some(last) = last_stage(&judgement) else {
            return;
        };
        let Ok(request) = self.engine.prepare(request) else {
            return;
        };
        let port = request.destination_port().unwrap_or_default();
        let program = self.engine.program();
        let (chain, asked) = if judgement.status.is_some() {
            (program.http.get(port), self.http.get(port))
        } else {
            (program.tcp.get(port), self.tcp.get(port))
        };
        let policies = chain.sets().flat_map(|(action, _, set)| {
            let policies = set.policies.values();
            policies.map(move |policy| (action, policy))
        });
        for ((action, policy), asked) in policies.zip(asked.iter()) {
            let Some(asked) = asked.as_ref().filter(|_| rank(action) <= rank(last)) else {
                continue;
            };
            if let Some(rule) = self.rules.list.get_mut(asked.rule) {
                note(rule, asked, policy, &request);
            }
        }
    }

    /// Adds what was observed on other rules, or on the same ones: a rule is the same when its
    /// action and name are.
    pub fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.rules.absorb(other.rules);
        self.providers.absorb(other.providers);
    }

    /// The coverage so far.
    #[must_use]
    pub fn report(&self) -> Report {
        Report::new(&self.rules.list, &self.providers, self.requests)
    }
}

/// The last stage whose rules were asked; `None` when none was.
fn last_stage(judgement: &Judgement) -> Option<Action> {
    let decision = &judgement.decision;
    match (decision.action, judgement.status) {
        _ if decision.allowed => Some(Action::Allow),
        (Some(action), _) => Some(action),
        // A legacy Policy's token is demanded after the external providers were asked.
        (None, Some(401)) => Some(Action::Custom),
        (None, _) => None,
    }
}

/// CUSTOM, AUDIT, DENY, ALLOW: the order in which Envoy's filters run.
fn rank(action: Action) -> u8 {
    match action {
        Action::Custom => 0,
        Action::Audit => 1,
        Action::Deny => 2,
        Action::Allow => 3,
    }
}

/// Notes what a rule says to a request, and which of its clauses its answer hangs on.
fn note(rule: &mut SeenRule, asked: &Asked, policy: &Policy, request: &Request) {
    let [permissions, principals] = policy.sides().map(|side| {
        let results = side.iter().map(|entry| {
            let tests = tests(entry).into_iter();
            let holds = tests.map(|test| eval::node_matches(test, request));
            holds.collect()
        });
        results.collect::<Vec<Vec<bool>>>()
    });
    let [permission_clauses, principal_clauses] = &asked.sides;
    let sides = [
        Side::new(permission_clauses, &permissions),
        Side::new(principal_clauses, &principals),
    ];
    let matched = sides.iter().all(|side| side.passing > 0);
    if matched {
        rule.matched += 1;
    } else {
        rule.unmatched += 1;
    }
    if rule.clauses.iter().all(|clause| clause.decisive) {
        return;
    }
    let count = rule.clauses.len();
    let places = sides.each_ref().map(|side| side.places(count));
    let [permissions, principals] = &places;
    let places = permissions.iter().zip(principals);
    for ((number, clause), (first, second)) in rule.clauses.iter_mut().enumerate().zip(places) {
        if !clause.decisive {
            let mut sides = sides.iter().zip([first, second]);
            let turned = sides.all(|(side, entries)| side.passes_turned(number, entries));
            clause.decisive = turned != matched;
        }
    }
}

/// The answers of the entries on one side of a rule; one matching entry is enough.
struct Side<'a> {
    /// The clause of each test of each entry.
    clauses: &'a [Vec<usize>],
    holds: &'a [Vec<bool>],
    /// How many entries pass.
    passing: usize,
}

impl<'a> Side<'a> {
    fn new(clauses: &'a [Vec<usize>], holds: &'a [Vec<bool>]) -> Self {
        let mut side = Self {
            clauses,
            holds,
            passing: 0,
        };
        let entries = 0..clauses.len().min(holds.len());
        side.passing = entries.filter(|entry| side.passes(*entry, None)).count();
        side
    }

    /// For each clause the entries that hold it, so that each is looked at no oftener than it has
    /// clauses.
    fn places(&self, count: usize) -> Vec<Vec<usize>> {
        let mut places = vec![Vec::new(); count];
        for (entry, clauses) in self.clauses.iter().enumerate() {
            for clause in clauses {
                if let Some(entries) = places.get_mut(*clause)
                    && entries.last() != Some(&entry)
                {
                    entries.push(entry);
                }
            }
        }
        places
    }

    /// Whether all tests of an entry hold, those of the clause `turned` taken for their opposite.
    fn passes(&self, entry: usize, turned: Option<usize>) -> bool {
        let (Some(clauses), Some(holds)) = (self.clauses.get(entry), self.holds.get(entry)) else {
            return false;
        };
        let mut tests = clauses.iter().zip(holds);
        tests.all(|(clause, holds)| *holds != (turned == Some(*clause)))
    }

    /// Whether some entry passes with the clause `turned`, which these entries hold.
    fn passes_turned(&self, turned: usize, entries: &[usize]) -> bool {
        let mut entries = entries.iter();
        let changed = entries.clone().filter(|entry| self.passes(**entry, None));
        self.passing > changed.count() || entries.any(|entry| self.passes(*entry, Some(turned)))
    }
}
