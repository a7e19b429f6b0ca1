//! Requests of HTTP/2, each rule in several spellings.

use super::message::{Case, Field, Message};
use super::table::{HOSTS, TARGETS, VALUES};

/// Every case of the table.
pub(crate) fn cases() -> Vec<Case> {
    let mut table = Table(Vec::new());
    table.pseudo_headers();
    table.hosts();
    table.headers();
    table.bodies();
    table.sizes();
    for (rule, target) in TARGETS {
        table.change(rule, ":path", target);
    }
    for value in VALUES {
        table.with("B-12", &[("x-role", value)]);
    }
    table.0
}

/// The pseudo-headers of a good request.
const GOOD: [(&str, &[u8]); 4] = [
    (":method", b"GET"),
    (":scheme", b"http"),
    (":authority", b"front"),
    (":path", b"/open"),
];

struct Table(Vec<Case>);

impl Table {
    fn fields(&mut self, rule: &'static str, fields: &[(&str, &[u8])], body: &[u8]) {
        let field =
            |(name, value): &(&str, &[u8])| -> Field { (name.as_bytes().to_vec(), value.to_vec()) };
        let fields = fields.iter().map(field).collect();
        let message = Message::Http2(fields, body.to_vec());
        self.0.push(Case { rule, message });
    }

    /// A good request with these fields behind its pseudo-headers.
    fn with(&mut self, rule: &'static str, more: &[(&str, &[u8])]) {
        self.fields(rule, &[&GOOD, more].concat(), b"");
    }

    /// A good request with another value for one pseudo-header.
    fn change(&mut self, rule: &'static str, name: &str, value: &[u8]) {
        let fields = GOOD.map(|(found, good)| (found, if found == name { value } else { good }));
        self.fields(rule, &fields, b"");
    }

    fn pseudo_headers(&mut self) {
        for method in [
            "get", "Get", "gET", "HEAD", "POST", "PATCH", "OPTIONS", "DELETE", "delete", "Delete",
            "FOO", "foo", "M-SEARCH", "G T", "G\tT", "G(T", "G'T", "", " GET", "GET ", "CONNECT",
            "connect", "TRACE",
        ] {
            self.change("B-01", ":method", method.as_bytes());
        }
        for scheme in [
            "https",
            "HTTP",
            "HTTPS",
            "ftp",
            "javascript",
            "ws",
            "",
            "http:",
            "a b",
            "h\u{e9}",
            "http\u{0}",
            "1http",
            "ht+tp",
        ] {
            self.change("B-14", ":scheme", scheme.as_bytes());
        }
        // Each pseudo-header left out, twice, or behind a header.
        for name in [":method", ":scheme", ":authority", ":path"] {
            let others: Vec<_> = GOOD
                .into_iter()
                .filter(|(found, _)| *found != name)
                .collect();
            let one: Vec<_> = GOOD
                .into_iter()
                .filter(|(found, _)| *found == name)
                .collect();
            self.fields("B-06", &others, b"");
            self.fields("B-06", &[&GOOD, one.as_slice()].concat(), b"");
            let late = [others.as_slice(), &[("x-a", b"b".as_slice())], &one].concat();
            self.fields("B-06", &late, b"");
        }
        self.with("B-06", &[(":status", b"200")]);
        self.with("B-06", &[(":protocol", b"websocket")]);
        self.with("B-06", &[(":unknown", b"a")]);
        self.change("B-06", ":path", b"");
        let connect: [(&str, &[u8]); 2] = [(":method", b"CONNECT"), (":authority", b"front:443")];
        self.fields("B-06", &connect, b"");
        let path: [(&str, &[u8]); 3] = [connect[0], connect[1], (":path", b"/open")];
        self.fields("B-06", &path, b"");
        let extended: [(&str, &[u8]); 5] = [
            connect[0],
            (":protocol", b"websocket"),
            (":scheme", b"http"),
            (":authority", b"front"),
            (":path", b"/open"),
        ];
        self.fields("B-35", &extended, b"");
        for path in [b"*".as_slice(), b"/open", b"/admin"] {
            let options = GOOD.map(|(name, value)| match name {
                ":method" => (name, b"OPTIONS".as_slice()),
                ":path" => (name, path),
                _ => (name, value),
            });
            self.fields("B-06", &options, b"");
        }
        self.change("B-06", ":path", b"http://front/open");
        self.change("B-06", ":path", b"http://secret.com/open");
        self.change("B-11", ":path", b"/open HTTP/1.1\r\nx-role: evil");
        self.change("B-11", ":path", b"/op en");
        self.change("B-11", ":path", b"/op\nen");
        self.change("B-11", ":path", b" /open");
        self.change("B-11", ":path", b"/open ");
    }

