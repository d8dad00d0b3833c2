"""What the rendered driver is called with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmi.client import MachineClass
from cmi.manifests import read_provider_spec, read_secret

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
