"""Groups of calls that do something together.

Calls of one server form a group if they do the same with the same session class, scope and
credentials. So a call that gets what another call has read could have read it itself.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Protocol, TypeVar, get_args, get_origin

from cmi.contract import USER_DATA_KEY
from cmi.seam import Session
from cmi.spec import ClusterScope, SecretsModel
from cmi.waiting import current_call

lock: Final = threading.Lock()
"""Held briefly to change a group, never during a request to the cloud."""


class Request(Protocol):
    """A request of any RPC that concerns VMs."""

    @property
    def provider_spec(self) -> Any:
        """The spec or the scope."""

    @property
    def secrets(self) -> Any:
        """The credentials."""


class Group(Protocol):
    """A group.

    Attributes:
        members: The number of calls in it.
    """

    members: int


G = TypeVar("G", bound=Group)


@dataclass(frozen=True)
class _Key:
    """What calls must have in common to form a group.

    The fields are compared directly, because a digest of secrets would have to serialise every
    type that an author may use.
    """

    session: type
    what: str
    cluster: str
    scope: Mapping[str, Any] = field(hash=False)
    credentials: Mapping[str, Any] = field(hash=False, repr=False)


@contextmanager
def joined(
    session: Session[Any, Any, Any, Any],
    request: Request,
    what: str,
    new: Callable[[], G],
    *,
    is_shared: bool = True,
) -> Iterator[G]:
    """Let the current call join a group while the context is open.

    The last call that leaves a group removes it.

    Args:
        session: The call's session.
        request: The call's request.
        what: What the members of the group do.
        new: Makes a group, if there is none yet.
        is_shared: Whether other calls may join the group.
    """
    call = current_call.get()
    groups = call.groups if call and is_shared else {}
    scope: ClusterScope = request.provider_spec
    fields = scope_fields(type(session), scope)
    key = _Key(type(session), what, scope.cluster, fields, _credentials(request.secrets))
    with lock:
        group: G = groups.setdefault(key, new())
        group.members += 1
    try:
        yield group
    finally:
        with lock:
            group.members -= 1
            if not group.members:
                del groups[key]


@cache
def _scope_type(session: type) -> type[ClusterScope] | None:
    """Return the scope in `Session[…]` among the bases of a class, if there is one."""
    for cls in session.__mro__:
        for base in cls.__dict__.get("__orig_bases__", ()):
            scope = get_args(base)[0] if get_origin(base) is Session else None
            if isinstance(scope, type) and issubclass(scope, ClusterScope):
                return scope
    return None


def scope_fields(session: type, spec: ClusterScope) -> dict[str, Any]:
    """Return the fields of a spec by which the session finds VMs; all fields if it does not say.

    They are copies, because an author's method may change the spec during its call.
    """
    scope = _scope_type(session) or type(spec)
    fields = {name: getattr(spec, name) for name in scope.model_fields} | (spec.model_extra or {})
    return deepcopy(fields)


def _credentials(secrets: SecretsModel) -> dict[str, Any]:
    """Return copies of all secrets except the user data, which differs from machine to machine."""
    return deepcopy(
        {
            name: getattr(secrets, name)
            for name, field in type(secrets).model_fields.items()
            if (field.validation_alias or name) != USER_DATA_KEY
        }
    )
