"""Base classes for what an author declares: the provider spec, its scope, and the secrets.

All of them are pydantic models. Field names are snake_case in Python and camelCase in
YAML (`machine_type` is `machineType`), unless a field names its own alias.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, TypeVar

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
_MAX_PATH = 128
_MAX_PROBLEMS_BYTES = MAX_MESSAGE_BYTES - len("; and 1000000 more")
_WORDING = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of it; check the spelling",
}
# A secret is bytes on the wire, so all that can be wrong with its type is the encoding.
_SECRET_WORDING = _WORDING | {
    "string_type": "is not UTF-8 text",
    "string_unicode": "is not UTF-8 text",
}


class SpecModel(BaseModel):
    """Base of everything within a provider spec.

    Types are strict (`"20"` is no integer) and unknown fields are refused, so that a typo
    in a machine class is an error and not a default.
    """

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
    )


class ClusterScope(SpecModel, extra="ignore"):
    """The part of a provider spec by which a cluster's VMs are told from all others.

    Subclass it with what else is needed to find a VM (a region, a project); subclass that
    with everything else and `extra="forbid"`. Status, delete, shut-down and list validate
    the first only, so that a machine class that has become invalid never blocks a deletion.
    """

    tags: dict[str, str] = Field(
        description="On every VM; with kubernetes.io/cluster/<id> and kubernetes.io/role/<role>"
    )

    @field_validator("tags")
    @classmethod
    def _has_scope(cls, tags: dict[str, str]) -> dict[str, str]:
        """Refuse tags that would match the VMs of every cluster (C33)."""
        for prefix, what in ((CLUSTER_TAG, "<id>"), (ROLE_TAG, "<role>")):
            count = len(_scopes(tags, prefix))
            if count != 1:
                raise ValueError(f"needs exactly one tag {prefix}{what}, has {count or 'none'}")
        return tags

    @property
    def cluster(self) -> str:
        """The cluster's ID: what follows `kubernetes.io/cluster/`."""
        return _scopes(self.tags, CLUSTER_TAG)[0]

    @property
    def role(self) -> str:
        """The machines' role: what follows `kubernetes.io/role/`."""
        return _scopes(self.tags, ROLE_TAG)[0]


class _CredentialMark:
    """Marks a field of a `SecretsModel` as a credential."""


def _not_empty(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value():
        raise ValueError("is empty")
    return secret


Credential = Annotated[SecretStr, AfterValidator(_not_empty), _CredentialMark()]
"""A secret that logs in at the cloud; a missing one is UNAUTHENTICATED (C44)."""


class SecretsModel(BaseModel):
    """Base of the secrets that a driver reads: one field for each key of the Kubernetes Secret.

    Other keys of the Secret are ignored. Declare values as `Credential`, `SecretStr` or
    `SecretBytes`; whatever the type, nothing of it is shown by `repr`.
    """

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        """Name the fields, hide the values (C50)."""
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
        return kind.model_validate_json(raw, by_alias=True, by_name=False), []
    except ValidationError as error:
        return None, problems_of("providerSpec", error)


def read_secrets(
    kind: type[SecretsT], raw: Mapping[str, bytes]
) -> tuple[SecretsT | None, list[str], bool]:
    """Validate the data of a Secret.

    Returns:
        The model or None; one line for every offending key (C48); whether a credential is
        among them (C44).
    """
    problems = [
        f"secrets{_step(key)}: has a key that is not of letters, digits, '_', '.' and '-'"
        for key in raw
        if not _is_secret_key(key)
    ]
    try:
        return kind.model_validate(raw, by_alias=True, by_name=False), problems, False
    except ValidationError as error:
        offending = {key for item in _items(error) for key in item["loc"][:1]}
        problems += problems_of("secrets", error, _SECRET_WORDING)
        return None, problems, not offending.isdisjoint(_credential_keys(kind))


def problems_of(
    root: str, error: ValidationError, wording: Mapping[str, str] = _WORDING
) -> list[str]:
    """Return a line for every offending field, with its path and without its value."""
    return [
        f"{root}{''.join(map(_step, item['loc']))}"[:_MAX_PATH] + f": {_message(item, wording)}"
        for item in _items(error)
    ]


def summary(problems: list[str]) -> str:
    """Join as many problems as a status message holds, and say how many are left out."""
    size = 0
    for kept, problem in enumerate(problems):
        size += len(f"{problem}; ".encode(errors="replace"))
        if kept and size > _MAX_PROBLEMS_BYTES:
            return "; ".join(problems[:kept]) + f"; and {len(problems) - kept} more"
    return "; ".join(problems)


def _items(error: ValidationError) -> list[ErrorDetails]:
    # The input is left out, since it may be secret.
    return error.errors(include_url=False, include_context=False, include_input=False)


def _message(item: ErrorDetails, wording: Mapping[str, str]) -> str:
    message = wording.get(item["type"]) or item["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _scopes(tags: Mapping[str, str], prefix: str) -> list[str]:
    return [key[len(prefix) :] for key in tags if key.startswith(prefix) and key != prefix]


def _step(part: int | str) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _PLAIN_NAME.fullmatch(part) else f"[{part!r}]"


def _credential_keys(kind: type[SecretsModel]) -> set[object]:
    return {
        field.validation_alias or name
        for name, field in kind.model_fields.items()
        if any(isinstance(mark, _CredentialMark) for mark in field.metadata)
    }
