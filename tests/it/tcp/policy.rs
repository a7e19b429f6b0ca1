//! Modes, identities and policies.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_mesh::Workload;
use tower_mesh::istio::{Action, parse_mesh_config};
use tower_mesh::mesh::{TcpOptions, TrustedProxy};
use tower_mesh::policy::{Engine, Request};
use tower_mesh::source::{self, Fixed};
use tower_mesh::testing::Pki;
use tower_mesh::tls::Mode;
use tracing::Level;

use super::{Site, ask, echo, ended, go_on};
use crate::support::log::Log;
use crate::support::mesh::{app, build, policy, seconds, still};

const DESK: &str = "[{from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}]}]";
const LOOPBACK: &str = "[{from: [{source: {ipBlocks: [127.0.0.1]}}]}]";
const GET: &str = "[{to: [{operation: {methods: [GET]}}]}]";

fn mode(mode: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: mode}}\n\
         spec: {{mtls: {{mode: {mode}}}}}\n---\n"
    )
}

/// policy.md §2.8 and §4, rows 49 to 51 of its §8.
#[tokio::test]
async fn modes_identities_and_policies() {
    let other_port = "[{to: [{operation: {methods: [GET], ports: ['1']}}]}]";
    let mixed = "[{to: [{operation: {ports: ['1']}}, {operation: {methods: [GET]}}]}]";
    let request = "[{from: [{source: {requestPrincipals: [x]}}, {source: {namespaces: [z]}}]}]";
    let of_namespace = "[{from: [{source: {namespaces: [default]}}]}]";
    let here = "[{from: [{source: {ipBlocks: [127.0.0.0/8]}}]}]";
    // Who gets in: the desk, another workload, a caller in plaintext.
    let rows: [(&str, &str, [bool; 3]); 12] = [
        ("", "", [true, true, true]),
        ("ALLOW", DESK, [true, false, false]),
        ("DENY", DESK, [false, true, true]),
        ("ALLOW", of_namespace, [true, true, false]),
        ("DENY", of_namespace, [false, false, true]),
        ("ALLOW", here, [true, true, true]),
        ("AUDIT", DESK, [true, true, true]),
        ("ALLOW", GET, [false, false, false]),
        ("ALLOW", mixed, [false, false, false]),
        ("DENY", GET, [false, false, false]),
        ("DENY", other_port, [true, true, true]),
        ("DENY", request, [false, false, false]),
    ];
    for name in ["STRICT", "PERMISSIVE", "DISABLE"] {
        for (action, rules, lets_in) in rows {
            let mut text = mode(name);
            if !action.is_empty() {
                text += &policy("p", action, rules);
            }
            let site = Site::echo(|app| app.config(Fixed::yaml("p.yaml", text))).await;
            let what = format!("{name} {action} {rules}");
            let mut handled = 0;
            for (caller, lets_in) in ["desk", "web", "plain"].into_iter().zip(lets_in) {
                let is_plain = caller == "plain";
                let answer = match (name, is_plain) {
                    ("DISABLE", false) => continue,
                    (_, true) => ask(site.plain().await, "ping").await,
                    (_, false) => ask(site.dial(caller).await, "ping").await,
                };
                let lets_in = lets_in && !(is_plain && name == "STRICT");
                let expected = lets_in.then(|| "ping".to_owned());
                assert_eq!(answer, expected, "{caller}: {what}");
                handled += usize::from(lets_in);
            }
            assert_eq!(site.seen.handled(), handled, "{what}");
        }
    }
}

/// A client of TLS without a certificate is none of the mesh, on whatever port.
#[tokio::test]
async fn a_port_without_tls_passes_the_bytes_of_tls_on() {
    let text = mode("DISABLE");
    let site = Site::echo(|app| app.config(Fixed::yaml("p.yaml", text))).await;
    let mut client = site.plain().await;
    client.write_all(&[0x16, 3, 1]).await.unwrap();
    let mut bytes = [0; 3];
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(bytes, [0x16, 3, 1]);
}

