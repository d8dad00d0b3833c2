"""What goes wrong with EC2, and what it means to the caller (C13, C44)."""

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
    "Client.UserInitiatedShutdown": Unavailable,
    "*Insufficient*Capacity": ResourceExhausted,
    "*LimitExceeded": ResourceExhausted,
    "Unsupported": ResourceExhausted,  # this type in this zone
    "OperationNotPermitted": FailedPrecondition,
    "PendingVerification": FailedPrecondition,
    "Invalid*": InvalidArgument,
}
"""Patterns of EC2's codes, and what they mean. The first one that matches wins."""


def refusal(code: str, message: str) -> DriverError:
    """Return what an error, or the reason of a state, means: in EC2's words."""
    kind = next((CODES[each] for each in CODES if fnmatchcase(code, each)), Internal)
    return kind(f"AWS answers {code}: {message}")


def code_of(error: exceptions.ClientError) -> str:
    """Return EC2's code."""
    return error.response.get("Error", {}).get("Code", "")


def _of_ec2(error: exceptions.ClientError) -> DriverError:
    return refusal(code_of(error), error.response.get("Error", {}).get("Message", ""))


ERRORS: Final[ErrorTable] = {
    exceptions.ClientError: _of_ec2,
    exceptions.ConnectionError: Unavailable,  # nobody answers there
    exceptions.HTTPClientError: Unavailable,  # the answer got lost, or took too long
}
"""What the SDK's errors mean to the caller."""
