//! Requests of HTTP/1, each rule in several spellings.

use super::message::{Case, Message};

/// Every case of the table.
pub(crate) fn cases() -> Vec<Case> {
    let mut table = Table(Vec::new());
    table.methods();
    table.hosts();
    table.versions();
    table.targets();
    table.paths();
    table.headers();
    table.framing();
    table.sizes();
    table.upgrades();
    table.0
}

/// Hosts as they may stand in a `Host` line, in a target or in `:authority`.
pub(crate) const HOSTS: [&[u8]; 49] = [
    b"front",
    b"front:80",
    b"front:8080",
    b"FRONT",
    b"front.",
    b"front..",
    b".front",
    b"secret.com",
    b"SECRET.com",
    b"secret.com.",
    b"secret.com:80",
    b"secret.com:",
    b"secret.com:port",
    b"secret.com:99999",
    b"secret.com:80:80",
    b"x@secret.com",
    b"x:y@secret.com",
    b"@secret.com",
    b"x@y@secret.com",
    b"x@y@front",
    b"x@front",
    b"secret.com@front",
    b"a,b",
    b"front,secret.com",
    b"secret.com,secret.com",
    b"secret.com;x",
    b"secret.com/x",
    b"secret.com?x",
    b"secret.com#x",
    b"secret.com\\",
    b"sec%72et.com",
    b"a%00b",
    b"a b",
    b"a\tb",
    b"a\x01b",
    b"a\x7fb",
    b"a\xc3\xa9b",
    b"a_b",
    b"<a>",
    b"{a}",
    b"a*",
    b"a'b",
    b"127.0.0.1",
    b"127.1",
    b"[::1]",
    b"[::1]:80",
    b"[::1",
    b"[fe80::1%25x]",
    b"[fe80::1%x]",
];

/// Targets in the form of a path, as they may stand in HTTP/2's `:path`, too.
pub(crate) const TARGETS: [(&str, &[u8]); 105] = [
    ("B-06", b"admin"),
    ("B-06", b"*"),
    ("B-06", b"?x"),
    ("B-06", b"//"),
    ("B-06", b"//front/admin"),
    ("B-06", b"front:80"),
    ("B-07", b"/open#f"),
    ("B-07", b"/admin#f"),
    ("B-07", b"/#/admin"),
    ("B-07", b"/open?q#f"),
    ("B-07", b"/open#?f"),
    ("B-07", b"/open%23f"),
    ("B-07", b"#"),
    ("B-08", b"/open%00"),
    ("B-08", b"/%00/admin"),
    ("B-08", b"/open?%00"),
    ("B-08", b"/open%zz"),
    ("B-08", b"/admin%zz"),
    ("B-08", b"/open?%zz"),
    ("B-08", b"/open%"),
    ("B-08", b"/open%4"),
    ("B-08", b"/open%%41"),
    ("B-08", b"/open%u0041"),
    ("B-08", b"/%c0%af"),
    ("B-08", b"/%c0%ae%c0%ae/admin"),
    ("B-08", b"/%e0%80%af/admin"),
    ("B-08", b"/%ff"),
    ("B-08", b"/%25%32%65"),
    ("B-08", b"/open%0a"),
    ("B-08", b"/open%0d%0a"),
    ("B-08", b"/%7f"),
    ("B-08", b"/%7Eadmin"),
    ("B-08", b"/%2d%2D%5f"),
    ("B-09", b"/x%2fadmin"),
    ("B-09", b"/x%2F..%2Fadmin"),
    ("B-09", b"/x/..%2fadmin"),
    ("B-09", b"/%5cadmin"),
    ("B-09", b"/x%5C..%5cadmin"),
    ("B-09", b"/x\\admin"),
    ("B-09", b"/x\\..\\admin"),
    ("B-09", b"/x/..\\admin"),
    ("B-09", b"/x?a\\b"),
    ("B-10", b"/admin;x"),
    ("B-10", b"/;x/admin"),
    ("B-10", b"/x;y/../admin"),
    ("B-10", b"/x/..;/admin"),
    ("B-10", b"/x/..;y/admin"),
    ("B-10", b"/.;/admin"),
    ("B-10", b"/.;x/admin"),
    ("B-10", b"/x/%2e%2e;/admin"),
    ("B-10", b"/x/..%3b/admin"),
    ("B-10", b"/x/...;/admin"),
    ("B-10", b"/x\\..;/admin"),
    ("B-10", b"/%5C..;/admin"),
    ("B-11", b"/op\"en"),
    ("B-11", b"/op<en>"),
    ("B-11", b"/op|en"),
    ("B-11", b"/op^en"),
    ("B-11", b"/op`en"),
    ("B-11", b"/op{en}"),
    ("B-11", b"/[open]"),
    ("B-11", b"/open:x@y!$&'()*+,="),
    ("B-11", b"/op\x01en"),
    ("B-11", b"/op\x7fen"),
    ("B-11", b"/op\xc3\xa9n"),
    ("B-11", b"/op\xffen"),
    ("B-11", b"/open?\xc3\xa9"),
    ("B-11", b"/open?\"<>|"),
    ("B-11", b"/open?a=\x01"),
    ("B-11", b"/open%20x"),
    ("B-20", b"/admin"),
    ("B-20", b"/admin?x=1"),
    ("B-20", b"/admin?"),
    ("B-20", b"/admin??"),
    ("B-21", b"/./admin"),
    ("B-21", b"/x/../admin"),
    ("B-21", b"/../admin"),
    ("B-21", b"/../../admin"),
    ("B-21", b"/%61dmin"),
    ("B-21", b"/admi%6E"),
    ("B-21", b"/x/%2e%2e/admin"),
    ("B-21", b"/x/.%2e/admin"),
    ("B-21", b"/x/%2E./admin"),
    ("B-21", b"/private/../open"),
    ("B-21", b"/open/../private/x"),
    ("B-21", b"/open/.."),
    ("B-21", b"/open/."),
    ("B-22", b"//admin"),
    ("B-22", b"///admin"),
    ("B-22", b"/x//../admin"),
    ("B-23", b"/%2fadmin"),
    ("B-24", b"/admin%2f"),
    ("B-25", b"/\\admin"),
    ("B-25", b"/admin\\"),
    ("B-26", b"/Admin"),
    ("B-26", b"/admin/"),
    ("B-26", b"/admin/."),
    ("B-26", b"/admin/x/.."),
    ("B-26", b"/admin;x=1"),
    ("B-26", b"/admin%20"),
    ("B-26", b"/admin."),
    ("B-26", b"/x/%252e%252e/admin"),
    ("B-26", b"/%2561dmin"),
    ("B-27", b"/admin%00"),
    ("B-28", b"\\admin"),
];

