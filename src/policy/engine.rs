use std::sync::Arc;

use super::explain::explain;
use super::ir::Rbac;
use super::{
    Attributes, Authentication, Chain, Decision, DryRun, EngineBuilder, Explanation, Marks,
    PolicyId, Program, Request, RuleSets, eval, trigger,
};
use crate::identity::Workload;
use crate::istio::{Action, MtlsMode, PathNormalization};
use crate::matcher::path::{self, Normalization, PathRefusal};

/// Judges requests and connections of one workload. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Program>);

impl Engine {
    /// Starts an engine for a workload from resources.
    ///
    /// # Example
    /// ```
    /// use tower_mesh::Workload;
    /// use tower_mesh::policy::{Engine, Request};
    ///
    /// let engine = Engine::builder(&Workload::new("default", "patients")).yaml("
    /// apiVersion: security.istio.io/v1
    /// kind: AuthorizationPolicy
    /// metadata: {name: readers}
    /// spec:
    ///   rules:
    ///   - from: [{source: {principals: [cluster.local/ns/default/sa/front-desk]}}]
    ///     to: [{operation: {methods: [GET], paths: [/patients/*]}}]
    /// ").build()?;
    ///
    /// let request = Request::new().get("/patients/7").from("cluster.local/ns/default/sa/front-desk");
    /// assert!(engine.decide(&request).is_allowed());
    /// assert!(!engine.decide(&request.delete("/patients/7")).is_allowed());
    /// # Ok::<(), tower_mesh::istio::Problems>(())
    /// ```
    pub fn builder(workload: &Workload) -> EngineBuilder<'_> {
        EngineBuilder::new(workload)
    }

    /// An engine that runs a compiled program.
    #[must_use]
    pub fn new(program: Program) -> Self {
        Self(Arc::new(program))
    }

    /// What runs.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.0
    }

    /// Which end-user tokens are good on a port.
    #[must_use]
    pub fn authentication(&self, port: u16) -> &Authentication {
        self.0.authentication.get(port)
    }

    /// Which connections a port accepts; `None` where no resource says anything.
    #[must_use]
    pub fn mtls(&self, port: u16) -> Option<MtlsMode> {
        *self.0.mtls.get(port)
    }

    /// How request targets are normalized before they are judged.
    #[must_use]
    pub fn path_normalization(&self) -> Normalization {
        match self.0.path_normalization {
            PathNormalization::None => Normalization::None,
            PathNormalization::Base => Normalization::Base,
            PathNormalization::MergeSlashes => Normalization::MergeSlashes,
            PathNormalization::DecodeAndMergeSlashes => Normalization::DecodeAndMergeSlashes,
        }
    }

    /// Judges an HTTP request, with its path normalized and its token verified.
    #[must_use]
    pub fn decide(&self, request: &dyn Attributes) -> Decision {
        decide(self.0.http.get(port(request)), request)
    }

    /// Judges a raw TCP connection.
    #[must_use]
    pub fn decide_tcp(&self, connection: &dyn Attributes) -> Decision {
        decide(self.0.tcp.get(port(connection)), connection)
    }

    /// The external providers to ask about an HTTP request, in byte order of their names, before its token is verified.
    #[must_use]
    pub fn custom(&self, request: &dyn Attributes) -> Vec<CustomMatch> {
        custom(self.0.http.get(port(request)), request)
    }

    /// Treats a request as a server would: absolute targets taken apart, the path normalized, external providers listed, a legacy Policy's
    /// token demanded, then the rules asked.
    #[must_use]
    pub fn judge(&self, request: &Request) -> Judgement {
        let chain = self.0.http.get(port(request));
        if request.target().is_none() {
            let chain = self.0.tcp.get(port(request));
            return Judgement {
                status: None,
                decision: decide(chain, request),
                custom: custom(chain, request),
            };
        }
        if request.method() == Some("CONNECT") {
            return Judgement::refused(403, Vec::new());
        }
        let Ok(request) = self.prepare(request) else {
            return Judgement::refused(400, Vec::new());
        };
        let custom = custom(chain, &request);
        if let Some(decision) = refused_by_custom(chain, &request) {
            return Judgement {
                status: Some(403),
                decision,
                custom,
            };
        }
        if self.lacks_token(&request) {
            return Judgement::refused(401, custom);
        }
        let decision = decide(chain, &request);
        let status = if decision.allowed { 200 } else { 403 };
        Judgement {
            status: Some(status),
            decision,
            custom,
        }
    }

    /// A request as the rules see it: an absolute target taken apart, the path normalized.
    ///
    /// # Errors
    /// When a server answers 400.
    pub fn prepare(&self, request: &Request) -> Result<Request, PathRefusal> {
        let Some(target) = request.target() else {
            return Ok(request.clone());
        };
        let (authority, target) = path::split_absolute(target);
        let target = path::normalize(&target, self.path_normalization())?;
        let prepared = request.with_target(&target);
        Ok(match authority {
            Some(authority) => prepared.authority(authority),
            None => prepared,
        })
    }

    /// Says why [`decide`](Self::decide) decides as it does: every rule, and of each that does not match the clauses that failed.
    #[must_use]
    pub fn explain(&self, request: &dyn Attributes) -> Explanation {
        explain(
            self.0.http.get(port(request)),
            &self.decide(request),
            request,
        )
    }

    /// Says why [`decide_tcp`](Self::decide_tcp) decides as it does.
    #[must_use]
    pub fn explain_tcp(&self, connection: &dyn Attributes) -> Explanation {
        explain(
            self.0.tcp.get(port(connection)),
            &self.decide_tcp(connection),
            connection,
        )
    }

    /// Whether a legacy Policy demands a token that the request does not bring. CORS preflights pass without.
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

