use super::*;

/// What is written as `spec`, with `^` before the token that is to blame; the field; a piece of the message.
type Row = (&'static str, &'static str, &'static str);

const SECURITY: &str = "security.istio.io/v1";
const AUTHENTICATION: &str = "authentication.istio.io/v1alpha1";
const RBAC: &str = "rbac.istio.io/v1alpha1";

fn check(version: &str, kind: &str, name: &str, rows: &[Row]) {
    for (marked, field, piece) in rows {
        let spec = marked.replace('^', "");
        let column = "spec: ".len() + marked.find('^').expect("a mark") + 1;
        let place = format!("4:{column}: {field}: ");
        let text = format!(
            "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        );
        let problem = only_problem(&text);
        assert!(
            problem.starts_with(&place) && problem.contains(piece),
            "{spec}\n     due: {place}..{piece}..\nreported: {problem}"
        );
    }
}

#[test]
fn authorization_policies_are_held_to_istios_rules() {
    #[rustfmt::skip] // one row a line
    let rows: &[Row] = &[
        // selector, targetRef, targetRefs
        ("{selector: {matchLabels: {a: b}}, targetRefs: ^[{kind: Service, name: s}]}", "spec.targetRefs", "only one of"),
        ("{targetRef: {kind: Service, name: s}, targetRefs: ^[{kind: Service, name: s}]}", "spec.targetRefs", "only one of"),
        ("{selector: {matchLabels: {'': ^b}}}", "spec.selector.matchLabels[]", "empty"),
        ("{selector: {matchLabels: {a: ^'b*'}}}", "spec.selector.matchLabels[a]", "exactly"),
        ("{selector: {matchLabels: {'a*': ^b}}}", "spec.selector.matchLabels[a*]", "exactly"),
        ("{selector: {matchLabels: {a: ^aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}}}", "spec.selector.matchLabels[a]", "63"),
        ("{selector: {matchLabels: {a: ^1}}}", "spec.selector.matchLabels[a]", "write \"1\" in quotes"),
        ("{selector: {^labels: {a: b}}}", "spec.selector.labels", "unknown field"),
        ("{targetRefs: [^{kind: Service}]}", "spec.targetRefs[0].name", "missing"),
        ("{targetRefs: [{kind: Service, name: s, namespace: ^ns}]}", "spec.targetRefs[0].namespace", "leave this out"),
        ("{targetRefs: [^{kind: Pod, name: s}]}", "spec.targetRefs[0]", "`Pod`"),
        ("{targetRefs: [^{group: apps, kind: Service, name: s}]}", "spec.targetRefs[0]", "`apps`"),
        // action
        ("{action: ^PERMIT}", "spec.action", "ALLOW, DENY, AUDIT, CUSTOM"),
        ("{action: ^allow}", "spec.action", "ALLOW, DENY, AUDIT, CUSTOM"),
        ("{action: ^1}", "spec.action", "to make it text"),
        // rules
        ("^{action: DENY}", "spec.rules", "DENY without rules"),
        ("^{action: CUSTOM, provider: {name: x}, rules: []}", "spec.rules", "CUSTOM without rules"),
        ("{rules: [^null]}", "spec.rules[0]", "null"),
        ("{rules: ^{}}", "spec.rules", "write a list"),
        ("{rules: [^x]}", "spec.rules[0]", "this is text; write a map"),
        // provider
        ("{provider: ^{name: x}}", "spec.provider", "only action CUSTOM"),
        ("^{action: CUSTOM, rules: [{}]}", "spec.provider", "missing"),
        ("{action: CUSTOM, provider: ^{}, rules: [{}]}", "spec.provider.name", "missing"),
        ("{action: CUSTOM, provider: {name: ^''}, rules: [{}]}", "spec.provider.name", "empty"),
        // from, to
        ("{rules: [{from: [^null]}]}", "spec.rules[0].from[0]", "null"),
        ("{rules: [{from: [^{}]}]}", "spec.rules[0].from[0].source", "missing"),
        ("{rules: [{from: [{source: ^{}}]}]}", "spec.rules[0].from[0].source", "empty"),
        ("{rules: [{from: [{source: ^{principals: []}}]}]}", "spec.rules[0].from[0].source", "empty"),
        ("{rules: [{to: [^null]}]}", "spec.rules[0].to[0]", "null"),
        ("{rules: [{to: [^{}]}]}", "spec.rules[0].to[0].operation", "missing"),
        ("{rules: [{to: [{operation: ^{}}]}]}", "spec.rules[0].to[0].operation", "empty"),
        ("{rules: [{from: [{source: {principals: [a, ^'']}}]}]}", "spec.rules[0].from[0].source.principals[1]", "empty"),
        ("{rules: [{to: [{operation: {methods: [^'']}}]}]}", "spec.rules[0].to[0].operation.methods[0]", "empty"),
        // serviceAccounts
        ("{rules: [{from: [{source: {principals: [a], serviceAccounts: ^[b]}}]}]}", "spec.rules[0].from[0].source.serviceAccounts", "two sources"),
        ("{rules: [{from: [{source: {notNamespaces: [a], notServiceAccounts: ^[b]}}]}]}", "spec.rules[0].from[0].source.notServiceAccounts", "two sources"),
        ("{rules: [{from: [{source: {serviceAccounts: ^[a,b,c,d,e,f,g,h,i,j,k,l,m,o,p,q,r]}}]}]}", "spec.rules[0].from[0].source.serviceAccounts", "16"),
        ("{rules: [{from: [{source: {serviceAccounts: [^'a*']}}]}]}", "spec.rules[0].from[0].source.serviceAccounts[0]", "no `*`"),
        ("{rules: [{from: [{source: {serviceAccounts: [^a/b/c]}}]}]}", "spec.rules[0].from[0].source.serviceAccounts[0]", "NAMESPACE/NAME"),
        ("{rules: [{from: [{source: {serviceAccounts: [^a/]}}]}]}", "spec.rules[0].from[0].source.serviceAccounts[0]", "NAMESPACE/NAME"),
        ("{rules: [{when: [{key: source.serviceAccount, values: [^/a]}]}]}", "spec.rules[0].when[0].values[0]", "NAMESPACE/NAME"),
        ("{rules: [{when: [{key: source.serviceAccount, values: ^[a,b,c,d,e,f,g,h,i,j,k,l,m,o,p,q,r]}]}]}", "spec.rules[0].when[0].values", "16"),
        // trustDomains
        ("{rules: [{from: [{source: {trustDomains: [^'*a*']}}]}]}", "spec.rules[0].from[0].source.trustDomains[0]", "one `*`"),
        ("{rules: [{from: [{source: {trustDomains: [^'a*b']}}]}]}", "spec.rules[0].from[0].source.trustDomains[0]", "one `*`"),
        ("{rules: [{from: [{source: {trustDomains: [^a/b]}}]}]}", "spec.rules[0].from[0].source.trustDomains[0]", "leave out the /"),
        ("{rules: [{when: [{key: source.trustDomain, notValues: [^'a*b']}]}]}", "spec.rules[0].when[0].notValues[0]", "one `*`"),
        // addresses and ports
        ("{rules: [{from: [{source: {ipBlocks: [^10.0.0.0/33]}}]}]}", "spec.rules[0].from[0].source.ipBlocks[0]", "CIDR"),
        ("{rules: [{from: [{source: {remoteIpBlocks: [^10.0.0]}}]}]}", "spec.rules[0].from[0].source.remoteIpBlocks[0]", "CIDR"),
        ("{rules: [{from: [{source: {notIpBlocks: [^a.b]}}]}]}", "spec.rules[0].from[0].source.notIpBlocks[0]", "CIDR"),
        ("{rules: [{when: [{key: source.ip, values: [^'10.0.0.0/']}]}]}", "spec.rules[0].when[0].values[0]", "CIDR"),
        ("{rules: [{when: [{key: remote.ip, values: [^x]}]}]}", "spec.rules[0].when[0].values[0]", "CIDR"),
        ("{rules: [{when: [{key: destination.ip, values: [^'::1/129']}]}]}", "spec.rules[0].when[0].values[0]", "CIDR"),
        ("{rules: [{to: [{operation: {ports: [^8080]}}]}]}", "spec.rules[0].to[0].operation.ports[0]", "write \"8080\" in quotes"),
        ("{rules: [{to: [{operation: {ports: [^'65536']}}]}]}", "spec.rules[0].to[0].operation.ports[0]", "0 to 65535"),
        ("{rules: [{to: [{operation: {notPorts: [^http]}}]}]}", "spec.rules[0].to[0].operation.notPorts[0]", "0 to 65535"),
        ("{rules: [{when: [{key: destination.port, values: [^'-1']}]}]}", "spec.rules[0].when[0].values[0]", "0 to 65535"),
        // paths
        ("{rules: [{to: [{operation: {paths: [^'/a/{id}']}}]}]}", "spec.rules[0].to[0].operation.paths[0]", "braces"),
        ("{rules: [{to: [{operation: {paths: [/a, ^'/{**}/{*}']}}]}]}", "spec.rules[0].to[0].operation.paths[1]", "last operator"),
        ("{rules: [{to: [{operation: {notPaths: [^'/a b/{*}']}}]}]}", "spec.rules[0].to[0].operation.notPaths[0]", "only letters"),
        ("{rules: [{to: [{operation: {paths: [^'{*}/x']}}]}]}", "spec.rules[0].to[0].operation.paths[0]", "start with a single /"),
        ("{rules: [{to: [{operation: {paths: [^'//{*}']}}]}]}", "spec.rules[0].to[0].operation.paths[0]", "start with a single /"),
        // when
        ("{rules: [{when: [^{values: [a]}]}]}", "spec.rules[0].when[0].key", "missing"),
        ("{rules: [{when: [{key: ^'', values: [a]}]}]}", "spec.rules[0].when[0].key", "empty"),
        ("{rules: [{when: [{key: ^source.user, values: [a]}]}]}", "spec.rules[0].when[0].key", "unknown key"),
        ("{rules: [{when: [{key: ^'request.header[x]', values: [a]}]}]}", "spec.rules[0].when[0].key", "did you mean `request.headers`"),
        ("{rules: [{when: [^{key: source.ip}]}]}", "spec.rules[0].when[0].values", "at least one"),
        ("{rules: [{when: [^{key: source.ip, values: [], notValues: []}]}]}", "spec.rules[0].when[0].values", "at least one"),
        ("{rules: [{when: [{key: ^request.headers, values: [a]}]}]}", "spec.rules[0].when[0].key", "brackets"),
        ("{rules: [{when: [{key: ^'request.auth.claims[]', values: [a]}]}]}", "spec.rules[0].when[0].key", "brackets"),
        ("{rules: [{when: [{key: ^'destination.labels[app]', values: [a]}]}]}", "spec.rules[0].when[0].key", "spec.selector"),
        ("{rules: [{when: [{key: ^destination.user, values: [a]}]}]}", "spec.rules[0].when[0].key", "spec.selector"),
        ("{rules: [{when: [{key: source.principal, values: [^null]}]}]}", "spec.rules[0].when[0].values[0]", "null"),
        ("{rules: [{when: [{key: source.principal, values: [^yes]}]}]}", "spec.rules[0].when[0].values[0]", "write \"yes\" in quotes"),
        // CUSTOM
        ("{action: CUSTOM, provider: {name: x}, rules: [{from: [{source: {principals: ^[a]}}]}]}", "spec.rules[0].from[0].source.principals", "CUSTOM"),
        ("{action: CUSTOM, provider: {name: x}, rules: [{from: [{source: {notNamespaces: ^[a]}}]}]}", "spec.rules[0].from[0].source.notNamespaces", "CUSTOM"),
        ("{action: CUSTOM, provider: {name: x}, rules: [{from: [{source: {serviceAccounts: ^[a]}}]}]}", "spec.rules[0].from[0].source.serviceAccounts", "CUSTOM"),
        ("{action: CUSTOM, provider: {name: x}, rules: [{from: [{source: {trustDomains: ^[a]}}]}]}", "spec.rules[0].from[0].source.trustDomains", "CUSTOM"),
        ("{action: CUSTOM, provider: {name: x}, rules: [{from: [{source: {requestPrincipals: ^[a]}}]}]}", "spec.rules[0].from[0].source.requestPrincipals", "CUSTOM"),
        ("{action: CUSTOM, provider: {name: x}, rules: [{when: [^{key: source.principal, values: [a]}]}]}", "spec.rules[0].when[0]", "CUSTOM"),
        ("{action: CUSTOM, provider: {name: x}, rules: [{when: [^{key: 'request.auth.claims[a]', values: [a]}]}]}", "spec.rules[0].when[0]", "CUSTOM"),
        // unknown fields, spellings
        ("{^rule: []}", "spec.rule", "did you mean `rules`"),
        ("{rules: [{^form: []}]}", "spec.rules[0].form", "did you mean `from`"),
        ("{rules: [{from: [{source: {^principal: [a], principals: [a]}}]}]}", "spec.rules[0].from[0].source.principal", "did you mean `principals`"),
        ("{rules: [{to: [{operation: {paths: [a], ^query: [a]}}]}]}", "spec.rules[0].to[0].operation.query", "known here: hosts"),
        ("{rules: [{to: [{operation: {notPaths: [a], ^not_paths: [b]}}]}]}", "spec.rules[0].to[0].operation.not_paths", "two spellings"),
        // typographic quotes
        ("{rules: [{to: [{operation: {methods: [^“PUT”]}}]}]}", "spec.rules[0].to[0].operation.methods[0]", "“ (U+201C)"),
        ("{rules: [{to: [{operation: {paths: [^\"/a”\"]}}]}]}", "spec.rules[0].to[0].operation.paths[0]", "U+201D"),
        ("{rules: [{from: [{source: {^‘principals’: [x], principals: [a]}}]}]}", "spec.rules[0].from[0].source.‘principals’", "U+2018"),
    ];
    check(SECURITY, "AuthorizationPolicy", "p", rows);
}

#[test]
fn request_authentications_are_held_to_istios_rules() {
    #[rustfmt::skip] // one row a line
    let rows: &[Row] = &[
        ("{jwtRules: [^null]}", "spec.jwtRules[0]", "null"),
        ("{jwtRules: [^{}]}", "spec.jwtRules[0].issuer", "missing"),
        ("{jwtRules: [^{jwks: '{\"keys\":[{\"kty\":\"RSA\"}]}'}]}", "spec.jwtRules[0].issuer", "missing"),
        ("{jwtRules: [{jwksUri: https://a, issuer: ^''}]}", "spec.jwtRules[0].issuer", "empty"),
        ("{jwtRules: [{jwksUri: ^ftp://a/b}]}", "spec.jwtRules[0].jwksUri", "https"),
        ("{jwtRules: [{jwksUri: ^'https:///b'}]}", "spec.jwtRules[0].jwksUri", "no host"),
        ("{jwtRules: [{jwksUri: ^'https://a:70000/b'}]}", "spec.jwtRules[0].jwksUri", "port"),
        ("{jwtRules: [{jwksUri: ^'https://[::1]:x/b'}]}", "spec.jwtRules[0].jwksUri", "port"),
        ("{jwtRules: [{issuer: a, jwks: ^keys}]}", "spec.jwtRules[0].jwks", "JWK set"),
        ("{jwtRules: [{issuer: a, jwks: ^'{\"keys\":[{}]}'}]}", "spec.jwtRules[0].jwks", "kty"),
        ("{jwtRules: [{issuer: a, jwksUri: https://a, jwks: ^'{\"keys\":[{\"kty\":\"RSA\"}]}'}]}", "spec.jwtRules[0].jwks", "combined with jwksUri"),
        ("{jwtRules: [{issuer: a, audiences: [^'']}]}", "spec.jwtRules[0].audiences[0]", "empty"),
        ("{jwtRules: [{issuer: a, fromParams: [^'']}]}", "spec.jwtRules[0].fromParams[0]", "empty"),
        ("{jwtRules: [{issuer: a, fromCookies: [^'']}]}", "spec.jwtRules[0].fromCookies[0]", "empty"),
        ("{jwtRules: [{issuer: a, spaceDelimitedClaims: [^'']}]}", "spec.jwtRules[0].spaceDelimitedClaims[0]", "empty"),
        ("{jwtRules: [{issuer: a, fromHeaders: [^null]}]}", "spec.jwtRules[0].fromHeaders[0]", "null"),
        ("{jwtRules: [{issuer: a, fromHeaders: [^{prefix: x}]}]}", "spec.jwtRules[0].fromHeaders[0].name", "missing"),
        ("{jwtRules: [{issuer: a, fromHeaders: [{name: ^''}]}]}", "spec.jwtRules[0].fromHeaders[0].name", "empty"),
        ("{jwtRules: [{issuer: a, outputClaimToHeaders: [^null]}]}", "spec.jwtRules[0].outputClaimToHeaders[0]", "null"),
        ("{jwtRules: [{issuer: a, outputClaimToHeaders: [^{header: x}]}]}", "spec.jwtRules[0].outputClaimToHeaders[0].claim", "missing"),
        ("{jwtRules: [{issuer: a, outputClaimToHeaders: [^{claim: x}]}]}", "spec.jwtRules[0].outputClaimToHeaders[0].header", "missing"),
        ("{jwtRules: [{issuer: a, outputClaimToHeaders: [{header: ^x.y, claim: x}]}]}", "spec.jwtRules[0].outputClaimToHeaders[0].header", "only letters"),
        ("{jwtRules: [{issuer: a, timeout: ^5}]}", "spec.jwtRules[0].timeout", "quotes"),
        ("{jwtRules: [{issuer: a, timeout: ^soon}]}", "spec.jwtRules[0].timeout", "5s"),
        ("{jwtRules: [{issuer: a, timeout: ^0.0001s}]}", "spec.jwtRules[0].timeout", "1ms"),
        ("{jwtRules: [{issuer: a, forwardOriginalToken: ^'true'}]}", "spec.jwtRules[0].forwardOriginalToken", "without quotes"),
        ("{jwtRules: [{issuer: a, ^jwks_url: x}]}", "spec.jwtRules[0].jwks_url", "did you mean `jwksUri`"),
        ("{presence: ^REQUIRED}", "spec.presence", "requestPrincipals"),
        ("{presence: ^SOMETIMES}", "spec.presence", "OPTIONAL, REQUIRED"),
    ];
    check(SECURITY, "RequestAuthentication", "r", rows);
}

#[test]
fn peer_authentications_are_held_to_istios_rules() {
    #[rustfmt::skip] // one row a line
    let rows: &[Row] = &[
        ("{portLevelMtls: ^{80: {mode: STRICT}}}", "spec.portLevelMtls", "selector"),
        ("{selector: {matchLabels: {a: b}}, portLevelMtls: ^{}}", "spec.portLevelMtls", "empty"),
        ("{selector: {matchLabels: {a: b}}, portLevelMtls: {0: ^{mode: STRICT}}}", "spec.portLevelMtls[0]", "1 to 65535"),
        ("{selector: {matchLabels: {a: b}}, portLevelMtls: {http: ^{mode: STRICT}}}", "spec.portLevelMtls[http]", "1 to 65535"),
        ("{selector: {matchLabels: {a: b}}, portLevelMtls: {80: {mode: ^ON}}}", "spec.portLevelMtls[80].mode", "YAML reads ON"),
        ("{mtls: {mode: ^MUTUAL}}", "spec.mtls.mode", "UNSET, DISABLE, PERMISSIVE, STRICT"),
        ("{mtls: ^STRICT}", "spec.mtls", "a map"),
    ];
    check(SECURITY, "PeerAuthentication", "p", rows);
}

#[test]
fn legacy_policies_are_held_to_istios_rules() {
    #[rustfmt::skip] // one row a line
    let rows: &[Row] = &[
        ("^{peers: [{mtls: {}}]}", "spec.targets", "named `default`"),
        ("{targets: [{name: ^a.b}]}", "spec.targets[0].name", "short name"),
        ("{targets: [^{ports: [{number: 80}]}]}", "spec.targets[0].name", "missing"),
        ("{targets: [{name: a, ports: [{number: ^0}]}]}", "spec.targets[0].ports[0].number", "1 to 65535"),
        ("{targets: [{name: a, ports: [^{}]}]}", "spec.targets[0].ports[0]", "number or name"),
        ("{targets: [{name: a}], peers: [^{}]}", "spec.peers[0].mtls", "missing"),
        ("{targets: [{name: a}], peers: [{mtls: {allowTls: ^true}}]}", "spec.peers[0].mtls.allowTls", "mode: PERMISSIVE"),
        ("{targets: [{name: a}], peers: [{mtls: {mode: ^DISABLE}}]}", "spec.peers[0].mtls.mode", "STRICT, PERMISSIVE"),
        ("{targets: [{name: a}], peers: [{jwt: ^{issuer: a}}]}", "spec.peers[0].jwt", "origins"),
        ("{targets: [{name: a}], origins: [^null]}", "spec.origins[0]", "null"),
        ("{targets: [{name: a}], origins: [^{jwt: null}]}", "spec.origins[0].jwt", "missing"),
        ("{targets: [{name: a}], origins: [{jwt: ^{}}]}", "spec.origins[0].jwt.issuer", "missing"),
        ("{targets: [{name: a}], origins: [{jwt: {issuer: ^''}}]}", "spec.origins[0].jwt.issuer", "empty"),
        ("{targets: [{name: a}], origins: [{jwt: {issuer: a}}, {jwt: {issuer: ^a}}]}", "spec.origins", "already"),
        ("{targets: [{name: a}], origins: [{jwt: {issuer: a, audiences: [^'']}}]}", "spec.origins[0].jwt.audiences[0]", "empty"),
        ("{targets: [{name: a}], origins: [{jwt: {issuer: a, jwtHeaders: [^'']}}]}", "spec.origins[0].jwt.jwtHeaders[0]", "empty"),
        ("{targets: [{name: a}], origins: [{jwt: {issuer: a, jwtParams: [^'']}}]}", "spec.origins[0].jwt.jwtParams[0]", "empty"),
        ("{targets: [{name: a}], origins: [{jwt: {issuer: a, triggerRules: [{excludedPaths: [^{}]}]}}]}", "spec.origins[0].jwt.triggerRules[0].excludedPaths[0]", "exactly one"),
        ("{targets: [{name: a}], origins: [{jwt: {issuer: a, triggerRules: [{includedPaths: [{regex: ^'('}]}]}}]}", "spec.origins[0].jwt.triggerRules[0].includedPaths[0].regex", "RE2"),
        ("{targets: [{name: a}], principalBinding: ^ORIGIN}", "spec.principalBinding", "USE_PEER, USE_ORIGIN"),
        ("{targets: [{name: a}], ^originOptional: true}", "spec.originOptional", "did you mean `originIsOptional`"),
    ];
    check(AUTHENTICATION, "Policy", "p", rows);
    #[rustfmt::skip] // one row a line
    let rows: &[Row] = &[("{targets: ^[{name: a}]}", "spec.targets", "no targets")];
    check(AUTHENTICATION, "Policy", "default", rows);
    check(AUTHENTICATION, "MeshPolicy", "default", rows);
    #[rustfmt::skip] // one row a line
    let rows: &[Row] = &[("^{}", "spec", "named `default`")];
    check(AUTHENTICATION, "MeshPolicy", "p", rows);
}

#[test]
fn legacy_roles_and_bindings_are_held_to_istios_rules() {
    #[rustfmt::skip] // one row a line
    let rows: &[Row] = &[
        ("^{}", "spec.rules", "missing"),
        ("{rules: [^{methods: [GET]}]}", "spec.rules[0].services", "missing"),
        ("{rules: [{services: ['*'], methods: [GET], notMethods: ^[PUT]}]}", "spec.rules[0].notMethods", "combined with methods"),
        ("{rules: [{services: ['*'], ports: [80], notPorts: ^[81]}]}", "spec.rules[0].notPorts", "combined with ports"),
        ("{rules: [{services: ['*'], ports: [^0]}]}", "spec.rules[0].ports[0]", "1 to 65535"),
        ("{rules: [{services: ['*'], ports: [^70000]}]}", "spec.rules[0].ports[0]", "1 to 65535"),
        ("{rules: [{services: ['*'], constraints: [^{values: [a]}]}]}", "spec.rules[0].constraints[0].key", "missing"),
        ("{rules: [{services: ['*'], constraints: [^{key: destination.name}]}]}", "spec.rules[0].constraints[0].values", "missing"),
        ("{rules: [{services: ['*'], constraints: [{key: ^weather, values: [a]}]}]}", "spec.rules[0].constraints[0].key", "unknown key"),
        ("{rules: [{services: ['*'], ports: [80], constraints: [^{key: destination.port, values: ['80']}]}]}", "spec.rules[0].constraints[0]", "combined with ports"),
        ("{rules: [{services: ['*'], methods: [^“PUT”]}]}", "spec.rules[0].methods[0]", "U+201C"),
    ];
    check(RBAC, "ServiceRole", "r", rows);
    #[rustfmt::skip] // one row a line
    let rows: &[Row] = &[
        ("^{roleRef: {kind: ServiceRole, name: r}}", "spec.subjects", "missing"),
        ("{subjects: [^{}], role: r}", "spec.subjects[0]", "empty"),
        ("{subjects: [^{properties: {}}], role: r}", "spec.subjects[0]", "empty"),
        ("{subjects: [{user: a, properties: {source.principal: ^b}}], role: r}", "spec.subjects[0].properties[source.principal]", "same as user"),
        ("{subjects: [{ips: [1.2.3.4], properties: {source.ip: ^1.2.3.4}}], role: r}", "spec.subjects[0].properties[source.ip]", "same as ips"),
        ("{subjects: [{names: [^'*']}], role: r}", "spec.subjects[0].names[0]", "allUsers"),
        ("{subjects: [{notIps: [^x]}], role: r}", "spec.subjects[0].notIps[0]", "CIDR"),
        ("^{subjects: [{user: a}]}", "spec", "exactly one of roleRef"),
        ("^{subjects: [{user: a}], role: r, roleRef: {kind: ServiceRole, name: r}}", "spec", "exactly one of roleRef"),
        ("{subjects: [{user: a}], roleRef: {kind: ^Role, name: r}}", "spec.roleRef.kind", "ServiceRole"),
        ("{subjects: [{user: a}], roleRef: {kind: ServiceRole, name: ^''}}", "spec.roleRef.name", "empty"),
        ("{subjects: [{user: a}], roleRef: ^{kind: ServiceRole}}", "spec.roleRef.name", "missing"),
        ("{subjects: [{user: a}], role: r, mode: ^DRY}", "spec.mode", "ENFORCED, PERMISSIVE"),
    ];
    check(RBAC, "ServiceRoleBinding", "b", rows);
}

#[test]
fn legacy_switches_are_held_to_istios_rules() {
    for kind in ["ClusterRbacConfig", "RbacConfig"] {
        check(
            RBAC,
            kind,
            "x",
            &[("^{mode: 'ON'}", "spec", "named `default`")],
        );
        #[rustfmt::skip] // one row a line
        let rows: &[Row] = &[
            ("^{mode: ON_WITH_INCLUSION}", "spec.inclusion", "missing"),
            ("^{mode: ON_WITH_EXCLUSION}", "spec.exclusion", "missing"),
            // YAML 1.1 takes the word for a boolean, and so do the tools that Istio's resources pass through.
            ("{mode: ^ON}", "spec.mode", "write \"ON\" in quotes"),
            ("{mode: ^SOME}", "spec.mode", "OFF, ON"),
        ];
        check(RBAC, kind, "default", rows);
    }
}

/// Whole documents, the start of the only problem, a piece of its message.
#[test]
fn documents_are_held_to_their_frame() {
    #[rustfmt::skip] // one row a line
    let table = [
        ("a", "1:1: ", "write a resource"),
        ("kind: X", "1:1: apiVersion: ", "missing"),
        ("apiVersion: security.istio.io/v1", "1:1: kind: ", "missing"),
        ("apiVersion: security.istio.io/v2\nkind: AuthorizationPolicy", "1:13: apiVersion: ", "write security.istio.io/v1"),
        ("apiVersion: security.istio.io/v1\nkind: AuthorisationPolicy", "2:7: kind: ", "did you mean AuthorizationPolicy"),
        ("apiVersion: rbac.istio.io/v1alpha1\nkind: Gateway", "2:7: kind: ", "known are ClusterRbacConfig"),
        ("apiVersion: authentication.istio.io/v1\nkind: Policy", "1:13: apiVersion: ", "write authentication.istio.io/v1alpha1"),
        ("apiVersion: security.istio.io/v1\nkind: PeerAuthentication", "1:1: metadata: ", "missing"),
        ("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {}", "3:11: metadata.name: ", "missing"),
        ("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: 'a]b'}", "3:18: metadata.name: ", "no name"),
        ("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: 7}", "3:18: metadata.name: ", "quotes"),
        ("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a, namspace: b}", "3:21: metadata.namspace: ", "did you mean `namespace`"),
        ("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a, creationTimestamp: today}", "3:40: metadata.creationTimestamp: ", "2024-05-31T08:00:00Z"),
        ("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a}\nsepc: {}", "4:1: sepc: ", "did you mean `spec`"),
        ("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a, annotations: {istio.io/dry-run: 'true'}}", "3:53: metadata.annotations[istio.io/dry-run]: ", "only an AuthorizationPolicy"),
        ("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, annotations: {istio.io/dry-run: 'yes'}}", "3:53: metadata.annotations[istio.io/dry-run]: ", "no boolean"),
        ("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, annotations: {istio.io/dry-run: true}}", "3:53: metadata.annotations[istio.io/dry-run]: ", "write \"true\" in quotes"),
        ("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, annotations: {istio.io/dry-run: 'true'}}\nspec: {action: AUDIT}", "3:53: metadata.annotations[istio.io/dry-run]: ", "only ALLOW and DENY"),
        ("apiVersion: v1\nkind: List\nitems:\n- apiVersion: security.istio.io/v1\n  kind: AuthorizationPolicy\n  metadata: {name: a}\n  spec: {action: NO}", "7:18: items[0].spec.action: ", "in quotes"),
        // YAML itself
        ("a: [", "1:4: ", "not YAML"),
        ("a: b\na: c", "2:1: a: ", "already written at line 1"),
        ("a: [x, {b: {c: 1, c: 2}}]", "1:19: a[1].b.c: ", "already written at line 1"),
        ("? [a]\n: b", "1:3: ", "a key must be text"),
        ("a: !!binary aGk=", "1:13: ", "the tag `!!binary`"),
        ("a: *b", "1:4: ", "not YAML"),
        ("a: &a [*a]", "1:8: ", "inside the value that it names"),
        ("a:\n\tb: c", "2:2: ", "; indent with spaces"),
        // Templates of YAML
        ("{{- if .Values.mesh }}\na: b\n{{- end }}", "1:1: ", "render it first: helm template"),
        ("a: b\nname: {{ .Release.Name }}-x\nother: {{ .Values.x }}", "2:7: ", "a Helm template"),
        ("{{/*\nWords\nand more: words\n*/}}\na: b", "1:1: ", "a Helm template"),
        ("a:\n  {{- toYaml .Values.a | nindent 2 }}\nb: c\n---\n{{ .Values.more }}", "2:3: ", "a Helm template"),
        ("metadata:\n  labels:\n{{ include \"x.labels\" . | indent 4 }}", "3:1: ", "a Helm template"),
        ("apiVersion: v1\nkind: ConfigMap\na: |\n  {{ .Title }}\n---\na: [", "6:4: ", "not YAML"),
        ("# {{ .Values.x }}\na: [", "2:4: ", "not YAML"),
    ];
    for (text, place, piece) in table {
        let problem = only_problem(text);
        assert!(
            problem.starts_with(place) && problem.contains(piece),
            "{text}\n     due: {place}..{piece}..\nreported: {problem}"
        );
    }
}

#[test]
fn two_resources_of_one_name_are_an_error_that_names_both() {
    let one = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\n";
    let older = one
        .replace("v1", "v1beta1")
        .replace("name: a", "name: a, namespace: foo");
    let problem = only_problem(&format!("{one}---\n{older}"));
    assert!(
        problem.starts_with("5:1: metadata.name: ") && problem.contains("f:1:1"),
        "{problem}"
    );
    let elsewhere = one.replace("name: a", "name: a, namespace: bar");
    let kind = one.replace("AuthorizationPolicy", "RequestAuthentication");
    assert!(parse("f", &format!("{one}---\n{elsewhere}---\n{kind}"), "foo").is_ok());
}

/// Rule of spec/policy.md §4: a file has no age.
#[test]
fn two_peer_authentications_for_one_namespace_need_an_age_each() {
    let peer = |name: &str, more: &str| {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}{more}}}\n"
        )
    };
    let problem = only_problem(&(peer("a", "") + &peer("b", "")));
    assert!(
        problem.starts_with("6:1: spec.selector: ") && problem.contains("f:2:1"),
        "{problem}"
    );
    let born = ", creationTimestamp: 2024-05-31T08:00:00Z";
    assert!(parse("f", &(peer("a", born) + &peer("b", born)), "foo").is_ok());
    assert!(
        parse(
            "f",
            &(peer("a", "") + &peer("b", ", namespace: bar")),
            "foo"
        )
        .is_ok()
    );
}

