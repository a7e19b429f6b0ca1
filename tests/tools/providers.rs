//! External providers (CUSTOM) in policy tests and commands: what a stub answers, and what comes of it.

use serde_json::{Value, json};
use tower_mesh::Workload;
use tower_mesh::policy::{Attributes, ProviderAnswer};
use tower_mesh::testing::policy::{Expectation, Policies, Table, TableFile, request};

use crate::files::Files;
use crate::policy_tests::said;
use crate::program::{run, text};

fn asking(more: &str) -> Policies {
    Policies::parse(
        &Workload::new("default", "ward"),
        &format!(
            "
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: |
    extensionProviders:
    - name: opa
      envoyExtAuthzGrpc: {{service: opa.opa.svc.cluster.local, port: 9191, {more}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: ask}}
spec: {{action: CUSTOM, provider: {{name: opa}}, rules: [{{to: [{{operation: {{paths: [/a]}}}}]}}]}}
"
        ),
    )
}

#[test]
fn a_stub_answers_in_place_of_a_provider() {
    use ProviderAnswer::{Allow, Deny, Error};
    for (more, answer, status, by) in [
        ("", Allow, 200, "none"),
        ("", Deny { status: 401 }, 401, "ask/0"),
        ("", Error, 403, "ask/0"),
        ("statusOnError: '503'", Error, 503, "ask/0"),
        ("failOpen: true", Error, 200, "none"),
    ] {
        let policies = asking(more).provider("opa", answer);
        let asked = policies.expect(request().get("/a"));
        asked.to_be_answered(status).by(by).to_be_sent_to("opa");
        let other = policies.expect(request().get("/b"));
        other.to_be_allowed().by("none");
        // The word of one request counts more, in a sentence and in a row.
        let denied = || Expectation::answered(418).when_provider("opa", Deny { status: 418 });
        let own = policies.expect(request().get("/a"));
        let own = own.when_provider("opa", Deny { status: 418 });
        own.to_be_answered(418).by("ask/0");
        let run = Table::new().row("own", request().get("/a"), denied());
        run.run(&policies).assert();
    }
    let by_header = asking("").provider_with("opa", |request| {
        match request.any_header("x-badge", &mut |value| value == b"7") {
            true => Allow,
            false => ProviderAnswer::deny(),
        }
    });
    let badge = request().get("/a").header("x-badge", "7");
    by_header.expect(badge).to_be_allowed();
    by_header.expect(request().get("/a")).to_be_denied();
}

#[test]
fn a_provider_without_a_stub_is_said_with_the_way_to_stub_it() {
    let ask =
        |policies: Policies| said(|| drop(policies.expect(request().get("/a")).to_be_allowed()));
    let rule = "istio-ext-authz-opa-ns[default]-policy[ask]-rule[0]";
    let why = ask(asking("").provider("opq", ProviderAnswer::Allow));
    assert_eq!(
        why,
        format!(
            "GET /a in plaintext\n  expected: allowed\n  got:      {rule} asks the provider `opa`, and nothing says what it answers; answers are written for opq\n\
             say it: Policies::provider(\"opa\", ProviderAnswer::Allow), or `providers: {{opa: allow}}` in a table"
        )
    );
    assert!(ask(asking("").demand_provider_answers()).contains("nothing says what it answers\n"));
    // What reaches no provider needs no answer; without any answers, providers are taken as allowing.
    let strict = asking("").demand_provider_answers();
    strict.expect(request().get("/b")).to_be_allowed();
    asking("").expect(request().get("/a")).to_be_allowed();
}

#[test]
fn a_failure_names_the_provider_and_its_answer() {
    let policies = asking("").provider("opa", ProviderAnswer::Deny { status: 401 });
    let why = said(|| drop(policies.expect(request().get("/a")).to_be_allowed()));
    let rule = "istio-ext-authz-opa-ns[default]-policy[ask]-rule[0]";
    assert!(
        why.contains(&format!("\n  got:      denied 401 by {rule} (yaml:")),
        "{why}"
    );
    assert!(
        why.contains(&format!(
            "\n{rule} asks provider `opa`: it denies with 401\n"
        )),
        "{why}"
    );
    let why = said(|| drop(asking("").expect(request().get("/a")).to_be_denied()));
    let taken = "asks provider `opa`: its answer decides; here it is taken as allowing\n";
    assert!(why.contains(taken), "{why}");
    let row = Expectation::denied().when_provider("opa", ProviderAnswer::Allow);
    let run = Table::new()
        .row("x", request().get("/a"), row)
        .run(&asking(""));
    let why = &run.failures[0].why;
    assert!(
        why.contains("expected: denied, when opa answers allow\n"),
        "{why}"
    );
}

