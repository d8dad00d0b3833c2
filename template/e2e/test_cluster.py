"""Tests the driver in a cluster: deploys it, and creates, rolls and deletes machines.

`make e2e` runs this in the cluster of $KUBECONFIG, with the samples in `kubernetes/`. You need the
right to apply cluster roles there. The namespace `default` must not contain machines.

VMs join the cluster only if the user data in `kubernetes/secret.yaml` makes them nodes. If it does,
set NODES=join; otherwise, the test runs MCM without nodes.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

SAMPLES: Final = Path("kubernetes")
CLASS: Final = SAMPLES / "machine-class.yaml"
SECRET: Final = SAMPLES / "secret.yaml"
DEPLOYMENT: Final = SAMPLES / "machine-deployment.yaml"

JOIN: Final = os.environ.get("NODES", "none") == "join"
PATIENCE: Final = float(os.environ.get("PATIENCE", "900"))
"""Seconds for each step. A cloud may be slow to create a VM, and a VM to join."""


def run(*command: str | Path, text: str | None = None) -> str:
    """Run a command that must succeed, and return what it prints."""
    result = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}"
    return result.stdout


def kubectl(*arguments: str | Path, text: str | None = None) -> str:
    return run("kubectl", "--namespace=default", *arguments, text=text)


def await_value(read: Callable[[], object], wanted: object) -> None:
    """Wait until `read` returns the wanted value."""
    deadline = time.monotonic() + PATIENCE
    while (value := read()) != wanted:
        assert time.monotonic() < deadline, f"wanted: {wanted}; still: {value}"
        time.sleep(1)


def sample(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def machines() -> list[tuple[str, str]]:
    """Return the class and the phase of each machine."""
    listed = json.loads(kubectl("get", "machines", "--output=json"))
    return sorted(
        (
            machine["spec"]["class"]["name"],
            machine.get("status", {}).get("currentStatus", {}).get("phase", ""),
        )
        for machine in listed["items"]
    )


@contextmanager
def forwarded() -> Iterator[str]:
    """Reach the driver, which listens on loopback in its Pod; yield its endpoint here."""
    command = ["kubectl", "--namespace=default", "port-forward", "deployment/machine-controller"]
    with subprocess.Popen([*command, ":8080"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            port = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert port, line
            yield f"tcp://127.0.0.1:{port[1]}"
        finally:
            process.terminate()


def vms() -> list[str]:
    """Return the machines whose VMs the driver lists."""
    with forwarded() as endpoint:
        cmi = [sys.executable, "-m", "cmi", "list", f"--endpoint={endpoint}", "--output=name"]
        return run(*cmi, f"--class={CLASS}", f"--secret={SECRET}").split()


@pytest.fixture
def deployed() -> Iterator[None]:
    """Deploy MCM, bridge and driver in the cluster, and remove them afterwards."""
    run("make", "install", "deploy")
    if not JOIN:
        added = "/spec/template/spec/containers/0/args/-"
        patch = [{"op": "add", "path": added, "value": "--target-kubeconfig=none"}]
        for name in ("machine-controller", "machine-controller-manager"):
            kubectl("patch", "deployment", name, "--type=json", f"--patch={json.dumps(patch)}")
            kubectl("rollout", "status", f"deployment/{name}", f"--timeout={PATIENCE:.0f}s")
    yield
    run("make", "undeploy", "uninstall")


def test_machines_come_roll_and_go(deployed: None) -> None:
    deployment, machine_class = sample(DEPLOYMENT), sample(CLASS)
    count = deployment["spec"]["replicas"]
    phase = "Running" if JOIN else "Available"
    first = machine_class["metadata"]["name"]

    kubectl("apply", *(f"--filename={path}" for path in (SECRET, CLASS, DEPLOYMENT)))
    await_value(machines, [(first, phase)] * count)
    names = json.loads(kubectl("get", "machines", "--output=json"))["items"]
    assert {*vms()} == {machine["metadata"]["name"] for machine in names}

    machine_class["metadata"]["name"] = f"{first}-next"
    kubectl("apply", "--filename=-", text=yaml.safe_dump(machine_class))
    rolled = {"spec": {"template": {"spec": {"class": {"name": f"{first}-next"}}}}}
    name = f"machinedeployment/{deployment['metadata']['name']}"
    kubectl("patch", name, "--type=merge", f"--patch={json.dumps(rolled)}")
    await_value(machines, [(f"{first}-next", phase)] * count)

    kubectl("delete", name)
    await_value(machines, [])
    assert vms() == []
    kubectl("delete", "machineclass", first, f"{first}-next")
    kubectl("delete", f"--filename={SECRET}")
