use proptest::prelude::*;

use super::*;

const GOOD: &str = r#"{"a":{"b":[1,-2]},"prev":"0000000000000000000000000000000000000000000000000000000000000000","seq":1,"stream":"s","ts":"2026-01-02T03:04:05.000006Z","type":"start","v":1}"#;

fn error(line: &str) -> String {
    Entry::parse(line.as_bytes()).unwrap_err().to_string()
}

#[test]
fn reads_a_record() {
    let entry = Entry::parse(GOOD.as_bytes()).unwrap();
    assert_eq!(
        (entry.seq(), entry.kind(), entry.stream()),
        (1, "start", "s")
    );
    let list = vec![Value::Number(1), Value::Negative(-2)];
    assert_eq!(entry.field("a.b"), Some(&Value::List(list)));
    assert_eq!(entry.number("v"), Some(1));
    assert_eq!(entry.text("type").as_deref(), Some("start"));
    assert_eq!(entry.as_str(), GOOD);
}

#[test]
fn a01_what_is_not_canonical_is_corrupt() {
    for (from, to, what) in [
        ("\"seq\":1", "\"seq\":1,\"seq\":1", "twice"),
        ("\"a\":", "\"x\":", "order"),
        ("\"seq\":1", "\"seq\":1.0", "integer"),
        ("\"seq\":1", "\"seq\":1e0", "integer"),
        ("\"seq\":1", "\"seq\":01", "shortest"),
        ("\"seq\":1", "\"seq\":-1", "seq"),
        ("\"seq\":1", "\"seq\":-0", "shortest"),
        ("\"seq\":1", "\"seq\":\"1\"", "seq"),
        ("\"seq\":1", "\"seq\":18446744073709551616", "large"),
        ("\"seq\":1", "\"seq\":-9223372036854775809", "large"),
        ("\"seq\":1", "\"seq\":null", "value"),
        ("\"seq\":1", "\"seq\": 1", "value"),
        ("\"seq\":1", "\"seq\" :1", "colon"),
        ("\"seq\":1,", "\"seq\":1 ,", "comma"),
        ("\"s\"", "\"\\u0073\"", "escape"),
        ("\"s\"", "\"\\/\"", "escape"),
        ("\"s\"", "\"\\u000a\"", "escape"),
        ("\"s\"", "\"\\u001F\"", "escape"),
        ("\"s\"", "\"\t\"", "control"),
        ("[1,-2]", "[1,[2]]", "deep"),
        ("\"v\":1", "\"v\":2", "`v`"),
        ("Z\"", "+00:00\"", "ts"),
        ("00000\"", "0000G\"", "prev"),
        ("1}", "1}}", "follows"),
        ("1}", "1} ", "follows"),
        ("1}", "1", "comma"),
    ] {
        let line = GOOD.replacen(from, to, 1);
        let error = error(&line);
        assert!(error.contains(what), "{line}: {error}");
    }
    assert!(error("").contains("value"));
    assert!(error("[]").contains("object"));
    assert!(error(&"x".repeat(MOST_BYTES + 1)).contains("16 KiB"));
    assert!(
        Entry::parse(b"{\"a\":\"\xff\"}")
            .unwrap_err()
            .to_string()
            .contains("UTF-8")
    );
}

#[test]
fn escapes_come_back() {
    let line = GOOD.replacen("\"s\"", r#""\b\f\n\r\t\"\\\u0001é""#, 1);
    let entry = Entry::parse(line.as_bytes()).unwrap();
    assert_eq!(
        entry.text("stream").as_deref(),
        Some("\u{8}\u{c}\n\r\t\"\\\u{1}é")
    );
}

proptest! {
    #[test]
    fn never_panics(line in ".{0,200}") {
        let _ = Entry::parse(line.as_bytes());
    }

    /// What it reads is the one canonical form: serde_json writes it back as it was.
    #[test]
    fn reads_only_the_canonical_form(at in 0..GOOD.len(), byte in any::<u8>()) {
        let mut line = GOOD.as_bytes().to_vec();
        line[at] = byte;
        if let Ok(entry) = Entry::parse(&line) {
            let value: serde_json::Value = serde_json::from_str(entry.as_str()).unwrap();
            prop_assert_eq!(value.to_string(), entry.as_str());
        }
    }
}
