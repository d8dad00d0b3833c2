"""The errors that a driver's methods raise, one class for each status code of the contract.

A method raises one of these errors, or an exception of the SDK that is listed in
`Driver.errors`. The caller of any other exception gets INTERNAL with a generic message (C45).

The message of an error is public: MCM copies it into `Machine.status`. It should say in one
line what is wrong and what to do, and must not contain a secret.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

import grpc

MAX_MESSAGE_BYTES = 1024
"""Longer messages are cut: beyond 8 KiB, a client may see RESOURCE_EXHAUSTED instead of the code.
"""


class StartupError(Exception):
    """The driver can't start as configured. The process prints this one line and exits with 1."""


class DriverError(Exception):
    """A call failed for a reason that has a code in the contract. Raise a subclass.

    Args:
        message: One line for people, without secrets. The framework collapses whitespace in it;
            if it is empty, the class's `default_message` takes its place (C42).
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN
    default_message: ClassVar[str] = "the driver failed and gave no reason; see its log"

    def __init__(self, message: str = "") -> None:
        super().__init__(message)

    @property
    def message(self) -> str:
        """The error's message, or the default; neither masked nor cut."""
        return _text(self).strip() or self.default_message


class InvalidArgument(DriverError):
    """The request is wrong, whatever the state of the cloud; only the user can fix it (C8)."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    default_message = "the request is invalid; check the machine class"


class NotFound(DriverError):
    """There is no such machine (C24, C35). Never raised by delete_machine (C17)."""

    code = grpc.StatusCode.NOT_FOUND
    default_message = "the machine does not exist"


class AlreadyExists(DriverError):
    """The name is taken by a VM that differs from the one asked for (C11)."""

    code = grpc.StatusCode.ALREADY_EXISTS
    default_message = "a different machine of this name exists; choose another name"


class PermissionDenied(DriverError):
    """The credentials are valid but not allowed to do this (C44)."""

    code = grpc.StatusCode.PERMISSION_DENIED
    default_message = "the credentials do not permit this; ask for the missing permission"


class Unauthenticated(DriverError):
    """The credentials are missing, unknown or expired (C44)."""

    code = grpc.StatusCode.UNAUTHENTICATED
    default_message = "the credentials are missing or invalid; check the secret"


class ResourceExhausted(DriverError):
    """A quota is used up (C13). MCM tries again after ten minutes."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    default_message = "a quota is used up; raise it or delete machines"


class OutOfRange(DriverError):
    """The provider does not offer this size (C13), or several VMs match one machine (C25)."""

    code = grpc.StatusCode.OUT_OF_RANGE
    default_message = "a value is outside the range that the provider offers"


class FailedPrecondition(DriverError):
    """The state of the VM, or of a dependency of the driver, does not allow the call (C6, C13)."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    default_message = "the machine's state does not allow this now"


class Aborted(DriverError):
    """Another call for the same machine is in flight (C57). MCM tries again soon."""

    code = grpc.StatusCode.ABORTED
    default_message = "another call for this machine is in progress; try again"


class Unavailable(DriverError):
    """A temporary problem: throttling, a lost connection, a restart (C13). MCM retries soon."""

    code = grpc.StatusCode.UNAVAILABLE
    default_message = "the provider is temporarily unavailable; try again"


class Throttled(Unavailable):
    """The cloud received too many requests, and refused this one without starting it.

    The framework therefore repeats the request after a pause. MCM gets an error only if the
    machine call takes too long. If the SDK repeats requests itself, an earlier one may have got
    through, so the framework looks for the VM before it repeats `create_vm`.
    """

    default_message = "the provider throttles requests; try again"


class DeadlineExceeded(DriverError):
    """The call took too long. It is safe to repeat (C15)."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    default_message = "the call took too long; try again"


class Unimplemented(DriverError):
    """This driver does not have this RPC (C5)."""

    code = grpc.StatusCode.UNIMPLEMENTED
    default_message = "this driver does not implement the call"


class Internal(DriverError):
    """An invariant is broken (C13, C45): a bug in the driver, not a mistake in the request."""

    code = grpc.StatusCode.INTERNAL
    default_message = "internal error in the driver; see its log"


ErrorTable: TypeAlias = Mapping[
    type[Exception], type[DriverError] | Callable[[Any], DriverError | None]
]
"""Maps the SDK's exception classes to ours. The most derived class that matches wins.

If an SDK has one class for many errors, with a code that tells them apart, use a function in
place of the class. It gets the exception, and returns an error with its own message, or None for
an unexpected error.
"""


def translate(error: Exception, table: ErrorTable) -> DriverError | None:
    """Return `error` as one of ours, or None if the table has no entry for it."""
    if isinstance(error, DriverError):
        return error
    for kind in type(error).__mro__:
        if kind in table:
            meaning = table[kind]
            return meaning(_text(error)) if isinstance(meaning, type) else _call(meaning, error)
    return None


def _call(function: Callable[[Any], DriverError | None], error: Exception) -> DriverError | None:
    try:
        return function(error)
    except Exception:  # noqa: BLE001 - the author's function failed, so `error` is unexpected
        return None


def _text(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an SDK's error can't be printed, but its code is still used
        return ""


def public_message(text: str) -> str:
    """Return `text` on one line and within `MAX_MESSAGE_BYTES` of UTF-8."""
    line = " ".join(text.split())
    encoded = line.encode(errors="replace")
    if len(encoded) <= MAX_MESSAGE_BYTES:
        return encoded.decode()
    return encoded[: MAX_MESSAGE_BYTES - 3].decode(errors="ignore") + "…"
