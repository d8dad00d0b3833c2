"""Runs the commands about testing code changes in the rendered README exactly as written."""

import os
import re
import subprocess
from contextlib import ExitStack
from pathlib import Path

from copier import run_copy

from e2e.binaries import KUBERNETES, cache_lock
from e2e.cluster import Machine
from e2e.control_plane import NAMESPACE, ControlPlane
from e2e.process import Process, await_value
from tests.driver import CloudFile, whole
from tests.support import ANSWERS, ROOT

SECTION = re.compile(r"^## Testing your code changes$(.*?)^## ", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```sh$(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_commands_for_testing_code_changes(binaries: None, template: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    run_copy(str(template), project, ANSWERS, defaults=True, quiet=True)
    section = SECTION.search((project / "README.md").read_text())
    assert section
    export, driver, mcm, bridge, machine = BLOCK.findall(section[1])

    with cache_lock("ports"), ExitStack() as processes:  # the commands use fixed ports
        control_plane = ControlPlane(tmp_path, processes)
        home = tmp_path / "home"
        (home / ".kube").mkdir(parents=True)
        (home / ".kube" / "config").symlink_to(control_plane.kubeconfig)
        (project / "build").mkdir()
        (project / "build/template").symlink_to(ROOT)  # as after `make bridge`
        environment = {"HOME": str(home), "PATH": f"{KUBERNETES}:{os.environ['PATH']}"}

        for name, block in (("driver", driver), ("mcm", mcm), ("bridge", bridge)):
            command = ["bash", "-euc", export + block]
            log = tmp_path / f"{name}.log"
            processes.enter_context(Process(command, log, project, environment))

        def machines() -> list[str]:
            return [
                item.get("status", {}).get("currentStatus", {}).get("phase", "")
                for item in control_plane.client.list(Machine, namespace=NAMESPACE)
            ]

        def run(command: str) -> str:
            return subprocess.run(
                ["bash", "-euc", export + command],
                cwd=project,
                env=os.environ | environment,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout

        apply, get, delete = machine.strip().splitlines()
        run(apply)
        await_value(machines, ["Pending"])
        assert "acme-machine" in run(get)
        cloud = CloudFile(project / "embedded-cloud.sqlite")
        assert cloud.inventory() == whole("acme-machine")
        run(delete)
        assert machines() == []
        assert cloud.inventory() == []
