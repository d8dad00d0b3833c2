"""Machine classes derived from a valid one: of other clusters, and broken in many ways."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from cmi.client import MachineClass
from cmi.contract import CLUSTER_TAG, ROLE_TAG


def fields_of(machine_class: MachineClass) -> dict[str, Any]:
    """Return the provider spec as an object."""
    fields: dict[str, Any] = json.loads(machine_class.provider_spec)
    return fields


def with_fields(machine_class: MachineClass, fields: Mapping[str, Any]) -> MachineClass:
    """Return the class with another provider spec."""
    return replace(machine_class, provider_spec=json.dumps(fields).encode())


def with_secrets(machine_class: MachineClass, secrets: Mapping[str, bytes]) -> MachineClass:
    """Return the class with other secrets."""
    return replace(machine_class, secrets=secrets)


def of_scope(machine_class: MachineClass, prefix: str, suffix: str) -> MachineClass:
    """Return the class for a cluster (or role) whose name has `suffix` appended."""
    fields = fields_of(machine_class)
    tags = fields.get("tags") or {}
    fields["tags"] = {
        key + suffix if key.startswith(prefix) else key: value for key, value in tags.items()
    }
    return with_fields(machine_class, fields)


def without_scopes(machine_class: MachineClass) -> Iterator[tuple[str, MachineClass]]:
    """Yield classes whose tags would match more than one cluster's machines (C33)."""
    fields = fields_of(machine_class)
    tags: dict[str, str] = fields.get("tags", {})
    for prefix in (CLUSTER_TAG, ROLE_TAG):
        rest = {key: value for key, value in tags.items() if not key.startswith(prefix)}
        yield f"tags without {prefix}", with_fields(machine_class, fields | {"tags": rest})
    yield "empty tags", with_fields(machine_class, fields | {"tags": {}})
    del fields["tags"]
    yield "no tags", with_fields(machine_class, fields)


def with_wrong_types(machine_class: MachineClass) -> Iterator[tuple[str, MachineClass]]:
    """Yield, for every field of the spec, its path and a class with a wrong type in it (C8)."""
    fields = fields_of(machine_class)
    for name, value in fields.items():
        yield f"providerSpec.{name}", with_fields(machine_class, fields | {name: _wrong(value)})


def with_two_wrong_types(machine_class: MachineClass) -> tuple[list[str], MachineClass]:
    """Return the paths of two fields, and the class with wrong types in both (C8)."""
    fields = fields_of(machine_class)
    chosen = list(fields)[:2]
    wrong = fields | {name: _wrong(fields[name]) for name in chosen}
    return [f"providerSpec.{name}" for name in chosen], with_fields(machine_class, wrong)


def incompatible(machine_class: MachineClass, other: MachineClass | None) -> MachineClass | None:
    """Return a class that is valid too but asks for another VM (C11), or None if none is known.

    That is this one with its first integer raised by one, such as the size of a disk; without
    an integer, `other` under the tags of this one.
    """
    fields = fields_of(machine_class)
    changed = _raised(fields)
    if changed == fields and other is not None:
        changed = fields_of(other) | {"tags": fields["tags"]}
    return with_fields(machine_class, changed) if changed != fields else None


def _raised(value: Any) -> Any:
    """Return a copy with its first integer raised by one."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            raised = _raised(value[key])
            if raised != value[key]:
                copy = value.copy()
                copy[key] = raised
                return copy
    return value


def _wrong(value: Any) -> Any:
    return "a text" if isinstance(value, dict | list) or not isinstance(value, str) else {"no": 1}
