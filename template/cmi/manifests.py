"""Reading the YAML that kubectl applies: machine classes, secrets, persistent volumes."""

import base64
import datetime
import json
from pathlib import Path
from typing import Any

import yaml


class ManifestError(ValueError):
    """A file can't be read as the manifest it should be; the message names it and says why."""


def read_provider_spec(path: Path) -> bytes:
    """Return `providerSpec` of the MachineClass in the file, as JSON.

    Raises:
        ManifestError: The file holds no such object.
    """
    (machine_class,) = _documents(path, "MachineClass")[:1]
    if "providerSpec" not in machine_class:
        raise ManifestError(f"{path}: the MachineClass has no providerSpec")
    return _json(path, machine_class["providerSpec"])


def read_secret(path: Path) -> dict[str, bytes]:
    """Return the data of the Secret in the file: `data` decoded, `stringData` over it.

    Raises:
        ManifestError: The file holds no Secret, or one that is malformed.
    """
    (secret,) = _documents(path, "Secret")[:1]
    values = {}
    for key, value in _mapping(path, secret, "data").items():
        try:
            # Line ends are allowed within, as kubectl allows them.
            values[key] = base64.b64decode("".join(value.splitlines()), validate=True)
        except (AttributeError, ValueError):
            raise ManifestError(
                f"{path}: data.{key} is not base64; put plain text under stringData"
            ) from None
    for key, value in _mapping(path, secret, "stringData").items():
        if not isinstance(value, str):
            raise ManifestError(f"{path}: stringData.{key} is not a string; quote it")
        values[key] = value.encode()
    return values


def read_volumes(path: Path) -> bytes:
    """Return the specs of all PersistentVolumes in the file, as a JSON list.

    Raises:
        ManifestError: The file holds none.
    """
    volumes = _documents(path, "PersistentVolume")
    return _json(path, [volume.get("spec", {}) for volume in volumes])


def _documents(path: Path, kind: str) -> list[dict[str, Any]]:
    """Return the objects of one kind, at least one."""
    try:
        documents = list(yaml.safe_load_all(path.read_bytes()))
    except OSError as error:
        raise ManifestError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ManifestError(f"{path}: is not YAML{where}") from None
    found = [item for item in documents if isinstance(item, dict) and item.get("kind") == kind]
    if not found:
        raise ManifestError(f"{path}: holds no object of kind {kind}")
    return found


def _mapping(path: Path, document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key) or {}
    if not isinstance(value, dict):
        raise ManifestError(f"{path}: {key} is not a mapping")
    return {str(name): item for name, item in value.items()}


def _json(path: Path, value: object) -> bytes:
    try:
        return json.dumps(value, default=_date, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ManifestError(f"{path}: holds what JSON can't say: {error}") from None


def _date(value: object) -> str:
    """Return a date, which YAML knows and JSON has as text."""
    if not isinstance(value, datetime.date):
        raise TypeError(f"a {type(value).__name__}")
    return str(value)
