"""EC2's errors, and the code that each of them maps to (C13, C44)."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final, TypeAlias

from botocore import exceptions

from cmi import (
    DriverError,
    ErrorTable,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    Throttled,
    Unauthenticated,
    Unavailable,
)

ErrorKind: TypeAlias = type[DriverError]

CODES: Final[Mapping[str, ErrorKind]] = {
    "AuthFailure": Unauthenticated,
    "SignatureDoesNotMatch": Unauthenticated,
    "UnauthorizedOperation": PermissionDenied,
    "AccessDenied*": PermissionDenied,
    "InternalError": Unavailable,
    "RequestLimitExceeded": Throttled,
    "Server.InternalError": Unavailable,
    "ServiceUnavailable": Unavailable,
    "Client.UserInitiatedShutdown": Unavailable,
    "*Insufficient*Capacity": ResourceExhausted,
    "*LimitExceeded": ResourceExhausted,
    "Unsupported": ResourceExhausted,  # this type in this zone
    "OperationNotPermitted": FailedPrecondition,
    "PendingVerification": FailedPrecondition,
    "Invalid*": InvalidArgument,
}
"""Patterns of EC2's error codes, and what they mean. The first match wins."""


def refusal(code: str, message: str) -> DriverError:
    """Translate EC2's error, or the reason for an instance's state; keep EC2's words."""
    kind = next((CODES[each] for each in CODES if fnmatchcase(code, each)), Internal)
    return kind(f"AWS answers {code}: {message}")


def code_of(error: exceptions.ClientError) -> str:
    """Return EC2's error code."""
    return error.response.get("Error", {}).get("Code", "")


def _from_client_error(error: exceptions.ClientError) -> DriverError:
    return refusal(code_of(error), error.response.get("Error", {}).get("Message", ""))


ERRORS: Final[ErrorTable] = {
    exceptions.ClientError: _from_client_error,
    exceptions.ConnectionError: Unavailable,  # no server answers
    exceptions.HTTPClientError: Unavailable,  # the response was lost or took too long
}
"""What the SDK's exceptions mean to the caller."""
