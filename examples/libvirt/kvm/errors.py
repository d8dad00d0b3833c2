"""libvirt's errors, and the code that each of them maps to (C13, C44).

An error has a number, which says what is wrong, and a domain, which says where it was found. For
errors of the operating system, there is its `errno` too. The numbers are `virErrorNumber` of
libvirt's reference, in libvirt-virterror.html.
"""

import errno
from collections.abc import Mapping
from typing import Final, TypeAlias

import libvirt
from cmi import (
    DriverError,
    ErrorTable,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)

ErrorKind: TypeAlias = type[DriverError]

NUMBERS: Final[Mapping[int, ErrorKind]] = {
    # Identity and permissions
    libvirt.VIR_ERR_AUTH_FAILED: Unauthenticated,
    libvirt.VIR_ERR_AUTH_CANCELLED: Unauthenticated,  # the Secret has no username or password
    libvirt.VIR_ERR_AUTH_UNAVAILABLE: Unauthenticated,
    libvirt.VIR_ERR_ACCESS_DENIED: PermissionDenied,
    libvirt.VIR_ERR_OPERATION_DENIED: PermissionDenied,
    # The host, or the way to it
    libvirt.VIR_ERR_GNUTLS_ERROR: Unavailable,
    libvirt.VIR_ERR_INVALID_CONN: Unavailable,
    libvirt.VIR_ERR_LIBSSH: Unavailable,
    libvirt.VIR_ERR_NO_CONNECT: Unavailable,
    libvirt.VIR_ERR_OPERATION_ABORTED: Unavailable,
    libvirt.VIR_ERR_OPERATION_TIMEOUT: Unavailable,  # another action holds the domain
    libvirt.VIR_ERR_RESOURCE_BUSY: Unavailable,
    libvirt.VIR_ERR_RPC: Unavailable,
    libvirt.VIR_ERR_SSH: Unavailable,
    libvirt.VIR_ERR_STORAGE_VOL_EXIST: Unavailable,  # an earlier call is still writing it
    # What the host has no room for
    libvirt.VIR_ERR_NO_MEMORY: ResourceExhausted,
    # Something has to change its state first
    libvirt.VIR_ERR_OPERATION_INVALID: FailedPrecondition,
    # Mistakes in the machine class
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: InvalidArgument,
    libvirt.VIR_ERR_CPU_INCOMPATIBLE: InvalidArgument,
    libvirt.VIR_ERR_NO_NETWORK: InvalidArgument,
    libvirt.VIR_ERR_NO_STORAGE_POOL: InvalidArgument,
    libvirt.VIR_ERR_NO_STORAGE_VOL: InvalidArgument,
    libvirt.VIR_ERR_XML_ERROR: InvalidArgument,
    libvirt.VIR_ERR_XML_INVALID_SCHEMA: InvalidArgument,
}
"""libvirt's numbers, and what they mean. Others, such as NO_SUPPORT, are a bug of the driver."""

SYSTEM: Final[Mapping[tuple[int, int], ErrorKind]] = {
    (libvirt.VIR_FROM_STORAGE, errno.ENOSPC): ResourceExhausted,
    (libvirt.VIR_FROM_STORAGE, errno.EDQUOT): ResourceExhausted,
    (libvirt.VIR_FROM_STORAGE, errno.ENAMETOOLONG): InvalidArgument,
    (libvirt.VIR_FROM_NONE, errno.ENODEV): InvalidArgument,  # a bridge that the host does not have
    (libvirt.VIR_FROM_QEMU, errno.ENOMEM): ResourceExhausted,
}
"""What VIR_ERR_SYSTEM_ERROR means, by domain and `errno`. From VIR_FROM_RPC, it is the network."""

TEXTS: Final[Mapping[str, ErrorKind]] = {
    "No space left on device": ResourceExhausted,  # said by qemu-img
    "Not enough free space": ResourceExhausted,
    "Cannot allocate memory": ResourceExhausted,  # said by QEMU at its start
    "client socket is closed": Unavailable,
    "cannot set up guest memory": ResourceExhausted,
}
"""Words in VIR_ERR_INTERNAL_ERROR and VIR_ERR_OPERATION_FAILED, which pass on what programs say."""


def meaning(error: libvirt.libvirtError) -> DriverError:
    """Translate an error; keep libvirt's words."""
    text = error.get_error_message() or str(error)
    return _kind(error, text)(f"libvirt answers: {text}")


def _kind(error: libvirt.libvirtError, text: str) -> ErrorKind:
    number, domain = error.get_error_code(), error.get_error_domain()
    if number == libvirt.VIR_ERR_SYSTEM_ERROR:
        if domain == libvirt.VIR_FROM_RPC:
            return Unavailable
        return SYSTEM.get((domain or 0, error.get_int1() or 0), Internal)
    if number in (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_OPERATION_FAILED):
        if domain in (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE):
            return Unavailable
        return next((TEXTS[words] for words in TEXTS if words in text), Internal)
    return NUMBERS.get(number or 0, Internal)


def has_number(error: libvirt.libvirtError, *numbers: int) -> bool:
    """Tell whether an error has one of these numbers."""
    return error.get_error_code() in numbers


ERRORS: Final[ErrorTable] = {libvirt.libvirtError: meaning}
"""What the library's exceptions mean to the caller."""
