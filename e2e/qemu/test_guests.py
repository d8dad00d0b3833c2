"""A guest system boots in a VM, runs its user data, and joins a cluster."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from lightkube.models.core_v1 import Container, PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node, Pod

from e2e.cluster import Cluster, Machine, Manifest
from e2e.process import await_condition
from e2e.qemu import nodes
from e2e.qemu.daemon import Libvirtd
from e2e.qemu.farm import BOOTING, JOINING, LONG, NO_LOGIN, SMALL, Farm
from e2e.real.cluster import is_ready
from e2e.real.images import PAUSE_IMAGE
from tests.driver import CloudFile, RunningDriver, figure

pytestmark = pytest.mark.libvirt


def test_a_vm_boots_and_runs_its_user_data(
    farm: Farm, driver: RunningDriver, host: Libvirtd, guest: None, tmp_path: Path
) -> None:
    """It tells a server on this machine its host name and ID. Then it is stopped, and deleted.

    Stopping it again does nothing (C34).
    """
    with listening(farm.network.address) as (address, heard):
        user_data = "#!/bin/sh -e\nid=$(cat /sys/class/dmi/id/product_uuid)\n"
        user_data += f"wget -q -O - http://{address}/$(hostname)/$id\n"
        secrets = {**NO_LOGIN, "userData": user_data.encode()}
        samples = farm.samples(secrets, **BOOTING).copy_to(tmp_path)
        run = partial(farm.client_prints, driver, samples)
        start = time.monotonic()
        provider_id = json.loads(run("create", "hello", "--output=json"))["ProviderID"]
        created = time.monotonic() - start
        wanted = f"/hello/{provider_id.rpartition('/')[2]}"
        await_condition(lambda: wanted in heard, bool, f"{wanted} in {heard}", LONG)
        figure(f"created after {created:.1f} s, user data ran after {time.monotonic() - start:.1f}")
    for _ in range(2):
        run("shutdown", "hello")
        assert host.domains() == {"hello": "shut off"}
    run("delete", "hello")


def test_a_vm_joins_a_cluster(
    farm: Farm, host: Libvirtd, guest: None, tmp_path: Path, processes: ExitStack
) -> None:
    """Under the real MCM, with the bootstrap token in its user data. A Pod runs on it."""
    plane = nodes.joinable(tmp_path, processes, farm.network.address)

    def start(cloud: CloudFile, *options: str, **settings: object) -> RunningDriver:
        del cloud, settings  # only the embedded cloud has them
        return processes.enter_context(farm.driver(*options))

    cluster = Cluster(tmp_path, farm.project, start, processes, plane)
    cluster.start_driver()
    cluster.start_mcm()
    machine_class, secret = cluster.sample("machine-class.yaml"), cluster.sample("secret.yaml")
    machine_class["providerSpec"] |= {**SMALL, **JOINING}
    secret["stringData"] = {"userData": nodes.user_data(plane, host.name)}
    cluster.apply(secret, machine_class, "machine.yaml")
    (name,) = cluster.names(Machine)
    start_time = time.monotonic()

    def since() -> str:
        return f"{time.monotonic() - start_time:.0f} s"

    def node() -> Manifest | None:
        found = [each.to_dict() for each in plane.client.list(Node)]
        return next((each for each in found if is_ready(each)), None)

    await_condition(host.processes, bool, "a VM", LONG)
    figure(f"QEMU runs after {since()}")
    ready = await_condition(node, bool, "a node that is ready", LONG)
    figure(f"the node is ready after {since()}")
    await_condition(cluster.phases, lambda phases: phases == {name: "Running"}, "Running", LONG)
    figure(f"the machine is Running after {since()}")
    assert ready is not None
    assert ready["metadata"]["name"] == name
    spec = plane.client.get(Machine, name)["spec"]
    assert ready["spec"]["providerID"] == spec["providerID"]

    guest_pod = Pod(
        metadata=ObjectMeta(name="guest", namespace="default"),
        spec=PodSpec(nodeName=name, containers=[Container(name="guest", image=PAUSE_IMAGE)]),
    )
    plane.client.create(guest_pod)
    await_condition(
        lambda: is_ready(plane.client.get(Pod, "guest").to_dict()),
        bool,
        "a Pod that is ready",
        LONG,
    )
    figure(f"a Pod is ready on it after {since()}")

    cluster.delete(Machine, name)
    await_condition(cluster.phases, lambda phases: phases == {}, "no machine", LONG)
    figure(f"the machine is gone after {since()}")
    assert [*plane.client.list(Node)] == []
    assert plane.refused() == []


@contextmanager
def listening(host: str) -> Iterator[tuple[str, list[str]]]:
    """Let a server listen at a free port; yield its address, and the paths that are asked for."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((host, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"{host}:{server.server_port}", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
