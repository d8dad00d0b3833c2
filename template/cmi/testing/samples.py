"""The samples in `kubernetes/`, prepared for tests."""

import base64
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmi.client import MachineClass
from cmi.manifests import read_provider_spec, read_secret, read_volumes


class Samples:
    """The samples of a project.

    Args:
        folder: Contains machine-class.yaml, secret.yaml and persistent-volumes.yaml.
        secrets: Replacements for values of the Secret, such as the tokens of a test double.
        fields: Replacements for fields of the provider spec, as named in YAML.
    """

    def __init__(
        self, folder: Path, secrets: Mapping[str, bytes | None] | None = None, **fields: Any
    ) -> None:
        self.folder = folder
        self._secrets = {**(secrets or {})}
        self._fields = fields

    def machine_class(
        self, secrets: Mapping[str, bytes | None] | None = None, **fields: Any
    ) -> MachineClass:
        """Return the machine class with its secret.

        Args:
            secrets: Replacements for values of the Secret; None leaves a key out.
            fields: Replacements for fields of the spec, as named in YAML; None leaves one out.
        """
        spec = json.loads(read_provider_spec(self.folder / "machine-class.yaml"))
        spec |= self._fields | fields
        data = {**read_secret(self.folder / "secret.yaml"), **self._secrets, **(secrets or {})}
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

    def copy_to(self, folder: Path) -> "Samples":
        """Write the samples, with this object's replacements, into a folder; return the copy."""
        machine_class = self.machine_class()
        spec = json.loads(machine_class.provider_spec)
        values = machine_class.secrets.items()
        data = {key: base64.b64encode(value).decode() for key, value in values}
        # JSON is YAML too.
        (folder / "machine-class.yaml").write_text(
            json.dumps({"kind": "MachineClass", "providerSpec": spec})
        )
        (folder / "secret.yaml").write_text(json.dumps({"kind": "Secret", "data": data}))
        shutil.copy(self.folder / "persistent-volumes.yaml", folder)
        return Samples(folder)