/// Nothing asks a provider about a connection, so what its rules match does not get in: a provider over gRPC, one over HTTP (Istio lets such a
/// connection pass), and one that is not there.
#[tokio::test]
async fn what_a_custom_policy_matches_is_refused() {
    for (provider, details) in [
        ("opa", "ext_authz_error{provider[opa]_cannot_be_asked}"),
        ("web", "ext_authz_error{provider[web]_cannot_be_asked}"),
        (
            "nobody",
            "rbac_access_denied_matched_policy[istio-ext-authz-nobody-ns[default]-policy[p]-rule[0]-deny-due-to-bad-CUSTOM-action]",
        ),
    ] {
        let text = format!(
            "{PROVIDERS}---\n{}",
            policy("p", "CUSTOM", LOOPBACK)
                .replace("CUSTOM", &format!("CUSTOM, provider: {{name: {provider}}}"))
        );
        let (log, _guard) = Log::listen(Level::WARN);
        let site = Site::echo(|app| app.config(Fixed::yaml("p.yaml", text))).await;
        assert_eq!(
            ask(site.dial("desk").await, "ping").await,
            None,
            "{provider}"
        );
        let line = site.seen.line().await;
        let flags = if provider == "nobody" { "-" } else { "UAEX" };
        assert_eq!(line, format!("{flags} {details} 0/0"));
        assert_eq!(site.seen.handled(), 0);
        let warned = log.with(&["cannot be asked about connections without HTTP", provider]);
        assert_eq!(
            warned.len(),
            usize::from(provider != "nobody"),
            "{provider}"
        );
    }
}

const PROVIDERS: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - name: opa
      envoyExtAuthzGrpc: {service: opa.policy.svc.cluster.local, port: 9191, timeout: 1s}
    - name: web
      envoyExtAuthzHttp: {service: web.policy.svc.cluster.local, port: 80, timeout: 1s}
";

/// The same without a server, as the engine has it.
#[test]
fn the_engine_lets_no_connection_pass_that_a_provider_has_to_judge() {
    let mesh = "
extensionProviders:
- name: opa
  envoyExtAuthzGrpc: {service: opa.policy.svc.cluster.local, port: 9191}
- name: web
  envoyExtAuthzHttp: {service: web.policy.svc.cluster.local, port: 80}
";
    for provider in ["opa", "web"] {
        let custom = policy("p", "CUSTOM", "[{to: [{operation: {ports: ['7']}}]}]");
        let custom = custom.replace("CUSTOM", &format!("CUSTOM, provider: {{name: {provider}}}"));
        let engine = Engine::builder(&Workload::new("default", "app"))
            .mesh_config(parse_mesh_config("mesh.yaml", mesh).unwrap())
            .yaml(&custom)
            .build()
            .unwrap();
        let refused = engine.decide_tcp(&Request::tcp().port(7));
        assert_eq!(
            (refused.allowed, refused.action),
            (false, Some(Action::Custom))
        );
        let asked = engine.custom_tcp(&Request::tcp().port(7)).unwrap();
        assert_eq!(
            (&*asked.provider, refused.policy),
            (provider, Some(asked.policy))
        );
        assert!(engine.decide_tcp(&Request::tcp().port(8)).allowed);
        assert!(engine.custom_tcp(&Request::tcp().port(8)).is_none());
    }
}

/// A right that is taken away ends what it has opened; without the option a decision holds.
#[tokio::test]
async fn a_policy_that_is_replaced_judges_open_connections_only_where_it_should() {
    for judges_again in [false, true] {
        let load = |text: &str| Fixed::yaml("p.yaml", text).load("default").unwrap();
        let (sender, channel) = source::channel(load(&policy("p", "ALLOW", DESK)));
        let mut options = TcpOptions::default();
        options.judge_again = judges_again;
        let site = Site::start(|app| app.config(channel), options, echo).await;
        let mut open = site.dial("desk").await;
        open.write_all(b"x").await.unwrap();
        open.read_exact(&mut [0]).await.unwrap();
        let web = DESK.replace("desk", "web");
        sender
            .send(load(&policy("p", "ALLOW", &web)))
            .await
            .unwrap();
        assert_eq!(ask(site.dial("desk").await, "ping").await, None);
        let denied = "rbac_access_denied_matched_policy[none]";
        assert_eq!(site.seen.line().await, format!("- {denied} 0/0"));
        let clock = still();
        seconds(6).await;
        go_on(clock);
        if judges_again {
            assert!(ended(&mut open).await);
            assert_eq!(site.seen.line().await, format!("- {denied} 1/1"));
        } else {
            assert_eq!(ask(open, "y").await.as_deref(), Some("y"));
            assert_eq!(site.seen.line().await, "- - 2/2");
        }
    }
}