/// Values of a header, as both versions of HTTP may carry them.
pub(crate) const VALUES: [&[u8]; 22] = [
    b"evil",
    b"EVIL",
    b"good",
    b"",
    b"evil,good",
    b"good,evil",
    b"evil ",
    b" evil",
    b"\tevil\t",
    b"evil\t",
    b"e vil",
    b"e\tvil",
    b"evil\x01",
    b"evil\x7f",
    b"evil\x00",
    b"evil\x0b",
    b"\xc3\xa9",
    b"evil\xff",
    b"evil\x80",
    b"evil\xc2\xa0",
    b"\"evil\"",
    b"evil\r",
];

struct Table(Vec<Case>);

impl Table {
    fn raw(&mut self, rule: &'static str, bytes: &[u8]) {
        let message = Message::Http1(bytes.to_vec());
        self.0.push(Case { rule, message });
    }

    /// A GET for `/open` with these lines behind its `Host`.
    fn with(&mut self, rule: &'static str, lines: &[u8]) {
        let head = b"GET /open HTTP/1.1\r\nhost: front\r\n";
        self.raw(rule, &[head, lines, b"\r\n"].concat());
    }

    /// A POST for `/open` with these lines behind its `Host`, and a body.
    fn post(&mut self, lines: &[u8], body: &[u8]) {
        let head = b"POST /open HTTP/1.1\r\nhost: front\r\n";
        self.raw("B-13", &[head, lines, b"\r\n", body].concat());
    }

    fn methods(&mut self) {
        let methods = [
            "GET", "get", "Get", "gET", "HEAD", "POST", "PUT", "PATCH", "OPTIONS", "TRACE",
            "DELETE", "delete", "Delete", "FOO", "M-SEARCH", "PURGE", "PROPFIND", "G'T", "G(T",
            "G\tT", "G\u{e9}T", "", "GET\t", "\tGET",
        ];
        for method in methods {
            let target = if method == "TRACE" { "/trace" } else { "/open" };
            let request = format!("{method} {target} HTTP/1.1\r\nhost: front\r\n\r\n");
            self.raw("B-01", request.as_bytes());
        }
        for target in ["/admin", "/x/../admin", "/open", "/private/x", "/Admin"] {
            let request = format!("HEAD {target} HTTP/1.1\r\nhost: front\r\n\r\n");
            self.raw("B-33", request.as_bytes());
        }
    }

