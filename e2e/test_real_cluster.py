"""Machines that are real nodes, with MCM, bridge and driver as Pods of a real cluster."""

import os
import signal
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID
from lightkube.resources.certificates_v1 import CertificateSigningRequest
from lightkube.resources.core_v1 import Event, Node

from e2e.process import await_condition, await_value
from e2e.real import probes
from e2e.real.cluster import RealCluster
from e2e.real.deployed import DRIVER_USER, Deployed, volume_of, workload
from e2e.real.probes import Connection
from tests.driver import figure
from tests.embedded_cloud import NAME_LABEL, opened

pytestmark = pytest.mark.real_cluster

CONTAINERS = ("driver", "bridge", "machine-controller-manager")


@pytest.fixture(scope="module")
def all_deployed(
    real_cluster: RealCluster, installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployed]:
    with ExitStack() as processes:
        yield Deployed(tmp_path_factory.mktemp("deployed"), installed, real_cluster, processes)


@pytest.fixture
def deployed(all_deployed: Deployed) -> Deployed:
    """The deployment, with three machines and their guests."""
    all_deployed.await_available()
    all_deployed.await_workers()
    return all_deployed


def test_machines_join_with_the_token_in_their_user_data(deployed: Deployed) -> None:
    cloud = opened(deployed.cloud.path)
    tokens = set()
    for server in cloud.servers():
        name = server.labels[NAME_LABEL]
        node = deployed.cluster.object(Node, name)
        assert node["spec"]["providerID"] == f"acme:///{server.region}/{server.id}"
        assert node["metadata"]["labels"]["worker-pool"] == "acme-workers"
        (user,) = yaml.safe_load(cloud.user_data(server.id))["users"]
        assert user["name"] == name
        token, _, _ = user["user"]["token"].partition(".")
        tokens.add(token)
        assert token_with_which_joined(deployed.cluster, name) == token
    assert len(tokens) == 3


def test_each_node_has_its_daemon(deployed: Deployed) -> None:
    nodes = {*deployed.machines.nodes}
    await_value(lambda: {*deployed.ready_guests("agents").values()}, nodes)
    assert {*deployed.ready_guests().values()} == nodes


def test_a_rolling_update_keeps_the_budget_of_guests(deployed: Deployed) -> None:
    before = deployed.await_running(3)
    with deployed.within_budget():
        after = deployed.await_running(3, deployed.roll())
        await_value(lambda: {*deployed.ready_guests().values()}, after)
    assert not before & after
    await_value(lambda: {*deployed.ready_guests("agents").values()}, after)


def test_a_rolling_update_goes_on_while_pods_are_replaced(deployed: Deployed) -> None:
    """The test replaces the Pods of MCM, bridge and driver, and then the driver's image."""
    kubectl = deployed.cluster.kubectl
    other = deployed.cluster.images.driver.name.rpartition(":")[0] + ":other"
    deployed.cluster.first_node.tag(deployed.cluster.images.driver, other)
    with deployed.within_budget():
        machine_class = deployed.roll()
        await_condition(lambda: len(deployed.cloud.inventory()), lambda vms: vms > 3, "a fourth VM")
        for app in ("machine-controller", "machine-controller-manager"):
            kubectl("delete", "pod", f"--selector=app={app}", "--wait=false")
        deployed.await_available()
        kubectl("set", "image", "deployment/machine-controller", f"driver={other}")
        deployed.await_available()
        deployed.await_running(3, machine_class)
    images = [container["image"] for container in deployed.pod()["spec"]["containers"]]
    assert other in images


def test_a_node_with_a_dead_kubelet_is_replaced(deployed: Deployed) -> None:
    before = deployed.await_running(3)
    victim = min(before)
    with deployed.timeouts(healthTimeout="10s", drainTimeout="10s"):
        deployed.machines.nodes[victim].kubelet.kill()
        await_condition(
            deployed.machines.nodes.keys, lambda names: victim not in names, f"{victim} should go"
        )
    after = deployed.await_running(3)
    assert victim not in after
    assert len(before & after) == 2
    await_value(lambda: {*deployed.ready_guests().values()}, after)


