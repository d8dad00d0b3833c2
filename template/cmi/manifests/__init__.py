"""Reads the same files as `kubectl apply`: machine classes, secrets and persistent volumes.

A file may contain several documents, lists, JSON, and the output of `kubectl get --output=yaml`.
The driver gets the same bytes that machine-controller-manager (MCM) would send it if the file were
applied.
"""

import base64
import binascii
from collections.abc import Iterable, Sequence
from pathlib import Path

from cmi.client import MachineClass
from cmi.manifests import gojson
from cmi.manifests.documents import ManifestError, Object, name_of, read_objects
from cmi.manifests.goyaml import Json

__all__ = [
    "ManifestError",
    "read_machine_class",
    "read_provider_spec",
    "read_secret",
    "read_volumes",
]

_REFERENCES = ("secretRef", "credentialsSecretRef")
"""The fields in which a MachineClass names its Secrets. If both have a key, the last one wins."""


def read_machine_class(
    class_file: Path, secret_files: Iterable[Path] = (), *, name: str = ""
) -> MachineClass:
    """Return a MachineClass with the data of its Secrets.

    Args:
        class_file: The file with the MachineClass; `-` is standard input.
        secret_files: The files with the Secrets that its `secretRef` and `credentialsSecretRef`
            name. If it names none, or there are no files, the only Secret in all files is used.
        name: The name of the MachineClass, if the file has several.

    Raises:
        ManifestError: A file can't be read, or it is not clear which object is meant.
    """
    machine_class = _one_of(class_file, "MachineClass", name)
    secrets = [found for path in secret_files for found in _of_kind(path, "Secret")]
    return MachineClass(
        provider_spec=provider_spec_of(machine_class), secrets=_merged(machine_class, secrets)
    )


def read_provider_spec(path: Path) -> bytes:
    """Return `providerSpec` of the one MachineClass in the file, as JSON.

    Raises:
        ManifestError: The file can't be read, or contains no MachineClass or several.
    """
    return provider_spec_of(_one_of(path, "MachineClass"))


def read_secret(path: Path) -> dict[str, bytes]:
    """Return the data of the one Secret in the file: `data` decoded, overridden by `stringData`.

    Raises:
        ManifestError: The file can't be read, or contains no Secret or several.
    """
    return data_of(_one_of(path, "Secret"))


def read_volumes(path: Path) -> bytes:
    """Return the specs of all PersistentVolumes in the file, as a JSON list.

    Raises:
        ManifestError: The file can't be read, or contains no PersistentVolume.
    """
    volumes = _of_kind(path, "PersistentVolume")
    try:
        return gojson.write([volume.fields.get("spec", {}) for volume in volumes])
    except ValueError as error:
        raise ManifestError(f"{name_of(path)}: {error}") from None


def _of_kind(path: Path, kind: str) -> list[Object]:
    """Return the objects of one kind, at least one."""
    objects = read_objects(path)
    found = [each for each in objects if each.kind == kind]
    if not found:
        kinds = ", ".join(sorted({each.kind for each in objects})) or "nothing"
        raise ManifestError(f"{name_of(path)}: contains no {kind}, but {kinds}")
    return found


def _one_of(path: Path, kind: str, name: str = "") -> Object:
    found = _of_kind(path, kind)
    chosen = [each for each in found if not name or each.name == name]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(each.name or "one without a name" for each in found)
    if name:
        raise ManifestError(f"{name_of(path)}: contains no {kind} {name}, but {names}")
    raise ManifestError(f"{name_of(path)}: contains several of kind {kind}: {names}; choose one")


def provider_spec_of(machine_class: Object) -> bytes:
    """Return `providerSpec` of a MachineClass as MCM sends it: null is empty.

    Raises:
        ManifestError: The class has no `providerSpec`.
    """
    if "providerSpec" not in machine_class.fields:
        raise machine_class.error("the MachineClass has no providerSpec")
    spec = machine_class.fields["providerSpec"]
    try:
        return b"" if spec is None else gojson.write(spec)
    except ValueError as error:
        raise machine_class.error(f"providerSpec: {error}") from None


def _merged(machine_class: Object, secrets: Sequence[Object]) -> dict[str, bytes]:
    """Return the data of the Secrets that the class names, as MCM merges them."""
    references = [
        reference
        for key in _REFERENCES
        if isinstance(reference := machine_class.fields.get(key), dict)
    ]
    if not secrets:
        return {}
    if not references:
        if len(secrets) > 1:
            names = ", ".join(secret.name or "one without a name" for secret in secrets)
            raise machine_class.error(
                f"the MachineClass has no secretRef that says which Secret it needs: {names}"
            )
        return data_of(secrets[0])
    merged: dict[str, bytes] = {}
    for reference in references:
        merged |= data_of(_referred(machine_class, reference, secrets))
    return merged


def _referred(
    machine_class: Object, reference: dict[str, Json], secrets: Sequence[Object]
) -> Object:
    """Return the Secret of a reference. A Secret without a namespace matches any namespace."""
    name, namespace = reference.get("name"), reference.get("namespace")
    for secret in secrets:
        is_there = not namespace or not secret.namespace or secret.namespace == namespace
        if secret.name == name and is_there:
            return secret
    wanted = f"{namespace}/{name}" if namespace else f"{name}"
    found = ", ".join(f"{each.namespace}/{each.name}".strip("/") for each in secrets)
    raise machine_class.error(f"the MachineClass needs the Secret {wanted}; there is only {found}")


def data_of(secret: Object) -> dict[str, bytes]:
    """Return the data of a Secret as the API server stores it.

    Raises:
        ManifestError: The API server would refuse it.
    """
    values = {key: _decoded(secret, key, value) for key, value in _fields(secret, "data")}
    for key, value in _fields(secret, "stringData"):
        if value is not None and not isinstance(value, str):
            raise secret.error(f"stringData.{key} is not a string; quote it")
        values[key] = (value or "").encode()
    return values


def _decoded(secret: Object, key: str, value: Json) -> bytes:
    """Decode base64, which may contain line breaks. Null is an empty value."""
    try:
        if not isinstance(value, str | None):
            raise ValueError
        text = (value or "").replace("\r", "").replace("\n", "")
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise secret.error(f"data.{key} is not base64; put plain text under stringData") from None


def _fields(secret: Object, key: str) -> Iterable[tuple[str, Json]]:
    value = secret.fields.get(key)
    if not isinstance(value, dict | None):
        raise secret.error(f"{key} is not a mapping")
    return (value or {}).items()
