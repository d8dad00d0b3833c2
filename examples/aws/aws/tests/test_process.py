"""Tests the driver as a process, with the samples and the command-line client."""

import json
import subprocess
import sys
from pathlib import Path

from cmi.testing import Samples, driver_process, run_client

from .account import REGION
from .gate import Gate

PACKAGE = __name__.partition(".")[0]


def test_the_samples_work_with_the_command_line(
    gate: Gate, samples: Samples, tmp_path: Path
) -> None:
    folder = samples.copy_to(tmp_path).folder
    machine_class = f"--class={folder}/machine-class.yaml", f"--secret={folder}/secret.yaml"
    with driver_process(PACKAGE) as driver:
        endpoint = f"--endpoint={driver.endpoint}"
        assert run_client("probe", endpoint) == "ready\n"
        assert f"aws:///{REGION}/i-" in run_client("create", "m1", *machine_class, endpoint)
        assert f"{REGION}.compute.internal" in run_client("status", "m1", *machine_class, endpoint)
        assert "m1" in run_client("list", *machine_class, endpoint)
        run_client("shutdown", "m1", *machine_class, endpoint)
        run_client("delete", "m1", *machine_class, endpoint)
        assert "m1" not in run_client("list", *machine_class, endpoint)
        volumes = f"{folder}/persistent-volumes.yaml"
        found = json.loads(run_client("volumes", volumes, "--output=json", endpoint))
        assert found == ["vol-0123456789abcdef0", "vol-0fedcba9876543210"]


def test_boto3_is_not_loaded_before_it_is_needed() -> None:
    """Loading it takes about as long as the rest of the start."""
    code = f"import sys, {PACKAGE}.app; {PACKAGE}.app.make_driver(); print('boto3' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
