"""Reads the lines that `patients --json` prints and fails when one is not what its documentation says."""
import json
import sys

ROW = ["row", "caller", "target", "protocol", "method", "path", "token", "expected", "got", "policy", "ok"]
SPAN = ["name", "kind", "trace_id", "span_id", "parent_id", "service"]

lines = [json.loads(line) for line in sys.stdin]
rows, (trace, metrics) = lines[:-2], lines[-2:]
assert len(rows) >= 18, f"only {len(rows)} rows"
for row in rows:
    assert list(row) == ROW, row
    assert row["ok"], row
assert len({span["trace_id"] for span in trace["trace"]}) == 1, trace
for span in trace["trace"]:
    assert list(span) == SPAN, span
for reporter in ("source", "destination"):
    assert f'reporter="{reporter}"' in metrics["metrics"], reporter
print(f"{len(rows)} rows ok")
