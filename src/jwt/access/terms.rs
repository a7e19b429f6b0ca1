//! The settings of a token guard.

use std::sync::Arc;

use http::request::Parts;

use super::excluded_path::ExcludedPath;
use super::mode::TokenMode;
use super::request_path::RequestPath;
use crate::context::Exchange;
use crate::jwt::encoding::Reading;

/// The settings of a token guard, which its rules do not have. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) mode: TokenMode,
    pub(crate) reading: Reading,
    pub(crate) excluded: Arc<[ExcludedPath]>,
}

impl Terms {
    /// Istio's, by the letter of the RFCs.
    pub(crate) fn strict() -> Self {
        Self {
            reading: Reading::Strict,
            ..Self::default()
        }
    }

    pub(crate) fn read_strictly(&mut self) {
        self.reading = Reading::Strict;
    }

    pub(crate) fn exclude(&mut self, path: ExcludedPath) {
        self.excluded = self.excluded.iter().cloned().chain([path]).collect();
    }

    /// Whether no token is read at the path of this request.
    pub(crate) fn excludes(
        &self,
        path: RequestPath<'_>,
        head: &Parts,
        exchange: &Exchange,
    ) -> bool {
        !self.excluded.is_empty()
            && path
                .unmistakable(head, exchange)
                .is_some_and(|path| self.excluded.iter().any(|excluded| excluded.matches(path)))
    }
}
