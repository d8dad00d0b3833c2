"""What goes wrong with EC2, and what it means to the caller (C13, C44).

The codes are those of EC2's API reference, "Error codes for the Amazon EC2 API"; those of
`StateReason` in its DescribeInstances, which begin with `Client.` or `Server.`; and those of STS,
which hands out keys for a web identity.
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
    # Who is calling
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
    # What passes
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
    # What the machine class asks for and no zone has; these sound like quotas
    "AttachmentLimitExceeded": InvalidArgument,  # of one instance
    "*IpAddressLimitExceeded": InvalidArgument,  # of one network interface
    "LimitPriceExceeded": InvalidArgument,
    "*ResourceCountExceeded": InvalidArgument,  # of one request
    "SecurityGroup*LimitExceeded": InvalidArgument,  # of one instance or network interface
    "TagLimitExceeded": InvalidArgument,
    "VolumeIOPSLimit": InvalidArgument,  # of one volume
    "FilterLimitExceeded": Internal,  # the filters are the driver's
    # What another zone or type may have, or a quota. Gardener's autoscaler tries another group
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
    # What something has to become first
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
    # What the machine class says, or whatever else a user can mend
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
"""Patterns of EC2's codes, and what they mean. The first one that matches wins."""


def refusal(code: str, message: str) -> DriverError:
    """Return what an error, or the reason of a state, means: in EC2's words."""
    plain = code if code in CODES else code.removeprefix("Client.").removeprefix("Server.")
    kind = next((CODES[each] for each in CODES if fnmatchcase(plain, each)), Internal)
    text, _, _ = message.partition("Encoded authorization failure message")
    return kind(f"AWS answers {code or 'without a code'}: {text.removeprefix(f'{code}: ')}")


def code_of(error: exceptions.ClientError) -> str:
    """Return EC2's code."""
    return error.response.get("Error", {}).get("Code", "")


def check_answer(parsed: Mapping[str, Any], **_: object) -> None:
    """Refuse an answer that is not EC2's: those of EC2 have a request ID, or an error's code.

    Raises:
        Unavailable: A proxy, a load balancer or a captive portal answered.
    """
    metadata = parsed.get("ResponseMetadata", {})
    code = parsed.get("Error", {}).get("Code", "")
    if not metadata.get("RequestId") and not code[:1].isalpha():
        status = metadata.get("HTTPStatusCode")
        raise Unavailable(f"something else answered in EC2's place (HTTP status {status})")


def _of_ec2(error: exceptions.ClientError) -> DriverError:
    return refusal(code_of(error), error.response.get("Error", {}).get("Message", ""))


ERRORS: Final[ErrorTable] = {
    exceptions.ClientError: _of_ec2,
    exceptions.ConnectionError: Unavailable,  # nobody answers there
    exceptions.HTTPClientError: Unavailable,  # the answer got lost, or took too long
    parsers.ResponseParserError: Unavailable,  # a proxy answered, or the answer is cut off
}
"""What the SDK's errors mean to the caller."""
