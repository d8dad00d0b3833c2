"""The samples in `kubernetes/`, as tests send them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmi.client import MachineClass
from cmi.manifests import read_provider_spec, read_secret, read_volumes


class Samples:
    """The samples of a project.

    Args:
        folder: Holds machine-class.yaml, secret.yaml and persistent-volumes.yaml.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def machine_class(
        self, secrets: Mapping[str, bytes | None] | None = None, **fields: Any
    ) -> MachineClass:
        """Return the machine class with its secret.

        Args:
            secrets: Other values of the Secret; None leaves a key out.
            fields: Other fields of the provider spec, as in YAML; None leaves a field out.
        """
        spec = json.loads(read_provider_spec(self.folder / "machine-class.yaml")) | fields
        data = {**read_secret(self.folder / "secret.yaml"), **(secrets or {})}
        return MachineClass(
            provider_spec=json.dumps(
                {key: value for key, value in spec.items() if value is not None}
            ).encode(),
            secrets={key: value for key, value in data.items() if value is not None},
        )

    def volumes(self) -> list[dict[str, Any]]:
        """Return the PersistentVolumeSpecs of the sample volumes."""
        volumes: list[dict[str, Any]] = json.loads(
            read_volumes(self.folder / "persistent-volumes.yaml")
        )
        return volumes
