use super::*;

fn retry_on(text: &str) -> RetryOn {
    text.parse().unwrap()
}

fn head(status: u16) -> TryOutcome {
    TryOutcome::Head(Head::new(status))
}

fn grpc(status: u32) -> TryOutcome {
    TryOutcome::Head(Head::grpc(status))
}

const RESET: TryOutcome = TryOutcome::Reset {
    is_request_started: true,
};
const RESET_BEFORE: TryOutcome = TryOutcome::Reset {
    is_request_started: false,
};
const NO_ANSWER: [TryOutcome; 5] = [
    TryOutcome::ConnectFailure,
    TryOutcome::RefusedStream,
    RESET,
    RESET_BEFORE,
    TryOutcome::PerTryTimeout,
];

/// Each condition, with all outcomes that it retries; it retries no others.
#[test]
fn each_condition_retries_its_outcomes_and_no_others() {
    let rate_limited = TryOutcome::Head(Head {
        is_rate_limited: true,
        ..Head::new(503)
    });
    let with_header = TryOutcome::Head(Head {
        has_retriable_header: true,
        ..Head::new(200)
    });
    let mut outcomes: Vec<_> = NO_ANSWER.to_vec();
    outcomes.extend([
        TryOutcome::Overflow,
        TryOutcome::Timeout,
        rate_limited,
        with_header,
    ]);
    outcomes.extend(
        [
            200, 404, 409, 429, 499, 500, 501, 502, 503, 504, 505, 599, 600,
        ]
        .map(head),
    );
    outcomes.extend([0, 1, 2, 4, 8, 13, 14, 99].map(grpc));
    let any = |more: &[TryOutcome]| [&NO_ANSWER[..], more].concat();
    let cases = [
        ("5xx", any(&[500, 501, 502, 503, 504, 505, 599].map(head))),
        ("gateway-error", any(&[502, 503, 504].map(head))),
        ("reset", any(&[])),
        (
            "reset-before-request",
            vec![TryOutcome::ConnectFailure, RESET_BEFORE],
        ),
        ("connect-failure", vec![TryOutcome::ConnectFailure]),
        ("refused-stream", vec![TryOutcome::RefusedStream]),
        ("retriable-4xx", vec![head(409)]),
        ("retriable-status-codes", vec![]),
        ("retriable-status-codes,404", vec![head(404)]),
        (
            "404,200",
            [
                &[head(404), head(200), with_header][..],
                &[0, 1, 2, 4, 8, 13, 14, 99].map(grpc),
            ]
            .concat(),
        ),
        ("retriable-headers", vec![with_header]),
        ("envoy-ratelimited", vec![rate_limited]),
        ("http3-post-connect-failure", vec![]),
        ("cancelled", vec![grpc(1)]),
        ("deadline-exceeded", vec![grpc(4)]),
        ("resource-exhausted", vec![grpc(8)]),
        ("internal", vec![grpc(13)]),
        ("unavailable", vec![grpc(14)]),
        (
            "",
            vec![
                TryOutcome::ConnectFailure,
                TryOutcome::RefusedStream,
                grpc(1),
                grpc(14),
            ],
        ),
    ];
    for (text, retried) in cases {
        let retry_on = retry_on(text);
        for outcome in &outcomes {
            let is_retried = retried.contains(outcome);
            assert_eq!(
                retry_on.matches(*outcome),
                is_retried,
                "{text}: {outcome:?}"
            );
        }
    }
}

#[test]
fn the_defaults_are_careful() {
    let retry_on = RetryOn::default();
    for outcome in [head(503), RESET, TryOutcome::PerTryTimeout, grpc(4)] {
        assert!(!retry_on.matches(outcome), "{outcome:?}");
    }
    assert_eq!(retry_on, self::retry_on(""));
    assert!(retry_on.has(Condition::RetriableStatusCodes) && retry_on.status_codes().is_empty());
}

#[test]
fn a_rate_limited_answer_is_not_retried_under_5xx() {
    let rate_limited = TryOutcome::Head(Head {
        is_rate_limited: true,
        grpc_status: Some(14),
        ..Head::new(503)
    });
    assert!(!retry_on("5xx,503,unavailable").matches(rate_limited));
    assert!(retry_on("5xx,envoy-ratelimited").matches(rate_limited));
}

#[test]
fn conditions_add_up() {
    let retry_on = retry_on("gateway-error,retriable-4xx,503,unavailable");
    for outcome in [head(502), head(409), head(503), grpc(14), RESET] {
        assert!(retry_on.matches(outcome), "{outcome:?}");
    }
    assert!(!retry_on.matches(head(500)));
    assert_eq!(retry_on.status_codes(), [503]);
    assert!(retry_on.has(Condition::RetriableStatusCodes));
}

#[test]
fn codes_are_those_with_a_name_in_go() {
    for code in [100, 226, 302, 418, 421, 425, 429, 451, 500, 508, 511] {
        assert_eq!(retry_on(&code.to_string()).status_codes(), [code]);
    }
    for code in [
        0, 99, 104, 209, 306, 419, 427, 430, 432, 499, 509, 512, 599, 600, 999,
    ] {
        assert!(code.to_string().parse::<RetryOn>().is_err(), "{code}");
    }
}

#[test]
fn other_words_are_refused_by_name() {
    for text in [
        "foo", "5XX", " 5xx", "5xx, 503", "5xx,", ",5xx", ",", "-503", "70000", "reset\n",
    ] {
        let error = text.parse::<RetryOn>().unwrap_err();
        assert!(error.to_string().contains("retries.retryOn"), "{text}");
    }
    let error = "5xx,what\n".parse::<RetryOn>().unwrap_err();
    assert!(error.to_string().contains(r"`what\n`"), "{error}");
}
