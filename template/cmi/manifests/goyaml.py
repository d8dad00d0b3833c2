"""Reads YAML as kubectl does: by the rules of go-yaml v2, and then as JSON.

kubectl passes every document to sigs.k8s.io/yaml, which is go-yaml plus a conversion to JSON.
Its types are neither those of YAML 1.1 nor of 1.2: `yes` and `y` are true, `010` and `08` are
both 8, a date is text and so is `1:30`, and a tag on a list or a mapping has no effect.
go-yaml's parser was ported from libyaml, which PyYAML uses too. So this module only implements
the types, the keys and the merges. `e2e/test_manifests.py` compares the two.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Self, TypeAlias

import yaml
from yaml import events

from cmi.manifests.scalars import TAG, Scalar, key_text, resolve

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
"""A JSON value."""

_MERGE_KEY: Final = 2 * "<"  # copier would parse the literal as a variable
_MERGE: Final = f"{TAG}merge"


class YamlError(ValueError):
    """kubectl can't read the text as YAML, or its result is undefined.

    Attributes:
        line: The line in the text, counted from 0; None if it is unknown.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


def read(text: str) -> Json:
    """Return the value of one YAML document, as kubectl converts it into JSON.

    Like kubectl, this ignores everything after the end of the document, `...`.

    Raises:
        YamlError: kubectl can't read the text either, or its result is undefined.
    """
    if "\ufeff" in text:
        raise YamlError("contains a byte order mark that is not at the start of the file")
    try:
        root = _Composer(text).root()
        value = _Decoder().value(root) if root else None
        _check_numbers(value)
        return value
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(error.problem or "is malformed", mark.line if mark else None) from None
    except yaml.YAMLError as error:
        raise YamlError(getattr(error, "reason", None) or "is malformed") from None
    except RecursionError:
        raise YamlError("is nested too deeply") from None


@dataclass(slots=True)
class _Scalar:
    line: int
    value: str
    tag: str
    is_plain: bool

    @property
    def is_merge(self) -> bool:
        return self.value == _MERGE_KEY and (self.is_plain or self.tag == _MERGE)


@dataclass(slots=True)
class _Sequence:
    line: int
    items: list["_Node"] = field(default_factory=list)


@dataclass(slots=True)
class _Mapping:
    line: int
    pairs: list[tuple["_Node", "_Node"]] = field(default_factory=list)


@dataclass(slots=True)
class _Alias:
    line: int
    name: str
    target: "_Node"


_Node: TypeAlias = _Scalar | _Sequence | _Mapping | _Alias


