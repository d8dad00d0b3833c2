"""Processes of the rendered driver, and what to call them with."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from cmi.client import MachineClass
from cmi.manifests import read_provider_spec, read_secret
from tests.faults.support import CloudFile, RunningDriver


class Start(Protocol):
    """Starts the rendered driver; what still runs at the end is killed."""

    def __call__(self, cloud: CloudFile, *options: str, **settings: object) -> RunningDriver:
        """Return it as soon as it serves.

        Args:
            cloud: The file of its cloud.
            options: Of its command line.
            settings: Variables of the embedded cloud: faults, latency, quota.
        """


def _starting(project: Path, processes: ExitStack) -> Start:
    def start(cloud: CloudFile, *options: str, **settings: object) -> RunningDriver:
        environment = {f"EMBEDDED_CLOUD_{key.upper()}": str(settings[key]) for key in settings}
        environment["EMBEDDED_CLOUD_FILE"] = str(cloud.path)
        addresses = ["--endpoint=tcp://127.0.0.1:0", "--metrics-address=127.0.0.1:0"]
        driver = [str(project / ".venv/bin/python"), "-m", "acme", *addresses, "--log-format=json"]
        return processes.enter_context(RunningDriver([*driver, *options], environment))

    return start


@pytest.fixture
def start(installed: Path) -> Iterator[Start]:
    with ExitStack() as processes:
        yield _starting(installed, processes)


@pytest.fixture(scope="module")
def start_for_all(installed: Path) -> Iterator[Start]:
    """The same for drivers that several tests of a module call."""
    with ExitStack() as processes:
        yield _starting(installed, processes)


@pytest.fixture
def cloud(tmp_path: Path) -> CloudFile:
    """Where the cloud of this test keeps its state; there is nothing yet."""
    return CloudFile(tmp_path / "cloud.sqlite")


Change = Callable[..., MachineClass]


@pytest.fixture(scope="session")
def changed(installed: Path) -> Change:
    """A function that returns the samples' machine class, with other fields or secrets."""
    samples = installed / "kubernetes"
    sample = json.loads(read_provider_spec(samples / "machine-class.yaml"))
    sample_secrets = read_secret(samples / "secret.yaml")

    def change(secrets: dict[str, bytes] | None = None, **fields: Any) -> MachineClass:
        return MachineClass(
            provider_spec=json.dumps(sample | fields).encode(),
            secrets=sample_secrets | (secrets or {}),
        )

    return change


@pytest.fixture(scope="session")
def machine_class(changed: Change) -> MachineClass:
    """The machine class and the secret of the samples."""
    return changed()
