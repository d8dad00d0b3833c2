"""Machine classes derived from a valid one: broken in many ways, or of another size."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from cmi.client import MachineClass


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


def with_wrong_types(machine_class: MachineClass) -> Iterator[tuple[str, MachineClass]]:
    """Yield, for every field of the spec, its path and a class with a wrong type in it (C8)."""
    fields = fields_of(machine_class)
    for name, value in fields.items():
        yield f"providerSpec.{name}", with_fields(machine_class, fields | {name: _wrong(value)})


def with_two_wrong_types(machine_class: MachineClass) -> tuple[list[str], MachineClass]:
    """Return the paths of two fields, and the class with wrong types in both (C8)."""
    fields = fields_of(machine_class)
    path, holder = "providerSpec", fields
    while len(holder) == 1 and isinstance(value := next(iter(holder.values())), dict) and value:
        path += f".{next(iter(holder))}"
        holder = value
    chosen = list(holder)[:2]
    holder.update({name: _wrong(holder[name]) for name in chosen})
    return [f"{path}.{name}" for name in chosen], with_fields(machine_class, fields)


def with_raised_integers(machine_class: MachineClass) -> Iterator[tuple[str, MachineClass]]:
    """Yield classes that may ask for a different VM, such as one with a larger disk (C11).

    In each of them, one integer is raised by one. It comes with a description of the change, such
    as `disks[0].sizeGiB = 21`.
    """
    fields = fields_of(machine_class)
    for path, value, holder, last in list(_integers(fields)):
        holder[last] = value + 1
        yield f"{path} = {value + 1}", with_fields(machine_class, fields)
        holder[last] = value


def _integers(value: Any, path: str = "") -> Iterator[tuple[str, int, Any, str | int]]:
    """Yield the path and the value of every integer, its container, and its key there."""
    if not isinstance(value, dict | list):
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        step = f"[{key}]" if isinstance(key, int) else f".{key}" if path else key
        if isinstance(item, int) and not isinstance(item, bool):
            yield path + step, item, value, key
        else:
            yield from _integers(item, path + step)


def _wrong(value: Any) -> Any:
    return "a text" if isinstance(value, dict | list) or not isinstance(value, str) else {"no": 1}