    fn hosts(&mut self) {
        for lines in [
            "host: front\r\nhost: front\r\n",
            "host: front\r\nhost: secret.com\r\n",
            "host: secret.com\r\nhost: front\r\n",
            "Host: front\r\nHOST: secret.com\r\n",
            "host: front\r\nhost:\r\n",
            "host: front\r\nx-a: b\r\nhost: front\r\nhost: front\r\n",
        ] {
            for target in ["/open", "http://front/open"] {
                let request = format!("GET {target} HTTP/1.1\r\n{lines}\r\n");
                self.raw("B-02", request.as_bytes());
            }
        }
        for (target, host) in [
            ("http://front/open", "front"),
            ("http://front/open", "other"),
            ("http://front/open", "FRONT"),
            ("http://front/open", "front:80"),
            ("http://front/open", "secret.com"),
            ("http://secret.com/open", "front"),
            ("http://SECRET.com/open", "front"),
            ("http://secret.com:80/open", "secret.com"),
            ("http://front/open", "x@secret.com"),
            ("http://front/open", "a,b"),
            ("http://front/open", "a b"),
            ("http://front/open", "a/b"),
            ("http://front/open", ""),
            ("https://front/open", "front"),
            ("HTTP://front/open", "front"),
            ("hTTps://secret.com/open", "front"),
            ("ftp://front/open", "front"),
            ("ws://front/open", "front"),
            ("javascript://front/open", "front"),
            ("http:/front/open", "front"),
            ("http:///open", "front"),
            ("http://front/admin", "front"),
            ("http://front/x/../admin", "front"),
            ("http://front//admin", "front"),
            ("http://front/open?x", "front"),
        ] {
            let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n");
            self.raw("B-04", request.as_bytes());
        }
        for host in HOSTS {
            self.raw(
                "B-05",
                &[b"GET /open HTTP/1.1\r\nhost: ", host, b"\r\n\r\n"].concat(),
            );
            let target = [
                b"GET http://",
                host,
                b"/open HTTP/1.1\r\nhost: front\r\n\r\n",
            ];
            self.raw("B-05", &target.concat());
        }
    }

    fn versions(&mut self) {
        for head in [
            "GET /open HTTP/1.1\r\n",
            "GET http://front/open HTTP/1.1\r\n",
            "GET /open HTTP/1.1\r\nhost:\r\n",
            "GET /open HTTP/1.1\r\nhost:   \r\n",
            "GET http://front/open HTTP/1.1\r\nhost:\r\n",
            "GET /open HTTP/1.0\r\n",
            "GET /open HTTP/1.0\r\nhost: front\r\n",
            "GET /admin HTTP/1.0\r\nhost: front\r\n",
            "GET /open HTTP/1.0\r\nhost: front\r\nconnection: keep-alive\r\n",
            "GET http://front/open HTTP/1.0\r\n",
            "GET /open HTTP/1.2\r\nhost: front\r\n",
            "GET /open HTTP/0.9\r\nhost: front\r\n",
            "GET /open HTTP/2.0\r\nhost: front\r\n",
            "GET /open http/1.1\r\nhost: front\r\n",
            "GET /open HTTP/1.1 \r\nhost: front\r\n",
            "GET /open HTTP/11\r\nhost: front\r\n",
            "GET /open HTTP/1.1x\r\nhost: front\r\n",
            "GET /open\r\nhost: front\r\n",
            "GET  /open HTTP/1.1\r\nhost: front\r\n",
            "GET /open  HTTP/1.1\r\nhost: front\r\n",
            "GET /open\tHTTP/1.1\r\nhost: front\r\n",
            " GET /open HTTP/1.1\r\nhost: front\r\n",
            "\r\nGET /open HTTP/1.1\r\nhost: front\r\n",
            "\r\n\r\nGET /admin HTTP/1.1\r\nhost: front\r\n",
        ] {
            self.raw("B-03", format!("{head}\r\n").as_bytes());
        }
    }

