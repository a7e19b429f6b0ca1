use std::path::PathBuf;

use super::answer::Answer;
use super::stubs::Stubs;
use super::{By, Expectation, words};
use crate::Workload;
use crate::gate::Gate;
use crate::istio::Problems;
use crate::policy::{Engine, PolicyId, ProviderAnswer, Request, compile};
use crate::source::Directory;

/// The policies of one workload, ready to be asked.
///
/// # Example
/// ```
/// use tower_mesh::Workload;
/// use tower_mesh::testing::policy::{Policies, request};
///
/// let patients = Policies::parse(&Workload::new("default", "patients"), "
/// apiVersion: security.istio.io/v1
/// kind: AuthorizationPolicy
/// metadata: {name: readers}
/// spec:
///   rules:
///   - from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}]
///     to: [{operation: {methods: [GET]}}]
/// ");
/// let desk = request().from("cluster.local/ns/default/sa/desk");
/// patients.expect(desk.clone().get("/patients/7")).to_be_allowed().by("readers/0");
/// patients.expect(desk.delete("/patients/7")).to_be_denied().by("none");
/// ```
#[derive(Clone, Debug)]
pub struct Policies {
    engine: Engine,
    gate: Gate,
    stubs: Stubs,
}

impl Policies {
    /// The policies in a file, or in a directory's `*.yaml`, `*.yml` and `*.json`. Under
    /// `cargo test` a relative path starts at the package's root.
    ///
    /// # Panics
    /// When they cannot be read, or are wrong; the message lists each problem with file, line,
    /// column and field.
    #[track_caller]
    #[must_use]
    pub fn read(workload: &Workload, path: impl Into<PathBuf>) -> Self {
        or_fail(Self::load(workload, &Directory::new(path)))
    }

    /// The policies of a YAML text, such as `include_str!` gives.
    ///
    /// # Panics
    /// When they are wrong; the message lists each problem with line, column and field.
    #[track_caller]
    #[must_use]
    pub fn parse(workload: &Workload, yaml: &str) -> Self {
        let built = Engine::builder(workload).named_yaml("yaml", yaml).build();
        or_fail(built.map(Self::from))
    }

    /// The policies in several places, with a file for the mesh's settings if need be.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(workload: &Workload, directory: &Directory) -> Result<Self, Problems> {
        Self::load_with(workload, directory, &[])
    }

    /// As [`load`](Self::load), for an application that registers these providers in Rust
    /// (`MeshBuilder::authorizer`). [`provider`](Self::provider) says what they answer.
    ///
    /// # Errors
    /// As there.
    pub fn load_with(
        workload: &Workload,
        directory: &Directory,
        authorizers: &[&str],
    ) -> Result<Self, Problems> {
        let configuration = directory.read(workload.namespace())?;
        let mesh = (*configuration.mesh_config).clone();
        let names = authorizers.iter();
        let mesh = names.fold(mesh, |mesh, name| mesh.with_authorizer(name));
        let program = compile(&configuration.resources, &mesh, workload)?;
        Ok(Self::from(Engine::new(program)))
    }

    /// Puts this gate in front of the policies, in place of [`Gate::istio`]. Paths are normalized
    /// as the mesh's settings say, whatever the gate says.
    #[must_use]
    pub fn gate(self, gate: Gate) -> Self {
        Self { gate, ..self }
    }

    /// Says what an external provider (CUSTOM) answers to every request, in place of the provider.
    ///
    /// As soon as one provider has an answer, a test fails whose request reaches a provider without
    /// one. Without any, providers are taken as allowing.
    ///
    /// ```
    /// use tower_mesh::Workload;
    /// use tower_mesh::policy::ProviderAnswer;
    /// use tower_mesh::testing::policy::{Policies, request};
    ///
    /// let patients = Policies::parse(&Workload::new("default", "patients"), "
    /// apiVersion: v1
    /// kind: ConfigMap
    /// metadata: {name: istio, namespace: istio-system}
    /// data:
    ///   mesh: |-
    ///     extensionProviders:
    ///     - {name: opa, envoyExtAuthzGrpc: {service: opa.opa.svc.cluster.local, port: 9191}}
    /// ---
    /// apiVersion: security.istio.io/v1
    /// kind: AuthorizationPolicy
    /// metadata: {name: ask}
    /// spec: {action: CUSTOM, provider: {name: opa}, rules: [{}]}
    /// ");
    /// let denying = patients.clone().provider("opa", ProviderAnswer::Deny { status: 401 });
    /// denying.expect(request().get("/")).to_be_answered(401).by("ask/0");
    /// let down = patients.provider("opa", ProviderAnswer::Error);
    /// down.expect(request().get("/")).to_be_answered(403);
    /// ```
    #[must_use]
    pub fn provider(mut self, name: impl Into<String>, answer: ProviderAnswer) -> Self {
        self.stubs.always(name, answer);
        self
    }

    /// As [`provider`](Self::provider), with an answer by request, which it gets in the form that
    /// the rules see. It may be asked several times about one request.
    #[must_use]
    pub fn provider_with(
        mut self,
        name: impl Into<String>,
        answer: impl Fn(&Request) -> ProviderAnswer + Send + Sync + 'static,
    ) -> Self {
        self.stubs.by_request(name, answer);
        self
    }

    /// Lets a test fail whose request reaches a provider without an answer, though none has one.
    #[must_use]
    pub fn demand_provider_answers(mut self) -> Self {
        self.stubs.demand();
        self
    }

    /// The engine that answers.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Begins a sentence about what a request is answered with.
    #[must_use = "it asserts nothing until it is told what to expect"]
    pub fn expect(&self, request: Request) -> Expect<'_> {
        let answer = self.answer(&request);
        Expect {
            gate: self.gate,
            engine: &self.engine,
            stubs: self.stubs.clone(),
            request,
            answer,
            so_far: None,
        }
    }

    /// What the gate answers, or else the engine.
    pub(super) fn answer(&self, request: &Request) -> Answer {
        Answer::to(request, self.gate, &self.engine, &self.stubs)
    }

    /// What the providers answer.
    pub(super) fn stubs(&self) -> &Stubs {
        &self.stubs
    }

    /// Compares what is expected of a request with what it is answered.
    pub(super) fn check(&self, expected: &Expectation, request: &Request) -> Result<(), String> {
        expected.check_with(self.gate, &self.engine, request, &self.stubs)
    }
}