    fn hosts(&mut self) {
        let nameless: Vec<_> = GOOD
            .into_iter()
            .filter(|(name, _)| *name != ":authority")
            .collect();
        for host in HOSTS {
            self.change("B-05", ":authority", host);
            let named = [nameless.as_slice(), &[("host", host)]].concat();
            self.fields("B-05", &named, b"");
        }
        self.change("B-03", ":authority", b"");
        self.fields(
            "B-03",
            &[nameless.as_slice(), &[("host", b"".as_slice())]].concat(),
            b"",
        );
        let hosts: [&[u8]; 7] = [
            b"front",
            b"other",
            b"FRONT",
            b"secret.com",
            b"",
            b"x@secret.com",
            b"a,b",
        ];
        for host in hosts {
            self.with("B-04", &[("host", host)]);
        }
        let secret = [
            nameless.as_slice(),
            &[(":authority", b"secret.com".as_slice())],
        ]
        .concat();
        self.fields(
            "B-04",
            &[secret.as_slice(), &[("host", b"front".as_slice())]].concat(),
            b"",
        );
        self.with("B-02", &[("host", b"front"), ("host", b"front")]);
        self.with("B-02", &[("host", b"front"), ("host", b"secret.com")]);
        for second in [b"front".as_slice(), b"secret.com"] {
            let two: [(&str, &[u8]); 2] = [("host", b"front"), ("host", second)];
            self.fields("B-02", &[nameless.as_slice(), &two].concat(), b"");
        }
    }

    fn headers(&mut self) {
        for (name, value) in [
            ("X-Role", b"evil".as_slice()),
            ("X-ROLE", b"good"),
            ("x_role", b"evil"),
            ("x role", b"evil"),
            ("x-role ", b"evil"),
            (" x-role", b"evil"),
            ("x-role:", b"evil"),
            ("", b"evil"),
            ("x\u{0}role", b"evil"),
            ("x\u{e9}role", b"evil"),
            ("x(role", b"evil"),
            ("x-a", b"b\r\nx-role: evil"),
            ("x-a", b"b\nx-role: evil"),
            ("x-a", b"b\rx-role: evil"),
        ] {
            self.with("B-12", &[(name, value)]);
        }
        self.with("B-12", &[("x-role", b"good"), ("x-role", b"evil")]);
        for (name, value) in [
            ("connection", b"close".as_slice()),
            ("connection", b"keep-alive"),
            ("connection", b"x-role"),
            ("connection", b""),
            ("keep-alive", b"5"),
            ("proxy-connection", b"keep-alive"),
            ("transfer-encoding", b"chunked"),
            ("transfer-encoding", b"gzip"),
            ("transfer-encoding", b"trailers"),
            ("upgrade", b"websocket"),
            ("upgrade", b"h2c"),
            ("te", b"trailers"),
            ("te", b"gzip"),
            ("te", b"Trailers"),
            ("te", b"trailers, gzip"),
            ("te", b""),
            ("http2-settings", b"AAMAAABkAAQAAP__"),
            ("expect", b"200-ok"),
        ] {
            self.with("H-17", &[(name, value)]);
        }
        for name in ["x-http-method-override", "x-original-url", "x-rewrite-url"] {
            self.with("B-37", &[(name, b"/admin")]);
        }
        self.with("H-17", &[("cookie", b"a=b"), ("cookie", b"c=d")]);
        self.with("H-17", &[("referer", b"/x#y")]);
    }

    fn bodies(&mut self) {
        let post = GOOD.map(|(name, value)| match name {
            ":method" => (name, b"POST".as_slice()),
            _ => (name, value),
        });
        self.fields("B-13", &post, b"abc");
        let lengths: [&[u8]; 9] = [b"3", b"4", b"2", b"0", b"03", b"+3", b"-3", b"3,3", b"x"];
        for length in lengths {
            let fields = [post.as_slice(), &[("content-length", length)]].concat();
            self.fields("B-13", &fields, b"abc");
        }
        let two: [(&str, &[u8]); 2] = [("content-length", b"3"), ("content-length", b"3")];
        self.fields("B-13", &[post.as_slice(), &two].concat(), b"abc");
        let two: [(&str, &[u8]); 2] = [("content-length", b"3"), ("content-length", b"4")];
        self.fields("B-13", &[post.as_slice(), &two].concat(), b"abc");
        self.with("B-13", &[("content-length", b"3")]);
        self.with("B-13", &[("content-length", b"0")]);
    }

    fn sizes(&mut self) {
        for count in [20, 96, 97, 98, 100, 101, 150, 300] {
            let names: Vec<_> = (0..count).map(|at| format!("x-{at}")).collect();
            let more: Vec<_> = names
                .iter()
                .map(|name| (name.as_str(), b"a".as_slice()))
                .collect();
            self.with("B-15", &more);
        }
        for kib in [8, 20, 40, 58, 61, 63, 64, 66, 80, 200] {
            self.with("B-15", &[("x-a", &vec![b'a'; kib * 1024])]);
        }
        for length in [
            1000, 8000, 8191, 8192, 8193, 9000, 16_000, 50_000, 61_000, 70_000,
        ] {
            let path = [b"/".as_slice(), &vec![b'a'; length - 1]].concat();
            self.change("B-15", ":path", &path);
        }
    }
}
