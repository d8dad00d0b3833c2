"""An operator's work with a rendered project on a real cluster: README and `make e2e`."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from lightkube.resources.core_v1 import Pod

from e2e.cluster import PROVIDER, Machine, phase_of
from e2e.process import PATIENCE, await_condition, await_value
from e2e.real.cluster import FIRST_NODE, RealCluster
from e2e.real.machines import Machines
from tests.docs.pages import follow
from tests.driver import CloudFile
from tests.support import link

pytestmark = pytest.mark.real_cluster

SECTION = re.compile(r"^## Deploy it$(.*?)^## ", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```sh$(.*?)^```$", re.MULTILINE | re.DOTALL)
PUBLISH = "make publish "


@pytest.fixture
def project(installed: Path, real_cluster: RealCluster, tmp_path: Path) -> Path:
    """The rendered project, with user data that makes VMs join as nodes."""
    folder = tmp_path / "project"
    folder.mkdir()
    link(installed, folder, "kubernetes", "e2e", "build")
    for name in ("kubernetes", "e2e"):
        shutil.copytree(installed / name, folder / name)
    secret = folder / "kubernetes/secret.yaml"
    manifest = yaml.safe_load(secret.read_text())
    manifest["stringData"]["userData"] = real_cluster.user_data()
    secret.write_text(yaml.safe_dump(manifest))
    return folder


@pytest.fixture
def machines(real_cluster: RealCluster) -> Iterator[Machines]:
    """The nodes of the VMs in the cloud in the driver's Pod."""

    def find_cloud() -> CloudFile | None:
        pods = real_cluster.first_node.host.folder / "lib/kubelet/pods"
        found = [*pods.glob("*/volumes/kubernetes.io~empty-dir/tmp/embedded-cloud.sqlite")]
        return CloudFile(found[0]) if found else None

    with Machines(PROVIDER, real_cluster, find_cloud).followed() as machines:
        yield machines


def what_is_deployed(cluster: RealCluster) -> set[str]:
    """Return the names of all objects that `make install deploy` has created."""
    kinds = "deployments,networkpolicies,roles,crds,priorityclasses,poddisruptionbudgets"
    found = cluster.kubectl("get", kinds, "--output=name").split()
    return {name for name in found if "system-" not in name}


def test_deploy_it_as_the_readme_says(
    project: Path, real_cluster: RealCluster, machines: Machines
) -> None:
    """This skips `make publish`: the node has the images, built from the same Dockerfiles."""
    section = SECTION.search((project / "README.md").read_text())
    assert section
    deploy, take_back = BLOCK.findall(section[1])
    assert deploy.lstrip().startswith(PUBLISH)
    there = real_cluster.environment()

    follow(project, deploy.lstrip().partition("\n")[2], there)
    for each in real_cluster.objects(Pod):
        statuses = each["status"]["containerStatuses"]
        assert all(status["ready"] and status["restartCount"] == 0 for status in statuses), each
    await_condition(
        real_cluster.ready_nodes, lambda nodes: len(nodes - {FIRST_NODE}) == 3, "wanted: 3 nodes"
    )
    await_value(
        lambda: [phase_of(machine) for machine in real_cluster.objects(Machine)], ["Running"] * 3
    )

    follow(project, take_back, there)
    assert what_is_deployed(real_cluster) == set()
    await_value(lambda: machines.nodes, {})


def test_its_own_make_e2e(project: Path, real_cluster: RealCluster, machines: Machines) -> None:
    result = subprocess.run(
        ["make", "e2e"],
        cwd=project,
        env={
            **os.environ,
            **real_cluster.environment(),
            "NODES": "join",
            "PATIENCE": str(PATIENCE),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    assert "1 passed" in result.stdout
    assert what_is_deployed(real_cluster) == set()
