//! The descriptors of a request, as a message. Its size is bounded, whatever a request says.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::messages::{Entry, RateLimitDescriptor, RateLimitRequest};
use crate::rate_limit::actions::{Actions, LimitRequest, Made, Sink};

/// The message about a request: all descriptors that the actions make of it. `None` if they make
/// none; then the service is not asked.
pub(in crate::rate_limit) fn message(
    domain: &str,
    actions: &[Actions],
    request: LimitRequest<'_>,
) -> Option<RateLimitRequest> {
    let entries = actions.iter().map(Actions::len).sum();
    let descriptors = actions.iter().filter_map(|actions| {
        let mut writer = Writer {
            entries: Vec::new(),
            most: most_of_value(entries),
        };
        match actions.write(request, &mut writer) {
            Made::Entries => Some(RateLimitDescriptor {
                entries: writer.entries,
            }),
            Made::Dropped => None,
        }
    });
    let descriptors: Vec<_> = descriptors.collect();
    (!descriptors.is_empty()).then(|| RateLimitRequest {
        domain: domain.to_owned(),
        descriptors,
        hits_addend: 0,
    })
}

struct Writer {
    entries: Vec<Entry>,
    /// The bytes of a value that are sent.
    most: usize,
}

impl Sink for Writer {
    /// Cuts a long value. What is not UTF-8 is replaced, because the message holds text.
    fn entry(&mut self, key: &str, value: &[u8]) {
        let value = match value.len() > self.most {
            true => cut(value, self.most),
            false => String::from_utf8_lossy(value).into_owned(),
        };
        self.entries.push(Entry {
            key: key.to_owned(),
            value,
        });
    }
}

/// The beginning of a value and a hash of the whole, so that values that begin alike are counted by
/// themselves, by all processes in the same way: a caller chooses how a value begins.
fn cut(value: &[u8], most: usize) -> String {
    let hash = digest(&SHA256, value);
    let mark = format!("#{}", URL_SAFE_NO_PAD.encode(hash));
    let begin = value.get(..most.saturating_sub(mark.len()));
    String::from_utf8_lossy(begin.unwrap_or_default()).into_owned() + &mark
}

/// The bytes of a value that are sent. They follow from the limit alone: if they depended on the
/// other values of a request, a caller could choose whether its own is cut, and have two budgets.
fn most_of_value(entries: usize) -> usize {
    let share = MOST_BYTES.checked_div(entries).unwrap_or(MOST_OF_VALUE);
    share.clamp(LEAST_OF_VALUE, MOST_OF_VALUE)
}

const MOST_OF_VALUE: usize = 1024;
const LEAST_OF_VALUE: usize = 64;
/// The bytes of all values of a message, as far as their number allows.
const MOST_BYTES: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Workload;
    use crate::policy::Request;
    use crate::policy::limit::{Action, Descriptor};

    fn actions(list: impl IntoIterator<Item = Action>) -> Actions {
        let mut descriptor = Descriptor::default();
        descriptor.actions.extend(list);
        Actions::new(&descriptor, &Workload::new("clinic", "patients"))
    }

    #[test]
    fn all_descriptors_that_can_be_made_are_in_one_message() {
        let all = [
            actions([Action::Method, Action::generic("reads")]),
            actions([Action::header("x-tenant", "tenant")]),
            actions([Action::generic("all")]),
        ];
        let request = Request::new().get("/");
        let message = message("clinic", &all, LimitRequest::new(&request)).unwrap();
        assert_eq!(
            (message.domain.as_str(), message.hits_addend),
            ("clinic", 0)
        );
        let entries = message.descriptors.iter().map(|descriptor| {
            let entries = descriptor.entries.iter();
            let entries = entries.map(|entry| format!("{}={}", entry.key, entry.value));
            entries.collect::<Vec<_>>().join(" ")
        });
        let entries: Vec<_> = entries.collect();
        assert_eq!(entries, ["method=GET generic_key=reads", "generic_key=all"]);
    }

    #[test]
    fn a_request_without_descriptors_asks_nothing() {
        let all = [actions([Action::header("x-tenant", "tenant")])];
        let request = Request::new().get("/");
        assert_eq!(message("clinic", &all, LimitRequest::new(&request)), None);
    }

    /// A caller chooses the values of headers.
    #[test]
    fn hostile_values_make_no_large_message() {
        let header = || Action::header("x-tenant", "tenant");
        let descriptor = || actions((0..16).map(|_| header()));
        let all: Vec<_> = (0..32).map(|_| descriptor()).collect();
        let mut value = vec![b'a'; 100_000];
        value.push(0xff);
        let request = Request::new().get("/").header("x-tenant", value);
        let message = message("clinic", &all, LimitRequest::new(&request)).unwrap();
        let size = prost::Message::encoded_len(&message);
        assert!(size < 96 * 1024, "{size}");
        let request = Request::new().get("/").header("x-tenant", b"a\xff");
        let message = super::message("clinic", &all, LimitRequest::new(&request)).unwrap();
        assert_eq!(message.descriptors[0].entries[0].value, "a\u{fffd}");
    }
    /// The value that is sent for this one.
    fn sent(value: &[u8]) -> String {
        let all = [actions([Action::header("x-tenant", "tenant")])];
        let request = Request::new().get("/").header("x-tenant", value);
        let message = message("clinic", &all, LimitRequest::new(&request)).unwrap();
        message.descriptors[0].entries[0].value.clone()
    }

    /// Else a caller could use up what another has.
    #[test]
    fn long_values_that_begin_alike_are_different() {
        let longest = "a".repeat(1024);
        assert_eq!(sent(longest.as_bytes()), longest);
        let [b, c] = ["b", "c"].map(|end| sent(format!("{longest}{end}").as_bytes()));
        assert_ne!(b, c);
        // `openssl dgst -sha256`, in base64url: every process says the same.
        let hash = "2aQdm2y_VF9p9zbjAGHKXE-EEDAE4bP_ACBL95kxVd0";
        assert_eq!(b, format!("{}#{hash}", &longest[..980]));
    }

    /// Else a caller could have a second budget with a value that is cut in some requests only.
    #[test]
    fn a_value_is_the_same_whatever_else_a_request_says() {
        let more = (1..40).map(|number| Action::header(&format!("x-{number}"), "more"));
        let all = [actions(more.chain([Action::header("x-tenant", "tenant")]))];
        let tenant = "a".repeat(1000);
        let sent = |more: &str| {
            let mut request = Request::new().get("/").header("x-tenant", tenant.as_str());
            for number in 1..40 {
                request = request.header(&format!("x-{number}"), more);
            }
            let message = message("clinic", &all, LimitRequest::new(&request)).unwrap();
            message.descriptors[0].entries.last().unwrap().value.clone()
        };
        assert_eq!(sent("short"), sent(&"long".repeat(1000)));
        assert_eq!(sent("short").len(), 32 * 1024 / 40);
    }
}
