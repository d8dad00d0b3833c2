"""The hand-written parts of the reference agree with the code."""

import re
from pathlib import Path

import grpc
import pytest

import cmi
from cmi.cli.options import CLASS_VARIABLE, SECRET_VARIABLE
from cmi.client import MachineClass
from cmi.contract import RPCS
from cmi.endpoint import ENDPOINT_VARIABLE
from cmi.manifests import read_provider_spec, read_secret
from tests import embedded_cloud
from tests.docs.pages import blocks
from tests.driver import CloudFile, Start, refused
from tests.support import ROOT

CONTRACT = (ROOT / "docs/reference/contract.md").read_text()
METRICS = (ROOT / "docs/reference/metrics-and-logs.md").read_text()
WRONG = {"apiToken": b"wrong"}
COMMAND_LINE = (ROOT / "docs/reference/command-line.md").read_text()


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of each row of the table under a heading, without the header row."""
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\|(.*)\|$", section, re.MULTILINE)
    return [[cell.strip(" `") for cell in line.split("|")] for line in lines[2:]]


def test_codes() -> None:
    """The table contains every error that can be raised, with its code and number."""
    errors = {
        error.__name__: error.code
        for error in (getattr(cmi, name) for name in cmi.__all__)
        if isinstance(error, type)
        and issubclass(error, cmi.DriverError)
        and error is not cmi.DriverError
    }
    raised = {}
    for code, number, error, *_ in rows(CONTRACT, "Codes"):
        assert grpc.StatusCode[code].value[0] == int(number)
        if error:
            raised[error] = grpc.StatusCode[code]
    assert raised == errors


@pytest.mark.parametrize("heading", ["When each RPC is called", "Codes of each RPC"])
def test_rpcs(heading: str) -> None:
    named = {row[0] for row in rows(CONTRACT, heading)} - {"", "all of Machine"}
    assert named == {rpc.name for rpc in RPCS}


@pytest.fixture
def machine_class(installed: Path) -> MachineClass:
    samples = installed / "kubernetes"
    return MachineClass(
        provider_spec=read_provider_spec(samples / "machine-class.yaml"),
        secrets=read_secret(samples / "secret.yaml"),
    )


def test_metrics_and_logs(start: Start, cloud: CloudFile, machine_class: MachineClass) -> None:
    """The driver here gets calls that succeed and calls that fail."""
    driver = start(cloud, "--log-level=debug")
    client = driver.client()
    client.create(machine_class, "m1")
    with refused("NOT_FOUND"):
        client.status(machine_class, "m2")
    with refused("UNAUTHENTICATED"):
        client.status(MachineClass(provider_spec=machine_class.provider_spec, secrets=WRONG), "m2")
    scraped = driver.metrics()
    for name, kind, labels, meaning in rows(METRICS, "Metrics"):
        assert f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n" in scraped
        sample = re.search(rf"^{name}(?:_count)?{{(.*)}}", scraped, re.MULTILINE)
        assert sample is not None
        assert set(re.findall(r"(\w+)=", sample[1])) == set(re.findall(r"\w+", labels))
    queries = "".join(block.text for block in blocks("docs/how-to/metrics.md", "promql"))
    for name in re.findall(r"(?:mcm_cloud_api|driver)_\w+", queries):
        assert f"\n{name}{{" in scraped
    fields = {message: each for message, _, each in rows(METRICS, "Logs")}
    for event in driver.events():
        told = {"time", "level", "logger", "message"}
        assert event.keys() - told <= set(re.findall(r"\w+", fields[event["message"]]))


def test_log_messages() -> None:
    """Each message occurs in the code, word for word."""
    code = "".join(path.read_text() for path in (ROOT / "template/cmi").rglob("*.py"))
    for message, level, _ in rows(METRICS, "Logs"):
        assert f'"{message}"' in code
        assert level.split()[0] in ("debug", "info", "warning", "error")


def test_environment() -> None:
    """The page lists all variables, and all API calls that can be made to fail."""
    cloud = (ROOT / "template/<<provider_name>>/embedded_cloud.py").read_text()
    variables = {name for name, *_ in rows(COMMAND_LINE, "Environment")}
    ours = {ENDPOINT_VARIABLE, CLASS_VARIABLE, SECRET_VARIABLE, "NO_COLOR"}
    assert variables == set(re.findall(r'"(EMBEDDED_CLOUD_\w+)"', cloud)) | ours
    assert {*embedded_cloud.module().API_CALLS} <= set(re.findall(r"`(\w+)`", COMMAND_LINE))
