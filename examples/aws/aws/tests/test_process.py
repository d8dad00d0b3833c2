"""The driver as its users meet it: a process, the samples, and the command-line client."""

import base64
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cmi.client import MachineClass

from .conftest import SAMPLES
from .ec2 import REGION, Gate

PACKAGE = __name__.partition(".")[0]
ROOT = Path(__file__).parents[2]
TIMEOUT = 60


@pytest.fixture
def driver(gate: Gate) -> Iterator[str]:
    """The endpoint of a driver process, which is to end without a complaint at SIGTERM."""
    command = [sys.executable, "-m", PACKAGE, "--endpoint=tcp://127.0.0.1:0", "--log-format=json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            serving = json.loads(process.stderr.readline())
            yield serving["endpoint"]
        finally:
            process.send_signal(signal.SIGTERM)
            *_, last = process.communicate(timeout=TIMEOUT)[1].splitlines()
    assert json.loads(last)["message"] == "stopped"
    assert process.returncode == 0


@pytest.fixture
def files(tmp_path: Path, machine_class: MachineClass) -> tuple[str, str]:
    """The options that name the samples, with the account's image, network and keys put in."""
    sample = yaml.safe_load((SAMPLES / "machine-class.yaml").read_text())
    sample["providerSpec"] = json.loads(machine_class.provider_spec)
    secret = yaml.safe_load((SAMPLES / "secret.yaml").read_text())
    data = machine_class.secrets.items()
    secret["data"] = {key: base64.b64encode(value).decode() for key, value in data}
    del secret["stringData"]
    (tmp_path / "class.yaml").write_text(yaml.safe_dump(sample))
    (tmp_path / "secret.yaml").write_text(yaml.safe_dump(secret))
    return f"--class={tmp_path / 'class.yaml'}", f"--secret={tmp_path / 'secret.yaml'}"


def test_the_samples_work_with_the_command_line(driver: str, files: tuple[str, str]) -> None:
    def cmi(*arguments: str) -> str:
        command = [sys.executable, "-m", "cmi", *arguments, f"--endpoint={driver}"]
        result = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert "CREATE_MACHINE" in cmi("info")
    assert cmi("probe") == "ready\n"
    assert f"{PACKAGE}:///{REGION}/i-" in cmi("create", "m1", *files)
    assert f"{REGION}.compute.internal" in cmi("status", "m1", *files)
    assert "m1" in cmi("list", *files)
    cmi("shutdown", "m1", *files)
    cmi("delete", "m1", *files)
    assert "m1" not in cmi("list", *files)
    volumes = cmi("volumes", "kubernetes/persistent-volumes.yaml", "--output=json")
    assert json.loads(volumes) == ["vol-0123456789abcdef0", "vol-0fedcba9876543210"]


def test_boto3_is_not_loaded_before_it_is_needed() -> None:
    """It takes about as long as the rest of the start."""
    code = f"import sys, {PACKAGE}.app; {PACKAGE}.app.make_driver(); print('boto3' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"