#[test]
fn one_bad_document_does_not_hide_the_others_problems() {
    let text = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {}
spec:
  action: PERMIT
  rules:
  - to: [{operation: {ports: [80, 81], pahts: [a]}}]
---
a: [
---
apiVersion: security.istio.io/v1
kind: Policy
";
    let problems = parse("f", text, "foo").unwrap_err();
    let places: Vec<_> = problems
        .as_slice()
        .iter()
        .map(|problem| (problem.at.line, problem.field.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            (4, "metadata.name"),
            (6, "spec.action"),
            (8, "spec.rules[0].to[0].operation.ports[0]"),
            (8, "spec.rules[0].to[0].operation.ports[1]"),
            (8, "spec.rules[0].to[0].operation.pahts"),
            (10, ""),
            (13, "kind"),
        ],
        "{problems}"
    );
}

#[test]
fn what_is_probably_not_meant_is_noted() {
    #[rustfmt::skip] // one row a line
    let table = [
        ("{selector: {matchLabels: {}}}", "AuthorizationPolicy", "spec.selector.matchLabels"),
        ("{selector: {}}", "PeerAuthentication", "spec.selector"),
        ("{action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}", "AuthorizationPolicy", "spec.rules[0]"),
        ("{action: DENY, rules: [{when: [{key: 'request.headers[x]', values: [a]}]}]}", "AuthorizationPolicy", "spec.rules[0]"),
        ("{rules: [{from: [{source: {principals: ['spiffe://a/ns/b/sa/c']}}]}]}", "AuthorizationPolicy", "spec.rules[0].from[0].source.principals[0]"),
        ("{rules: [{when: [{key: source.principal, notValues: ['spiffe://a/ns/b/sa/c']}]}]}", "AuthorizationPolicy", "spec.rules[0].when[0].notValues[0]"),
        ("{jwtRules: [{issuer: a, jwks: '{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}'}]}", "RequestAuthentication", "spec.jwtRules[0].jwks"),
    ];
    for (spec, kind, field) in table {
        let text = format!(
            "apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {spec}"
        );
        let resources = parse("f", &text, "foo").unwrap();
        let fields: Vec<_> = resources.notes.iter().map(|note| &*note.field).collect();
        assert_eq!(fields, [field], "{spec}");
    }
    let quiet = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\nspec: {action: DENY, rules: [{to: [{operation: {methods: [GET], ports: ['80']}}]}]}";
    assert!(parse("f", quiet, "foo").unwrap().notes.is_empty());
}

#[test]
fn mesh_configs_are_held_to_istios_rules() {
    #[rustfmt::skip] // one row a line
    let table = [
        ("trustDomain: ''", "1:14: trustDomain: ", "empty"),
        ("trustDomain: 7", "1:14: trustDomain: ", "quotes"),
        ("pathNormalization: {normalization: SOME}", "1:36: pathNormalization.normalization: ", "MERGE_SLASHES"),
        ("pathNormalization: {normalisation: BASE}", "1:21: pathNormalization.normalisation: ", "did you mean"),
        ("extensionProviders: [{zipkin: {}}]", "1:22: extensionProviders[0].name: ", "missing"),
        ("extensionProviders: [{name: A, envoyExtAuthzGrpc: {service: s, port: 1}}]", "1:29: extensionProviders[0].name: ", "a-z"),
        ("extensionProviders: [{name: a, envoyExtAuthzGrpc: {port: 1}}]", "1:51: extensionProviders[0].envoyExtAuthzGrpc.service: ", "missing"),
        ("extensionProviders: [{name: a, envoyExtAuthzHttp: {service: s, port: 0}}]", "1:70: extensionProviders[0].envoyExtAuthzHttp.port: ", "1 to 65535"),
        ("extensionProviders: [{name: a, envoyExtAuthzHttp: {service: s, port: 1, timeout: 0s}}]", "1:82: extensionProviders[0].envoyExtAuthzHttp.timeout: ", "1s"),
        ("extensionProviders: [{name: a, envoyExtAuthzHttp: {service: s, port: 1, statusOnError: '99'}}]", "1:88: extensionProviders[0].envoyExtAuthzHttp.statusOnError: ", "403"),
        ("extensionProviders: [{name: a, envoyExtAuthzHttp: {service: s, port: 1, headersToUpstreamOnAllow: ['*']}}]", "1:100: extensionProviders[0].envoyExtAuthzHttp.headersToUpstreamOnAllow[0]: ", "x-*"),
        ("extensionProviders: [{name: a, envoyExtAuthzGrpc: {service: s, port: 1, includeRequestBodyInCheck: {}}}]", "1:100: extensionProviders[0].envoyExtAuthzGrpc.includeRequestBodyInCheck.maxRequestBytes: ", "missing"),
        ("extensionProviders: [{name: a, x: {}}, {name: a, x: {}}]", "1:47: extensionProviders: ", "twice"),
        ("apiVersion: v1\nkind: Secret", "1:1: ", "no MeshConfig"),
        ("a: b\n---\na: b", "3:1: ", "second"),
        ("[]", "1:1: ", "write a map"),
        ("a: [", "1:4: ", "not YAML"),
    ];
    for (text, place, piece) in table {
        let problem = parse_mesh_config("f", text).unwrap_err().to_string();
        assert!(
            problem.starts_with(&format!("f:{place}")) && problem.contains(piece),
            "{text}\n     due: {place}..{piece}..\nreported: {problem}"
        );
    }
}