/// An external provider that must be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CustomMatch {
    /// The provider's name.
    pub provider: String,
    /// The rule that asks for it.
    pub policy: PolicyId,
}

fn port(request: &dyn Attributes) -> u16 {
    request.destination_port().unwrap_or_default()
}

/// What a server would answer to a [`Request`] whose handler succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Judgement {
    /// 200, or the refusal: 400 (path), 401 (a legacy Policy's token is missing), 403. `None` for a raw TCP connection.
    pub status: Option<u16>,
    /// What the rules decided; a refusal without action when the request never reached them.
    pub decision: Decision,
    /// The external providers that would be asked; taken as allowing.
    pub custom: Vec<CustomMatch>,
}

impl Judgement {
    fn refused(status: u16, custom: Vec<CustomMatch>) -> Self {
        Self {
            status: Some(status),
            decision: Decision::new(false, None, None),
            custom,
        }
    }
}

/// Refuses what an external provider that cannot be asked would have to judge.
fn refused_by_custom(chain: &Chain, request: &dyn Attributes) -> Option<Decision> {
    let mut unusable = chain.custom.iter().filter(|filter| filter.usable.is_none());
    let name = unusable.find_map(|filter| first(&filter.rules, request))?;
    Some(Decision::new(false, Some(Action::Custom), Some(name)))
}

fn custom(chain: &Chain, request: &dyn Attributes) -> Vec<CustomMatch> {
    let usable = chain.custom.iter().filter(|filter| filter.usable.is_some());
    let matches = usable.filter_map(|filter| {
        Some(CustomMatch {
            provider: filter.provider.clone(),
            policy: first(&filter.rules, request)?,
        })
    });
    matches.collect()
}

fn decide(chain: &Chain, request: &dyn Attributes) -> Decision {
    if let Some(refusal) = refused_by_custom(chain, request) {
        return refusal;
    }
    let mut marks = Marks::default();
    if let Some(audit) = &chain.audit {
        marks.audit = eval::all_matches(audit, request).cloned().collect();
    }
    marks.dry_run_deny = shadow(&chain.deny, false, request);
    let denied = chain
        .deny
        .enforced
        .as_ref()
        .and_then(|rules| first(rules, request));
    let mut decision = match (denied, &chain.allow.enforced) {
        (Some(name), _) => Decision::new(false, Some(Action::Deny), Some(name)),
        (None, None) => Decision::new(true, None, None),
        (None, Some(rules)) => {
            let name = first(rules, request);
            Decision::new(name.is_some(), Some(Action::Allow), name)
        }
    };
    if decision.action != Some(Action::Deny) {
        marks.dry_run_allow = shadow(&chain.allow, true, request);
    }
    decision.marks = (marks != Marks::default()).then(|| Arc::new(marks));
    decision
}

fn shadow(sets: &RuleSets, allow: bool, request: &dyn Attributes) -> Option<DryRun> {
    let name = first(sets.shadow.as_ref()?, request);
    Some(DryRun::new(name.is_some() == allow, name))
}

fn first(rules: &Rbac, request: &dyn Attributes) -> Option<PolicyId> {
    eval::first_match(rules, request).cloned()
}
