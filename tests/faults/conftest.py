"""Arguments for calls of the rendered driver."""

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
    """A function that returns the sample machine class with some fields or secrets replaced."""
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
    """The sample machine class, with its secret."""
    return changed()
