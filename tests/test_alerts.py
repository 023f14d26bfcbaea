"""Alert rules and dashboards, judged by Prometheus's own tool, and the runbook."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from playhead.config import PROJECT
from tests.prometheus import DASHBOARDS, RULE_TESTS, RULES, alerts, metrics_in, promtool, queries

RUNBOOK = PROJECT / "docs" / "runbook.md"


def test_prometheus_takes_its_configuration_and_the_rules() -> None:
    done = promtool("check", "config", RULES.with_name("prometheus.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(alerts())} rules found" in done.stdout


def test_every_alert_fires_while_its_cause_lasts_and_clears_after() -> None:
    done = promtool("test", "rules", RULE_TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", alerts())
def test_the_tests_of_an_alert_look_before_within_and_after(alert: str) -> None:
    cases = [
        case
        for test in yaml.safe_load(RULE_TESTS.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == alert
    ]
    assert [bool(case.get("exp_alerts")) for case in cases] == [False, True, False]


def test_a_rule_that_never_fires_fails_its_test(tmp_path: Path) -> None:
    rules, tests = yaml.safe_load(RULES.read_text()), yaml.safe_load(RULE_TESTS.read_text())
    rules["groups"][0]["rules"][0]["expr"] = "playhead_job_running == 2"
    (tmp_path / RULES.name).write_text(yaml.safe_dump(rules))
    (tmp_path / RULE_TESTS.name).write_text(yaml.safe_dump(tests | {"tests": tests["tests"][:1]}))
    done = promtool("test", "rules", tmp_path / RULE_TESTS.name)
    assert done.returncode == 1
    assert "JobNotRunning" in done.stdout + done.stderr


@pytest.mark.parametrize("alert", alerts())
def test_an_alert_says_for_how_long_how_bad_what_and_where_to_read_on(alert: str) -> None:
    rule = alerts()[alert]
    assert rule["for"]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{alert.lower()}"


def test_every_alert_has_its_part_of_the_runbook_and_every_part_its_alert() -> None:
    parts = re.split(r"^### ", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]
    said = {part.split("\n", 1)[0]: re.findall(r"^- \*\*(\w+)\*\*: \S", part, re.MULTILINE) for part in parts}
    assert said == {alert: ["Means", "Affected", "Look", "Do"] for alert in alerts()}


def test_prometheus_parses_every_query_of_the_dashboards(tmp_path: Path) -> None:
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries().values())]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_no_two_panels_of_a_dashboard_share_a_title_and_every_query_names_a_metric() -> None:
    panels = sum(len(json.loads(file.read_text())["panels"]) for file in DASHBOARDS)
    assert len({tuple(name.split(": ")[:2]) for name in queries()}) == panels
    assert all(metrics_in(query) for query in queries().values())
