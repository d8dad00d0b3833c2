"""Base classes for the models that an author declares: provider spec, scope and secrets.

All of them are pydantic models. Field names are snake_case in Python and camelCase in
YAML (`machine_type` is `machineType`), unless a field names its own alias.
"""

import base64
import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from cmi.contract import CLUSTER_TAG, ROLE_TAG
from cmi.errors import MAX_MESSAGE_BYTES

_is_secret_key = re.compile(r"[A-Za-z0-9_.-]+").fullmatch
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOKEN = re.compile(r"([a-z2-7]{3})([a-z2-7]{5})")
_MAX_FIELDS = 32
_MAX_PATH = 128
_MAX_LISTED = 1000
_MAX_PROBLEMS_BYTES = MAX_MESSAGE_BYTES - len("; and 1000000 more")
_WORDING = {
    "missing": "is missing",
    "extra_forbidden": "is an unknown field; check the spelling",
}
# Secrets are bytes on the wire, so the only possible type error is a wrong encoding.
_SECRET_WORDING = _WORDING | {
    "string_type": "is not UTF-8 text",
    "string_unicode": "is not UTF-8 text",
}


class SpecModel(BaseModel):
    """Base class of all models in a provider spec.

    Types are strict (`"20"` is not an integer) and unknown fields are refused, so that a typo
    in a machine class is an error and does not silently select a default.
    """

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
    )


class ClusterScope(SpecModel, ABC, extra="ignore"):
    """The part of a provider spec that distinguishes a cluster's VMs from all others.

    Use `TaggedScope` if your machine classes have the two default tags. Otherwise, subclass this
    class and define where to find cluster and role: `ScopeTags` reads them from maps and lists.

    Add the other fields needed to find a VM (a region, a project). Then subclass the result, with
    `extra="forbid"` and all remaining fields. Status, delete, shut-down and list only validate
    the scope, so that a machine class that has become invalid never blocks a deletion.
    """

    @property
    @abstractmethod
    def cluster(self) -> str:
        """The cluster's ID, not empty (C19, C29)."""

    @property
    @abstractmethod
    def role(self) -> str:
        """The machines' role in the cluster, such as `node`; not empty."""


Tags = Mapping[str, Any] | Iterable[str]
"""Tags in one of the forms that clouds use: a map; a list of names; a list of `"name: value"`."""

