"""A driver of this package on a real socket, a client that calls it, and two hosts."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmi.testing import Client, MachineClass, Samples, connected

from ..cloud import Cloud
from ..hosts import Connections
from ..machineserver import MachineServer
from .console import IMAGE, POOL, Console, write_hosts
from .gate import Gate


@pytest.fixture(scope="session")
def gate() -> Iterator[Gate]:
    """The gate in libvirt's methods."""
    gate = Gate()
    with pytest.MonkeyPatch.context() as patch:
        gate.stand(patch)
        yield gate


@pytest.fixture(scope="session")
def connections(gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> Connections:
    """The connections to the hosts of this test process."""
    return Connections(write_hosts(tmp_path_factory.mktemp("hosts")))


@pytest.fixture(scope="session")
def console(connections: Connections, gate: Gate) -> Console:
    return Console(connections, gate)


@pytest.fixture
def client(connections: Connections) -> Iterator[Client]:
    """A client of a driver."""
    with connected(MachineServer(Cloud(connections))) as client:
        yield client


@pytest.fixture
def samples() -> Samples:
    """The samples of this project, with the hosts' resources and this test's own cluster."""
    return samples_for(secrets.token_hex(4))


def samples_for(cluster: str) -> Samples:
    folder = Path(__file__).parents[2] / "kubernetes"
    return Samples(folder, pool=POOL, image=IMAGE, hypervisor="test", tags=tags_for(cluster))


def tags_for(cluster: str) -> dict[str, str]:
    return {f"kubernetes.io/cluster/{cluster}": "1", "kubernetes.io/role/node": "1"}


@pytest.fixture
def machine_class(samples: Samples) -> MachineClass:
    """The machine class and the secret of the samples."""
    return samples.machine_class()
