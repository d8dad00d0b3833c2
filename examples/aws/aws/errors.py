"""EC2's errors, and the code that each of them maps to (C13, C44).

The table covers the codes in EC2's API reference, "Error codes for the Amazon EC2 API"; the codes
of `StateReason` in DescribeInstances, which begin with `Client.` or `Server.`; and the codes of
STS, which issues keys for a web identity.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, TypeAlias

from botocore import exceptions, parsers

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
    # Identity and permissions
    "AuthFailure": Unauthenticated,
    "ExpiredToken*": Unauthenticated,
    "IncompleteSignature*": Unauthenticated,
    "IDPRejectedClaim": Unauthenticated,
    "InvalidClientTokenId": Unauthenticated,
    "InvalidIdentityToken": Unauthenticated,
    "InvalidSecurity.RequestHasExpired": Unauthenticated,
    "InvalidSignature*": Unauthenticated,
    "MissingAuthenticationToken*": Unauthenticated,
    "RequestExpired": Unauthenticated,
    "SignatureDoesNotMatch": Unauthenticated,
    "UnrecognizedClient*": Unauthenticated,
    "*AccessDenied*": PermissionDenied,
    "AccountDisabled": PermissionDenied,
    "Blocked": PermissionDenied,
    "Inaccessible*": PermissionDenied,
    "LogDestinationPermissionIssue": PermissionDenied,
    "OptInRequired": PermissionDenied,
    "UnauthorizedOperation": PermissionDenied,
    # Temporary problems
    "Client.InternalError": FailedPrecondition,  # at launch: a key or snapshot that can't be used
    "*InternalError": Unavailable,
    "*InternalFailure": Unavailable,
    "*Shutdown": Unavailable,  # somebody was faster than the machine's start
    "*Hibernate": Unavailable,
    "*Stop": Unavailable,
    "*Terminated": Unavailable,
    "*Termination": Unavailable,
    "*Throttl*": Throttled,
    "*InProgress": Unavailable,
    "*RateExceeded": Throttled,
    "ConcurrentTagAccess": Unavailable,
    "IDPCommunicationError": Unavailable,
    "InvalidInstanceID.NotFound": Unavailable,  # it was just listed, so it is only too new
    "InvalidNextToken": Unavailable,  # it expired between two pages
    "InvalidPaginationToken": Unavailable,
    "RequestLimitExceeded": Throttled,
    "RetryableError": Unavailable,
    "ServerInternal": Unavailable,
    "ServiceUnavailable": Unavailable,
    "Unavailable": Unavailable,
    # Limits that no zone lifts; these sound like quotas
    "AttachmentLimitExceeded": InvalidArgument,  # of one instance
    "*IpAddressLimitExceeded": InvalidArgument,  # of one network interface
    "LimitPriceExceeded": InvalidArgument,
    "*ResourceCountExceeded": InvalidArgument,  # of one request
    "SecurityGroup*LimitExceeded": InvalidArgument,  # of one instance or network interface
    "TagLimitExceeded": InvalidArgument,
    "VolumeIOPSLimit": InvalidArgument,  # of one volume
    "FilterLimitExceeded": Internal,  # the filters are the driver's
    # Quotas, or capacity that another zone or type may have: the autoscaler tries another group
    "InvalidCapacityReservationState.PendingActivation": ResourceExhausted,
    "*HostRequirements": ResourceExhausted,
    "*Insufficient*": ResourceExhausted,
    "*CapacityExceeded": ResourceExhausted,
    "*CountExceeded": ResourceExhausted,
    "*LimitExceeded*": ResourceExhausted,
    "*NotAvailable*": ResourceExhausted,
    "ReservedInstancesUnavailable": ResourceExhausted,
    "ScheduledInstanceSlot*": ResourceExhausted,
    "SpotMaxPriceTooLow": ResourceExhausted,  # prices differ from zone to zone
    "UnfulfillableCapacity": ResourceExhausted,
    "Unsupported": ResourceExhausted,  # this type in this zone
    # Something has to change its state first
    "*InUse*": FailedPrecondition,
    "*InvalidState": FailedPrecondition,
    "*Unavailable": FailedPrecondition,  # an image that was deregistered
    "Incorrect*State*": FailedPrecondition,
    "Invalid*State": FailedPrecondition,
    "Invalid*Locked": FailedPrecondition,
    "InvalidStateTransition": FailedPrecondition,
    "Cannot*": FailedPrecondition,
    "CustomerKeyHasBeenRevoked": FailedPrecondition,
    "DependencyViolation": FailedPrecondition,
    "Existing*": FailedPrecondition,
    "Default*": FailedPrecondition,
    "FleetNotInModifiableState": FailedPrecondition,
    "LegacySecurityGroup": FailedPrecondition,
    "OperationNotPermitted": FailedPrecondition,  # protected against termination, for example
    "PendingVerification": FailedPrecondition,
    "RegionDisabledException": FailedPrecondition,  # for STS, in this account
    "Resource.AlreadyAss*": FailedPrecondition,
    "UnsupportedOperation": FailedPrecondition,
    # Mistakes in the machine class, or anything else that a user can fix
    "*Malformed*": InvalidArgument,
    "*Mismatched": InvalidArgument,
    "*NotFound*": InvalidArgument,
    "*NotSpecified": InvalidArgument,
    "*NotSupported*": InvalidArgument,
    "*Unsupported": InvalidArgument,
    "Invalid*": InvalidArgument,
    "ClientInvalidParameterValue": InvalidArgument,
    "Missing*": InvalidArgument,
    "TagPolicyViolation": InvalidArgument,
    "Unknown*": InvalidArgument,
    "Unsupported*": InvalidArgument,
    "ValidationError": InvalidArgument,
}
"""Patterns of EC2's error codes, and what they mean. The first match wins."""


def refusal(code: str, message: str) -> DriverError:
    """Translate EC2's error, or the reason for an instance's state; keep EC2's words."""
    plain = code if code in CODES else code.removeprefix("Client.").removeprefix("Server.")
    kind = next((CODES[each] for each in CODES if fnmatchcase(plain, each)), Internal)
    text, _, _ = message.partition("Encoded authorization failure message")
    return kind(f"AWS answers {code or 'without a code'}: {text.removeprefix(f'{code}: ')}")


def code_of(error: exceptions.ClientError) -> str:
    """Return EC2's error code."""
    return error.response.get("Error", {}).get("Code", "")


def check_answer(parsed: Mapping[str, Any], **_: object) -> None:
    """Refuse an answer that does not come from EC2, whose answers have a request ID or error code.

    Raises:
        Unavailable: A proxy, a load balancer or a captive portal answered.
    """
    metadata = parsed.get("ResponseMetadata", {})
    code = parsed.get("Error", {}).get("Code", "")
    if not metadata.get("RequestId") and not code[:1].isalpha():
        status = metadata.get("HTTPStatusCode")
        raise Unavailable(f"something else answered in EC2's place (HTTP status {status})")


def _from_client_error(error: exceptions.ClientError) -> DriverError:
    return refusal(code_of(error), error.response.get("Error", {}).get("Message", ""))


ERRORS: Final[ErrorTable] = {
    exceptions.ClientError: _from_client_error,
    exceptions.ConnectionError: Unavailable,  # no server answers
    exceptions.HTTPClientError: Unavailable,  # the response was lost or took too long
    parsers.ResponseParserError: Unavailable,  # a proxy answered, or the response is cut off
}
"""What the SDK's exceptions mean to the caller."""
