use std::collections::BTreeMap;

use super::Expression;
use crate::istio::ProviderKind;
use crate::policy::{Attributes, CustomMatch, Engine, ProviderAnswer};

/// The rules of an engine's providers that are expressions, ready to answer in place of a server.
///
/// # Example
/// ```
/// use tower_mesh::Workload;
/// use tower_mesh::cel::ProviderRules;
/// use tower_mesh::policy::{Engine, Request};
///
/// let engine = Engine::builder(&Workload::new("default", "patients")).yaml("
/// apiVersion: mesh.tower/v1
/// kind: Authorizer
/// metadata: {name: own-ward}
/// spec: {expression: \"request.headers['x-ward'] == '3'\"}
/// ---
/// apiVersion: security.istio.io/v1
/// kind: AuthorizationPolicy
/// metadata: {name: ask}
/// spec: {action: CUSTOM, provider: {name: own-ward}, rules: [{}]}
/// ").build()?;
///
/// let rules = ProviderRules::of(&engine);
/// let status = |ward: &str| {
///     let request = Request::new().header("x-ward", ward);
///     engine.judge_with(&request, &|asked, form| rules.answer(asked, form)).status
/// };
/// assert_eq!((status("3"), status("4")), (Some(200), Some(403)));
/// # Ok::<(), tower_mesh::istio::Problems>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ProviderRules(BTreeMap<String, Option<Expression>>);

impl ProviderRules {
    /// The rules of the providers that policies of the engine's workload ask.
    #[must_use]
    pub fn of(engine: &Engine) -> Self {
        let program = engine.program();
        let chains = [&program.http, &program.tcp].into_iter();
        let chains = chains
            .flat_map(|chains| std::iter::once(&chains.default).chain(chains.by_port.values()));
        let filters = chains.flat_map(|chain| &chain.custom);
        let mut rules = BTreeMap::new();
        for filter in filters {
            if let Some(ProviderKind::Expression(text)) =
                filter.usable.as_ref().map(|provider| &provider.kind)
            {
                let name = rules.entry(filter.provider.clone());
                name.or_insert_with(|| Expression::compile(text).ok());
            }
        }
        Self(rules)
    }

    /// What a provider answers to a request; `None` when it is no expression. An expression without
    /// an answer, because it reads what the request does not have, is an error, which refuses.
    #[must_use]
    pub fn answer(&self, asked: &CustomMatch, request: &dyn Attributes) -> Option<ProviderAnswer> {
        let rule = self.0.get(&asked.provider)?;
        let answer = rule.as_ref().map(|rule| rule.evaluate(request));
        Some(match answer {
            Some(Ok(true)) => ProviderAnswer::Allow,
            Some(Ok(false)) => ProviderAnswer::deny(),
            // A mesh does not start with a rule that cannot be read.
            Some(Err(_)) | None => ProviderAnswer::Error,
        })
    }
}
