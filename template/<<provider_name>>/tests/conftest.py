"""A driver of this package behind a real socket, and a client that talks to it."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from cmi.client import Client, MachineClass
from cmi.manifests import read_provider_spec, read_secret
from cmi.testing import serving

from ..cloud import Cloud
from ..machineserver import MachineServer

SAMPLES = Path(__file__).parents[2] / "kubernetes"


@pytest.fixture
def cloud_file(tmp_path: Path) -> str:
    """Where the cloud of this test keeps its state."""
    return str(tmp_path / "cloud.sqlite")


@pytest.fixture
def cloud(cloud_file: str) -> Cloud:
    """An empty cloud with room for three VMs."""
    return Cloud(cloud_file, quota=3)


@pytest.fixture
def client(cloud: Cloud) -> Iterator[Client]:
    """A client of a driver that runs on `cloud`."""
    with serving(MachineServer(cloud)) as endpoint, Client(endpoint, timeout=30) as client:
        yield client


Change = Callable[..., MachineClass]


@pytest.fixture(scope="session")
def changed() -> Change:
    """A function that returns the samples' machine class, with other fields or secrets.

    A field that is to be left out is None.
    """
    sample = json.loads(read_provider_spec(SAMPLES / "machine-class.yaml"))
    sample_secrets = read_secret(SAMPLES / "secret.yaml")

    def change(secrets: dict[str, bytes | None] | None = None, **fields: Any) -> MachineClass:
        spec = {key: value for key, value in (sample | fields).items() if value is not None}
        data = sample_secrets | (secrets or {})
        return MachineClass(
            provider_spec=json.dumps(spec).encode(),
            secrets={key: value for key, value in data.items() if value is not None},
        )

    return change


@pytest.fixture(scope="session")
def machine_class(changed: Change) -> MachineClass:
    """The machine class and the secret of the samples."""
    return changed()


@pytest.fixture(scope="session")
def other_cluster(changed: Change) -> MachineClass:
    """The same for another cluster of the account."""
    return changed(
        tags={"kubernetes.io/cluster/shoot--dev--other": "1", "kubernetes.io/role/node": "1"}
    )


@contextmanager
def _refused(code: str, *mentioned: str) -> Iterator[None]:
    with pytest.raises(grpc.RpcError) as caught:
        yield
    assert caught.value.code().name == code, caught.value.details()
    for text in mentioned:
        assert text in str(caught.value.details())


@pytest.fixture(scope="session")
def refused() -> Callable[..., AbstractContextManager[None]]:
    """`with refused("NOT_FOUND", "m1"):` expects the status and texts that its message holds."""
    return _refused