    fn targets(&mut self) {
        for line in [
            "GET  HTTP/1.1",
            "GET http://front HTTP/1.1",
            "GET http://front? HTTP/1.1",
            "GET http://front?x HTTP/1.1",
            "GET http://front#x HTTP/1.1",
            "GET http://front/open#x HTTP/1.1",
            "GET http://front/admin#x HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "OPTIONS http://front HTTP/1.1",
            "OPTIONS /* HTTP/1.1",
            "GET /* HTTP/1.1",
            "POST * HTTP/1.1",
            "CONNECT front:443 HTTP/1.1",
            "CONNECT front HTTP/1.1",
            "CONNECT /open HTTP/1.1",
            "CONNECT * HTTP/1.1",
            "CONNECT http://front/open HTTP/1.1",
            "connect front:443 HTTP/1.1",
            "GET mailto:x HTTP/1.1",
            "GET /open /admin HTTP/1.1",
            "GET /op en HTTP/1.1",
        ] {
            self.raw("B-06", format!("{line}\r\nhost: front\r\n\r\n").as_bytes());
        }
    }

    fn paths(&mut self) {
        for (rule, target) in TARGETS {
            self.raw(
                rule,
                &[b"GET ", target, b" HTTP/1.1\r\nhost: front\r\n\r\n"].concat(),
            );
        }
    }

    fn headers(&mut self) {
        for value in VALUES {
            self.with("B-12", &[b"x-role: ", value, b"\r\n"].concat());
        }
        for lines in [
            "X-ROLE: evil\r\n",
            "x-role:evil\r\n",
            "x-role: good\r\nx-role: evil\r\n",
            "x-role: evil\r\nx-role: good\r\n",
            "x_role: evil\r\n",
            "X_Role: evil\r\n",
            "x-role : evil\r\n",
            "x-role\t: evil\r\n",
            " x-role: evil\r\n",
            "x-role: good\r\n evil\r\n",
            "x-role:\r\n evil\r\n",
            "x-role: good\r\n\tevil\r\n",
            "x-a: b\r\n x-role: evil\r\n",
            ": evil\r\n",
            "x-role\r\n",
            "x(role: evil\r\n",
            "x role: evil\r\n",
            "x\"role: evil\r\n",
            ":path: /admin\r\n",
            ":authority: secret.com\r\n",
            ":method: DELETE\r\n",
            "x-role: evil\n",
            "x-a: b\nx-role: evil\r\n",
            "x-a: b\rx-role: evil\r\n",
            "x-a: b\r\r\nx-role: evil\r\n",
        ] {
            self.with("B-12", lines.as_bytes());
        }
        for name in [
            b"x\x00role".as_slice(),
            b"x\xe9role",
            b"x\x7frole",
            b"x\x01role",
        ] {
            self.with("B-12", &[name, b": evil\r\n"].concat());
        }
        for lines in [
            "x-http-method-override: DELETE\r\n",
            "x-http-method: DELETE\r\n",
            "x-method-override: DELETE\r\n",
            "x-original-url: /admin\r\n",
            "x-rewrite-url: /admin\r\n",
        ] {
            self.with("B-37", lines.as_bytes());
        }
        for lines in [
            "connection: x-role\r\nx-role: evil\r\n",
            "connection: close, x-role\r\nx-role: evil\r\n",
            "connection: x-a\r\nx-a: b\r\nx-c: d\r\n",
            "connection: X-Role\r\nx-role: evil\r\n",
            "connection: host\r\n",
            "connection: close, host\r\n",
            "connection: Host, close\r\n",
            "connection: keep-alive, host\r\n",
            "connection: authorization\r\nauthorization: a\r\n",
            "connection: :path\r\n",
            "connection: x-forwarded-for\r\nx-forwarded-for: 1.1.1.1\r\n",
            "connection: x-forwarded-host\r\n",
            "connection: content-length\r\n",
            "connection: ,,\r\n",
            "connection: a,b,c,d,e,f,g,h,i,j,k\r\n",
            "connection: keep-alive\r\nkeep-alive: 5\r\n",
            "connection: te\r\nte: trailers\r\n",
            "proxy-connection: keep-alive\r\n",
            "te: trailers\r\n",
            "te: gzip\r\n",
            "te: gzip, trailers\r\n",
            "te: trailers;q=0.5\r\n",
            "referer: /x#y\r\n",
            "referer: http://u@x/\r\n",
            "cookie: a=b\r\ncookie: c=d\r\n",
            "accept: a\r\naccept: b\r\n",
        ] {
            self.with("H-17", lines.as_bytes());
        }
    }

