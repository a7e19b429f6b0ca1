#!/usr/bin/env python3
"""Runs the comparison on loopback and appends raw results under the work folder.

  bench.py [check] [p2] [e2e] [pieces] [rbac] [handshake] [micro] [cross]      (none named: all)

To add a contender, add one line to VARIANTS (and one to HANDSHAKE or MICRO if it applies).
"""
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import envoy_conf

HERE = Path(__file__).resolve().parent
WORK = Path(os.environ.get("BENCH_WORK", HERE / ".work")).resolve()
PEERS = os.environ.get("BENCH_PEERS", str(HERE / "peers" / "target" / "release" / "peers"))
ENVOY = os.environ.get("BENCH_ENVOY", str(WORK / "venv" / "bin" / "envoy"))
KEYS = WORK / "keys"
RAW = WORK / "raw"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECS = float(os.environ.get("BENCH_SECS", "4"))
RATE = int(os.environ.get("BENCH_RATE", "1000"))
CONNS = int(os.environ.get("BENCH_CONNS", "32"))


def free_ports(count):
    """Ports that nobody uses now."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


APP, PROXY, PROXY2 = free_ports(3)
HZ = os.sysconf("SC_CLK_TCK")
JWT = KEYS / "rs256.jwt"


class Proc:
    """One server process that this script started, and will stop by its id."""

    def __init__(self, role, argv, port):
        self.role = role
        self.log = open(WORK / f"{role}.log", "w")
        self.p = subprocess.Popen([str(a) for a in argv], stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        end = time.time() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if self.p.poll() is not None or time.time() > end:
                    sys.exit(f"{role} did not come up: see {self.log.name}")
                time.sleep(0.05)

    def cpu(self):
        f = Path(f"/proc/{self.p.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(f[11]) + int(f[12])) / HZ

    def rss_mib(self):
        for line in Path(f"/proc/{self.p.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024

    def stop(self):
        self.p.send_signal(signal.SIGTERM)
        try:
            self.p.wait(10)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
        self.log.close()


def app(port=APP, *extra):
    return Proc("app", [PEERS, "serve", "--dir", KEYS, "--port", port, *extra], port)


def envoy(role, kind, port, conc, **kw):
    conf = WORK / f"{role}.json"
    envoy_conf.write(conf, kind, port, APP, str(KEYS), **kw)
    return Proc(role, [ENVOY, "-c", conf, "--concurrency", conc, "--use-dynamic-base-id", "--disable-hot-restart",
                       "-l", "error"], port)


def two_sidecars(conc):
    return [app(), envoy("inbound", "inbound", PROXY2, conc),
            envoy("outbound", "outbound", PROXY, conc, next_port=PROXY2)]


def mesh():
    return [Proc("app", [PEERS, "mesh", "--dir", KEYS, "--port", PROXY], PROXY)]


def stack(sampling, *extra):
    return [app(PROXY, "--variant", "stack", "--sampling", sampling, *extra)]


MTLS = ("--tls",)
TOKEN = ("--jwt", JWT)
# name, what starts it (servers end up on PROXY), what the client adds
VARIANTS = [
    ("bare", lambda: [app(PROXY)], ()),
    ("stack, never sampled", lambda: stack("never"), TOKEN),
    ("stack, always sampled", lambda: stack("always"), TOKEN),
    ("bare over mTLS", lambda: [app(PROXY, "--tls")], MTLS),
    ("tower-mesh over mTLS, 1% sampled", mesh, MTLS + TOKEN),
    ("stack over mTLS, 1% sampled", lambda: stack("0.01", "--tls"), MTLS + TOKEN),
    ("envoy router only, c1", lambda: [app(), envoy("proxy", "router", PROXY, 1)], ()),
    ("envoy router only, c2", lambda: [app(), envoy("proxy", "router", PROXY, 2)], ()),
    ("envoy mTLS router only, c2", lambda: [app(), envoy("proxy", "mtls", PROXY, 2)], MTLS),
    ("envoy inbound sidecar, c1", lambda: [app(), envoy("proxy", "inbound", PROXY, 1)], MTLS + TOKEN),
    ("envoy inbound sidecar, c2", lambda: [app(), envoy("proxy", "inbound", PROXY, 2)], MTLS + TOKEN),
    ("two sidecars, c1", lambda: two_sidecars(1), TOKEN),
    ("two sidecars, c2", lambda: two_sidecars(2), TOKEN),
]


# Where the cost of a whole lies; the same columns.
PIECES = [
    ("app: request-id, log, otel, prometheus", lambda: stack("never", "--with", "reqid,log,otel,prom"), ()),
    ("app: JWT only", lambda: stack("never", "--with", "jwt"), TOKEN),
    ("app: JWT and casbin, 10 policies", lambda: stack("never", "--with", "jwt,casbin"), TOKEN),
    ("app: JWT and cedar, 10 policies", lambda: stack("never", "--with", "jwt,cedar"), TOKEN),
    ("app: whole stack on one worker thread", lambda: stack("never", "--threads", "1"), TOKEN),
    ("envoy mTLS router only, c1", lambda: [app(), envoy("proxy", "mtls", PROXY, 1)], MTLS),
    ("envoy mTLS, access log and tracing, c1", lambda: [app(), envoy("proxy", "observed", PROXY, 1)], MTLS),
    ("envoy mTLS, JWT, c1", lambda: [app(), envoy("proxy", "jwt", PROXY, 1)], MTLS + TOKEN),
]


def load(mode, port, secs, *extra, conns=CONNS):
    out = subprocess.run([PEERS, "load", "--mode", mode, "--port", str(port), "--dir", str(KEYS), "--secs", str(secs),
                          "--conns", str(conns), *map(str, extra)], capture_output=True, text=True, timeout=secs + 60)
    if out.returncode:
        sys.exit(out.stderr)
    return json.loads(out.stdout)


def measured(procs, *a, **kw):
    """One load run, with the CPU seconds each server process spent in it."""
    before = [p.cpu() for p in procs]
    r = load(*a, **kw)
    cpu = {p.role: p.cpu() - b for p, b in zip(procs, before)}
    n = max(r["n"], 1)
    r["cpu_us"] = {k: v / n * 1e6 for k, v in cpu.items()}
    r["server_cpu_us"] = sum(r["cpu_us"].values())
    r["rss_mib"] = {p.role: p.rss_mib() for p in procs}
    return r


def save(name, row):
    RAW.mkdir(parents=True, exist_ok=True)
    with open(RAW / f"{name}.jsonl", "a") as f:
        f.write(json.dumps(row) + "\n")


def say(*a):
    print(time.strftime("%H:%M:%S"), *a, flush=True)


def stop(procs):
    for p in reversed(procs):
        p.stop()


def check():
    """The guards must guard: the same requests are let in and turned away by each contender."""
    bad = KEYS / "bad.jwt"
    head, _, sig = JWT.read_text().rpartition(".")
    bad.write_text(f"{head}.{sig[::-1]}")
    ok, wrong = ("--expect", 200), ("--expect", 403)
    guarded = [("good token", ok, TOKEN), ("forged token", ("--expect", 401), ("--jwt", bad)),
               ("path not allowed", (*wrong, "--path", "/other"), TOKEN), ("method not allowed", (*wrong, "--method", "POST"), TOKEN)]
    plan = {"stack over mTLS, 1% sampled": guarded, "tower-mesh over mTLS, 1% sampled": guarded, "envoy inbound sidecar, c1": guarded, "two sidecars, c1": guarded,
            "stack, never sampled": guarded, "bare over mTLS": [("plain", ok, ())], "envoy mTLS router only, c2": [("plain", ok, ())]}
    failed = 0
    for name, cases in plan.items():
        _, start, extra = next(v for v in VARIANTS if v[0] == name)
        tls = MTLS if MTLS[0] in extra else ()
        procs = start()
        try:
            for what, expect, token in cases:
                r = load("closed", PROXY, 0.1, *tls, *expect, *token, conns=1)
                failed += bad_result(name, what, r["n"] > 0 and r["errors"] == 0)
            if tls:
                r = load("closed", PROXY, 0.1, *tls, *ok, *TOKEN, "--no-client-cert", conns=1)
                failed += bad_result(name, "no client certificate", r["n"] == 0 and r["errors"] > 0)
        finally:
            stop(procs)
    if failed:
        sys.exit(f"{failed} checks failed: the contenders do not do the same work")


def bad_result(name, what, passed):
    say(f"{name}: {what}: {'as it should' if passed else 'WRONG'}")
    return 0 if passed else 1


def pieces():
    e2e("pieces", PIECES)


def p2():
    """Rule P-2: the mesh beside the same application with bare mutual TLS, in turns."""
    names = ("bare over mTLS", "tower-mesh over mTLS, 1% sampled")
    rows = {name: [] for name in names}
    for rnd in range(ROUNDS):
        for name in names:
            _, start, extra = next(v for v in VARIANTS if v[0] == name)
            procs = start()
            try:
                load("closed", PROXY, 0.5, *extra)
                row = measured(procs, "closed", PROXY, SECS, *extra)
            finally:
                stop(procs)
            rows[name].append(row)
            save("p2", {"round": rnd, "variant": name, "sat": row})
            say(f"{name}: {row['rps']:.0f}/s, {row['server_cpu_us']:.1f} us CPU a request, errors {row['errors']}")
    bare, ours = (rows[name] for name in names)
    for what, key in (("CPU per request", "server_cpu_us"), ("requests per second", "rps")):
        ratios = sorted(b[key] / a[key] for a, b in zip(bare, ours))
        say(f"{what}, mesh / bare mTLS: median {statistics.median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}")


def e2e(out="e2e", variants=VARIANTS):
    for rnd in range(ROUNDS):
        for name, start, extra in variants:
            procs = start()
            try:
                load("closed", PROXY, 1.0, *extra)
                sat = measured(procs, "closed", PROXY, SECS, *extra)
                fixed = measured(procs, "open", PROXY, SECS, "--rate", RATE, *extra, conns=16)
            finally:
                stop(procs)
            save(out, {"round": rnd, "variant": name, "sat": sat, "open": fixed})
            say(f"{name}: {sat['rps']:.0f}/s, {sat['server_cpu_us']:.0f} us CPU, errors {sat['errors']}; at {RATE}/s "
                f"p50 {fixed['p50_us']:.0f} p99 {fixed['p99_us']:.0f} us, errors {fixed['errors']}")


def rbac():
    cases = [(0, "paths", True), (0, "paths", False)]
    cases += [(n, "paths", m) for n in (10, 100, 1000, 10000) for m in (True, False)]
    cases += [(n, "callers", True) for n in (10, 100, 1000, 10000)]
    for rnd in range(ROUNDS):
        for n, shape, match in cases:
            procs = [app(), envoy("proxy", "rbac", PROXY, 1, n=n, shape=shape, matching=match)]
            expect = ("--expect", 200 if match else 403)
            try:
                load("closed", PROXY, 0.7, *MTLS, *expect, conns=16)
                r = measured(procs, "closed", PROXY, SECS * 0.75, *MTLS, *expect, conns=16)
                one = load("closed", PROXY, 1.0, *MTLS, *expect, conns=1)
            finally:
                stop(procs)
            save("rbac", {"round": rnd, "n": n, "shape": shape, "match": match, "sat": r, "one": one})
            say(f"rbac n={n} {shape} match={match}: proxy {r['cpu_us']['proxy']:.1f} us, {r['rps']:.0f}/s, "
                f"1 conn p50 {one['p50_us']:.0f} us, rss {r['rss_mib']['proxy']:.0f}, errors {r['errors']}")


HANDSHAKE = [
    ("rustls in the app", lambda: [app(PROXY, "--tls")]),
    ("envoy direct response, c1", lambda: [envoy("proxy", "direct", PROXY, 1)]),
    ("envoy direct response, c2", lambda: [envoy("proxy", "direct", PROXY, 2)]),
]


def handshake():
    for rnd in range(ROUNDS):
        out = subprocess.run([PEERS, "handshake", "--dir", str(KEYS)], capture_output=True, text=True, check=True).stdout
        for line in out.splitlines():
            g, name, med, lo, hi = line.split("\t")
            save("micro", {"round": rnd, "group": g, "name": name, "ns": float(med)})
        for name, start in HANDSHAKE:
            procs = start()
            try:
                load("handshake", PROXY, 1.0, *MTLS, conns=8)
                hs = measured(procs, "handshake", PROXY, SECS, *MTLS, conns=8)
                base = measured(procs, "closed", PROXY, 2.0, *MTLS, conns=8)
            finally:
                stop(procs)
            save("handshake", {"round": rnd, "variant": name, "hs": hs, "base_cpu_us": base["server_cpu_us"]})
            say(f"{name}: {hs['rps']:.0f} handshakes/s, {hs['server_cpu_us']:.0f} us server CPU each, "
                f"of which a request {base['server_cpu_us']:.0f}; errors {hs['errors']}")


# name, arguments of `peers micro`
FULL = "reqid,log,otel,prom,jwt,casbin"
MICRO = [
    ("building blocks, aws-lc-rs", ()),
    ("building blocks, rust_crypto", ("--jwt-backend", "rustcrypto")),
    *[(f"stack: {label}", ("--stack", layers, "--sampling", s, "--name", label)) for label, layers, s in [
        ("axum router, bare", "none", "never"),
        ("+ a tower layer that does nothing", "noop-layer", "never"),
        ("+ five such layers, one .layer() each", "noop-5-layers", "never"),
        ("+ five such layers in one .layer()", "noop-5-in-one", "never"),
        ("+ an axum from_fn that does nothing", "noop-fn", "never"),
        ("+ request-id", "reqid", "never"),
        ("+ TraceLayer, INFO span and line to /dev/null", "log", "never"),
        ("+ TraceLayer, spans filtered out", "trace", "never"),
        ("+ axum-prometheus", "prom", "never"),
        ("+ tower-otel metrics", "otel-metrics", "never"),
        ("+ axum-tracing-opentelemetry, unsampled", "otel", "never"),
        ("+ axum-tracing-opentelemetry, sampled", "otel", "always"),
        ("+ tower-otel traces, unsampled", "tower-otel", "never"),
        ("+ JWT RS256 (jsonwebtoken, aws-lc-rs)", "jwt", "never"),
        ("+ JWT and casbin, 10 policies", "jwt,casbin", "never"),
        ("+ JWT and cedar, 10 policies", "jwt,cedar", "never"),
        ("whole stack, unsampled", FULL, "never"),
        ("whole stack, sampled", FULL, "always"),
        ("whole stack without JWT and casbin, unsampled", "reqid,log,otel,prom", "never"),
        ("whole stack without JWT, casbin and log line, unsampled", "reqid,otel,prom", "never"),
    ]],
]


def micro():
    for rnd in range(ROUNDS):
        for name, args in MICRO:
            out = subprocess.run([PEERS, "micro", "--dir", str(KEYS), *args], capture_output=True, text=True, timeout=300)
            if out.returncode:
                say(f"{name} failed: {out.stderr[-300:]}")
                continue
            for line in out.stdout.splitlines():
                g, what, med, lo, hi = line.split("\t")
                save("micro", {"round": rnd, "group": g, "name": what, "ns": float(med)})
        say(f"micro round {rnd}")
    for rnd in range(ROUNDS):
        out = subprocess.run([PEERS, "rbac"], capture_output=True, text=True, timeout=600, check=True)
        for line in out.stdout.splitlines():
            g, what, med, lo, hi = line.split("\t")
            save("micro", {"round": rnd, "group": g, "name": what, "ns": float(med)})
        say(f"in-process policies round {rnd}")


def cross():
    """The same servers under wrk and oha, to check that the load generator here does not mislead."""
    import re
    import shutil
    oha = os.environ.get("BENCH_OHA", str(WORK / "tools" / "bin" / "oha"))
    for rnd in range(ROUNDS):
        for name in ("bare", "stack, never sampled", "envoy router only, c2", "two sidecars, c2"):
            _, start, extra = next(v for v in VARIANTS if v[0] == name)
            head = ["-H", f"authorization: Bearer {JWT.read_text()}"] if TOKEN[0] in extra else []
            url = f"http://127.0.0.1:{PROXY}/patients/42"
            procs = start()
            row = {"round": rnd, "variant": name}
            try:
                load("closed", PROXY, 1.0, *extra)
                if shutil.which("wrk"):
                    o = subprocess.run(["wrk", "-t1", f"-c{CONNS}", f"-d{int(SECS)}s", *head, url], capture_output=True, text=True).stdout
                    row["wrk_rps"] = float(re.search(r"Requests/sec:\s+([\d.]+)", o)[1])
                if Path(oha).exists():
                    o = subprocess.run([oha, "--no-tui", "--output-format", "json", "-z", f"{int(SECS)}s", "-c", "16", "-q", str(RATE),
                                        "--latency-correction", *head, url], capture_output=True, text=True)
                    p = json.loads(o.stdout)["latencyPercentiles"]
                    row["oha"] = {k: p[k] * 1e6 for k in ("p50", "p90", "p99")}
            finally:
                stop(procs)
            save("cross", row)
            say(row)


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    if not (KEYS / "jwks.json").exists():
        subprocess.run([PEERS, "gen", "--dir", str(KEYS)], check=True)
    parts = {"check": check, "p2": p2, "e2e": e2e, "pieces": pieces, "rbac": rbac, "handshake": handshake, "micro": micro, "cross": cross}
    for name in sys.argv[1:] or parts:
        say("==", name)
        parts[name]()


if __name__ == "__main__":
    main()
