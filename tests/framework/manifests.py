"""Everything that the client reads from a file, in the form used to record what kubectl reads."""

import base64
from pathlib import Path
from typing import Any

from cmi import manifests
from cmi.manifests import ManifestError
from cmi.manifests.documents import Object, read_objects


def contents(path: Path) -> list[Any]:
    """Return the kind of each object with its provider spec, its data in base64, or None."""
    return [[found.kind, _content(found)] for found in read_objects(path)]


def _content(found: Object) -> Any:
    try:
        if found.kind == "MachineClass":
            spec = "providerSpec" in found.fields
            return manifests.provider_spec_of(found).decode() if spec else ""
        if found.kind == "Secret":
            data = manifests.data_of(found)
            return {key: base64.b64encode(value).decode() for key, value in data.items()}
    except ManifestError:
        return "refused"
    return None
