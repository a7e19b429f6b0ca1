use std::fmt;

/// A direction of calls that [`MetricsLayer`](super::MetricsLayer) can count: that of
/// [`ServerMetrics`](super::ServerMetrics) or of [`ClientMetrics`](super::ClientMetrics).
///
/// This trait is sealed.
pub trait Measure: Steps + Clone + fmt::Debug {}

/// The steps, for the files of this room.
pub(super) use sealed::Steps;

mod sealed {
    use std::fmt;
    use std::time::Instant;

    use http::{request, response};

    use crate::message::{ByteCount, End};

    /// The four steps of every call that is counted: it begins, it may be answered, it may make
    /// progress any number of times, and it is finished once.
    #[expect(
        unnameable_types,
        reason = "only the layer of this room takes the steps"
    )]
    pub trait Steps {
        /// One call that has begun and has not ended.
        type Record: fmt::Debug;

        /// The request head is known; `body` counts the bytes that are read of the request's body.
        fn begin(&self, head: &mut request::Parts, body: ByteCount, now: Instant) -> Self::Record;

        /// The response head is known.
        fn answered(&self, record: &mut Self::Record, head: &mut response::Parts);

        /// The response body has brought so many gRPC messages by now.
        fn progress(&self, record: &mut Self::Record, messages: u64, now: Instant);

        /// The call has ended. One that failed without an answer failed as a whole.
        fn finish(&self, record: Self::Record, end: End, now: Instant);
    }
}
