"""A driver of this package behind a real socket, a client that talks to it, and an EC2."""

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from cmi import waiting
from cmi.client import Client, MachineClass
from cmi.manifests import read_provider_spec, read_secret
from cmi.testing import serving

from .. import cloud
from ..cloud import Cloud
from ..machineserver import MachineServer
from .ec2 import Account, Gate, moto_server

PAGE_SIZE = 5  # the smallest that EC2 takes
SAMPLES = Path(__file__).parents[2] / "kubernetes"


@pytest.fixture(scope="session")
def account() -> Iterator[Account]:
    """An account of its own for each process that runs tests."""
    with moto_server(os.environ) as url:
        yield Account.create(url)


@pytest.fixture(scope="session")
def gate(account: Account) -> Iterator[Gate]:
    """What stands before it, and what boto3 takes for EC2."""
    with pytest.MonkeyPatch.context() as patch, Gate(account.url).serving() as gate:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL_EC2", gate.url)
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setattr(waiting, "FIRST_PAUSE", 0.01)
        patch.setattr(cloud, "PAGE_SIZE", PAGE_SIZE)
        yield gate


@pytest.fixture
def client(gate: Gate) -> Iterator[Client]:
    """A client of a driver."""
    with serving(MachineServer(Cloud())) as endpoint, Client(endpoint, timeout=60) as client:
        yield client


Change = Callable[..., MachineClass]


def change_for(cluster: str, account: Account) -> Change:
    """Return a function that returns the samples' machine class, with other fields or secrets.

    A field that is to be left out is None.
    """
    tags = {f"kubernetes.io/cluster/{cluster}": "1", "kubernetes.io/role/node": "1"}
    sample = json.loads(read_provider_spec(SAMPLES / "machine-class.yaml"))
    sample |= {**account.fields, "tags": tags}
    sample_secrets = {**read_secret(SAMPLES / "secret.yaml"), **account.writer}

    def change(secrets: dict[str, bytes | None] | None = None, **fields: Any) -> MachineClass:
        spec = {key: value for key, value in (sample | fields).items() if value is not None}
        data = sample_secrets | (secrets or {})
        return MachineClass(
            provider_spec=json.dumps(spec).encode(),
            secrets={key: value for key, value in data.items() if value is not None},
        )

    return change


@pytest.fixture
def changed(account: Account) -> Change:
    """The same for a cluster of this test alone."""
    return change_for(secrets.token_hex(4), account)


@pytest.fixture
def machine_class(changed: Change) -> MachineClass:
    """The machine class and the secret of the samples."""
    return changed()


@pytest.fixture
def other_cluster(account: Account) -> MachineClass:
    """The same for another cluster of the account."""
    return change_for(secrets.token_hex(4), account)()


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