#[test]
fn a_table_in_yaml_says_what_providers_answer() {
    let rows = "
- {request: GET /a, expect: 401, by: ask/0}
- {name: down, request: GET /a, providers: {opa: error}, expect: 403}
- {name: other, request: GET /a, providers: {opa: 429}, expect: 429}
- {name: open, request: GET /a, providers: {opa: allow}, expect: allowed}
";
    let table = |providers: &str, rows: &str| {
        let text = format!("workload: a/b\nconfig: [x]\nproviders: {providers}\ntests:{rows}");
        TableFile::parse("ward.yaml", &text)
    };
    let file = table("{opa: 401}", rows).unwrap();
    let run = file
        .table()
        .run(&asking("").provider("opa", ProviderAnswer::Deny { status: 401 }));
    run.assert();
    // What the providers refuse reaches no rule but theirs.
    assert_eq!(run.coverage.providers.len(), 1);
    let seen = &run.coverage.providers[0];
    assert_eq!(
        (seen.asked, seen.allowed, seen.denied, seen.failed),
        (4, 1, 2, 1)
    );
    let wrong = |providers: &str, rows: &str| table(providers, rows).unwrap_err().to_string();
    let why = wrong("{opa: yes}", rows);
    assert!(
        why.contains("ward.yaml:3:") && why.contains("allow, deny, error"),
        "{why}"
    );
    let why = wrong(
        "{}",
        "\n- {request: GET /a, providers: {opa: 200}, expect: 200}\n",
    );
    assert!(why.contains("`200` is no answer of a provider"), "{why}");
    // Without providers no rule answers 418.
    let text = "workload: a/b\nconfig: [x]\ntests:\n- {request: GET /a, expect: 418}\n";
    assert!(TableFile::parse("ward.yaml", text).is_err());
}

/// A configuration in one file, with these settings of the provider.
fn asked_files(settings: &str) -> Files {
    let mesh = format!(
        "
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: |
    extensionProviders:
    - {{name: opa, envoyExtAuthzHttp: {{service: opa.opa.svc.cluster.local, port: 80{settings}}}}}
    - {{name: cedar, envoyExtAuthzGrpc: {{service: cedar.opa.svc.cluster.local, port: 9191}}}}
---
"
    );
    Files::new(&[("policies.yaml", format!("{mesh}{ASK}"))])
}