class _Composer:
    """Builds the nodes of the first document of a text.

    libyaml reads a few things that go-yaml refuses or reads differently. They are refused here.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._events: Iterator[events.Event] = yaml.parse(text, Loader=yaml.CBaseLoader)
        self._anchors: dict[str, _Node] = {}
        self._flow_depth = 0  # how many pairs of [] or {} are open

    def root(self) -> "_Node | None":
        """Return the root node, or None if there is no document."""
        for event in self._events:
            if isinstance(event, events.DocumentStartEvent):
                root = self._node(next(self._events))
                next(self._events)  # The document has to end here.
                return root
        return None

    def _node(self, event: events.Event) -> "_Node":
        line = event.start_mark.line if event.start_mark else 0
        if isinstance(event, events.AliasEvent):
            if event.anchor not in self._anchors:
                raise YamlError(f"the anchor {event.anchor!r} is unknown", line)
            return _Alias(line, event.anchor, self._anchors[event.anchor])
        if isinstance(event, events.ScalarEvent):
            self._check_scalar(event, line)
            scalar = _Scalar(line, event.value, event.tag or "", event.implicit[0])
            self._anchor(scalar, event)
            return scalar
        if isinstance(event, events.CollectionStartEvent):
            return self._collection(event, line)
        raise YamlError("is malformed", line)

    def _collection(self, event: events.CollectionStartEvent, line: int) -> "_Sequence | _Mapping":
        if event.tag and event.tag != "!" and not event.tag.startswith(TAG):
            raise YamlError(f"the tag {event.tag} is not supported; leave it out", line)
        self._flow_depth += bool(event.flow_style)
        node = _Sequence(line) if isinstance(event, events.SequenceStartEvent) else _Mapping(line)
        self._anchor(node, event)
        if isinstance(node, _Sequence):
            node.items += self._children(events.SequenceEndEvent)
        else:
            children = self._children(events.MappingEndEvent)
            node.pairs += zip(children, children, strict=True)
        self._flow_depth -= bool(event.flow_style)
        return node

    def _children(self, end: type[events.Event]) -> "Iterator[_Node]":
        while not isinstance(event := next(self._events), end):
            yield self._node(event)

    def _anchor(self, node: "_Node", event: events.NodeEvent) -> None:
        """Remember the node by its anchor. If a name is repeated, the last node counts."""
        if event.anchor:
            self._anchors[event.anchor] = node

    def _check_scalar(self, event: events.ScalarEvent, line: int) -> None:
        is_plain = not event.style
        if is_plain and self._flow_depth and "?" in event.value[1:]:
            raise YamlError("a text with ? between brackets needs quotes", line)
        if is_plain and event.tag and not event.value:
            raise YamlError("a tag is not followed by a value", line)
        if event.style == '"' and event.start_mark and event.end_mark:
            written = self._text[event.start_mark.index : event.end_mark.index]
            if "\\/" in written.replace("\\\\", ""):
                raise YamlError("\\/ is an escape of JSON, not of YAML", line)


class _Decoder:
    """Turns nodes into values."""

    def __init__(self) -> None:
        self._open: set[int] = set()  # the aliases that are being followed
        self._count = 0
        self._count_in_aliases = 0

    def value(self, node: _Node) -> Json:
        self._bound_aliases(node)
        if isinstance(node, _Alias):
            with _Following(self._open, node):
                return self.value(node.target)
        if isinstance(node, _Sequence):
            return [self.value(item) for item in node.items]
        if isinstance(node, _Mapping):
            found: dict[str, Json] = {}
            self._fill(node, found, {})
            return found
        _, value = _resolved(node)
        if isinstance(value, float) and not math.isfinite(value):
            return _NotFinite(value, node.line)
        return value

    def _fill(self, mapping: _Mapping, found: dict[str, Json], origins: dict[str, object]) -> None:
        """Add the pairs in their order. If keys are equal, the last one counts, merged or not."""
        for key, value in mapping.pairs:
            if isinstance(key, _Scalar) and key.is_merge:
                self._merge(value, found, origins)
                continue
            text, origin = self._key(key)
            if origins.setdefault(text, origin) != origin:
                raise YamlError(
                    f"two keys become the same text {text!r}, and kubectl takes either", key.line
                )
            found[text] = self.value(value)

    def _merge(self, node: _Node, found: dict[str, Json], origins: dict[str, object]) -> None:
        # The first mapping in a list takes precedence.
        parts = [node] if not isinstance(node, _Sequence) else reversed(node.items)
        for part in parts:
            self._bound_aliases(part)
            target = part.target if isinstance(part, _Alias) else part
            if not isinstance(target, _Mapping):
                raise YamlError(f"{_MERGE_KEY} needs a mapping, or a list of mappings", node.line)
            if isinstance(part, _Alias):
                self._bound_aliases(target)
                with _Following(self._open, part):
                    self._fill(target, found, origins)
            else:
                self._fill(target, found, origins)

    def _key(self, node: _Node) -> tuple[str, object]:
        """Return a key as text, and the value that it was made from."""
        while isinstance(node, _Alias):
            self._bound_aliases(node)
            node = node.target
        self._bound_aliases(node)
        if not isinstance(node, _Scalar):
            raise YamlError("a key is a list or a mapping", node.line)
        kind, value = _resolved(node)
        try:
            return key_text(kind, value), (kind, value)
        except ValueError as error:
            raise YamlError(f"{error}", node.line) from None

    def _bound_aliases(self, node: _Node) -> None:
        """Refuse a document that consists mostly of repetition, with go-yaml's threshold."""
        self._count += 1
        self._count_in_aliases += bool(self._open)
        if self._count_in_aliases <= 100 or self._count <= 1000:
            return
        excess = min(max(self._count - 400_000, 0) / 3_600_000, 1)
        if self._count_in_aliases / self._count > 0.99 - 0.89 * excess:
            raise YamlError("repeats too much by aliases", node.line)


class _NotFinite(float):
    """A number that JSON can't represent. It is an error only if no later key replaces it."""

    line: int

    def __new__(cls, value: float, line: int) -> Self:
        number = super().__new__(cls, value)
        number.line = line
        return number


def _check_numbers(value: Json) -> None:
    if isinstance(value, _NotFinite):
        raise YamlError(f"JSON can't represent the number {float(value)}", value.line)
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _check_numbers(item)


class _Following:
    """Follows an alias, and refuses one that leads back to itself."""

    def __init__(self, open_aliases: set[int], alias: _Alias) -> None:
        self._open = open_aliases
        self._alias = alias

    def __enter__(self) -> None:
        if id(self._alias) in self._open:
            raise YamlError(f"the anchor {self._alias.name!r} contains itself", self._alias.line)
        self._open.add(id(self._alias))

    def __exit__(self, *_error: object) -> None:
        self._open.discard(id(self._alias))


def _resolved(node: _Scalar) -> tuple[str, Scalar]:
    try:
        return resolve(node.value, node.tag, is_plain=node.is_plain)
    except ValueError as error:
        raise YamlError(f"{error}", node.line) from None
