//! Answers that are too long to be kept: of them the code is read, and a refusal stays one.
//!
//! Envoy reads answers of any length. A client that only gave up on a long one would let requests
//! pass that the service refuses, where no answer means that they pass.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame};
use pin_project::pin_project;
use tonic::client::GrpcService;
use tower_service::Service;

use crate::log_limit::limited;

/// The most bytes of an answer that is read as a whole.
pub(super) const LARGEST_ANSWER: u32 = 1024 * 1024;

/// A client of tonic's, to whom a refusal of more than [`LARGEST_ANSWER`] comes without its headers
/// and its text. Any other answer comes as it is.
#[derive(Clone)]
pub(super) struct ShortRefusals<T> {
    inner: T,
    /// For the log.
    origin: Uri,
}

impl<T> ShortRefusals<T> {
    pub(super) fn new(inner: T, origin: Uri) -> Self {
        Self { inner, origin }
    }
}

impl<T> Service<Request<tonic::body::Body>> for ShortRefusals<T>
where
    T: GrpcService<tonic::body::Body>,
    T::ResponseBody: Body<Data = Bytes>,
{
    type Response = Response<ShortRefusal<T::ResponseBody>>;
    type Error = T::Error;
    type Future = Answering<T::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        Answering {
            inner: self.inner.call(request),
            origin: self.origin.clone(),
        }
    }
}

/// The future of [`ShortRefusals`].
#[pin_project]
pub(super) struct Answering<F> {
    #[pin]
    inner: F,
    origin: Uri,
}

impl<F, B, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ShortRefusal<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx))?;
        Poll::Ready(Ok(answer.map(|inner| ShortRefusal {
            inner,
            origin: this.origin.clone(),
            state: State::Begin(BytesMut::new()),
        })))
    }
}

/// The body of an answer.
#[pin_project]
pub(super) struct ShortRefusal<B> {
    #[pin]
    inner: B,
    origin: Uri,
    state: State,
}

enum State {
    /// The length of the message has not come; what has.
    Begin(BytesMut),
    /// All that comes is passed on.
    Whole,
    /// The message is too long.
    Long {
        /// What came before it, which says so.
        prefix: Bytes,
        /// What is to come of it.
        left: u32,
        code: CodeReader,
    },
    /// A refusal has been passed on.
    Refused,
    Ended,
}

impl<B> Body for ShortRefusal<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        loop {
            let passes = match this.state {
                State::Whole => return this.inner.poll_frame(cx),
                State::Refused => {
                    *this.state = State::Ended;
                    return Poll::Ready(Some(Ok(Frame::trailers(no_error()))));
                }
                State::Ended => return Poll::Ready(None),
                State::Begin(_) | State::Long { .. } => {
                    let frame = ready!(this.inner.as_mut().poll_frame(cx));
                    match frame.map(|frame| frame.map(Frame::into_data)) {
                        Some(Ok(Ok(data))) => this.state.read(data, this.origin),
                        Some(Ok(Err(frame))) => {
                            *this.state = State::Whole;
                            return Poll::Ready(Some(Ok(frame)));
                        }
                        Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                        None => this.state.give_up(),
                    }
                }
            };
            if let Some(data) = passes {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }
}

