"""The driver as its users meet it: a process, the samples, and the command-line client."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = __name__.partition(".")[0]
ROOT = Path(__file__).parents[2]
TIMEOUT = 60


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[str]:
    """The endpoint of a driver process, which is to end without a complaint at SIGTERM."""
    environment = os.environ | {"EMBEDDED_CLOUD_FILE": str(tmp_path / "cloud.sqlite")}
    command = [sys.executable, "-m", PACKAGE, "--endpoint=tcp://127.0.0.1:0", "--log-format=json"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            serving = json.loads(process.stderr.readline())
            yield serving["endpoint"]
        finally:
            process.send_signal(signal.SIGTERM)
            *_, last = process.communicate(timeout=TIMEOUT)[1].splitlines()
    assert json.loads(last)["message"] == "stopped"
    assert process.returncode == 0


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m` with the arguments in the root of the project."""
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


def test_the_samples_work_with_the_command_line(driver: str) -> None:
    def cmi(*arguments: str) -> str:
        result = run("cmi", *arguments, f"--endpoint={driver}")
        assert result.returncode == 0, result.stderr
        return result.stdout

    machine_class = "--class=kubernetes/machine-class.yaml", "--secret=kubernetes/secret.yaml"
    assert "CREATE_MACHINE" in cmi("info")
    assert cmi("probe") == "ready\n"
    assert f"{PACKAGE}:///" in cmi("create", "m1", *machine_class)
    assert "m1" in cmi("status", "m1", *machine_class)
    assert "m1" in cmi("list", *machine_class)
    cmi("shutdown", "m1", *machine_class)
    cmi("delete", "m1", *machine_class)
    assert "m1" not in cmi("list", *machine_class)
    volumes = cmi("volumes", "kubernetes/persistent-volumes.yaml", "--output=json")
    assert json.loads(volumes) == ["volume-0001", "volume-0002"]


def test_a_second_driver_on_the_same_port_says_so_and_ends(driver: str) -> None:
    result = run(PACKAGE, f"--endpoint={driver}")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "another process listens there" in result.stderr