    fn framing(&mut self) {
        const CHUNKED: &[u8] = b"3\r\nabc\r\n0\r\n\r\n";
        for encoding in [
            "chunked",
            "Chunked",
            "CHUNKED",
            " chunked ",
            "\tchunked",
            "chunked ,",
            ", chunked",
            "gzip, chunked",
            "chunked, gzip",
            "chunked, chunked",
            "gzip",
            "identity",
            "identity, chunked",
            "chunked, identity",
            "",
            "xchunked",
            "chunkedx",
            "\"chunked\"",
            "chunked;q=1",
            "chunke\u{e9}",
            "trailers, chunked",
            "\u{b}chunked",
        ] {
            let lines = format!("transfer-encoding: {encoding}\r\n");
            self.post(lines.as_bytes(), CHUNKED);
        }
        for lines in [
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
            "transfer-encoding : chunked\r\n",
            "transfer_encoding: chunked\r\ncontent-length: 13\r\n",
            "content-length: 13\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 13\r\n",
            "content-length: 3\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 3\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 0\r\n",
            "transfer-encoding: chunked\r\ncontent-length: x\r\n",
            "content-length: 13\r\ntransfer-encoding: identity\r\n",
            "content-length: 13\r\ntransfer-encoding:\r\n",
            "transfer-encoding:\r\n chunked\r\n",
        ] {
            self.post(lines.as_bytes(), CHUNKED);
        }
        // The body holds a request, which only a server that frames it otherwise would see.
        for lines in [
            "content-length: 54\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 54\r\n",
            "content-length: 54\r\ntransfer-encoding: xchunked\r\n",
            "content-length: 54\r\ntransfer-encoding : chunked\r\n",
        ] {
            let inner = b"0\r\n\r\nGET /admin HTTP/1.1\r\nhost: front\r\nx-smuggled: a\r\n\r\n";
            self.post(lines.as_bytes(), inner);
        }
        for lengths in [
            "3",
            "03",
            "+3",
            "-3",
            " 3 ",
            "3x",
            "0x3",
            "3.0",
            "3,3",
            "3, 3",
            "3,4",
            "",
            "\t3",
            "3 3",
            "18446744073709551616",
            "9223372036854775808",
            "\u{663}",
        ] {
            let lines = format!("content-length: {lengths}\r\n");
            self.post(lines.as_bytes(), b"abc");
        }
        for lines in [
            "content-length: 3\r\ncontent-length: 3\r\n",
            "content-length: 3\r\ncontent-length: 4\r\n",
            "content-length: 0\r\ncontent-length: 3\r\n",
            "content-length : 3\r\n",
            "content_length: 9\r\ncontent-length: 3\r\n",
        ] {
            self.post(lines.as_bytes(), b"abc");
        }
        for body in [
            b"3;x=y\r\nabc\r\n0\r\n\r\n".as_slice(),
            b"3;x=\"y\"\r\nabc\r\n0;z\r\n\r\n",
            b"3 \r\nabc\r\n0\r\n\r\n",
            b"3\t;x\r\nabc\r\n0\r\n\r\n",
            b"03\r\nabc\r\n0\r\n\r\n",
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b"+3\r\nabc\r\n0\r\n\r\n",
            b"-3\r\nabc\r\n0\r\n\r\n",
            b"g\r\nabc\r\n0\r\n\r\n",
            b"\r\nabc\r\n0\r\n\r\n",
            b"3\nabc\n0\n\n",
            b"3\r\nabc0\r\n\r\n",
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"3\rabc\r\n0\r\n\r\n",
            b"A\r\n0123456789\r\n0\r\n\r\n",
            b"a\r\n0123456789\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
            b"10000000000000003\r\nabc\r\n0\r\n\r\n",
            b"000000000000000000003\r\nabc\r\n0\r\n\r\n",
            b"3;x\n\r\nabc\r\n0\r\n\r\n",
            b"3;x\nabc\r\n0\r\n\r\n",
            b"3\r\nabc\r\n00\r\n\r\n",
            b"3\r\nabc\r\n0\r\nx-trailer: a\r\n\r\n",
            b"3\r\nabc\r\n0\r\nx-role: evil\r\n\r\n",
            b"3\r\nabc\r\n0\r\nbad trailer\r\n\r\n",
            b"3\r\nabc\r\n0\r\n\n",
        ] {
            self.post(b"transfer-encoding: chunked\r\n", body);
        }
        for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
            for (lines, body) in [
                ("content-length: 3", "abc"),
                ("transfer-encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"),
            ] {
                let request =
                    format!("{method} /open HTTP/1.1\r\nhost: front\r\n{lines}\r\n\r\n{body}");
                self.raw("B-13", request.as_bytes());
            }
        }
        self.raw("B-13", b"GET /open HTTP/1.1\nhost: front\n\n");
        self.raw("B-13", b"GET /open HTTP/1.1\r\nhost: front\n\r\n");
        self.raw("B-13", b"GET /open HTTP/1.1\rhost: front\r\r");
        self.raw("B-13", b"GET /admin HTTP/1.1\nhost: front\n\n");
        self.raw(
            "B-13",
            b"POST /open HTTP/1.0\r\nhost: front\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        );
        self.raw("B-13", b"POST /open HTTP/1.1\r\nhost: front\r\n\r\n");
        self.raw(
            "B-36",
            b"GET /open HTTP/1.1\r\nhost: front\r\n\r\nGET /admin HTTP/1.1\r\nhost: front\r\n\r\n",
        );
        self.raw(
            "B-36",
            b"GET /admin HTTP/1.1\r\nhost: front\r\n\r\nGET /open HTTP/1.1\r\nhost: front\r\n\r\n",
        );
        self.raw(
            "B-36",
            b"GET /open HTTP/1.1\r\n\r\nGET /open HTTP/1.1\r\nhost: front\r\n\r\n",
        );
        self.raw("B-36", b"GET /open HTTP/1.1\r\nhost: front\r\n\r\nGET /open HTTP/1.1\r\nhost: secret.com\r\n\r\n");
    }

