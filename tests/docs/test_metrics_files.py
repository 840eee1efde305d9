"""The reference page, the alert rules and the dashboard name metrics, labels and values that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dicomrelay.metrics import catalogue
from dicomrelay.metrics.families import Family, Kind
from tests.support import metrics_page, promql
from tests.support.markdown import ROOT

RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
SCRAPE = ROOT / "deploy" / "prometheus" / "prometheus.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dicomrelay.json"
SAMPLES = {name: family for family in catalogue.FAMILIES.values() for name in family.sample_names}
# Prometheus gives these to every series, and this series to every target.
OF_THE_TARGET = {"job", "instance"}
UP = Family("up", Kind.GAUGE, "1 while it is scraped.")
SAMPLES["up"] = UP
CASES = ROOT / "tests" / "docs" / "alert_cases.yml"
FUNCTIONS = {
    "sum", "max", "min", "count", "rate", "increase", "time", "absent", "histogram_quantile", "predict_linear", "vector",
    "max_over_time",
}  # fmt: skip
SERVICES = {"gateway", "worker-intake", "worker-keep", "worker-forward-1", "scheduler", "streamer", "monitor"}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]


def faults_of(text: str) -> list[str]:
    """What is wrong with an expression."""
    # What Grafana puts in its place.
    said = promql.read(text.replace("$__rate_interval", "5m"))
    found = [f"no function {name}" for name in said.functions - FUNCTIONS]
    known = set(OF_THE_TARGET)
    for selector in said.selectors:
        family = SAMPLES.get(selector.name)
        if family is None:
            found.append(f"no metric {selector.name}")
            continue
        known |= {*family.labels, "le"} if family.kind is Kind.HISTOGRAM else set(family.labels)
        found += _of_matchers(family, selector)
    return found + [f"no label {label}" for label in said.labels - known]


def _of_matchers(family: Family, selector: promql.Selector) -> Iterator[str]:
    for label, operator, value in selector.wanted:
        if label in OF_THE_TARGET:
            continue
        if label not in family.labels:
            yield f"{family.name} has no label {label}"
            continue
        closed = SERVICES if label == "service" else set(family.values.get(label, ()))
        if closed and "$" not in value:
            fits = {
                each for each in closed if (re.fullmatch(value, each) if "~" in operator else value == each)
            }
            if not fits:
                yield f"{family.name}: {label} is never {value}"


@pytest.mark.parametrize(("name", "text"), list(expressions()), ids=lambda value: value[:40])
def test_every_expression_names_what_there_is(name: str, text: str) -> None:
    """Metric, labels, closed values, functions."""
    assert faults_of(text) == [], name


@pytest.mark.parametrize(
    "text",
    [
        "rate(dicomrelay_received_total[5m])",
        'dicomrelay_queue_messages{queue="groups"}',
        'dicomrelay_queue_messages{name="group"}',
        "sum by (destinations) (dicomrelay_destination_waiting_instances)",
        "average(dicomrelay_broker_up)",
        "dicomrelay_task_seconds",
        'absent(dicomrelay_processes{service="gatway"})',
    ],
)
def test_what_does_not_exist_is_found(text: str) -> None:
    """Else the test above could not fail."""
    assert faults_of(text)


@pytest.mark.parametrize("text", ["sum(dicomrelay_broker_up", "a{b}", "a) or b", "a ; b"])
def test_what_is_no_expression_is_found(text: str) -> None:
    """Brackets and matchers."""
    with pytest.raises(ValueError, match=r"."):
        promql.read(text)


def test_rules_fire_when_they_should_and_not_else(tmp_path: Path) -> None:
    """Prometheus' own judge of rules, over figures of a relay that is well and of one that is not."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here (Debian: prometheus)")
    shutil.copy(RULES, tmp_path / RULES.name)
    shutil.copy(CASES, tmp_path / CASES.name)

    said = subprocess.run(
        [promtool, "test", "rules", CASES.name],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip

    assert said.returncode == 0, said.stdout + said.stderr


def test_every_rule_has_a_case_in_which_it_fires() -> None:
    """A rule that never fires looks like a house where all is well."""
    cases = yaml.safe_load(CASES.read_text("utf-8"))["tests"]
    said = [
        sample["labels"]
        for case in cases
        for each in case["promql_expr_test"]
        for sample in each["exp_samples"]
    ]

    assert set(re.findall(r'alertname="(\w+)"', " ".join(said))) == {rule["alert"] for rule in rules()}


def test_templates_of_rules_name_labels_that_the_expression_leaves() -> None:
    """`{{ $labels.x }}` of a label that was summed away would be empty."""
    for rule in rules():
        said = promql.read(rule["expr"])
        families = [SAMPLES[selector.name] for selector in said.selectors]
        left = said.labels or {label for family in families for label in family.labels}
        used = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        assert used <= left | OF_THE_TARGET, rule["alert"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "description"} == set(rule["annotations"])


def test_pages_that_rules_name_are_there() -> None:
    """A person who is woken at night reads them."""
    named = re.findall(r"docs/[a-z/-]+\.md", RULES.read_text("utf-8"))

    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_scrape_settings_are_of_the_default_port() -> None:
    """As `dicomrelay up` starts it."""
    said = yaml.safe_load(SCRAPE.read_text("utf-8"))

    assert said["rule_files"] == [RULES.name]
    assert said["scrape_configs"][0]["static_configs"][0]["targets"] == ["127.0.0.1:5555"]


def test_the_dashboard_has_a_place_for_each_panel() -> None:
    """Panels neither lie over each other nor stand outside, and each says what it is."""
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]]
    for panel in panels():
        place = panel["gridPos"]
        mine = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not mine & taken, panel["title"]
        assert max(x for x, _ in mine) < 24
        assert panel["title"]
        assert panel["description"]
        taken |= mine
    assert len(ids) == len(set(ids))


def test_the_page_of_metrics_says_what_the_catalogue_says() -> None:
    """The page is what the code gives; `python -m tests.support.metrics_page --write` writes it anew."""
    assert metrics_page.render() == metrics_page.PAGE.read_text("utf-8")
