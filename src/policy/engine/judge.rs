use std::sync::Arc;

use super::judgement::{CustomMatch, Judgement, ProviderAnswers};
use super::request::Request;
use super::stages::Stages;
use super::{claims, trigger};
use crate::istio::{Action, MtlsMode, PathNormalization};
use crate::matcher::path::{self, Normalization, PathRefusal};
use crate::policy::explain::{Explanation, ProviderReport, explain};
use crate::policy::index::View;
use crate::policy::{Attributes, Authentication, Chain, Chains, Decision, PerPort, Program, eval};

/// Judges requests and connections of one workload. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Running>);

#[derive(Debug)]
struct Running {
    program: Program,
    http: PerPort<Arc<Stages>>,
    tcp: PerPort<Arc<Stages>>,
}

impl Engine {
    /// An engine that runs a compiled program.
    #[must_use]
    pub fn new(program: Program) -> Self {
        let stages = |chains: &Chains| chains.map_shared(|chain| Arc::new(Stages::new(chain)));
        Self(Arc::new(Running {
            http: stages(&program.http),
            tcp: stages(&program.tcp),
            program,
        }))
    }

    /// What runs.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.0.program
    }

    /// Which end-user tokens are good on a port.
    #[must_use]
    pub fn authentication(&self, port: u16) -> &Authentication {
        self.0.program.authentication.get(port)
    }

    /// Which connections a port accepts; `None` where no resource says anything.
    #[must_use]
    pub fn mtls(&self, port: u16) -> Option<MtlsMode> {
        *self.0.program.mtls.get(port)
    }

    /// How request targets are normalized before they are judged.
    #[must_use]
    pub fn path_normalization(&self) -> Normalization {
        normalization(self.0.program.path_normalization)
    }

    /// Judges an HTTP request, with its path normalized and its token verified.
    #[must_use]
    pub fn decide(&self, request: &dyn Attributes) -> Decision {
        self.0.http.get(port(request)).decide(&View::new(request))
    }

    /// Judges a raw TCP connection. Nothing asks a provider about one, so a connection that a CUSTOM
    /// rule matches is refused: see [`custom_tcp`](Self::custom_tcp).
    #[must_use]
    pub fn decide_tcp(&self, connection: &dyn Attributes) -> Decision {
        let (stages, view) = (self.0.tcp.get(port(connection)), View::new(connection));
        let unusable = stages.refused_by_custom(&view);
        let refusal = unusable.or_else(|| {
            let policy = stages.first_custom(&view)?.policy;
            Some(Decision::new(false, Some(Action::Custom), Some(policy)))
        });
        refusal.unwrap_or_else(|| stages.decide(&view))
    }

    /// The external provider that a CUSTOM rule wants to be asked about a raw TCP connection: of
    /// several the first by name. Istio asks none that speaks HTTP, and lets such connections pass;
    /// here they count.
    #[must_use]
    pub fn custom_tcp(&self, connection: &dyn Attributes) -> Option<CustomMatch> {
        let stages = self.0.tcp.get(port(connection));
        stages.first_custom(&View::new(connection))
    }

    /// The external providers to ask about an HTTP request, in byte order of their names, before
    /// its token is verified.
    #[must_use]
    pub fn custom(&self, request: &dyn Attributes) -> Vec<CustomMatch> {
        self.0.http.get(port(request)).custom(&View::new(request))
    }

    /// The refusal of an HTTP request that a CUSTOM rule of an unusable provider matches. It belongs
    /// before the request's token is verified, like [`custom`](Self::custom).
    #[must_use]
    pub fn refused_by_custom(&self, request: &dyn Attributes) -> Option<Decision> {
        let stages = self.0.http.get(port(request));
        stages.refused_by_custom(&View::new(request))
    }

    /// Treats a request as a server would: absolute targets taken apart, the path normalized,
    /// external providers listed and taken as allowing, a legacy Policy's token demanded, then the
    /// rules asked.
    #[must_use]
    pub fn judge(&self, request: &Request) -> Judgement {
        self.judge_with(request, &|_, _| None)
    }

    /// As [`judge`](Self::judge), with the answers of the providers. Those of MeshConfig are asked
    /// before a token is demanded, those in the process (expressions, the application's) after it,
    /// and all of them before other rules: a refusal of theirs ends it, and what they allow may
    /// still be refused by the rules. A raw TCP connection that a rule of a provider over HTTP
    /// matches is refused without an answer, because nothing can ask such a provider about it.
    ///
    /// # Example
    /// ```
    /// use tower_mesh::Workload;
    /// use tower_mesh::istio::parse_mesh_config;
    /// use tower_mesh::policy::{Engine, ProviderAnswer, Request};
    ///
    /// let mesh = parse_mesh_config("mesh.yaml", "
    /// extensionProviders:
    /// - name: opa
    ///   envoyExtAuthzGrpc: {service: opa.default.svc.cluster.local, port: 9191}
    /// ")?;
    /// let engine = Engine::builder(&Workload::new("default", "patients")).mesh_config(mesh).yaml("
    /// apiVersion: security.istio.io/v1
    /// kind: AuthorizationPolicy
    /// metadata: {name: ask}
    /// spec:
    ///   action: CUSTOM
    ///   provider: {name: opa}
    ///   rules: [{to: [{operation: {methods: [DELETE]}}]}]
    /// ").build()?;
    ///
    /// let request = Request::new().delete("/patients/7");
    /// let denied = engine.judge_with(&request, &|_, _| Some(ProviderAnswer::Deny { status: 401 }));
    /// assert_eq!(denied.status, Some(401));
    /// // Without failOpen, a provider that cannot be asked refuses.
    /// let down = engine.judge_with(&request, &|_, _| Some(ProviderAnswer::Error));
    /// assert_eq!(down.status, Some(403));
    /// // An answer that is not known is taken as allowing, and listed.
    /// let unknown = engine.judge(&request);
    /// assert_eq!(unknown.status, Some(200));
    /// assert_eq!(unknown.unknown_answers().next().unwrap().provider, "opa");
    /// # Ok::<(), tower_mesh::istio::Problems>(())
    /// ```
    #[must_use]
    pub fn judge_with(&self, request: &Request, answers: &ProviderAnswers<'_>) -> Judgement {
        let refused = |status, custom| Judgement {
            status: Some(status),
            decision: Decision::new(false, None, None),
            custom,
        };
        if request.target().is_none() {
            let (stages, view) = (self.0.tcp.get(port(request)), View::new(request));
            let (mut custom, forms) = (Vec::new(), std::slice::from_ref(request));
            let mut ask = |after_tokens| {
                let refusal = stages.ask(forms, (answers, after_tokens), &mut custom);
                refusal.map(|(_, decision)| decision)
            };
            let refusal = stages.refused_by_custom(&view);
            let refusal = refusal.or_else(|| ask(false)).or_else(|| ask(true));
            // As `serve_tcp`: nothing can ask it, whatever it would answer.
            let refusal = refusal.or_else(|| {
                let policy = stages.first_unasked(&view)?.policy;
                Some(Decision::new(false, Some(Action::Custom), Some(policy)))
            });
            return Judgement {
                status: None,
                decision: refusal.unwrap_or_else(|| stages.decide(&view)),
                custom,
            };
        }
        if request.method() == Some("CONNECT") {
            return refused(403, Vec::new());
        }
        let Ok(request) = self.prepare(request) else {
            return refused(400, Vec::new());
        };
        self.judge_forms(&forms(request), answers).0
    }

    /// Judges a request in all forms of its host, its own first, as a server does: a provider is
    /// asked when its rules match one of them, and of the decisions of the rules the one
    /// [counts](Decision::weight) that has the most to say. With it the place of the form that
    /// decided.
    fn judge_forms(&self, forms: &[Request], answers: &ProviderAnswers<'_>) -> (Judgement, usize) {
        let own = forms.first();
        let stages = self
            .0
            .http
            .get(own.map(|own| port(own)).unwrap_or_default());
        let mut unusable = forms.iter().enumerate().filter_map(|(place, form)| {
            let refusal = stages.refused_by_custom(&View::new(form))?;
            Some((403, refusal, place))
        });
        let mut custom = Vec::new();
        let mut ask = |after_tokens| {
            let refusal = stages.ask(forms, (answers, after_tokens), &mut custom);
            refusal.map(|(status, decision)| (status, decision, 0))
        };
        let refusal = unusable.next().or_else(|| ask(false)).or_else(|| {
            let lacks_token = own.is_some_and(|own| self.lacks_token(own));
            lacks_token.then(|| (401, Decision::new(false, None, None), 0))
        });
        let (status, decision, place) = refusal.or_else(|| ask(true)).unwrap_or_else(|| {
            let mut counts = (Decision::new(false, None, None), 0);
            for (place, form) in forms.iter().enumerate() {
                let decision = stages.decide(&View::new(form));
                if place == 0 || decision.weight() > counts.0.weight() {
                    counts = (decision, place);
                }
            }
            let (decision, place) = counts;
            (if decision.allowed { 200 } else { 403 }, decision, place)
        });
        let judgement = Judgement {
            status: Some(status),
            decision,
            custom,
        };
        (judgement, place)
    }

    /// A request as the rules see it: an absolute target taken apart, the path normalized,
    /// space-delimited claims split, and without claims where a legacy Policy looks at no token of
    /// their issuer.
    ///
    /// # Errors
    /// When a server answers 400.
    pub fn prepare(&self, request: &Request) -> Result<Request, PathRefusal> {
        let authentication = self.authentication(port(request));
        let Some(target) = request.target() else {
            return Ok(request.clone());
        };
        let (origin, rest) = path::split_absolute(target)?;
        let normal = path::normalize(rest, self.path_normalization())?;
        request.check_bytes()?;
        let prepared = request.with_target(origin.map(|origin| origin.scheme), &normal);
        let prepared = match &authentication.legacy {
            Some(policy) if !trigger::takes_token(policy, &prepared) => prepared.without_claims(),
            _ => prepared.map_claims(|claims| claims::prepared(claims, authentication)),
        };
        Ok(match origin {
            Some(origin) => prepared.authority(origin.host),
            None => prepared,
        })
    }

    /// Says why [`decide`](Self::decide) decides as it does: every rule, and of each that does not
    /// match the clauses that failed.
    #[must_use]
    pub fn explain(&self, request: &dyn Attributes) -> Explanation {
        let decision = self.decide(request);
        self.explain_http(request, &decision, &self.custom(request))
    }

    fn explain_http(
        &self,
        request: &dyn Attributes,
        decision: &Decision,
        custom: &[CustomMatch],
    ) -> Explanation {
        let chain = self.program().http.get(port(request));
        self.explain_chain(chain, request, decision, custom)
    }

    fn explain_chain(
        &self,
        chain: &Chain,
        request: &dyn Attributes,
        decision: &Decision,
        custom: &[CustomMatch],
    ) -> Explanation {
        let asked = custom.iter().map(|asked| {
            let mut filters = chain.custom.iter();
            let filter = filters.find(|filter| filter.provider == asked.provider);
            let provider = filter.and_then(|filter| filter.usable.as_ref());
            ProviderReport::new(&asked.provider, &asked.policy, asked.answer, provider)
        });
        let origins = &self.program().origins;
        explain(chain, origins, decision, asked.collect(), request)
    }

    /// Says why [`decide_tcp`](Self::decide_tcp) decides as it does.
    #[must_use]
    pub fn explain_tcp(&self, connection: &dyn Attributes) -> Explanation {
        let stages = self.0.tcp.get(port(connection));
        let custom = stages.custom(&View::new(connection));
        self.explain_connection(connection, &self.decide_tcp(connection), &custom)
    }

    fn explain_connection(
        &self,
        connection: &dyn Attributes,
        decision: &Decision,
        custom: &[CustomMatch],
    ) -> Explanation {
        let chain = self.program().tcp.get(port(connection));
        let mut explanation = self.explain_chain(chain, connection, decision, custom);
        let stages = self.0.tcp.get(port(connection));
        if let Some(unasked) = stages.first_unasked(&View::new(connection))
            && decision.action == Some(Action::Custom)
            && decision.policy.as_ref() == Some(&unasked.policy)
        {
            let report = ProviderReport::unasked(&unasked.provider, &unasked.policy);
            explanation.providers.push(report);
        }
        explanation
    }

    /// Says why [`judge`](Self::judge) answers as it does; `None` when the request never reaches a
    /// rule, because its path is refused.
    #[must_use]
    pub fn explain_judgement(&self, request: &Request) -> Option<Explanation> {
        self.explain_judgement_with(request, &|_, _| None)
    }

    /// Says why [`judge_with`](Self::judge_with) answers as it does.
    #[must_use]
    pub fn explain_judgement_with(
        &self,
        request: &Request,
        answers: &ProviderAnswers<'_>,
    ) -> Option<Explanation> {
        let prepared = self.prepare(request).ok()?;
        let mut judgement = self.judge_with(request, answers);
        let Some(status) = judgement.status else {
            let Judgement {
                decision, custom, ..
            } = &judgement;
            return Some(self.explain_connection(&prepared, decision, custom));
        };
        let forms = forms(prepared);
        let mut place = 0;
        // CONNECT is refused before its rules.
        if request.method() != Some("CONNECT") {
            (judgement, place) = self.judge_forms(&forms, answers);
        }
        let Judgement {
            decision, custom, ..
        } = &judgement;
        let prepared = forms.get(place)?;
        if decision.action == Some(Action::Custom) {
            return Some(self.explain_http(prepared, decision, custom));
        }
        let mut explanation = self.explain_http(prepared, &self.decide(prepared), custom);
        if status != 200 && explanation.allowed {
            // Refused before the rules were asked.
            (explanation.allowed, explanation.action, explanation.policy) = (false, None, None);
        }
        Some(explanation)
    }

    /// Whether a legacy Policy demands a token that the request does not bring. CORS preflights
    /// pass without.
    fn lacks_token(&self, request: &Request) -> bool {
        let Some(policy) = &self.authentication(port(request)).legacy else {
            return false;
        };
        let names_origin = |name: &str| request.any_header(name, &mut |value| !value.is_empty());
        let is_preflight = request.method() == Some("OPTIONS")
            && names_origin("origin")
            && names_origin("access-control-request-method");
        request.claims().is_none()
            && !is_preflight
            && trigger::demands_token(policy, eval::url_path(request).unwrap_or_default())
    }
}

/// The request, and its other forms where the host is also judged bare.
fn forms(request: Request) -> Vec<Request> {
    let others: Vec<_> = request.to_other_hosts().collect();
    std::iter::once(request).chain(others).collect()
}

fn port(request: &dyn Attributes) -> u16 {
    request.destination_port().unwrap_or_default()
}

/// MeshConfig's setting in the matcher's words.
pub(crate) fn normalization(setting: PathNormalization) -> Normalization {
    match setting {
        PathNormalization::None => Normalization::None,
        PathNormalization::Base => Normalization::Base,
        PathNormalization::MergeSlashes => Normalization::MergeSlashes,
        PathNormalization::DecodeAndMergeSlashes => Normalization::DecodeAndMergeSlashes,
    }
}
