# e2e: newest
"""The dashboard, judged by Grafana's own models of what a dashboard may say, and its queries by Prometheus's own parser."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

dashboards = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason="only in the newest environment")

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder

SHIPPED = Path(__file__).parents[3] / "deploy/grafana/sandscope.json"
VARIABLES = {"$__rate_interval": "5m", "$__interval": "1m", "$__range": "1h"}


def understood(dashboard):
    """What Grafana makes of it: whatever its models do not know is gone."""
    plugins.register_default_plugins()
    return json.loads(JSONEncoder().encode(dashboards.Dashboard.from_json(dashboard)))


def lost(said, meant, path="dashboard"):
    if isinstance(said, dict) and isinstance(meant, dict):
        return [
            fault
            for key, value in said.items()
            for fault in (lost(value, meant[key], f"{path}.{key}") if key in meant else [f"{path}.{key}"])
        ]
    if isinstance(said, list) and isinstance(meant, list) and len(said) == len(meant):
        pairs = enumerate(zip(said, meant))
        return [fault for n, (one, other) in pairs for fault in lost(one, other, f"{path}[{n}]")]
    return [] if said == meant else [path]


def test_grafana_knows_everything_the_dashboard_says():
    dashboard = json.loads(SHIPPED.read_text())
    assert lost(dashboard, understood(dashboard)) == []
    # The judge does notice.
    dashboard["panels"][0]["targets"][0]["exprr"] = "1"
    dashboard["panels"][0]["fieldConfig"]["defaults"]["unitt"] = "short"
    assert len(lost(dashboard, understood(dashboard))) == 2


def test_panels_have_places_and_ids_of_their_own():
    panels = json.loads(SHIPPED.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for place in (panel["gridPos"] for panel in panels):
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken
        taken |= cells


def test_prometheus_can_read_every_query(tmp_path):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed (Debian: prometheus)")
    dashboard = json.loads(SHIPPED.read_text())
    names = [variable["name"] for variable in dashboard["templating"]["list"]]
    rules = []
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            query = target["expr"]
            for variable, value in VARIABLES.items():
                query = query.replace(variable, value)
            for name in names:
                query = query.replace(f"${name}", ".*")
            assert "$" not in query, f"a variable nobody sets: {target['expr']}"
            rules.append({"record": f"query_{len(rules)}", "expr": query})
    assert len(rules) >= 15
    # JSON is YAML.
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"\b{len(rules)} rules found", done.stdout)
