"""Finds a provider spec's cluster and role, and derives classes with other ones.

The kit knows nothing about the form of a spec, only a model that reads it. So it concludes that a
place contains the cluster's ID if a change there, and only there, changes the spec's cluster.
"""

import copy
import json
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeAlias

from cmi.client import MachineClass
from cmi.conformance.specs import fields_of, with_fields
from cmi.contract import CLUSTER_TAG, ROLE_TAG
from cmi.spec import ClusterScope

Fields: TypeAlias = dict[str, Any]

_DIGITS: Final = (string.digits, string.ascii_lowercase, string.ascii_uppercase)


class Scope(NamedTuple):
    """The machines that a spec is about.

    Attributes:
        cluster: The cluster's ID.
        role: Their role, or an empty text.
        model: The other fields that they are found by, such as a region; comparable by `==`.
    """

    cluster: str
    role: str
    model: object = None


Read: TypeAlias = Callable[[Fields], Scope | None]
"""Returns the scope of a spec, or None if the spec has no scope."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a text in a spec: in the value at `path`, or in the last key of `path`.

    Attributes:
        path: Keys and indices from the root of the spec.
        in_key: Whether the text is in the key.
        start: The position at which it begins, in characters; None means at any position.
    """

    path: tuple[str | int, ...]
    in_key: bool
    start: int | None


class Scopes:
    """The classes derived from one class, with another cluster, another role, or none.

    Args:
        machine_class: A valid class.
        model: The author's scope model; None means the default form, a map `tags` with
            `kubernetes.io/cluster/<id>`.

    Raises:
        ValueError: The model finds no cluster and role in the class.
    """

    def __init__(self, machine_class: MachineClass, model: type[ClusterScope] | None) -> None:
        self._class = machine_class
        self._fields = fields_of(machine_class)
        self._read = _default_form if model is None else _by_model(model)
        self._scope = self._read(self._fields)
        if model is not None and self._scope is None:
            raise ValueError(f"{model.__name__} finds no cluster and role in the machine class")

    @cached_property
    def field(self) -> str:
        """The field of the spec that contains the cluster's ID, or an empty text."""
        return str(self._cluster_places[0].path[0]) if self._cluster_places else ""

    @cached_property
    def tags(self) -> list[str] | dict[str, str] | None:
        """The map or list of texts that contains the cluster's ID; None if a field holds it."""
        if not self._cluster_places:
            return None
        *parents, _last = self._cluster_places[0].path
        holder: Any = self._fields
        for step in parents:
            holder = holder[step]
        items = holder.values() if isinstance(holder, dict) else holder
        is_of_texts = all(isinstance(each, str) for each in items)
        return holder if parents and is_of_texts else None

    def of_cluster(self, number: int) -> MachineClass | None:
        """Return the class for another cluster, a different one for each number from 1."""
        return self._derived(self._cluster_places, "cluster", number)

    def of_role(self, number: int) -> MachineClass | None:
        """Return the class for another role in the same cluster."""
        return self._derived(self._role_places, "role", number)

    def holds(self, fields: Fields) -> bool:
        """Return whether another spec is about the same machines."""
        return self._scope is not None and self._read(fields) == self._scope

    def without(self) -> Iterator[tuple[str, MachineClass]]:
        """Yield what is missing, and a class without it (C33)."""
        if not self._cluster_places:
            return
        yield "no cluster", self._without(self._cluster_places)
        # A role may have a default.
        no_role = self._without(self._role_places) if self._role_places else None
        if no_role is not None and self._read(fields_of(no_role)) is None:
            yield "no role", no_role
        *parents, _last = self._cluster_places[0].path
        if parents:
            name = str(parents[-1])
            emptied = copy.deepcopy(self._fields)
            holder, last = _parent(emptied, tuple(parents))
            holder[last] = type(holder[last])()
            yield f"empty {name}", with_fields(self._class, emptied)
            del holder[last]
            yield f"no {name}", with_fields(self._class, emptied)

    @cached_property
    def _cluster_places(self) -> list[Place]:
        return self._places("cluster")

    @cached_property
    def _role_places(self) -> list[Place]:
        return self._places("role")

    def _places(self, part: str) -> list[Place]:
        """Return the places that contain a part of the scope: one if one is enough, else all."""
        text = getattr(self._scope, part, "")
        if not text:
            return []
        each = list(_occurrences(self._fields, text))
        everywhere = list(dict.fromkeys(replace(place, start=None) for place in each))
        for places in [*([place] for place in each), everywhere]:
            if self._derived(places, part, 1) is not None:
                return places
        return []

    def _derived(self, places: list[Place], part: str, number: int) -> MachineClass | None:
        if self._scope is None or not places:
            return None
        text = getattr(self._scope, part)
        for new in _variants(text, number):
            changed = _replaced(self._fields, places, text, new)
            found = self._read(changed)
            if found and found[:2] == self._scope._replace(**{part: new})[:2]:
                return with_fields(self._class, changed)
        return None

    def _without(self, places: list[Place]) -> MachineClass:
        fields = copy.deepcopy(self._fields)
        for place in reversed(places):  # delete the last items of a list first
            holder, last = _parent(fields, place.path)
            if isinstance(holder, list) or last in holder:
                del holder[last]
        return with_fields(self._class, fields)


