use crate::cel::Expression;

/// Each mistake at `^`, which stands before the place.
#[test]
fn a_mistake_is_told_with_its_place() {
    for (marked, message) in [
        ("^", "empty"),
        (
            "^reqest.path == 'a'",
            "is no attribute; attributes start with `request.`",
        ),
        (
            "request.method == 'GET' && ^reqest.path == 'a'",
            "is no attribute",
        ),
        (
            "request^.pth == 'a'",
            "no such attribute; `request` has request.method",
        ),
        ("^request == 'a'", "no value of its own"),
        ("request.method^.first == 'a'", "has no field `first`"),
        ("request^.headers == 'a'", "by a literal name"),
        (
            "request^.headers[request.method] == 'a'",
            "by a literal name",
        ),
        ("request^.headers.exists(h, h == 'a')", "by a literal name"),
        ("request^.method in request.headers", "by a literal name"),
        (
            "request.headers^['a b'] == 'a'",
            "no header can have this name",
        ),
        ("request.method ^== 1", "cannot be compared"),
        ("request.method ^< destination.port", "cannot be compared"),
        (
            "request^.method",
            "a rule is true or false, and this is a text",
        ),
        ("^1", "this is a number"),
        ("request.method.^contains('a', 'b')", "takes one text"),
        (
            "request.method.contains(^1)",
            "needs a text, and this is a number",
        ),
        ("destination^.port.startsWith('8')", "needs a text"),
        ("request.method.^frobnicate()", "no function `frobnicate`"),
        ("^frobnicate(request.method)", "no function `frobnicate`"),
        ("request.method.matches(^'(')", "unclosed group"),
        ("request.method.matches(request^.path)", "literal pattern"),
        ("!request^.method", "needs a condition"),
        ("request^.method && true", "needs a condition"),
        ("request.method ^+ 1 == 'a'", "needs one type"),
        (
            "[1].all(x, x > 0) && [[1]].all(x, x.^all(y, y > 0))",
            "macros may not nest",
        ),
        ("[1].^filter(x, x > 0).all(y, y > 0)", "macros may not nest"),
        ("[1].^all(request, true)", "name the variable otherwise"),
        ("[1].^all(x)", "takes a variable and a condition"),
        ("request.method ==^", "not a CEL expression"),
        ("request.method == ^'GET", "no end"),
        ("request.method ^= = 'GET'", "not a CEL expression"),
        ("true^)", "never opened"),
        ("request.^`method` == 'GET'", "backticks"),
        ("request^.?method == 'GET'", "not a CEL expression"),
        (
            "google.protobuf.Duration^{} == 'a'",
            "messages are not supported",
        ),
        ("^timestamp(1) < timestamp(2)", "no function"),
        ("'ä' == 'ö' && ^reqest.path == 'a'", "is no attribute"),
        (
            "request.method == 'GET' &&\n  // ä\n  ^reqest.path == 'a'",
            "is no attribute",
        ),
    ] {
        let place = marked.find('^').unwrap();
        let text = marked.replacen('^', "", 1);
        let error = Expression::compile(&text).expect_err(&text);
        assert!(error.message().contains(message), "{text}: {error}");
        let before = &text[..error.offset()];
        assert_eq!(error.line(), before.matches('\n').count() + 1, "{text}");
        assert_eq!(error.offset(), place, "{marked}: {error}");
    }
}
