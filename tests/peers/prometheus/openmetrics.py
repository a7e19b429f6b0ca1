"""Reads OpenMetrics with the strict parser of Prometheus' client, and says what it has read."""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

families, exemplars = {}, {}
for family in text_string_to_metric_families(sys.stdin.read()):
    families[family.name] = family.type
    for sample in family.samples:
        if sample.exemplar:
            exemplars.setdefault(sample.name, []).append(
                {"labels": sample.exemplar.labels, "value": sample.exemplar.value, "timestamp": sample.exemplar.timestamp}
            )
json.dump({"families": families, "exemplars": exemplars}, sys.stdout, default=float)
