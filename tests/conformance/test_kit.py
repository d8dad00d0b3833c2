"""The kit can fail: it reports exactly the items that a wrong driver breaks."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from cmi.conformance.items import ITEMS
from tests.conformance import broken, unusual
from tests.conformance.saboteur import Saboteur, sabotaged
from tests.driver import CloudFile, RunningDriver, Start
from tests.support import PATIENCE, await_condition
from tests.terminal import converse

KINDS = [
    kind
    for module in (broken, unusual)
    for kind in vars(module).values()
    if isinstance(kind, type) and kind.__module__ == module.__name__
]
BROKEN = [kind for kind in KINDS if issubclass(kind, Saboteur) and kind.breaks]
UNUSUAL = [kind for kind in KINDS if kind.__module__ == unusual.__name__]
BACKSTAGE = {"C13", "C15", "C25", "C27", "C45", "C52", "C54", "C58"}
"""Items that can't be checked from outside the driver's process at all."""


@pytest.fixture(scope="module")
def endpoint(start_for_all: Start, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The endpoint of a rendered driver without any fault."""
    cloud = CloudFile(tmp_path_factory.mktemp("cloud") / "cloud.sqlite")
    return str(start_for_all(cloud).endpoint)


def command(installed: Path, endpoint: str, *arguments: str) -> list[str]:
    """A command of the client that uses the samples of the rendered project."""
    kubernetes = installed / "kubernetes"
    return [
        str(installed / ".venv/bin/python"),
        *("-m", "cmi", *arguments),
        f"--endpoint={endpoint}",
        f"--class={kubernetes / 'machine-class.yaml'}",
        f"--secret={kubernetes / 'secret.yaml'}",
    ]


