"""Follows the pages for operators, docs/how-to/operate.md and others, to the letter."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from e2e.binaries import KUBERNETES
from e2e.cluster import Cluster, Machine
from e2e.process import await_condition, await_value
from tests.docs.pages import blocks, follow

OPERATE = "docs/how-to/operate.md"
SEVERAL = "docs/how-to/several-clusters.md"
TROUBLESHOOTING = "docs/how-to/troubleshooting.md"
FORCE = "Delete a machine that stays Terminating"
KEEP = "Keep a failed machine"
MACHINE = "acme-workers-6ff5d-fk4ps"
"""The machine that the pages name in place of the reader's."""
PRIORITY = "Choose which machine is deleted first"
ROLL = "Roll machines to a new class"


def commands(page: str) -> dict[str, str]:
    """Return the commands of a page by their headings."""
    found: dict[str, str] = {}
    for block in blocks(page, "sh"):
        found[block.heading] = found.get(block.heading, "") + block.text
    return found


def surroundings(cluster: Cluster) -> Mapping[str, str]:
    return {
        "KUBECONFIG": str(cluster.control_plane.kubeconfig),
        "PATH": f"{KUBERNETES}:{os.environ['PATH']}",
    }


def await_running(cluster: Cluster, count: int) -> set[str]:
    """Wait until that many machines run and there are no others; return their names."""
    phases = await_condition(
        cluster.phases,
        lambda phases: [*phases.values()] == ["Running"] * count,
        f"wanted: {count} running machines",
    )
    return {*phases}


def naming(machine: str, text: str) -> str:
    """Return commands of a page with the name of one of the cluster's machines."""
    assert MACHINE in text
    return text.replace(MACHINE, machine)


def test_operate(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start()
    cluster.apply("secret.yaml", "machine-class.yaml", "machine-deployment.yaml")
    before = await_running(cluster, 3)
    there = surroundings(cluster)
    page = commands(OPERATE)
    assert "items[" not in "".join(page.values())  # nobody wants to delete just any machine
    assert page.keys() == {ROLL, PRIORITY, KEEP, FORCE}

    large = (cluster.samples / "machine-class.yaml").read_text()
    large = large.replace("standard-2", "standard-4").replace("acme-small", "acme-large", 1)
    (tmp_path / "machine-class-large.yaml").write_text(large)
    follow(tmp_path, page[ROLL], there)
    await_condition(
        cluster.machine_types,
        lambda types: [*types.values()] == ["standard-4"] * 3,
        "wanted: three VMs of the new class",
    )
    rolled = await_running(cluster, 3)
    assert not before & rolled

    first, *others = sorted(rolled)
    follow(tmp_path, naming(first, page[PRIORITY]), there)
    left = await_running(cluster, 2)
    assert left == {*others}

    kept, deleted = sorted(left)
    follow(tmp_path, naming(kept, page[KEEP]), there)
    annotations = cluster.control_plane.client.get(Machine, kept)["metadata"]["annotations"]
    assert annotations["node.machine.sapcloud.io/preserve"] == "when-failed"

    follow(tmp_path, naming(deleted, page[FORCE]), there)
    assert await_running(cluster, 2) & left == {kept}
    assert deleted not in cluster.vms()


def test_timeouts_and_updates_in_place_are_fields_of_mcm(cluster: Cluster) -> None:
    """The API server refuses unknown fields, and stores the values of these."""
    deployment = cluster.sample("machine-deployment.yaml")
    timeouts, in_place, template = (block.text for block in blocks(OPERATE, "yaml"))
    for number, change in enumerate((timeouts, in_place)):
        deployment["metadata"]["name"] = f"acme-{number}"
        cluster.apply(deployment)
        patched = cluster.control_plane.kubectl(
            "patch",
            "machinedeployment",
            f"acme-{number}",
            "--type=merge",
            f"--patch={change}",
            "--output=yaml",
        )
        assert "orchestrationType: Auto" in patched or "creationTimeout: 40m" in patched
    machine_class = (cluster.samples / "machine-class.yaml").read_text()
    if "nodeTemplate:" not in machine_class:
        machine_class += template
    cluster.control_plane.kubectl("apply", "--validate=strict", "--filename=-", stdin=machine_class)


def test_several_clusters(cluster: Cluster, tmp_path: Path) -> None:
    """This checks only the objects, since Pods would need a kubelet."""
    shutil.copytree(cluster.samples, tmp_path / "kubernetes")
    for name in ("blue", "target"):
        (tmp_path / f"{name}.kubeconfig").write_text(cluster.control_plane.kubeconfig.read_text())
    (overlay,) = blocks(SEVERAL, "yaml")
    (tmp_path / "blue").mkdir()
    (tmp_path / "blue" / overlay.title).write_text(overlay.text)
    follow(tmp_path, "".join(commands(SEVERAL).values()), surroundings(cluster))
    get = ("get", "deployments", "--namespace=blue", "--output=yaml")
    deployments = cluster.control_plane.kubectl(*get)
    assert deployments.count("- --target-kubeconfig=/etc/target/kubeconfig") == 2
    assert deployments.count("secretName: target") == 2


@pytest.mark.parametrize("said", [blocks(TROUBLESHOOTING, "text")[0].text.splitlines()[-1]])
def test_where_to_look_first(cluster: Cluster, tmp_path: Path, said: str) -> None:
    cluster.start(quota=1)
    cluster.apply("secret.yaml", "machine-class.yaml", "machine.yaml")
    await_running(cluster, 1)
    second = cluster.sample("machine.yaml")
    second["metadata"]["name"] = "second"
    cluster.apply(second)
    await_value(lambda: cluster.phases()["second"], "CrashLoopBackOff")
    shown = follow(
        tmp_path, commands(TROUBLESHOOTING)["Where to look first"], surroundings(cluster)
    )
    assert said in shown
