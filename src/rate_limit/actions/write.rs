//! Runs the actions of one descriptor.

use std::sync::Arc;

use super::value;
use crate::identity::Workload;
use crate::policy::Attributes;
use crate::policy::eval::{header_matches, url_path};
use crate::policy::limit::{Action, Descriptor, Fallback};

/// Receives the entries of a descriptor, in order.
pub(crate) trait Sink {
    /// Takes one entry. The value is what the request says, and any bytes.
    fn entry(&mut self, key: &str, value: &[u8]);
}

/// A request, as limits see it.
#[derive(Clone, Copy)]
pub(crate) struct LimitRequest<'a>(&'a dyn Attributes);

impl<'a> LimitRequest<'a> {
    pub(crate) fn new(attributes: &'a dyn Attributes) -> Self {
        Self(attributes)
    }
}

/// What became of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// It has at least one entry.
    Entries,
    /// The request has no such descriptor: forget what the sink has got.
    Dropped,
}

/// The actions of one descriptor. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Actions {
    actions: Arc<[Action]>,
    /// The value of `source_cluster`.
    own_cluster: Arc<str>,
}

impl Actions {
    /// The most entries that a request's descriptor can have.
    #[cfg(feature = "rate-limit-service")]
    pub(in crate::rate_limit) fn len(&self) -> usize {
        self.actions.len()
    }

    /// The actions of a descriptor of this workload.
    pub(crate) fn new(descriptor: &Descriptor, workload: &Workload) -> Self {
        let (service, namespace) = (workload.canonical_service(), workload.namespace());
        Self {
            actions: descriptor.actions.as_slice().into(),
            own_cluster: format!("{service}.{namespace}").into(),
        }
    }

    /// Writes the entries of a request's descriptor. As in Envoy, an action without a value drops
    /// the descriptor unless it says otherwise. A descriptor without entries is dropped, too: Envoy
    /// sends it although the message forbids it.
    ///
    /// Values of more than 128 bytes that have to be put together cost an allocation.
    pub(crate) fn write(&self, request: LimitRequest<'_>, sink: &mut impl Sink) -> Made {
        let mut made = Made::Dropped;
        for action in &*self.actions {
            match self.entry(action, request.0, sink) {
                Entry::Written => made = Made::Entries,
                Entry::LeftOut => {}
                Entry::Failed => return Made::Dropped,
            }
        }
        made
    }

    fn entry(&self, action: &Action, request: &dyn Attributes, sink: &mut impl Sink) -> Entry {
        let key = action.key();
        let visit = &mut |value: &[u8]| sink.entry(key, value);
        let found = match action {
            Action::SourceCluster => fixed(&self.own_cluster, true, visit),
            Action::DestinationCluster => value::destination_cluster(request, visit),
            Action::RequestHeader { name, .. } => value::header(request, name, visit),
            Action::QueryParameter { name, .. } => value::query_parameter(request, name, visit),
            Action::QueryMatch {
                value,
                expect,
                parameters,
                ..
            } => {
                let agree = value::query_matches(request, parameters);
                fixed(value, agree == *expect, visit)
            }
            Action::RemoteAddress => value::remote_address(request, visit),
            Action::MaskedRemoteAddress { v4, v6 } => {
                value::masked_remote_address(request, (*v4, *v6), visit)
            }
            Action::GenericKey { value, .. } => fixed(value, true, visit),
            Action::HeaderMatch {
                value,
                expect,
                headers,
                ..
            } => {
                let mut headers = headers.iter();
                let agree = headers.all(|matcher| header_matches(matcher, request));
                fixed(value, agree == *expect, visit)
            }
            Action::Metadata { filter, path, .. } => value::metadata(request, filter, path, visit),
            Action::Method => value::method(request, visit),
            Action::Host => value::host(request, visit),
            Action::Path { patterns } => {
                let path = url_path(request).unwrap_or_default();
                let pattern = patterns.iter().find(|pattern| pattern.matches(path));
                let text = pattern.map_or("", |pattern| pattern.as_str());
                fixed(text, pattern.is_some(), visit)
            }
            Action::Principal { .. } => value::principal(request, visit),
            Action::RequestPrincipal { .. } => value::request_principal(request, visit),
            Action::Claim { path, .. } => value::claim(request, path, visit),
        };
        if found {
            return Entry::Written;
        }
        match action.fallback() {
            Fallback::Drop => Entry::Failed,
            Fallback::Skip => Entry::LeftOut,
            Fallback::Value(value) => {
                visit(value.as_bytes());
                Entry::Written
            }
        }
    }
}

enum Entry {
    Written,
    LeftOut,
    Failed,
}

/// Gives a value that is written in the action, if it applies.
fn fixed(value: &str, applies: bool, visit: &mut dyn FnMut(&[u8])) -> bool {
    if applies {
        visit(value.as_bytes());
    }
    applies
}