impl State {
    /// Reads what has come, and says what to pass on.
    fn read(&mut self, data: Bytes, origin: &Uri) -> Option<Bytes> {
        match self {
            Self::Begin(begin) => {
                let data = match begin.is_empty() {
                    true => data,
                    false => {
                        begin.extend_from_slice(&data);
                        begin.split().freeze()
                    }
                };
                let Some((prefix, _)) = data.split_first_chunk::<PREFIX>() else {
                    *begin = data.into();
                    return None;
                };
                let (is_compressed, length) = prefix_of(prefix);
                if is_compressed || length <= LARGEST_ANSWER {
                    *self = Self::Whole;
                    return Some(data);
                }
                let mut message = data;
                let prefix = message.split_to(PREFIX);
                *self = Self::Long {
                    prefix,
                    left: length,
                    code: CodeReader::default(),
                };
                self.read(message, origin)
            }
            Self::Long { left, code, .. } => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let data = data.get(..most).unwrap_or(&data);
                *left -= u32::try_from(data.len()).unwrap_or(*left);
                match code.read(data) {
                    Read::More if *left > 0 => None,
                    Read::Refusal => {
                        *self = Self::Refused;
                        limited!(
                            target: "tower_mesh::rate_limit", WARN, %origin,
                            "a rate limit service refuses a request with more than 1 MiB: its \
                             headers and its text are left out"
                        );
                        Some(Bytes::from_static(REFUSAL))
                    }
                    Read::More | Read::Other => self.give_up(),
                }
            }
            Self::Whole | Self::Refused | Self::Ended => Some(data),
        }
    }

    /// Lets the reader see that the message is too long, or what else is wrong with it.
    fn give_up(&mut self) -> Option<Bytes> {
        match std::mem::replace(self, Self::Whole) {
            Self::Begin(begin) => Some(begin.freeze()).filter(|begin| !begin.is_empty()),
            Self::Long { prefix, .. } => Some(prefix),
            Self::Whole | Self::Refused | Self::Ended => None,
        }
    }
}

/// Whether the message is compressed, and its length.
fn prefix_of(mut prefix: &[u8]) -> (bool, u32) {
    (prefix.get_u8() != 0, prefix.get_u32())
}

/// The trailers of an answer that is no error.
fn no_error() -> HeaderMap {
    let status = (
        HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    );
    HeaderMap::from_iter([status])
}

/// Finds the field `overall_code` of a message that comes in pieces, and keeps nothing else of it.
#[derive(Default)]
struct CodeReader(Step);

/// What the next byte of the message belongs to.
enum Step {
    /// The number and the type of a field.
    Tag(Varint),
    /// The code.
    Code(Varint),
    /// The length of a field.
    Length(Varint),
    /// A number that is of no interest.
    Number(Varint),
    /// So many bytes that are of no interest.
    Skip(u64),
}

impl Default for Step {
    fn default() -> Self {
        Self::Tag(Varint::default())
    }
}

enum Read {
    /// The code has not come yet.
    More,
    Refusal,
    /// The code is another one, or this is no message.
    Other,
}

impl CodeReader {
    fn read(&mut self, mut bytes: &[u8]) -> Read {
        while let Some((first, rest)) = bytes.split_first() {
            let next = match &mut self.0 {
                Step::Skip(0) => {
                    self.0 = Step::default();
                    continue;
                }
                Step::Skip(count) => {
                    let all = usize::try_from(*count).unwrap_or(usize::MAX);
                    let (skipped, rest) = bytes.split_at(all.min(bytes.len()));
                    *count -= skipped.len() as u64;
                    bytes = rest;
                    continue;
                }
                Step::Tag(number) => number.push(*first, after_tag),
                Step::Length(number) => number.push(*first, |length| Ok(Step::Skip(length))),
                Step::Number(number) => number.push(*first, |_| Ok(Step::default())),
                Step::Code(number) => number.push(*first, |code| Err(read(code))),
            };
            match next {
                Ok(Some(step)) => self.0 = step,
                Ok(None) => {}
                Err(read) => return read,
            }
            bytes = rest;
        }
        Read::More
    }
}

/// What a code says.
fn read(code: u64) -> Read {
    match code {
        OVER_LIMIT => Read::Refusal,
        _ => Read::Other,
    }
}

/// What follows the tag of a field.
fn after_tag(tag: u64) -> Result<Step, Read> {
    const CODE: u64 = 1;
    Ok(match (tag >> 3, tag & 7) {
        (CODE, 0) => Step::Code(Varint::default()),
        (_, 0) => Step::Number(Varint::default()),
        (_, 1) => Step::Skip(8),
        (_, 2) => Step::Length(Varint::default()),
        (_, 5) => Step::Skip(4),
        _ => return Err(Read::Other),
    })
}

/// A number of which each byte has seven bits, the lowest first.
#[derive(Default)]
struct Varint {
    value: u64,
    bits: u32,
}

