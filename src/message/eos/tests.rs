//! Every way a body can end, and that each is reported once.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};

use super::*;

type Told = Rc<RefCell<Vec<End>>>;

struct Tell(Told);

impl OnEnd for Tell {
    fn on_end(&mut self, end: End) {
        self.0.borrow_mut().push(end);
    }
}

/// A body that yields these frames; its hint about its end is optional.
struct Script {
    frames: VecDeque<Result<Frame<Bytes>, &'static str>>,
    hints: bool,
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(self.frames.pop_front())
    }

    fn is_end_stream(&self) -> bool {
        self.hints && self.frames.is_empty()
    }
}

fn data(text: &'static str) -> Result<Frame<Bytes>, &'static str> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn trailers(status: &'static str) -> Result<Frame<Bytes>, &'static str> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    Ok(Frame::trailers(trailers))
}

fn script<const N: usize>(
    hints: bool,
    frames: [Result<Frame<Bytes>, &'static str>; N],
) -> Response<Script> {
    let frames = frames.into();
    Response::new(Script { frames, hints })
}

fn watch<B: Body>(response: Response<B>) -> (EosBody<B, Tell>, Told) {
    watch_for(&Method::GET, response)
}

fn watch_for<B: Body>(method: &Method, response: Response<B>) -> (EosBody<B, Tell>, Told) {
    let told = Told::default();
    let response = EosBody::wrap(response, method, Tell(Rc::clone(&told)));
    (response.into_body(), told)
}

fn only(told: &Told) -> (EndKind, u64, Option<u32>) {
    match told.borrow().as_slice() {
        [end] => (end.kind, end.bytes, end.grpc_status.map(GrpcStatus::code)),
        ends => panic!("told {} times", ends.len()),
    }
}

async fn step<B: Body + Unpin>(body: &mut EosBody<B, Tell>) {
    let _ = body.frame().await;
}

#[tokio::test]
async fn a_body_that_has_ended_at_birth_is_told_at_birth() {
    let (body, told) = watch(Response::new(Empty::<Bytes>::new()));
    assert_eq!(only(&told), (EndKind::Complete, 0, None));
    assert!(body.is_end_stream());
    drop(body);
    assert_eq!(told.borrow().len(), 1);
}

#[tokio::test]
async fn trailers_end_the_body_and_give_the_grpc_status() {
    let (mut body, told) = watch(script(false, [data("abc"), trailers("5")]));
    step(&mut body).await;
    assert!(told.borrow().is_empty());
    step(&mut body).await;
    assert_eq!(only(&told), (EndKind::Complete, 3, Some(5)));
    drop(body);
    assert_eq!(told.borrow().len(), 1);
}

#[tokio::test]
async fn a_hint_after_the_last_frame_is_an_end() {
    let (mut body, told) = watch(script(true, [data("abc"), data("de")]));
    step(&mut body).await;
    assert!(told.borrow().is_empty());
    step(&mut body).await;
    assert_eq!(only(&told), (EndKind::Complete, 5, None));
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn an_error_is_a_failure_with_the_bytes_before_it() {
    let (mut body, told) = watch(script(false, [data("abc"), Err("cut")]));
    step(&mut body).await;
    step(&mut body).await;
    step(&mut body).await;
    assert_eq!(only(&told), (EndKind::Failed, 3, None));
}

#[tokio::test]
async fn none_is_an_end() {
    let (mut body, told) = watch(script(false, [data("abc")]));
    step(&mut body).await;
    assert!(told.borrow().is_empty());
    step(&mut body).await;
    assert_eq!(only(&told), (EndKind::Complete, 3, None));
}

/// A response that has no body may say how long it would be.
#[test]
fn an_end_at_birth_before_the_content_length_is_a_failure() {
    let (get, head) = (&Method::GET, &Method::HEAD);
    for (method, status, length, kind) in [
        (get, 200, "5", EndKind::Failed),
        (get, 200, "0", EndKind::Complete),
        (head, 200, "5", EndKind::Complete),
        (get, 304, "5", EndKind::Complete),
    ] {
        let response = Response::builder().status(status);
        let response = response.header("content-length", length);
        let (_, told) = watch_for(method, response.body(Empty::<Bytes>::new()).unwrap());
        assert_eq!(only(&told), (kind, 0, None), "{method} {status} {length}");
    }
}

///
#[tokio::test]
async fn an_end_before_the_content_length_is_a_failure() {
    for hints in [true, false] {
        for (length, kind) in [("4", EndKind::Complete), ("5", EndKind::Failed)] {
            let mut response = script(hints, [data("ab"), data("cd")]);
            let length = http::HeaderValue::from_static(length);
            response.headers_mut().insert("content-length", length);
            let (body, told) = watch(response);
            assert_eq!(body.collect().await.unwrap().to_bytes(), "abcd");
            assert_eq!(only(&told), (kind, 4, None));
        }
    }
}

#[tokio::test]
async fn a_drop_before_the_end_is_a_cancellation() {
    let (mut body, told) = watch(script(false, [data("abc"), data("de")]));
    step(&mut body).await;
    drop(body);
    assert_eq!(only(&told), (EndKind::Cancelled, 3, None));
}

#[tokio::test]
async fn a_drop_after_the_content_length_is_an_end() {
    for (length, expected) in [("3", EndKind::Complete), ("4", EndKind::Cancelled)] {
        let mut response = script(false, [data("abc"), data("d")]);
        response
            .headers_mut()
            .insert("content-length", length.parse().unwrap());
        let (mut body, told) = watch(response);
        step(&mut body).await;
        drop(body);
        assert_eq!(only(&told), (expected, 3, None), "content-length {length}");
    }
}

#[tokio::test]
async fn a_drop_after_an_exact_size_hint_is_an_end() {
    let (body, told) = watch(Response::new(Full::<Bytes>::from("abc")));
    drop(body);
    assert_eq!(only(&told).0, EndKind::Cancelled);

    let (mut body, told) = watch(Response::new(Full::<Bytes>::from("abc")));
    step(&mut body).await;
    assert_eq!(only(&told), (EndKind::Complete, 3, None));
    drop(body);
}

#[test]
fn any_drop_of_a_body_that_may_not_be_sent_is_an_end() {
    let with = |status| {
        let mut response = Response::new(Full::<Bytes>::from("abc"));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    };
    for (method, status, expected) in [
        (Method::HEAD, 200, EndKind::Complete),
        (Method::GET, 204, EndKind::Complete),
        (Method::GET, 304, EndKind::Complete),
        (Method::GET, 200, EndKind::Cancelled),
    ] {
        let (body, told) = watch_for(&method, with(status));
        drop(body);
        assert_eq!(only(&told), (expected, 0, None), "{method} {status}");
    }
}

#[tokio::test]
async fn the_end_is_not_hinted_before_it_was_told() {
    let (mut body, told) = watch(script(true, [data("abc")]));
    assert!(!body.is_end_stream());
    assert_eq!(body.size_hint().lower(), 0);
    step(&mut body).await;
    assert!(body.is_end_stream());
    assert_eq!(told.borrow().len(), 1);
    let (body, _) = watch(Response::new(Full::<Bytes>::from("abc")));
    assert_eq!(body.size_hint().exact(), Some(3));
}

#[tokio::test]
async fn a_status_in_the_head_counts_unless_trailers_bring_one() {
    for (frames, expected) in [
        (vec![], Some(7)),
        (vec![trailers("0")], Some(0)),
        (vec![trailers("nonsense")], Some(7)),
    ] {
        let mut response = Response::new(Script {
            frames: frames.into(),
            hints: false,
        });
        response
            .headers_mut()
            .insert("grpc-status", "7".parse().unwrap());
        let (mut body, told) = watch(response);
        step(&mut body).await;
        assert_eq!(only(&told).2, expected);
    }
}

#[tokio::test]
async fn the_messages_of_a_grpc_body_are_told_as_they_come() {
    struct Listen(Rc<RefCell<Vec<u64>>>);
    impl OnEnd for Listen {
        fn on_messages(&mut self, messages: u64) {
            self.0.borrow_mut().push(messages);
        }
        fn on_end(&mut self, end: End) {
            self.0.borrow_mut().push(100 + end.messages);
        }
    }
    for (content_type, expected) in [
        ("application/grpc", vec![1, 3, 103]),
        ("text/plain", vec![100]),
    ] {
        let mut response = script(
            false,
            [
                data("\0\0\0\0\x03a"),
                data("bc\0\0\0\0\0\0\0\0\0\0"),
                trailers("0"),
            ],
        );
        response
            .headers_mut()
            .insert("content-type", content_type.parse().unwrap());
        let heard = Rc::default();
        let response = EosBody::wrap(response, &Method::POST, Listen(Rc::clone(&heard)));
        let _ = response.into_body().collect().await;
        assert_eq!(*heard.borrow(), expected, "{content_type}");
    }
}

#[test]
fn an_end_adds_a_flag_only_where_none_says_why() {
    let none = ResponseFlags::none();
    let refused = ResponseFlags::UPSTREAM_CONNECTION_FAILURE;
    let complete = End::without_body(EndKind::Complete);
    for (end, known, shown) in [
        (complete, none, "-"),
        (complete, refused, "UF"),
        (End::failed(), none, "UC"),
        (End::failed(), refused, "UF"),
        (End::cancelled(), none, "DC"),
        (End::cancelled(), refused, "DC,UF"),
    ] {
        assert_eq!(end.flags(known).to_string(), shown, "{end:?}");
    }
}

/// A body that spans or a log follow is dropped while its request is the current one.
#[tokio::test]
async fn a_body_that_ends_is_dropped_in_the_scope_of_its_last_poll() {
    type Notes = Rc<RefCell<Vec<&'static str>>>;
    struct Scoped(Notes);
    impl OnEnd for Scoped {
        fn within<R>(&mut self, poll: impl FnOnce() -> R) -> R {
            self.0.borrow_mut().push("in");
            let polled = poll();
            self.0.borrow_mut().push("out");
            polled
        }
        fn on_end(&mut self, end: End) {
            assert_eq!(end.kind, EndKind::Complete);
            self.0.borrow_mut().push("end");
        }
    }
    struct Noted(Script, Notes, bool);
    impl Body for Noted {
        type Data = Bytes;
        type Error = &'static str;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            Pin::new(&mut self.0).poll_frame(cx)
        }
        fn is_end_stream(&self) -> bool {
            self.0.is_end_stream()
        }
    }
    impl Drop for Noted {
        fn drop(&mut self) {
            self.1.borrow_mut().push("drop");
            assert!(!self.2, "a drop that panics");
        }
    }
    for hints in [true, false] {
        for panics in [false, true] {
            let notes = Notes::default();
            let body = script(hints, [data("abc")]);
            let response = body.map(|body| Noted(body, Rc::clone(&notes), panics));
            let response = EosBody::wrap(response, &Method::GET, Scoped(Rc::clone(&notes)));
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(bytes, "abc", "the last frame counts");
            let last = ["in", "drop", "out", "end"];
            let notes = notes.borrow();
            assert_eq!(notes.get(notes.len() - 4..), Some(&last[..]), "{notes:?}");
        }
    }
}

#[test]
fn it_may_cross_threads() {
    #[derive(Debug)]
    struct Nothing;
    impl OnEnd for Nothing {
        fn on_end(&mut self, _: End) {}
    }
    fn check<T: Send + Sync + std::fmt::Debug>() {}
    check::<EosBody<Full<Bytes>, Nothing>>();
}

/// this holds even if all promised bytes have been sent.
#[test]
fn a_body_that_panics_has_failed() {
    struct Panics;
    impl Body for Panics {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            panic!("a body that panics");
        }
    }
    let mut response = Response::new(Panics);
    let none = http::HeaderValue::from_static("0");
    response.headers_mut().insert("content-length", none);
    let (mut body, told) = watch(response);
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let _ = Pin::new(&mut body).poll_frame(&mut cx);
    }));
    assert!(polled.is_err());
    drop(body);
    assert_eq!(only(&told), (EndKind::Failed, 0, None));
}
