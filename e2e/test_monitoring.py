"""Alerts and dashboard, checked with promtool and the metrics of the three processes."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from e2e.binaries import PROMETHEUS
from e2e.cluster import Cluster, Manifest
from e2e.process import await_condition, await_value
from tests.support import ROOT, TEMPLATE

DEPLOY = TEMPLATE / "kubernetes/deploy"
RULES = DEPLOY / "prometheus-operator/alerts.yaml"
BOARD = DEPLOY / "grafana/dashboard.json"
CASES = ROOT / "e2e/alerts.yaml"
NAME = re.compile(r"\b(?:mcm|driver|process)_[a-z0-9_]+")
GRAFANA = {"$__rate_interval": "5m", "$namespace": ".*"}
"""The values that Grafana would put in place of its variables."""
SCRAPED = {"namespace": "default", "pod": "machine-controller-0"}
"""Labels that Prometheus adds to the metrics of a Pod."""


def promtool(*arguments: str | Path) -> None:
    result = subprocess.run(
        [PROMETHEUS / "promtool", *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def rules() -> Manifest:
    """Return the alerts as Prometheus reads them, without the operator's resource around them."""
    manifest: Manifest = yaml.safe_load(RULES.read_text())
    spec: Manifest = manifest["spec"]
    return spec


def queries() -> Iterator[str]:
    for panel in json.loads(BOARD.read_text())["panels"]:
        for target in panel["targets"]:
            query: str = target["expr"]
            for variable, value in GRAFANA.items():
                query = query.replace(variable, value)
            yield query


def test_each_alert_fires_when_it_should_and_is_silent_when_it_should_not(
    binaries: None, tmp_path: Path
) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()))
    (tmp_path / "alerts.yaml").write_text(CASES.read_text())
    promtool("check", "rules", "--lint=all", "--lint-fatal", tmp_path / "rules.yaml")
    promtool("test", "rules", tmp_path / "alerts.yaml")
    fired = {*re.findall(r'alertname="(\w+)"', CASES.read_text())}
    assert fired == {rule["alert"] for group in rules()["groups"] for rule in group["rules"]}


def test_prometheus_reads_the_queries_of_the_dashboard(binaries: None) -> None:
    for query in queries():
        promtool("--experimental", "promql", "format", query)


def test_the_optional_parts_are_added_by_their_comments(cluster: Cluster, tmp_path: Path) -> None:
    folder = shutil.copytree(cluster.samples / "deploy", tmp_path / "deploy")
    kustomization = folder / "kustomization.yaml"
    text = kustomization.read_text()
    begin, end = text.index("# components:"), text.index("images:")
    named = text[begin:end].replace("# ", "", 1).replace("\n# ", "\n")
    kustomization.write_text(text[:begin] + named + text[end:])
    made = cluster.control_plane.kubectl("kustomize", folder)
    kinds = {manifest["kind"] for manifest in yaml.safe_load_all(made)}
    assert {"PodMonitor", "PrometheusRule", "ConfigMap"} <= kinds


def labels_of(texts: list[str]) -> dict[str, list[dict[str, str]]]:
    """Return the labels of all series that are scraped, by the names of the metrics."""
    found: dict[str, list[dict[str, str]]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, []).append(sample.labels | SCRAPED)
    return found


def shows_something(query: str) -> Manifest:
    """Return a test for promtool: the query must have a result at some time within an hour."""
    query = query.removesuffix(" or vector(0)")
    return {
        "expr": f"count(count_over_time(({query})[1h:1m])) > bool 0",
        "eval_time": "1h",
        "exp_samples": [{"labels": "{}", "value": 1}],
    }


def test_alerts_and_dashboard_ask_for_what_is_served(cluster: Cluster, tmp_path: Path) -> None:
    """The metrics exist once machines run and a call has failed.

    Then Prometheus evaluates each query of the dashboard with series that have the names and the
    labels of the real ones. Their values include the number of every phase.
    """
    cluster.start(quota=2)
    cluster.apply("secret.yaml", "machine-class.yaml", "machine-deployment.yaml")
    await_condition(
        lambda: [*cluster.phases().values()].count("Running"), lambda n: n == 2, "2 machines run"
    )

    def served() -> list[str]:
        return [
            cluster.driver.metrics(),
            cluster.bridge_answers("/metrics"),
            cluster.mcm_answers("/metrics"),
        ]

    asked = {*NAME.findall(RULES.read_text())}.union(*map(NAME.findall, queries()))
    await_value(lambda: asked - labels_of(served()).keys(), set())
    labels = labels_of(served())
    series = {
        f"{name}{{{', '.join(f'{key}={json.dumps(value)}' for key, value in each.items())}}}"
        for name in asked
        for each in labels[name]
    }
    evaluated = {
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": each, "values": "-9+1x60"} for each in sorted(series)],
                "promql_expr_test": [shows_something(query) for query in queries()],
            }
        ],
    }
    (tmp_path / "dashboard.yaml").write_text(yaml.safe_dump(evaluated))
    promtool("test", "rules", tmp_path / "dashboard.yaml")

    # The test cases for the alerts use such series too.
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for each in case["input_series"]:
            name, *given = re.findall(r"\w+(?=[{=]|$)", each["series"])
            if name != "up":
                assert {*given} <= labels[name][0].keys(), each