def check(
    installed: Path, endpoint: str, junit: Path, *options: str
) -> tuple[dict[str, set[str]], str]:
    """Run the kit; return the items for each verdict in the JUnit report, and the output."""
    ended = subprocess.run(
        command(
            installed,
            endpoint,
            "conformance",
            f"--volumes={installed / 'kubernetes/persistent-volumes.yaml'}",
            f"--junit={junit}",
            *options,
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
    """The cloud contains the same resources before and after the kit runs."""
    endpoint = str(start(cloud).endpoint)
    subprocess.run(command(installed, endpoint, "create", "precious"), check=True)
    before = cloud.inventory()
    found, output = check(installed, endpoint, tmp_path / "junit.xml")
    assert cloud.inventory() == before != []
    assert found["failure"] | found["error"] == set(), output
    assert "left behind, " not in output
    assert found["skipped"] - found[""] == BACKSTAGE
    assert found[""] | BACKSTAGE == ITEMS.keys()
    for item in ITEMS:
        verdict = "skipped" if item in BACKSTAGE else "passed"
        assert re.search(rf"^{verdict} +{item} ", output, re.MULTILINE), item


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_kit_cleans_up(
    start: Start, cloud: CloudFile, installed: Path, number: signal.Signals
) -> None:
    """This holds even if the signal comes twice, as from an impatient CI system."""
    driver = start(cloud, latency=0.05)
    with running_kit(installed, driver) as kit:
        await_condition(lambda: cloud.inventory() != [])
        kit.send_signal(number)
        if number is not signal.SIGINT:
            kit.send_signal(number)
        output, _ = kit.communicate(timeout=PATIENCE)
    assert kit.returncode == 2, output
    assert "Traceback" not in output
    assert cloud.inventory() == []


def test_what_a_killed_kit_left_behind_is_offered_for_deletion(
    start: Start, cloud: CloudFile, installed: Path
) -> None:
    driver = start(cloud, latency=0.5)
    with running_kit(installed, driver, "--items=C10") as kit:
        await_condition(lambda: cloud.names("running") != set())
        kit.kill()
    (name,) = cloud.names("running")
    next_run = [*command(installed, str(driver.endpoint), "conformance"), "--items=C2"]
    told = subprocess.run(next_run, check=True, capture_output=True, text=True).stdout
    assert f"left behind by an earlier run: {name}" in told
    assert "--clean-up" in told
    assert cloud.names("running") == {name}
    subprocess.run([*next_run, "--clean-up"], check=True)
    assert cloud.inventory() == []
    again = subprocess.run(next_run, check=True, capture_output=True, text=True).stdout
    assert f"left behind by an earlier run: {name}" not in again


@pytest.mark.parametrize(("answer", "is_left"), [("y", False), ("n", True)])
def test_whoever_sits_at_a_terminal_is_asked(
    start: Start, cloud: CloudFile, installed: Path, answer: str, is_left: bool
) -> None:
    endpoint = str(start(cloud).endpoint)
    subprocess.run(command(installed, endpoint, "create", "conformance-1234"), check=True)
    kit = [*command(installed, endpoint, "conformance"), "--items=C2"]
    converse(kit, installed, os.environ, [("Delete them?", f"{answer}\r")])
    assert (cloud.names("running") == {"conformance-1234"}) is is_left


def test_an_unknown_item_is_one_line(installed: Path) -> None:
    nowhere = command(installed, "tcp://127.0.0.1:9", "conformance")
    ended = subprocess.run(
        [*nowhere, "--items=C10,C99"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert re.fullmatch(r"error: --items: C99 is not an item of C1, .*, C61\n", ended.stderr)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--items=C31"], "3 machines were created, at most 3 at once"),
        (["--items=C31", "--max-machines=5"], "5 machines were created, at most 5 at once"),
        (["--items=C57", "--parallel=1"], "needs more than one call at once"),
    ],
)
def test_its_load_is_bounded(endpoint: str, installed: Path, options: list[str], told: str) -> None:
    kit = [*command(installed, endpoint, "conformance"), *options]
    assert told in subprocess.run(kit, check=True, capture_output=True, text=True).stdout


def test_a_cloud_without_in_tree_volumes(endpoint: str, installed: Path, tmp_path: Path) -> None:
    """C38: Kubernetes never had a type of in-tree volumes for this cloud."""
    volume = {
        "kind": "PersistentVolume",
        "spec": {"csi": {"driver": "csi.embedded.cloud", "volumeHandle": "volume-0001"}},
    }
    volumes = tmp_path / "volumes.yaml"
    volumes.write_text(json.dumps(volume))
    kit = command(installed, endpoint, "conformance")
    ended = subprocess.run(
        [*kit, "--items=C38", f"--volumes={volumes}"], check=True, capture_output=True, text=True
    )
    assert "passed   C38" in ended.stdout


def test_a_kit_whose_driver_dies_gives_up(start: Start, cloud: CloudFile, installed: Path) -> None:
    driver = start(cloud, latency=0.05)
    with running_kit(installed, driver, "--patience=1") as kit:
        await_condition(lambda: cloud.inventory() != [])
        driver.close()
        output, _ = kit.communicate(timeout=PATIENCE)
    assert kit.returncode == 2, output
    assert "the driver has stopped answering" in output
    assert "left behind, delete it by hand: conformance-" in output


@contextmanager
def running_kit(
    installed: Path, driver: RunningDriver, *options: str
) -> Iterator["subprocess.Popen[str]"]:
    """Run the kit for a driver. The process is killed when the context ends."""
    kit = command(installed, str(driver.endpoint), "conformance")
    with subprocess.Popen(
        [*kit, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.nightly
@pytest.mark.parametrize("kind", UNUSUAL, ids=[kind.__name__ for kind in UNUSUAL])
def test_an_unusual_driver_passes(
    start: Start, cloud: CloudFile, installed: Path, tmp_path: Path, kind: type[Saboteur]
) -> None:
    with sabotaged(kind, str(start(cloud).endpoint)) as unusual_one:
        found, output = check(installed, unusual_one, tmp_path / "junit.xml")
    assert found["failure"] | found["error"] == set(), output
    assert "left behind, " not in output
    assert cloud.inventory() == []


def test_a_probe_without_an_answer_means_ready(installed: Path, endpoint: str) -> None:
    with sabotaged(unusual.SilentlyReady, endpoint) as silent:
        probe = [str(installed / ".venv/bin/python"), "-m", "cmi", "probe", f"--endpoint={silent}"]
        assert subprocess.run(probe, check=True, capture_output=True).stdout == b"ready\n"


each_broken = pytest.mark.parametrize("kind", BROKEN, ids=[kind.__name__ for kind in BROKEN])


@each_broken
def test_a_wrong_driver_is_caught(
    installed: Path, endpoint: str, tmp_path: Path, kind: type[Saboteur]
) -> None:
    items = f"--items={','.join(kind.breaks)}"
    with sabotaged(kind, endpoint) as wrong:
        found, output = check(installed, wrong, tmp_path / "junit.xml", items)
    assert found["failure"] | found["error"] == set(kind.breaks), output
    for item in kind.breaks:
        assert re.search(rf"^FAILED +{item} ", output, re.MULTILINE)
    assert "left behind, " not in output
    assert "Error" not in output
    assert "Failed: " not in output
    reasons = re.findall(r"^ {14}(?!skipped: )(.+)$", output, re.MULTILINE)
    assert len(reasons) >= len(kind.breaks)
    assert all(output.count(reason) == 1 for reason in reasons)


@pytest.mark.nightly
@each_broken
def test_a_wrong_driver_breaks_no_other_items(
    installed: Path, endpoint: str, tmp_path: Path, kind: type[Saboteur]
) -> None:
    with sabotaged(kind, endpoint) as wrong:
        found, output = check(installed, wrong, tmp_path / "junit.xml")
    assert found["failure"] | found["error"] == set(kind.breaks), output
