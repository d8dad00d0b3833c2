"""Pods that connect to others, to see what network policies allow."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, NamedTuple

import yaml
from lightkube.resources.core_v1 import Pod

from e2e.cluster import Manifest
from e2e.process import await_condition
from e2e.real.cluster import FIRST_NODE, RESTRICTED_CONTAINER, RESTRICTED_POD, RealCluster

_PORT: Final = 8000
"""A port to which the policies allow no connection."""

_CONNECT: Final = """
import socket, sys, time
host, port, wanted = sys.argv[1:]
in_a_row = 0
for _ in range(120):
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
        found = "allowed"
    except OSError:
        found = "refused"
    in_a_row = in_a_row + 1 if found == wanted else 0
    if in_a_row == 3:
        sys.exit()
    time.sleep(0.25)
sys.exit(f"a connection to port {port} is not {wanted}")
"""
"""Repeats a connection, because policies apply to a new Pod only after a moment."""


class Connection(NamedTuple):
    """A connection that network policies allow or refuse."""

    namespace: str
    app: str
    address: str
    port: int
    is_: Literal["allowed", "refused"]


def unexpected(cluster: RealCluster, *connections: Connection) -> list[Connection]:
    """Make connections from new Pods; return those that are not as they should be."""
    pods = {f"probe-{number}": each for number, each in enumerate(connections)}
    manifests = [
        _pod(cluster, name, each.namespace, each.app, "-c", _CONNECT, *map(str, each[2:]))
        for name, each in pods.items()
    ]
    with _running(cluster, *manifests):
        return [
            each
            for name, each in pods.items()
            if _phase(cluster, name, each.namespace, {"Succeeded", "Failed"}) == "Failed"
        ]


@contextmanager
def listening(cluster: RealCluster) -> Iterator[tuple[str, int]]:
    """Yield the address of a Pod, and a port on which it listens."""
    server = _pod(cluster, "server", "default", "server", "-m", "http.server", str(_PORT))
    with _running(cluster, server):
        _phase(cluster, "server", "default", {"Running"})
        yield cluster.object(Pod, "server")["status"]["podIP"], _PORT


@contextmanager
def namespace(cluster: RealCluster, name: str, label: str) -> Iterator[str]:
    """Create a namespace with a label; delete it at the end."""
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, label)
    try:
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name)


@contextmanager
def _running(cluster: RealCluster, *pods: Manifest) -> Iterator[None]:
    manifests = yaml.safe_dump_all(pods)
    cluster.kubectl("apply", "--filename=-", stdin=manifests)
    try:
        yield
    finally:
        cluster.kubectl("delete", "--now", "--filename=-", stdin=manifests)


def _phase(cluster: RealCluster, name: str, namespace: str, wanted: set[str]) -> str:
    """Return the phase of a Pod, once it is one of these."""

    def read() -> str:
        return str(cluster.object(Pod, name, namespace)["status"].get("phase"))

    return await_condition(read, wanted.__contains__, f"wanted: {wanted} for {name}")


def _pod(cluster: RealCluster, name: str, namespace: str, app: str, *arguments: str) -> Manifest:
    """Return a Pod on the first node that runs the Python of the driver's image."""
    container = {
        "name": "python",
        "image": cluster.images.driver.name,
        "command": ["python", *arguments],
        "securityContext": RESTRICTED_CONTAINER,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": app}},
        "spec": {
            "nodeName": FIRST_NODE,
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": RESTRICTED_POD,
            "containers": [container],
        },
    }
