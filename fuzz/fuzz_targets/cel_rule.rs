//! Rules in CEL: any text compiles or is refused at a place in it, and what compiles can answer.
//! Twin: `src/cel/tests/any_text.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_mesh::cel::Expression;
use tower_mesh::policy::Request;

fuzz_target!(|text: &str| {
    let rule = match Expression::compile(text) {
        Ok(rule) => rule,
        Err(error) => {
            assert!(text.is_char_boundary(error.offset()));
            return;
        }
    };
    let request = Request::new()
        .post("/a/b?c=d")
        .from("cluster.local/ns/foo/sa/a")
        .header("x-a", "b")
        .header("x-a", [0xff])
        .user("a", "b")
        .claim("l", vec!["a", "b"])
        .claim("n", 1);
    for request in [&request, &Request::new(), &Request::tcp()] {
        if let Err(error) = rule.evaluate(request) {
            let _ = error.to_string();
        }
    }
});