impl From<Engine> for Policies {
    fn from(engine: Engine) -> Self {
        Self {
            stubs: Stubs::of(&engine),
            engine,
            gate: Gate::istio(),
        }
    }
}

/// A request whose answer is about to be compared; made by [`Policies::expect`].
///
/// Each method panics when the answer is another one. The message names the request, what was
/// expected and what came, and lists every rule with its file and line and the clause that kept it
/// from matching.
#[derive(Debug)]
pub struct Expect<'p> {
    gate: Gate,
    engine: &'p Engine,
    stubs: Stubs,
    request: Request,
    answer: Answer,
    so_far: Option<Expectation>,
}

#[expect(
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    reason = "an assertion may end a sentence"
)]
impl Expect<'_> {
    /// It is so when this external provider answers like this, whatever the policies' own
    /// [`provider`](Policies::provider) says.
    #[must_use = "it asserts nothing until it is told what to expect"]
    pub fn when_provider(mut self, name: impl Into<String>, answer: ProviderAnswer) -> Self {
        self.stubs.always(name, answer);
        self.answer = Answer::to(&self.request, self.gate, self.engine, &self.stubs);
        self
    }

    /// It may pass.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn to_be_allowed(self) -> Self {
        self.to_be(Expectation::allowed())
    }

    /// It is refused, with any status.
    ///
    /// # Panics
    /// When it may pass.
    #[track_caller]
    pub fn to_be_denied(self) -> Self {
        self.to_be(Expectation::denied())
    }

    /// A server answers with this status.
    ///
    /// # Panics
    /// When it answers with another one.
    #[track_caller]
    pub fn to_be_answered(self, status: u16) -> Self {
        self.to_be(Expectation::answered(status))
    }

    /// The [gate](crate::gate) refuses it, so that no rule is asked.
    ///
    /// # Panics
    /// When the gate lets it pass.
    #[track_caller]
    pub fn to_be_refused_by_the_gate(self) -> Self {
        self.to_be(Expectation::refused_by_the_gate())
    }

    /// The answer just stated comes from this rule: `check-in/0`, `none` and what else [`By`]
    /// reads.
    ///
    /// # Panics
    /// When another rule decides, or the text names no rule.
    #[track_caller]
    pub fn by(mut self, rule: &str) -> Self {
        let rule = or_fail(By::parse(rule));
        let stated = self.so_far.take();
        let stated = stated.unwrap_or_else(|| match self.answer.judgement.decision.allowed {
            true => Expectation::allowed(),
            false => Expectation::denied(),
        });
        self.to_be(stated.by(rule))
    }

    /// It is what is expected.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn to_be(mut self, expected: Expectation) -> Self {
        or_fail(expected.check_with(self.gate, self.engine, &self.request, &self.stubs));
        self.so_far = Some(expected);
        self
    }

    /// An AUDIT rule marks it.
    ///
    /// # Panics
    /// When this one does not, or the text names no rule.
    #[track_caller]
    pub fn to_be_audited_by(self, rule: &str) -> Self {
        let wanted = or_fail(By::parse(rule));
        let marks = self.answer.judgement.decision.marks.as_deref();
        let audited = marks.map_or(&[][..], |marks| &marks.audit);
        if !audited.iter().any(|name| wanted.is(Some(name))) {
            let expected = format!("audited by {rule}");
            self.fail(&expected, audited.iter().map(PolicyId::as_str));
        }
        self
    }

    /// An external provider is asked about it (a CUSTOM rule matches); the other answers then say
    /// what follows when it allows, or answers as [`when_provider`](Self::when_provider) says.
    ///
    /// # Panics
    /// When this provider is not asked.
    #[track_caller]
    pub fn to_be_sent_to(self, provider: &str) -> Self {
        let asked = &self.answer.judgement.custom;
        if !asked.iter().any(|asked| asked.provider == provider) {
            let expected = format!("sent to {provider}");
            self.fail(&expected, asked.iter().map(|asked| asked.provider.as_str()));
        }
        self
    }

    #[track_caller]
    fn fail<'n>(&self, expected: &str, got: impl Iterator<Item = &'n str>) {
        let got = match got.collect::<Vec<_>>().as_slice() {
            [] => "none".to_owned(),
            got => got.join(", "),
        };
        let engine = self.engine;
        let line = words::request_line(&self.request);
        let answer = words::answer_line(engine, &self.answer);
        let note = match words::assumes_trust_domain(engine, &self.request) {
            true => words::ASSUMED,
            false => "",
        };
        or_fail(Err::<(), _>(format!(
            "{line}\n  expected: {expected}\n  got:      {got}; {answer}\n{note}"
        )));
    }
}

/// Ends the test that asked with what is wrong.
#[track_caller]
pub(super) fn or_fail<T, E: std::fmt::Display>(outcome: Result<T, E>) -> T {
    match outcome {
        Ok(value) => value,
        #[expect(clippy::panic, reason = "this is how a test fails")]
        Err(why) => panic!("{why}"),
    }
}