    fn sizes(&mut self) {
        let many = |count: usize| -> Vec<u8> {
            let lines = (0..count).map(|at| format!("x-{at}: a\r\n"));
            lines.collect::<String>().into_bytes()
        };
        for count in [20, 97, 98, 99, 100, 101, 150, 300] {
            self.with("B-15", &many(count));
        }
        for kib in [8, 20, 40, 58, 61, 63, 64, 66, 80, 200] {
            let value = vec![b'a'; kib * 1024];
            self.with("B-15", &[b"x-a: ", value.as_slice(), b"\r\n"].concat());
        }
        let lines = (0..80).map(|at| format!("x-{at}: {}\r\n", "a".repeat(800)));
        self.with("B-15", lines.collect::<String>().as_bytes());
        let name = [b"x".repeat(20 * 1024).as_slice(), b": a\r\n"].concat();
        self.with("B-15", &name);
        for length in [
            1000, 8000, 8191, 8192, 8193, 9000, 16_000, 50_000, 61_000, 70_000,
        ] {
            let path = "a".repeat(length - 1);
            let request = format!("GET /{path} HTTP/1.1\r\nhost: front\r\n\r\n");
            self.raw("B-15", request.as_bytes());
        }
        for length in [7000, 9000, 70_000] {
            let query = "a".repeat(length);
            let request = format!("GET /open?{query} HTTP/1.1\r\nhost: front\r\n\r\n");
            self.raw("B-15", request.as_bytes());
        }
        for length in [200, 256, 1000, 9000] {
            let host = "a".repeat(length);
            let request = format!("GET /open HTTP/1.1\r\nhost: {host}\r\n\r\n");
            self.raw("B-15", request.as_bytes());
        }
    }

    fn upgrades(&mut self) {
        for lines in [
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
            "connection: upgrade\r\nupgrade: h2c\r\n",
            "upgrade: h2c\r\n",
            "upgrade: websocket\r\n",
            "connection: upgrade\r\n",
            "connection: upgrade\r\nupgrade: foo\r\n",
            "connection: upgrade\r\nupgrade: TLS/1.2\r\n",
            "connection: upgrade\r\nupgrade: h2c, websocket\r\n",
        ] {
            self.with("B-35", lines.as_bytes());
        }
        let admin = "GET /admin HTTP/1.1\r\nhost: front\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        self.raw("B-35", admin.as_bytes());
        for expect in [
            "100-continue",
            "100-Continue",
            "200-ok",
            "",
            "100-continue, x",
        ] {
            let lines = format!("expect: {expect}\r\ncontent-length: 3\r\n");
            self.post(lines.as_bytes(), b"abc");
            self.with("B-35", format!("expect: {expect}\r\n").as_bytes());
        }
        self.raw("B-35", b"PRI * HTTP/2.0\r\n\r\n");
        self.raw("B-35", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
        self.raw("B-35", b"\x16\x03\x01\x00\x05hello");
        self.raw("B-35", b"hello\r\n\r\n");
        self.raw(
            "B-35",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET /open HTTP/1.1\r\nhost: front\r\n\r\n",
        );
    }
}