/// A PROXY header of a caller at 203.0.113 and this, and what it says.
fn proxied(last: u8) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    bytes.extend([203, 0, 113, last, 192, 0, 2, 1]);
    bytes.extend(1234_u16.to_be_bytes());
    bytes.extend(80_u16.to_be_bytes());
    bytes.extend(b"ping");
    bytes
}

/// The caller that a PROXY header names is judged, and not the proxy.
#[tokio::test]
async fn the_caller_that_a_proxy_names_is_judged() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let pki = Pki::new("cluster.local").unwrap();
    let proxy = TrustedProxy::loopback_port(address.port());
    let rules = "[{from: [{source: {ipBlocks: [203.0.113.7]}}]}]";
    let trusting = |proxy: TrustedProxy| {
        let text = mode("PERMISSIVE") + &policy("p", "ALLOW", rules);
        let builder = app(&pki).config(Fixed::yaml("p.yaml", text));
        build(builder.danger().trusted_proxy(proxy))
    };
    let mesh = trusting(proxy.proxy_protocol()).await;
    let told = |connection: tower_mesh::mesh::TcpConnection| {
        let caller = connection.forwarded_peer().unwrap().address().unwrap();
        assert_eq!(caller.to_string(), "203.0.113.7:1234");
        echo(connection)
    };
    tokio::spawn(mesh.serve_tcp_on(socket, told));
    for (last, expected) in [(7, Some("ping")), (8, None)] {
        let client = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(client, &proxied(last)).await.as_deref(), expected);
    }
    // A proxy that names its callers in headers of HTTP cannot do so here.
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let mesh = trusting(TrustedProxy::loopback_port(port)).await;
    let refused = mesh.serve_tcp_on(socket, echo).await.unwrap_err();
    assert!(refused.to_string().contains("proxy_protocol"), "{refused}");
}

/// STRICT: neither a PROXY header without an identity nor a mode that has changed lets plaintext in.
#[tokio::test]
async fn a_strict_port_takes_no_caller_without_an_identity_from_a_proxy() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let pki = Pki::new("cluster.local").unwrap();
    let proxy = TrustedProxy::loopback_port(address.port()).proxy_protocol();
    let builder = app(&pki).mode(Mode::Strict).danger().trusted_proxy(proxy);
    let mesh = build(builder).await;
    tokio::spawn(mesh.serve_tcp_on(socket, echo));
    let client = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(client, &proxied(7)).await, None);
}

/// A plaintext connection ends when its port becomes STRICT.
#[tokio::test]
async fn a_port_that_becomes_strict_ends_its_plaintext_connections() {
    let load = |text: &str| Fixed::yaml("p.yaml", text).load("default").unwrap();
    let (sender, channel) = source::channel(load(&mode("PERMISSIVE")));
    let site = Site::start(|app| app.config(channel), TcpOptions::default(), echo).await;
    let mut open = site.plain().await;
    open.write_all(b"x").await.unwrap();
    open.read_exact(&mut [0]).await.unwrap();
    sender.send(load(&mode("STRICT"))).await.unwrap();
    let clock = still();
    seconds(8).await;
    go_on(clock);
    assert!(ended(&mut open).await);
    assert_eq!(site.seen.line().await, "- no_longer_good{mode_changed} 1/1");
}

/// So does a connection whose caller a proxy has named.
#[tokio::test]
async fn a_port_that_becomes_strict_ends_what_a_proxy_has_named() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let pki = Pki::new("cluster.local").unwrap();
    let load = |text: &str| Fixed::yaml("p.yaml", text).load("default").unwrap();
    let (sender, channel) = source::channel(load(&mode("PERMISSIVE")));
    let proxy = TrustedProxy::loopback_port(address.port()).proxy_protocol();
    let builder = app(&pki).config(channel).danger().trusted_proxy(proxy);
    let mesh = build(builder).await;
    tokio::spawn(mesh.serve_tcp_on(socket, echo));
    let mut open = TcpStream::connect(address).await.unwrap();
    open.write_all(&proxied(7)).await.unwrap();
    open.read_exact(&mut [0; 4]).await.unwrap();
    sender.send(load(&mode("STRICT"))).await.unwrap();
    let clock = still();
    seconds(8).await;
    go_on(clock);
    assert!(ended(&mut open).await);
}