def _default_form(fields: Fields) -> Scope | None:
    tags = fields.get("tags")
    if not isinstance(tags, dict):
        return None
    clusters, roles = (
        [key.removeprefix(prefix) for key in tags if key.startswith(prefix)]
        for prefix in (CLUSTER_TAG, ROLE_TAG)
    )
    return Scope(clusters[0], roles[0]) if len(clusters) == len(roles) == 1 else None


def _by_model(model: type[ClusterScope]) -> Read:
    def read(fields: Fields) -> Scope | None:
        try:
            scope = model.model_validate_json(json.dumps(fields), by_alias=True, by_name=False)
            found = Scope(scope.cluster, scope.role, scope)
        except (ValueError, LookupError):  # from pydantic, or from the author's properties
            return None
        return found if found.cluster and found.role else None

    return read


def _occurrences(value: Any, text: str, path: tuple[str | int, ...] = ()) -> Iterator[Place]:
    """Yield every place of a text: in keys, in texts, or as a whole number."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from (Place((*path, key), True, start) for start in _starts(key, text))
            yield from _occurrences(item, text, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _occurrences(item, text, (*path, index))
    elif isinstance(value, str):
        yield from (Place(path, False, start) for start in _starts(value, text))
    elif isinstance(value, int) and str(value) == text:
        yield Place(path, False, 0)


def _starts(whole: str, text: str) -> Iterator[int]:
    start = whole.find(text)
    while start >= 0:
        yield start
        start = whole.find(text, start + len(text))


def _replaced(fields: Fields, places: list[Place], text: str, new: str) -> Fields:
    """Return a copy with a different text at these places."""
    fields = copy.deepcopy(fields)
    # From the last to the first, so that a replacement does not move the other places.
    for place in reversed(places):
        holder, last = _parent(fields, place.path)
        old = last if place.in_key else holder[last]
        if isinstance(old, int):
            holder[last] = int(new) if new.isdigit() else new
            continue
        if place.start is None:
            changed = old.replace(text, new)
        else:
            changed = old[: place.start] + new + old[place.start + len(text) :]
        if not place.in_key:
            holder[last] = changed
            continue
        items = list(holder.items())
        holder.clear()
        holder.update((changed if key == old else key, value) for key, value in items)
    return fields


def _parent(fields: Fields, path: tuple[str | int, ...]) -> tuple[Any, Any]:
    """Return the map or list to which the last step of a path applies, and that step."""
    holder: Any = fields
    for step in path[:-1]:
        holder = holder[step]
    return holder, path[-1]


def _variants(text: str, number: int) -> Iterator[str]:
    """Yield IDs that resemble this one, for models that restrict their length or form."""
    suffix = f"-conformance-{number}"
    yield text + suffix
    if len(text) > len(suffix):
        yield text[: -len(suffix)] + suffix
    if text.isdigit():
        yield str(int(text) + number)
    for digits in _DIGITS:
        if text[-1] in digits:
            yield text[:-1] + digits[(digits.index(text[-1]) + number) % len(digits)]