TagsT = TypeVar("TagsT", bound=Tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeTags:
    """Reads the cluster and the role from the names of tags, by two prefixes.

    Attributes:
        cluster_prefix: The prefix of the cluster's ID.
        role_prefix: The prefix of the role.
    """

    cluster_prefix: str = CLUSTER_TAG
    role_prefix: str = ROLE_TAG

    def cluster(self, tags: Tags) -> str:
        """Return the cluster's ID; empty unless exactly one tag names a cluster."""
        return _only(_named(tags, self.cluster_prefix))

    def role(self, tags: Tags) -> str:
        """Return the role; empty unless exactly one tag names a role."""
        return _only(_named(tags, self.role_prefix))

    def check(self, tags: TagsT) -> TagsT:
        """Check `tags` and return them; use it with pydantic's `AfterValidator`.

        Raises:
            ValueError: The tags would match the VMs of every cluster (C33).
        """
        for prefix, what in ((self.cluster_prefix, "<id>"), (self.role_prefix, "<role>")):
            count = len(_named(tags, prefix))
            if count != 1:
                raise ValueError(f"needs exactly one tag {prefix}{what}, has {count or 'none'}")
        return tags


class TaggedScope(ClusterScope, extra="ignore"):
    """A scope with a map of tags, two of which name the cluster and the role.

    These are `kubernetes.io/cluster/<id>` and `kubernetes.io/role/<role>`. Set `scope_tags` to
    change the prefixes.
    """

    scope_tags: ClassVar[ScopeTags] = ScopeTags()

    tags: dict[str, str] = Field(
        description="On every VM; with kubernetes.io/cluster/<id> and kubernetes.io/role/<role>"
    )

    @field_validator("tags")
    @classmethod
    def _has_scope(cls, tags: dict[str, str]) -> dict[str, str]:
        return cls.scope_tags.check(tags)

    @property
    def cluster(self) -> str:
        """The cluster's ID, which follows the prefix in the cluster's tag."""
        return self.scope_tags.cluster(self.tags)

    @property
    def role(self) -> str:
        """The machines' role, which follows the prefix in the role's tag."""
        return self.scope_tags.role(self.tags)


class _CredentialMark:
    """Marks a field of a `SecretsModel` as a credential."""


def _not_empty(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value():
        raise ValueError("is empty")
    return secret


Credential = Annotated[SecretStr, AfterValidator(_not_empty), _CredentialMark()]
"""A secret used to log in to the cloud; if it is missing, the call is UNAUTHENTICATED (C44).

If a Secret may contain one of several credentials, such as a password or a token, declare each
as `Credential | None`, and add a validator to one of the fields that requires at least one.
"""


class SecretsModel(BaseModel):
    """Base class for the secrets of a driver, with one field for each key of the Secret.

    Other keys of the Secret are ignored. Declare values as `Credential`, `SecretStr` or
    `SecretBytes`; `repr` never shows the value of any field.
    """

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        """Show the names of the fields, but not the values (C50)."""
        return [(name, "***") for name in type(self).model_fields]


SpecT = TypeVar("SpecT", bound=ClusterScope)
SecretsT = TypeVar("SecretsT", bound=SecretsModel)


def read_spec(kind: type[SpecT], raw: bytes) -> tuple[SpecT | None, list[str]]:
    """Validate the JSON of a provider spec.

    Returns:
        The model, or None and one line for every offending field (C8).
    """
    if not raw or raw.isspace():
        return None, ["providerSpec: is empty; it must be a JSON object"]
    try:
        spec = kind.model_validate_json(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        return None, problems_of("providerSpec", error)
    if not (spec.cluster and spec.role):  # the author's own scope accepted it (C33)
        return None, ["providerSpec: does not say which cluster and role its machines belong to"]
    return spec, []


def located(scope: SpecT, parts: Mapping[str, str]) -> SpecT:
    """Return the scope, with its fields replaced by the provider ID's parts of the same name.

    Raises:
        ValueError: A part is not valid for its field, so the ID is not from this driver.
    """
    known = {name: value for name, value in parts.items() if name in type(scope).model_fields}
    if all(getattr(scope, name) == value for name, value in known.items()):
        return scope
    moved = scope.model_copy(update=known)
    return type(scope).model_validate_json(moved.model_dump_json(by_alias=True))


def read_secrets(
    kind: type[SecretsT], raw: Mapping[str, bytes]
) -> tuple[SecretsT | None, list[str], bool]:
    """Validate the data of a Secret.

    Returns:
        The model or None; one line for every offending key (C48); whether one of these keys is a
        credential (C44).
    """
    problems = [
        f"secrets{_path((key,))}: has a key with other characters than letters, digits, _ . -"
        for key in raw
        if not _is_secret_key(key)
    ]
    try:
        return kind.model_validate(raw, by_alias=True, by_name=False), problems, False
    except ValidationError as error:
        offending = {key for item in _items(error) for key in item["loc"][:1]}
        problems += problems_of("secrets", error, _SECRET_WORDING)
        return None, problems, not offending.isdisjoint(_credential_keys(kind))


def spec_fingerprint(spec: BaseModel, leave_out: Collection[str] = ()) -> str:
    """Return a fingerprint of the spec that a VM is created from, to store with it in a tag.

    It consists of eight lower-case letters and digits for each field. The fingerprint of 32
    fields fits into a tag value of 256 characters.

    Args:
        spec: The provider spec.
        leave_out: The Python names of fields that may change on a VM, or that say where it is;
            for example, the tags and the region.

    Raises:
        ValueError: The spec has more than 32 fields.
    """
    fields = _digests(spec, leave_out)
    if len(fields) > _MAX_FIELDS:
        raise ValueError(f"{type(spec).__name__} has over {_MAX_FIELDS} fields; group some of them")
    return "".join(_key(name) + value for name, value in fields.items())


def spec_differences(fingerprint: str, spec: BaseModel) -> list[str]:
    """Return the fields in which a VM with this fingerprint differs from `spec` (C11).

    A field that only one of the two has, because the driver has changed since, is not a
    difference.
    """
    made_from = {*_TOKEN.findall(fingerprint)}
    known = {key for key, _ in made_from}
    asked = {name: (_key(name), value) for name, value in _digests(spec).items()}
    return [name for name, pair in asked.items() if pair[0] in known and pair not in made_from]


def _digests(spec: BaseModel, leave_out: Collection[str] = ()) -> dict[str, str]:
    """Return the fields, as named in YAML, and digests of their values.

    A field with its default value counts as absent, at every level. So a new version of the
    driver, with another field or another default, still recognises its earlier VMs.
    """
    said = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    names = {
        field.serialization_alias or field.alias or name
        for name, field in type(spec).model_fields.items()
        if name not in leave_out
    }
    return {name: _digest(said.get(name)) for name in sorted(names)}


def problems_of(
    root: str, error: ValidationError, wording: Mapping[str, str] = _WORDING
) -> list[str]:
    """Return a line for every offending field, with its path and without its value.

    If there are very many, return only their number: pydantic lists either all or none, and
    blocks every other thread meanwhile.
    """
    if error.error_count() > _MAX_LISTED:
        return [f"{root}: has {error.error_count()} problems, too many to list"]
    return [f"{root}{_path(item['loc'])}: {_message(item, wording)}" for item in _items(error)]


def summary(problems: list[str]) -> str:
    """Join as many problems as fit into a status message, and say how many are left out."""
    size = 0
    for kept, problem in enumerate(problems):
        size += len(f"{problem}; ".encode(errors="replace"))
        if kept and size > _MAX_PROBLEMS_BYTES:
            return "; ".join(problems[:kept]) + f"; and {len(problems) - kept} more"
    return "; ".join(problems)


def _items(error: ValidationError) -> list[ErrorDetails]:
    # Leave the input out, since it may be secret.
    return error.errors(include_url=False, include_context=False, include_input=False)


def _message(item: ErrorDetails, wording: Mapping[str, str]) -> str:
    message = wording.get(item["type"]) or item["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _key(name: str) -> str:
    return _short(name)[:3]


def _digest(value: object) -> str:
    return _short(json.dumps(value, sort_keys=True))[:5]


def _short(text: str) -> str:
    """Return a digest of letters and digits that every cloud accepts in a tag."""
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()


def _named(tags: Tags, prefix: str) -> list[str]:
    """Return the part after the prefix for each tag that has one."""
    names = tags if isinstance(tags, Mapping) else (tag.partition(":")[0].strip() for tag in tags)
    return [name[len(prefix) :] for name in names if name.startswith(prefix) and name != prefix]


def _only(values: list[str]) -> str:
    return values[0] if len(values) == 1 else ""


def _path(location: tuple[int | str, ...]) -> str:
    """Return the path of a field.

    A name that is too long is left out completely: it may be a secret, and a part of a secret
    can't be found and masked.
    """
    path = ""
    for step in map(_step, location):
        if len(path) + len(step) > _MAX_PATH:
            return f"{path}…"
        path += step
    return path


def _step(part: int | str) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _PLAIN_NAME.fullmatch(part) else f"[{part!r}]"


def _credential_keys(kind: type[SecretsModel]) -> set[object]:
    return {
        field.validation_alias or name
        for name, field in kind.model_fields.items()
        if _is_credential(field.annotation, field.metadata)
    }


def _is_credential(annotation: object, metadata: Iterable[object] = ()) -> bool:
    """Return whether a field is a `Credential`, or a `Credential | None`."""
    marks = [*metadata, *getattr(annotation, "__metadata__", ())]
    return any(isinstance(mark, _CredentialMark) for mark in marks) or any(
        map(_is_credential, get_args(annotation))
    )
