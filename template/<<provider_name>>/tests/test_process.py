"""Tests the driver as a process, with the samples and the command-line client."""

import json
from pathlib import Path

from cmi.testing import Samples, driver_process, run_client

PACKAGE = __name__.partition(".")[0]


def test_the_samples_work_with_the_command_line(samples: Samples, tmp_path: Path) -> None:
    folder = samples.folder
    machine_class = f"--class={folder}/machine-class.yaml", f"--secret={folder}/secret.yaml"
    environment = {"EMBEDDED_CLOUD_FILE": str(tmp_path / "cloud.sqlite")}
    with driver_process(PACKAGE, environment) as driver:
        endpoint = f"--endpoint={driver.endpoint}"
        assert f"{PACKAGE}:///" in run_client("create", "m1", *machine_class, endpoint)
        assert "m1" in run_client("status", "m1", *machine_class, endpoint)
        assert "m1" in run_client("list", *machine_class, endpoint)
        run_client("shutdown", "m1", *machine_class, endpoint)
        run_client("delete", "m1", *machine_class, endpoint)
        assert "m1" not in run_client("list", *machine_class, endpoint)
        volumes = f"{folder}/persistent-volumes.yaml"
        found = json.loads(run_client("volumes", volumes, "--output=json", endpoint))
        assert found == ["volume-0001", "volume-0002"]
