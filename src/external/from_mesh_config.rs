//! Providers as MeshConfig's `extensionProviders` define them.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service as TowerService;

use super::authorizer::DynAuthorizer;
use super::{AuthorizerOptions, BodyBound, GrpcAuthorizer, HeaderPatterns, HttpAuthorizer};
use crate::istio::{ExtensionProvider, ProviderKind, RequestBodyInCheck};

/// A provider of MeshConfig: how it is asked, without the connection to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    provider: ExtensionProvider,
    origin: Uri,
    options: AuthorizerOptions,
}

impl Definition {
    /// `None` for a provider that cannot authorize.
    ///
    /// # Errors
    ///
    /// What of the provider cannot be used: no question can be asked then.
    pub(crate) fn new(provider: &ExtensionProvider) -> Result<Option<Self>, String> {
        let (ProviderKind::ExtAuthzGrpc {
            service,
            port,
            timeout,
            fail_open,
            status_on_error,
            ..
        }
        | ProviderKind::ExtAuthzHttp {
            service,
            port,
            timeout,
            fail_open,
            status_on_error,
            ..
        }) = &provider.kind
        else {
            return Ok(None);
        };
        let host = host(service);
        let origin = format!("http://{host}:{port}");
        let origin = origin
            .parse()
            .map_err(|_| format!("`service: {service}` names no host"))?;
        let mut options = AuthorizerOptions::new().timeout(timeout.unwrap_or(ISTIOS_TIMEOUT));
        if let Some(status) = status_on_error {
            let status = StatusCode::from_u16(*status);
            let status = status.map_err(|_| "`statusOnError` is no status of HTTP".to_owned())?;
            options = options.status_on_error(status);
        }
        if *fail_open {
            options = options.danger().fail_open();
        }
        if let ProviderKind::ExtAuthzHttp {
            include_additional_headers_in_check: headers,
            path_prefix,
            ..
        } = &provider.kind
        {
            added(headers)?;
            if !path_prefix.is_empty() && !path_prefix.starts_with('/') {
                return Err("`pathPrefix` does not begin with /".to_owned());
            }
        }
        Ok(Some(Self {
            provider: provider.clone(),
            origin,
            options,
        }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.provider.name
    }

    /// Where the provider is asked: `http://host:port`.
    pub(crate) fn origin(&self) -> &Uri {
        &self.origin
    }

    pub(crate) fn is_grpc(&self) -> bool {
        matches!(self.provider.kind, ProviderKind::ExtAuthzGrpc { .. })
    }

    pub(crate) fn options(&self) -> AuthorizerOptions {
        self.options
    }

    /// Whether the definition has no timeout, so that Istio's ten minutes count.
    pub(crate) fn lacks_timeout(&self) -> bool {
        match &self.provider.kind {
            ProviderKind::ExtAuthzGrpc { timeout, .. }
            | ProviderKind::ExtAuthzHttp { timeout, .. } => timeout.is_none(),
            ProviderKind::Expression(_)
            | ProviderKind::Application
            | ProviderKind::Telemetry(_)
            | ProviderKind::Other => false,
        }
    }

    /// The provider, asked through this client. `own` is our own SPIFFE id.
    pub(crate) fn over<S, B>(&self, client: S, own: &str) -> Arc<dyn DynAuthorizer>
    where
        S: TowerService<Request<Full<Bytes>>, Response = Response<B>>
            + TowerService<Request<tonic::body::Body>, Response = Response<B>>
            + Clone
            + Send
            + Sync
            + 'static,
        <S as TowerService<Request<Full<Bytes>>>>::Future: Send,
        <S as TowerService<Request<Full<Bytes>>>>::Error: Into<BoxError> + Send,
        <S as TowerService<Request<tonic::body::Body>>>::Future: Send,
        <S as TowerService<Request<tonic::body::Body>>>::Error: Into<BoxError> + Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError> + Send,
    {
        let origin = self.origin.clone();
        match &self.provider.kind {
            ProviderKind::ExtAuthzHttp {
                path_prefix,
                include_request_body,
                include_request_headers_in_check: shown,
                include_additional_headers_in_check: headers,
                headers_to_upstream_on_allow: upstream,
                headers_to_downstream_on_allow: downstream,
                headers_to_downstream_on_deny: denied,
                ..
            } => {
                let mut http = HttpAuthorizer::new(client, origin)
                    .path_prefix(path_prefix)
                    .show_headers(HeaderPatterns::new(shown))
                    .upstream_on_allow(HeaderPatterns::new(upstream))
                    .downstream_on_allow(HeaderPatterns::new(downstream))
                    .downstream_on_deny(HeaderPatterns::new(denied));
                // INVARIANT: `new` has checked them.
                for (name, value) in added(headers).unwrap_or_default() {
                    http = http.add_header(name, value);
                }
                if let Some(body) = include_request_body {
                    http = http.with_body(bound(*body));
                }
                Arc::new(http)
            }
            ProviderKind::ExtAuthzGrpc {
                include_request_body,
                ..
            } => {
                let mut grpc = GrpcAuthorizer::new(client, origin).own_id(own);
                if let Some(body) = include_request_body {
                    grpc = grpc.with_body(bound(*body));
                    if body.pack_as_bytes {
                        grpc = grpc.pack_as_bytes();
                    }
                }
                Arc::new(grpc)
            }
            // INVARIANT: `new` makes no definition of these.
            ProviderKind::Expression(_)
            | ProviderKind::Application
            | ProviderKind::Telemetry(_)
            | ProviderKind::Other => Arc::new(GrpcAuthorizer::new(client, origin)),
        }
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

fn added(
    headers: &std::collections::BTreeMap<String, String>,
) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let headers = headers.iter().map(|(name, value)| {
        let parsed = HeaderName::try_from(name).ok();
        let value = HeaderValue::try_from(value).ok();
        parsed.zip(value).ok_or_else(|| {
            format!(
                "`includeAdditionalHeadersInCheck`: {name:?} is no header, or its value is none"
            )
        })
    });
    headers.collect()
}

fn bound(body: RequestBodyInCheck) -> BodyBound {
    let max_bytes = usize::try_from(body.max_request_bytes).unwrap_or(usize::MAX);
    match body.allow_partial_message {
        true => BodyBound::beginning(max_bytes),
        false => BodyBound::whole(max_bytes),
    }
}

/// The host of `[namespace/]host`.
fn host(service: &str) -> &str {
    service.rsplit_once('/').map_or(service, |(_, host)| host)
}

/// Istio's timeout for a provider without one.
pub(crate) const ISTIOS_TIMEOUT: Duration = Duration::from_secs(600);
