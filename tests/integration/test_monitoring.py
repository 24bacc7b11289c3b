"""Prometheus' rules and Grafana's dashboard: checked by promtool, and against what there is."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from ..needs import need_program

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]

_OF_GRAFANA = {"$__rate_interval": "5m", "$job": "wsservice", "$instance": ".*"}
"""What Grafana puts in the place of a variable, in a query."""


def promtool(*arguments: str | Path) -> str:
    """What promtool says, in the folder of the rules."""
    program = need_program("promtool")
    done = subprocess.run(
        [program, *map(str, arguments)],
        cwd=PROMETHEUS,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def test_the_configuration_and_its_rules_are_in_order() -> None:
    said = promtool("check", "config", "prometheus.yml")
    alerts = (PROMETHEUS / "alerts.yml").read_text().count("- alert: ")
    assert f"{alerts} rules found" in said


def test_each_alert_is_given_where_it_should_be_and_only_there() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts.test.yml")


def test_each_alert_is_tested_both_ways_and_says_what_to_do() -> None:
    rules = (PROMETHEUS / "alerts.yml").read_text()
    names = re.findall(r"- alert: (\w+)", rules)
    assert len(names) == len(set(names)) > 8
    tests = (PROMETHEUS / "alerts.test.yml").read_text()
    well, _, wrong = tests.partition("- name: nothing answers")
    assert re.findall(r"alertname: (\w+)", well) == names
    assert set(re.findall(r"alertname: (\w+)\n +eval_time: \w+\n +exp_alerts", wrong)) == set(names)
    for each in ("severity: ", "summary: ", "description: "):
        assert rules.count(f" {each}") == len(names)


def queries() -> list[str]:
    """What the dashboard asks Prometheus, as Grafana would."""
    asked = [target["expr"] for panel in PANELS for target in panel["targets"]]
    for name, value in _OF_GRAFANA.items():
        asked = [each.replace(name, value) for each in asked]
    return asked


def test_each_query_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": each} for number, each in enumerate(queries())]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def test_the_dashboard_is_one_that_can_be_imported_anywhere() -> None:
    assert DASHBOARD["title"] == DASHBOARD["uid"] == "wsservice"
    assert "id" not in DASHBOARD  # which is one database's
    source = {"type": "prometheus", "uid": "${datasource}"}
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert {variables[name]["datasource"]["uid"] for name in ("job", "instance")} == {
        "${datasource}"
    }
    for panel in PANELS:
        assert panel["datasource"] == source
        assert [target["datasource"] for target in panel["targets"]] == [source] * len(
            panel["targets"]
        )
    text = json.dumps(DASHBOARD)
    assert "://" not in text
    assert "localhost" not in text
    named = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval"}
    assert named == set(variables)


def test_its_panels_have_names_and_places_of_their_own() -> None:
    for field in ("id", "title"):
        values = [panel[field] for panel in PANELS]
        if field == "id":
            assert len(values) == len(set(values))
        assert all(values)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {
            (place["x"] + right, place["y"] + down)
            for right in range(place["w"])
            for down in range(place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))