impl Varint {
    /// Takes a byte; after the last one, says what comes next.
    fn push(
        &mut self,
        byte: u8,
        then: impl FnOnce(u64) -> Result<Step, Read>,
    ) -> Result<Option<Step>, Read> {
        if self.bits >= u64::BITS {
            return Err(Read::Other);
        }
        self.value |= u64::from(byte & 0x7f) << self.bits;
        self.bits += 7;
        match byte & 0x80 {
            0 => then(self.value).map(Some),
            _ => Ok(None),
        }
    }
}

/// `RateLimitResponse.Code`.
const OVER_LIMIT: u64 = 2;
/// Flag and length.
const PREFIX: usize = 5;
/// A message with nothing but the code of a refusal.
const REFUSAL: &[u8] = &[0, 0, 0, 0, 2, 0x08, 0x02];

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use prost::Message;

    use super::super::messages::{DescriptorStatus, HeaderValue, RateLimitResponse};
    use super::*;

    fn answer(code: i32, body: usize) -> RateLimitResponse {
        RateLimitResponse {
            overall_code: code,
            statuses: vec![DescriptorStatus::default(); 3],
            response_headers_to_add: vec![HeaderValue::default()],
            raw_body: vec![0x08; body].into(),
            ..RateLimitResponse::default()
        }
    }

    /// Length and message.
    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], &length[..], message].concat()
    }

    /// What is passed on of a body in pieces of this size.
    async fn passed(sent: &[u8], size: usize) -> Vec<u8> {
        let body = ShortRefusal {
            inner: Pieces(Bytes::copy_from_slice(sent), size),
            origin: Uri::from_static("http://ratelimit:1/"),
            state: State::Begin(BytesMut::new()),
        };
        body.collect().await.unwrap().to_bytes().to_vec()
    }

    struct Pieces(Bytes, usize);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            let size = self.1.min(self.0.len());
            let piece = self.0.split_to(size);
            Poll::Ready((size > 0).then(|| Ok(Frame::data(piece))))
        }
    }

    const LONG: usize = LARGEST_ANSWER as usize + 1;

    #[tokio::test]
    async fn a_short_answer_comes_as_it_is() {
        for code in [0, 1, 2, 7] {
            let sent = framed(&answer(code, 100).encode_to_vec());
            for size in [1, 2, 4, 5, 6, 7, 1_000] {
                assert_eq!(passed(&sent, size).await, sent, "{code} {size}");
            }
        }
    }

    #[tokio::test]
    async fn of_a_long_refusal_the_code_comes() {
        let sent = framed(&answer(2, LONG).encode_to_vec());
        // The code may also come behind all else.
        let parts = [answer(0, LONG), answer(2, 0)].map(|part| part.encode_to_vec());
        let last = framed(&parts.concat());
        for size in [1, 2, 5, 6, 7, 8, 1_000, usize::MAX] {
            assert_eq!(passed(&sent, size).await, REFUSAL, "{size}");
        }
        for size in [7, 1_000, usize::MAX] {
            assert_eq!(passed(&last, size).await, REFUSAL, "{size}");
        }
    }

    /// The reader finds the length, which is too large.
    #[tokio::test]
    async fn other_long_answers_are_left_to_the_reader() {
        for code in [0, 1, 3, -1] {
            let sent = framed(&answer(code, LONG).encode_to_vec());
            for size in [7, 1_000, usize::MAX] {
                let passed = passed(&sent, size).await;
                assert!(sent.starts_with(&passed[..5]), "{code} {size}");
            }
        }
        // One that ends early, and one that is no message.
        let length = [0, 0x7f, 0, 0, 0];
        for rest in [&[][..], &[0x08], &[0x0f, 0, 0], &[0xff; 11]] {
            let sent = [&length, rest].concat();
            assert_eq!(passed(&sent, 4).await[..5], length, "{rest:?}");
        }
        // What is behind the message is not of it.
        let mut two = framed(&answer(0, LONG).encode_to_vec());
        two.extend_from_slice(REFUSAL);
        assert_ne!(passed(&two, usize::MAX).await, REFUSAL);
    }
}
