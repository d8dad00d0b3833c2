"""A driver of this package with an embedded cloud, and a client that calls it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cmi.testing import Client, MachineClass, Samples, connected

from ..cloud import Cloud
from ..embedded_cloud import EmbeddedCloud
from ..machineserver import MachineServer


@pytest.fixture(scope="session")
def samples() -> Samples:
    """The samples of this project."""
    return Samples(Path(__file__).parents[2] / "kubernetes")


@pytest.fixture(scope="session")
def machine_class(samples: Samples) -> MachineClass:
    """The machine class and the secret of the samples."""
    return samples.machine_class()


@pytest.fixture
def embedded_cloud(tmp_path: Path) -> EmbeddedCloud:
    """An empty cloud with room for three VMs."""
    return EmbeddedCloud(str(tmp_path / "cloud.sqlite"), quota=3)


@pytest.fixture
def client(embedded_cloud: EmbeddedCloud) -> Iterator[Client]:
    """A client of a driver that uses `embedded_cloud`."""
    with connected(MachineServer(Cloud(embedded_cloud))) as client:
        yield client
