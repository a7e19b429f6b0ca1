//! The response body of a guarded service.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

/// The body of a guarded service: the inner service's body, or the text of a local reply.
#[pin_project]
#[derive(Debug)]
pub struct GuardBody<B>(#[pin] Kind<B>);

#[pin_project(project = KindProj)]
#[derive(Debug)]
enum Kind<B> {
    Inner(#[pin] B),
    Local(Option<Bytes>),
}

impl<B> GuardBody<B> {
    /// Wraps the inner service's body.
    pub fn inner(body: B) -> Self {
        Self(Kind::Inner(body))
    }

    /// The body of a local reply; an empty text makes an empty body.
    #[must_use]
    pub fn local(text: Bytes) -> Self {
        Self(Kind::Local((!text.is_empty()).then_some(text)))
    }
}

impl<B: Default> Default for GuardBody<B> {
    fn default() -> Self {
        Self::inner(B::default())
    }
}

impl<B> Body for GuardBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().0.project() {
            KindProj::Inner(body) => body.poll_frame(cx),
            KindProj::Local(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Inner(body) => body.is_end_stream(),
            Kind::Local(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Inner(body) => body.size_hint(),
            Kind::Local(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn either_body_yields_its_bytes_and_then_ends() {
        let inner = GuardBody::inner(Full::<Bytes>::from("inner"));
        assert_eq!(inner.size_hint().exact(), Some(5));
        assert_eq!(inner.collect().await.unwrap().to_bytes(), "inner");

        let mut local = GuardBody::<Full<Bytes>>::local(Bytes::from_static(b"local"));
        assert_eq!(local.size_hint().exact(), Some(5));
        let frame = local.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "local");
        assert!(local.is_end_stream());
        assert_eq!(local.size_hint().exact(), Some(0));
        assert!(local.frame().await.is_none());
    }

    #[test]
    fn an_empty_local_body_has_ended_at_birth() {
        assert!(GuardBody::<Full<Bytes>>::local(Bytes::new()).is_end_stream());
        assert!(GuardBody::<Full<Bytes>>::default().is_end_stream());
    }
}