const ASK: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: foo}
spec: {action: CUSTOM, provider: {name: opa}, rules: [{to: [{operation: {paths: [/a]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: foo}
spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}
";

const RULE: &str = "istio-ext-authz-opa-ns[foo]-policy[ask]-rule[0]";

/// Each row is a word for the provider: the exit status, the line, and what stderr says.
#[test]
fn check_takes_the_answer_of_a_provider() {
    let readers = "ALLOW ns[foo]-policy[readers]-rule[0]";
    let note = "note: the answer depends on the provider `opa`, which is taken as allowing; \
                --provider opa=deny (or allow, error, a status) says what it answers\n";
    let open = ", failOpen: true";
    for (settings, words, code, line, stderr) in [
        (
            "",
            &[][..],
            0,
            format!("allowed: {readers}; if opa allows ({RULE})"),
            note,
        ),
        (
            "",
            &["opa=allow"],
            0,
            format!("allowed: {readers}; opa answers allow ({RULE})"),
            "",
        ),
        (
            "",
            &["opa=deny"],
            1,
            format!("denied 403: CUSTOM {RULE}; opa answers deny ({RULE})"),
            "",
        ),
        (
            "",
            &["opa=401"],
            1,
            format!("denied 401: CUSTOM {RULE}; opa answers deny ({RULE})"),
            "",
        ),
        (
            "",
            &["opa=error"],
            1,
            format!("denied 403: CUSTOM {RULE}; opa cannot be asked ({RULE})"),
            "",
        ),
        (
            open,
            &["opa=error"],
            0,
            format!("allowed: {readers}; opa cannot be asked ({RULE})"),
            "",
        ),
        (
            "",
            &["opa=allow", "cedar=deny"],
            0,
            format!("allowed: {readers}; opa answers allow ({RULE})"),
            "note: no CUSTOM policy of the workload asks `cedar`\n",
        ),
    ] {
        let files = asked_files(settings);
        let config = files.path("policies.yaml");
        let mut all = vec![
            "check",
            "GET",
            "/a",
            "--config",
            &config,
            "--workload",
            "foo/web",
        ];
        all.extend(["--gate", "istio"]);
        all.extend(words.iter().flat_map(|word| ["--provider", word]));
        let output = run(&all, "");
        assert_eq!(text(&output.stdout), format!("{line}\n"), "{words:?}");
        assert_eq!(text(&output.stderr), stderr, "{words:?}");
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        all.push("--explain");
        let explained = text(&run(&all, "").stdout);
        assert!(
            explained.contains(&format!("  {RULE} asks provider `opa`: ")),
            "{explained}"
        );
    }
    for wrong in ["opa", "opa=yes", "opa=200", "=deny"] {
        let words = [
            "check",
            "GET",
            "/",
            "--config",
            "x",
            "--workload",
            "foo/web",
            "--provider",
            wrong,
        ];
        let output = run(&words, "");
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(text(&output.stderr).contains("invalid value"), "{wrong}");
    }
}

/// A line's own word counts more than the command's; a JSON answer has a key for it.
#[test]
fn a_line_says_what_a_provider_answers() {
    let files = asked_files("");
    let config = files.path("policies.yaml");
    let ask = |providers: Value| json!({"method": "GET", "path": "/a", "providers": providers});
    let lines = [
        ask(json!({"opa": 401})),
        ask(json!({"opa": "allow"})),
        ask(Value::Null),
    ];
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let words = ["check", "--requests", "-", "--format", "json", "--explain"];
    let words = [&words[..], &["--config", &config, "--workload", "foo/web"]].concat();
    let answers = |words: &[&str]| -> Vec<Value> {
        let output = run(words, &input);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let out = text(&output.stdout);
        out.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let of = |answer: Value| json!([{"provider": "opa", "policy": RULE, "answer": answer}]);
    let plain = answers(&words);
    assert_eq!(
        (
            &plain[0]["custom"],
            &plain[0]["status"],
            &plain[0]["allowed"]
        ),
        (&of("deny".into()), &json!(401), &json!(false))
    );
    let report = json!([{"provider": "opa", "policy": RULE, "answer": "deny", "refusal": 401}]);
    assert_eq!(plain[0]["explain"]["providers"], report);
    assert_eq!(
        (&plain[1]["custom"], &plain[1]["status"]),
        (&of("allow".into()), &json!(200))
    );
    assert_eq!(
        (&plain[2]["custom"], &plain[2]["status"]),
        (&json!([{"provider": "opa", "policy": RULE}]), &json!(200))
    );
    let told = answers(&[&words[..], &["--provider", "opa=error"]].concat());
    assert_eq!(
        (&told[1]["status"], &told[2]["status"]),
        (&json!(200), &json!(403))
    );
    assert_eq!(told[2]["custom"], of("error".into()));

    let bad = format!("{}\n", ask(json!({"opa": "yes"})));
    let output = run(&words, &bad);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("providers: \"opa\": `yes` is no answer"));
}

/// What a provider refuses reaches no rule behind it, and the report says how often each was asked.
#[test]
fn coverage_counts_what_providers_answer() {
    let files = asked_files("");
    let config = files.path("policies.yaml");
    let input =
        "{\"method\": \"GET\", \"path\": \"/a\"}\n{\"method\": \"PUT\", \"path\": \"/b\"}\n";
    let words = [
        "coverage",
        "--requests",
        "-",
        "--config",
        &config,
        "--workload",
        "foo/web",
    ];
    let reported = |more: &[&str]| text(&run(&[&words[..], more].concat(), input).stdout);
    let unknown = reported(&[]);
    assert!(unknown.contains("100.0%"), "{unknown}");
    assert!(
        unknown.contains("\nprovider `opa` was asked once: answer not known 1\n"),
        "{unknown}"
    );
    let denied = reported(&["--provider", "opa=deny"]);
    assert!(
        denied.contains("\nprovider `opa` was asked once: denied 1\n"),
        "{denied}"
    );
    assert!(
        denied.contains("policy[readers]-rule[0]\n    no request made it match"),
        "{denied}"
    );
    let json = reported(&["--format", "json", "--provider", "opa=error"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["providers"][0]["failed"], 1);
}

/// Each row is a change: the exit status, and what is told. A changed setting shows in no answer, a changed rule does.
#[test]
fn diff_tells_changes_of_providers_and_of_what_they_are_asked() {
    let settings = |old: &str, new: &str| {
        let change = |more: &str| format!("port: 80{more}");
        (change(old), change(new))
    };
    let known = "note: external provider `opa`: ";
    for ((old, new), told) in [
        (settings("", ", failOpen: true"), "failOpen is switched on"),
        (settings(", failOpen: true", ""), "failOpen is switched off"),
        (
            settings("", ", statusOnError: '503'"),
            "statusOnError: 403, now 503",
        ),
        (
            settings("", ", timeout: 1s"),
            "timeout: 600s (it is absent), now 1s",
        ),
        (
            settings("", ", pathPrefix: /check"),
            "pathPrefix: \"\", now \"/check\"",
        ),
        (
            settings("", ", headersToUpstreamOnAllow: [x-user]"),
            "headersToUpstreamOnAllow: [], now [x-user]",
        ),
        (
            settings("", ", includeAdditionalHeadersInCheck: {x-key: secret}"),
            "includeAdditionalHeadersInCheck is another one\n",
        ),
        (
            settings("", ", includeRequestBodyInCheck: {maxRequestBytes: 10}"),
            "includeRequestBodyInCheck: no body, now 10 bytes (what is longer is refused)",
        ),
        (
            ("opa.opa.svc".into(), "evil.opa.svc".into()),
            "another service answers: opa.opa.svc.cluster.local:80, now evil.opa.svc.cluster.local:80",
        ),
        (
            ("envoyExtAuthzHttp".into(), "envoyExtAuthzGrpc".into()),
            "it is asked by gRPC",
        ),
    ] {
        let output = diff(&old, &new, &["--access-only"]);
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains(&format!("{known}{told}")),
            "{new}: {stderr}"
        );
        assert!(!stderr.contains("secret"), "{stderr}");
        assert_eq!(output.status.code(), Some(1), "{new}");
    }
    let same = diff("port: 80", "port: 80", &[]);
    assert_eq!(
        (same.status.code(), text(&same.stderr).as_str()),
        (Some(0), "")
    );
}

/// A request that a provider must allow has more access than one that is refused, and less than one that passes.
#[test]
fn diff_sees_who_must_ask_a_provider() {
    let rule = "action: CUSTOM, provider: {name: opa}, rules: [{to: [{operation: {paths: [/a]}}]}]";
    for (to, title) in [
        (
            "action: CUSTOM, provider: {name: opa}, rules: [{to: [{operation: {paths: [/b]}}]}]",
            "Gains",
        ),
        (
            "action: CUSTOM, provider: {name: opa}, rules: [{to: [{operation: {paths: [/b]}}]}]",
            "Loses",
        ),
        (
            "action: AUDIT, rules: [{to: [{operation: {paths: [/a]}}]}]",
            "Gains",
        ),
        (
            "action: DENY, rules: [{to: [{operation: {paths: [/a]}}]}]",
            "Loses",
        ),
        (
            "action: CUSTOM, provider: {name: cedar}, rules: [{to: [{operation: {paths: [/a]}}]}]",
            "Access as before, answered otherwise",
        ),
        (
            "action: CUSTOM, provider: {name: nobody}, rules: [{to: [{operation: {paths: [/a]}}]}]",
            "Loses",
        ),
    ] {
        for access_only in [&[][..], &["--access-only"]] {
            let output = diff(rule, to, access_only);
            let out = text(&output.stdout);
            assert!(out.contains(title), "{to} {access_only:?}: {out}");
            assert_eq!(output.status.code(), Some(1), "{out}");
        }
    }
}

/// The comparison of a configuration with itself, but that a text is another one.
fn diff(old: &str, new: &str, words: &[&str]) -> std::process::Output {
    let whole = std::fs::read_to_string(asked_files("").path("policies.yaml")).unwrap();
    let base = "port: 80";
    let of = |text: &str| match text.starts_with(base) {
        true => whole.replace(base, text),
        false => whole.replace(old, text),
    };
    let (before, after) = (of(old), of(new));
    let files = Files::new(&[("old.yaml", before), ("new.yaml", after)]);
    let (old, new) = (files.path("old.yaml"), files.path("new.yaml"));
    let fixed = ["diff", &old, &new, "--workload", "foo/web"];
    run(&[&fixed[..], words].concat(), "")
}

/// A provider that is a rule (kind Authorizer) and a policy that asks it.
const WARD: &str = "
apiVersion: mesh.tower/v1
kind: Authorizer
metadata: {name: own-ward, namespace: foo}
spec: {expression: \"auth.claims.ward == request.headers['x-ward']\"}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: foo}
spec: {action: CUSTOM, provider: {name: own-ward}, rules: [{to: [{operation: {paths: [/a]}}]}]}
";

/// What an expression answers is computed; without what it reads it refuses. A stub counts more.
#[test]
fn an_expression_answers_for_itself() {
    let policies = Policies::parse(&Workload::new("foo", "web"), WARD).demand_provider_answers();
    let user = request()
        .get("/a")
        .user("https://idp", "ann")
        .claim("ward", "3");
    let right = user.clone().header("x-ward", "3");
    policies
        .expect(right.clone())
        .to_be_sent_to("own-ward")
        .to_be_allowed();
    let wrong = user.clone().header("x-ward", "4");
    policies.expect(wrong).to_be_answered(403).by("ask/0");
    policies.expect(user).to_be_answered(403).by("ask/0");
    policies.expect(request().get("/b")).to_be_allowed();
    let stub = policies.provider("own-ward", ProviderAnswer::Deny { status: 401 });
    stub.expect(right).to_be_answered(401);

    let files = Files::new(&[("policies.yaml", WARD)]);
    let config = files.path("policies.yaml");
    for (ward, code, line) in [
        (
            "3",
            0,
            "allowed: no ALLOW policy applies; own-ward answers allow",
        ),
        (
            "4",
            1,
            "denied 403: CUSTOM istio-ext-authz-own-ward-ns[foo]-policy[ask]-rule[0]; own-ward answers deny",
        ),
    ] {
        let header = format!("x-ward={ward}");
        let words = [
            "check",
            "GET",
            "/a",
            "--config",
            &config,
            "--workload",
            "foo/web",
            "--gate",
            "istio",
        ];
        let words = [
            &words[..],
            &[
                "--claim",
                "iss=i",
                "--claim",
                "sub=s",
                "--claim",
                "ward=\"3\"",
            ],
        ]
        .concat();
        let output = run(&[&words[..], &["--header", &header]].concat(), "");
        let out = text(&output.stdout);
        assert!(out.starts_with(line), "{out} {}", text(&output.stderr));
        assert_eq!(
            (output.status.code(), text(&output.stderr).as_str()),
            (Some(code), "")
        );
    }
}

/// A provider that only the application knows: unknown to files, unless its name is stated.
#[test]
fn a_provider_of_the_application_is_stated_by_name() {
    let ask = WARD.split_once("---").unwrap().1;
    let policies = ask.replace("own-ward", "desk");
    let files = Files::new(&[
        ("policies.yaml", &policies),
        ("mesh.yaml", &String::from("{}\n")),
    ]);
    let (config, mesh) = (files.path("policies.yaml"), files.path("mesh.yaml"));
    let check = [
        "check",
        "GET",
        "/a",
        "--config",
        &config,
        "--workload",
        "foo/web",
    ];
    let stated = ["--authorizer", "desk", "--provider", "desk=allow"];
    for (more, code) in [(&stated[..], 0), (&stated[2..], 1), (&[], 1)] {
        let output = run(&[&check[..], more].concat(), "");
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stdout));
        let hint = text(&output.stderr).contains("add --authorizer desk");
        assert_eq!(hint, more == &stated[2..], "{}", text(&output.stderr));
    }
    let vet = [
        "vet",
        &config,
        "--mesh-config",
        &mesh,
        "--workload",
        "foo/web",
    ];
    let found = |more: &[&str]| {
        let output = run(&[&vet[..], more].concat(), "");
        text(&output.stdout).contains("[unknown-provider]")
    };
    assert!(found(&[]) && !found(&["--authorizer", "desk"]));

    let table = |authorizers: &str| {
        let rows = "- {request: GET /a, providers: {desk: 401}, expect: 401}";
        let text =
            format!("workload: foo/web\nconfig: [policies.yaml]\n{authorizers}tests:\n{rows}\n");
        let file = TableFile::parse(&files.path("table.yaml"), &text).unwrap();
        file.table().run(&file.policies().unwrap()).failures.len()
    };
    assert_eq!((table("authorizers: [desk]\n"), table("")), (0, 1));
}

/// Another expression, or another cache of decisions, shows in no answer.
#[test]
fn diff_tells_another_expression_and_another_cache() {
    let cached = WARD.replace(
        "spec: {expression: ",
        "spec: {cache: {keys: [source.principal], ttl: 60s, staleIfError: 1h}, expression: ",
    );
    for (new, told) in [
        (
            WARD.replace("x-ward", "x-bed"),
            "its expression is another one: \"auth.claims.ward == ",
        ),
        (
            cached,
            "cached decisions: none, now by [source.principal] for 60s",
        ),
    ] {
        let files = Files::new(&[("old.yaml", WARD), ("new.yaml", new.as_str())]);
        let (old, new) = (files.path("old.yaml"), files.path("new.yaml"));
        let output = run(&["diff", &old, &new, "--workload", "foo/web"], "");
        let stderr = text(&output.stderr);
        let told = format!("note: external provider `own-ward`: {told}");
        assert!(stderr.contains(&told), "{stderr}");
        assert_eq!(output.status.code(), Some(1));
    }
}

/// Each row is a change of a rate limit, which no answer shows.
#[test]
fn diff_tells_changes_of_rate_limits() {
    let limit = "
apiVersion: mesh.tower/v1
kind: RateLimit
metadata: {name: searches, namespace: foo}
spec:
  service: {host: quotas.foo.svc.cluster.local, port: 8081, domain: foo, failureModeDeny: true}
  rateLimits:
  - actions: [{principal: {}}]
---
";
    let whole = format!("{limit}{WARD}");
    for (old, new, told) in [
        (whole.as_str(), WARD, "is gone: looser"),
        (WARD, &whole, "is new: stricter"),
        (
            &whole,
            &whole.replace("spec:\n  service", "spec:\n  reportOnly: true\n  service"),
            "refuses nothing any more (reportOnly): looser",
        ),
        (
            &whole,
            &whole.replace("failureModeDeny: true", "failureModeDeny: false"),
            "lets requests pass while its service cannot be asked: looser",
        ),
        (
            &whole,
            &whole.replace("{principal: {}}", "{method: {}}"),
            "counts by other descriptors",
        ),
        (
            &whole,
            &whole.replace("domain: foo", "domain: bar"),
            "counts or answers otherwise",
        ),
    ] {
        let files = Files::new(&[("old.yaml", old), ("new.yaml", new)]);
        let (old, new) = (files.path("old.yaml"), files.path("new.yaml"));
        let output = run(&["diff", &old, &new, "--workload", "foo/web"], "");
        let told = format!("note: rate limit `foo/searches` {told}\n");
        assert_eq!(text(&output.stderr), told);
        assert_eq!(output.status.code(), Some(1), "{told}");
    }
}