def test_a_guest_moves_with_its_volume(deployed: Deployed, tmp_path: Path) -> None:
    """A hostPath volume is never attached, so MCM does not ask the driver about it."""
    volume = tmp_path / "volume"
    volume.mkdir()
    os.chown(volume, DRIVER_USER, DRIVER_USER)
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    deployed.apply(
        *volume_of("data", "guests", {"hostPath": {"path": str(volume)}}),
        workload("Deployment", "database", volumes=[claim], args=["/data/pods"]),
    )
    await_value(lambda: len(deployed.ready_guests("database")), 1)
    ((first, node),) = deployed.ready_guests("database").items()
    deployed.cluster.kubectl("delete", "machine", node, "--wait=false")
    await_condition(
        lambda: deployed.ready_guests("database"),
        lambda pods: len(pods) == 1 and first not in pods,
        "the guest should move",
    )
    ((second, other),) = deployed.ready_guests("database").items()
    assert other != node
    assert (volume / "pods").read_text().split() == [first, second]
    deployed.cluster.kubectl("delete", "deployment", "database", "--namespace=guests")
    deployed.await_running(3)


def test_no_machine_and_back(deployed: Deployed) -> None:
    with deployed.timeouts(drainTimeout="10s"):  # the guests have no other node
        deployed.scale(0)
        assert deployed.await_running(0) == set()
    await_value(lambda: deployed.machines.nodes, {})
    await_value(lambda: len(deployed.guests()), 3)
    assert deployed.ready_guests() == {}
    deployed.await_workers()


def test_a_driver_that_hangs_is_restarted(deployed: Deployed) -> None:
    before = deployed.container("driver")
    os.kill(deployed.process_of("driver"), signal.SIGSTOP)
    after = await_restart(deployed, "driver", before)
    assert after["lastState"]["terminated"]["exitCode"] == 128 + signal.SIGKILL
    messages = [event.get("message", "") for event in deployed.cluster.objects(Event)]
    assert any("Liveness probe failed" in message for message in messages)
    deployed.await_available()
    deployed.scale(2)
    deployed.await_running(2)


@pytest.mark.parametrize("container", ["driver", "bridge"])
def test_sigterm_ends_it_cleanly(deployed: Deployed, container: str) -> None:
    before = deployed.container(container)
    os.kill(deployed.process_of(container), signal.SIGTERM)
    ended = await_restart(deployed, container, before)["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (0, "Completed")


@pytest.mark.parametrize("container", CONTAINERS)
def test_memory_is_within_the_limit(deployed: Deployed, container: str) -> None:
    group = deployed.cgroup_of(container)
    names = ("memory.max_usage_in_bytes", "memory.peak")
    (peak,) = (int((group / name).read_text()) for name in names if (group / name).exists())
    limits = ("memory.limit_in_bytes", "memory.max")
    (limit,) = (int((group / name).read_text()) for name in limits if (group / name).exists())
    figure(
        f"{container}: at most {peak / 2**20:.0f} MiB of {limit / 2**20:.0f}, page cache included"
    )
    assert limit == 512 * 2**20
    assert peak < limit / 2


def test_network_policies_are_enforced(deployed: Deployed) -> None:
    """Metrics are for labelled namespaces, and no connection goes to just any port."""
    cluster = deployed.cluster
    driver, mcm = (
        deployed.pod(app)["status"]["podIP"]
        for app in ("machine-controller", "machine-controller-manager")
    )
    metrics = [(driver, 9090), (driver, 10259), (mcm, 10258)]
    with (
        probes.namespace(cluster, "monitoring", "metrics=enabled") as monitoring,
        probes.listening(cluster) as server,
    ):
        assert (
            probes.unexpected(
                cluster,
                *(Connection(monitoring, "prometheus", *each, "allowed") for each in metrics),
                *(Connection("default", "stranger", *each, "refused") for each in metrics),
                Connection("default", "stranger", *server, "allowed"),
                Connection("default", "machine-controller", *server, "refused"),
                Connection("default", "machine-controller-manager", *server, "refused"),
            )
            == []
        )


def token_with_which_joined(cluster: RealCluster, node: str) -> str:
    """Return the ID of the bootstrap token with which a node requested its certificate."""
    for each in cluster.objects(CertificateSigningRequest):
        request = x509.load_pem_x509_csr(b64decode(each["spec"]["request"]))
        (name,) = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if name.value == f"system:node:{node}":
            return str(each["spec"]["username"]).removeprefix("system:bootstrap:")
    raise AssertionError(f"{node} has not asked for a certificate")


def await_restart(deployed: Deployed, container: str, before: Any) -> Any:
    """Wait until a container runs again, and return its status."""
    return await_condition(
        lambda: deployed.container(container),
        lambda now: now["restartCount"] > before["restartCount"] and "running" in now["state"],
        f"{container} should start again",
    )
