use std::time::{Duration, SystemTime};

use super::*;

/// A request that failed.
struct Failed;

impl Facts for Failed {
    fn fact(&self, fact: &Fact) -> Option<FactValue<'_>> {
        Some(match fact {
            Fact::ResponseCode => 503.into(),
            Fact::RequestHost => "a.example".into(),
            Fact::RequestMethod => "GET".into(),
            Fact::RequestDuration => FactValue::Duration(Duration::from_millis(1500)),
            Fact::RequestTime => FactValue::Time(SystemTime::UNIX_EPOCH + Duration::from_secs(60)),
            Fact::RequestHeader(name) if **name == *"x-a" => "1".into(),
            Fact::DownstreamPeer(PeerField::Workload) => "desk".into(),
            Fact::DownstreamPeer(PeerField::Any) | Fact::ConnectionMtls => true.into(),
            Fact::UpstreamAttempts => 2.into(),
            Fact::NodeId => "sidecar~127.0.0.1~app.default~default.svc.cluster.local".into(),
            Fact::ResponseTrailerGrpcStatus => "14".into(),
            _ => return None,
        })
    }
}

#[test]
fn conditions_are_true_false_or_an_error() {
    #[rustfmt::skip] // one row a line
    let rows = [
        ("response.code >= 400", Some(true)),
        ("response.code < 400 || connection.mtls", Some(true)),
        ("request.host.startsWith('a.') && request.method in ['GET', 'HEAD']", Some(true)),
        ("request.headers['X-A'] == '1'", Some(true)),
        ("'x-a' in request.headers && !('x-b' in request.headers)", Some(true)),
        ("has(request.headers) && has(filter_state.downstream_peer)", Some(true)),
        ("has(filter_state.upstream_peer)", Some(false)),
        ("filter_state['downstream_peer'].workload == 'desk'", Some(true)),
        ("request.duration > duration('1s')", Some(true)),
        ("request.duration > duration('1m30s')", Some(false)),
        ("request.time == timestamp('1970-01-01T00:01:00Z')", Some(true)),
        ("request.host.matches('^a[.]')", Some(true)),
        ("has(response.grpc_status) && response.grpc_status != 0", Some(false)),
        ("upstream.request_attempt_count > 1 && xds.node.id.startsWith('sidecar~')", Some(true)),
        ("response.trailers['Grpc-Status'] == '14' && 'grpc-status' in response.trailers", Some(true)),
        // What is not there is an error, unless the other side decides.
        ("response.grpc_status != 0", None),
        ("request.headers['x-b'] == '1'", None),
        ("response.grpc_status != 0 || response.code == 503", Some(true)),
    ];
    for (text, expected) in rows {
        let condition = Condition::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(condition.evaluate(&Failed).ok(), expected, "{text}");
    }
}

#[test]
fn values_are_texts() {
    #[rustfmt::skip] // one row a line
    let rows = [
        ("'fixed'", Some("fixed")),
        ("request.host", Some("a.example")),
        ("response.code", Some("503")),
        ("response.code / 100", Some("5")),
        ("string(response.code) + '!'", Some("503!")),
        ("response.code >= 500 ? 'bad' : 'good'", Some("bad")),
        ("connection.mtls", Some("true")),
        ("request.duration", Some("1.5s")),
        ("request.time", Some("60")),
        ("request.headers['x-b']", None),
        ("'x-b' in request.headers ? request.headers['x-b'] : 'none'", Some("none")),
    ];
    for (text, expected) in rows {
        let value = TagValue::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(value.evaluate(&Failed).ok().as_deref(), expected, "{text}");
    }
    let constant = |text| TagValue::compile(text).unwrap().constant();
    assert_eq!(constant("'a' + 'b'").as_deref(), Some("ab"));
    assert_eq!(constant("request.host"), None);
}

#[test]
fn mistakes_are_found_at_load() {
    #[rustfmt::skip] // one row a line
    let rows = [
        ("response.cod", "no such attribute"),
        ("respons.code == 1", "attributes start with"),
        ("auth.claims.sub == 'x'", "attributes start with"),
        ("xds.node == 'x'", "xds.node.id"),
        ("filter_state.downstream_peer.owner == 'x'", "no such field of a peer"),
        // Known to Envoy, and never there here.
        ("filter_state.downstream_peer.type == 'pod'", "never have a value"),
        ("filter_state.upstream_peer.name == 'x'", "never have a value"),
        ("filter_state.downstream_peer.labels['team'] == 'x'", "never have a value"),
        ("has(filter_state.upstream_peer.labels)", "never have a value"),
        ("connection.dns_san_peer_certificate == 'a'", "name connection.uri_san_peer_certificate"),
        ("has(connection.subject_peer_certificate)", "name connection.uri_san_peer_certificate"),
        ("response.trailers['x-a'] == 'x'", "response.trailers['grpc-status']"),
        ("'x-a' in response.trailers", "response.trailers['grpc-status']"),
        ("request.headers['authorization'] == 'x'", "holds a secret"),
        ("request.headers == 'x'", "literal name"),
        ("response.code == '200'", "cannot be compared"),
        ("response.code", "true or false"),
        ("request.duration > 5", "cannot be compared"),
        ("request.duration > duration(request.host)", "literal text"),
        ("request.duration > duration('5')", "literal text"),
        ("request.time.getHours() == 3", "no function"),
        ("request.host ==", "not a CEL expression"),
    ];
    for (text, piece) in rows {
        let mistake = Condition::compile(text).unwrap_err().to_string();
        assert!(mistake.contains(piece), "{text}: {mistake}");
    }
    assert!(TagValue::compile("['a']").is_err());
}
