"""The kit can fail: every deliberately wrong driver is caught by the items that it breaks."""

import re
import signal
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from cmi.conformance.items import ITEMS
from tests.conformance import broken
from tests.conformance.saboteur import Saboteur, sabotaged
from tests.driver import CloudFile, Start
from tests.support import PATIENCE, await_condition

BROKEN = [
    kind
    for kind in vars(broken).values()
    if isinstance(kind, type) and issubclass(kind, Saboteur) and kind.breaks
]
BACKSTAGE = {"C13", "C15", "C25", "C27", "C45", "C52", "C54"}
"""Items that can't be seen from outside at all."""


@pytest.fixture(scope="module")
def endpoint(start_for_all: Start, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A rendered driver, with which nothing is wrong."""
    cloud = CloudFile(tmp_path_factory.mktemp("cloud") / "cloud.sqlite")
    return str(start_for_all(cloud).endpoint)


def command(installed: Path, endpoint: str, *arguments: str) -> list[str]:
    """A command of the client, with the samples of the rendered project."""
    kubernetes = installed / "kubernetes"
    return [
        str(installed / ".venv/bin/python"),
        *("-m", "cmi", *arguments),
        f"--endpoint={endpoint}",
        f"--class={kubernetes / 'machine-class.yaml'}",
        f"--secret={kubernetes / 'secret.yaml'}",
    ]


def check(installed: Path, endpoint: str, junit: Path) -> tuple[dict[str, set[str]], str]:
    """Run the kit; return the items by their verdicts, from the JUnit report, and the output."""
    ended = subprocess.run(
        command(
            installed,
            endpoint,
            "conformance",
            f"--volumes={installed / 'kubernetes/persistent-volumes.yaml'}",
            f"--junit={junit}",
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, set[str]] = {"failure": set(), "error": set(), "skipped": set(), "": set()}
    for case in ET.parse(junit).iter("testcase"):
        item = case.get("name", "").split("_")[1]
        verdict = next((child.tag for child in case if child.tag in found), "")
        found[verdict].add(item)
    assert ended.returncode == (1 if found["failure"] | found["error"] else 0), ended.stdout
    return found, ended.stdout + ended.stderr


def test_a_good_driver_passes(
    start: Start, cloud: CloudFile, installed: Path, tmp_path: Path
) -> None:
    """And the kit leaves behind what it found, and nothing else."""
    endpoint = str(start(cloud).endpoint)
    subprocess.run(command(installed, endpoint, "create", "precious"), check=True)
    before = cloud.inventory()
    found, output = check(installed, endpoint, tmp_path / "junit.xml")
    assert cloud.inventory() == before != []
    assert found["failure"] | found["error"] == set(), output
    assert "left behind" not in output
    assert found["skipped"] - found[""] == BACKSTAGE
    assert found[""] | BACKSTAGE == ITEMS.keys()
    for item in ITEMS:
        verdict = "skipped" if item in BACKSTAGE else "passed"
        assert re.search(rf"^{verdict} +{item} ", output, re.MULTILINE), item


def test_an_interrupted_kit_cleans_up(start: Start, cloud: CloudFile, installed: Path) -> None:
    driver = start(cloud, latency=0.05)
    with subprocess.Popen(
        command(installed, str(driver.endpoint), "conformance"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as kit:
        await_condition(lambda: cloud.inventory() != [])
        kit.send_signal(signal.SIGINT)
        output, _ = kit.communicate(timeout=PATIENCE)
    assert kit.returncode == 2, output
    assert "Traceback" not in output
    assert cloud.inventory() == []


def test_a_kit_whose_driver_dies_gives_up(start: Start, cloud: CloudFile, installed: Path) -> None:
    driver = start(cloud, latency=0.05)
    with subprocess.Popen(
        [*command(installed, str(driver.endpoint), "conformance"), "--timeout=1", "--patience=1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as kit:
        await_condition(lambda: cloud.inventory() != [])
        driver.close()
        output, _ = kit.communicate(timeout=PATIENCE)
    assert kit.returncode == 2, output
    assert "the driver does not answer any more" in output
    assert "left behind, delete it by hand: conformance-" in output


@pytest.mark.parametrize("kind", BROKEN, ids=[kind.__name__ for kind in BROKEN])
def test_a_wrong_driver_is_caught(
    installed: Path, endpoint: str, tmp_path: Path, kind: type[Saboteur]
) -> None:
    with sabotaged(kind, endpoint) as wrong:
        found, output = check(installed, wrong, tmp_path / "junit.xml")
    assert found["failure"] | found["error"] == set(kind.breaks), output
    for item in kind.breaks:
        assert re.search(rf"^FAILED +{item} ", output, re.MULTILINE)
