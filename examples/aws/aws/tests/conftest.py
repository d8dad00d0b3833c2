"""A driver of this package on a real socket, a client that calls it, and an EC2."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto import settings
from moto.core.authorization import enable_iam_authentication

from cmi.testing import Client, MachineClass, Samples, connected

from .. import cloud as adapter
from ..cloud import Cloud
from ..machineserver import MachineServer
from .account import Account
from .gate import MOTO, Gate, served

PAGE_SIZE = 5  # the smallest size that EC2 accepts


@pytest.fixture(scope="session")
def account() -> Iterator[Account]:
    """An account for this test process. It checks credentials."""
    with pytest.MonkeyPatch.context() as patch, served(MOTO) as url:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setattr(settings, "ENABLE_AMI_VALIDATION", True)
        patch.setattr(settings, "EC2_ENABLE_INSTANCE_TYPE_VALIDATION", True)
        account = Account.create(url)
        with enable_iam_authentication():
            yield account


@pytest.fixture(scope="session")
def gate(account: Account) -> Iterator[Gate]:
    """The gate in front of moto, which boto3 uses as its EC2."""
    gate = Gate(account.has_instance)
    with pytest.MonkeyPatch.context() as patch, served(gate) as url:
        patch.setenv("AWS_ENDPOINT_URL", url)
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        patch.setattr(adapter, "PAGE_SIZE", PAGE_SIZE)
        yield gate


@pytest.fixture(scope="session")
def cloud(gate: Gate) -> Cloud:
    """The object that caches clients of EC2, since creating one takes almost a second."""
    return Cloud()


@pytest.fixture
def client(cloud: Cloud) -> Iterator[Client]:
    """A client of a driver."""
    with connected(MachineServer(cloud)) as client:
        yield client


@pytest.fixture
def samples(account: Account) -> Samples:
    """The samples of this project, with the account's resources and this test's own cluster."""
    return samples_for(secrets.token_hex(4), account)


def samples_for(cluster: str, account: Account) -> Samples:
    folder = Path(__file__).parents[2] / "kubernetes"
    return Samples(folder, account.writer, **account.fields, tags=tags_for(cluster))


def tags_for(cluster: str) -> dict[str, str]:
    return {f"kubernetes.io/cluster/{cluster}": "1", "kubernetes.io/role/node": "1"}


@pytest.fixture
def machine_class(samples: Samples) -> MachineClass:
    """The machine class and the secret of the samples."""
    return samples.machine_class()
