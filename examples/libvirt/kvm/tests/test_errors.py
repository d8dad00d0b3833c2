"""The meaning of libvirt's errors. The texts are from libvirt 9.0 with QEMU 7.2."""

import errno

import pytest

import libvirt

from ..errors import meaning
from .gate import error

QEMU, STORAGE, RPC = libvirt.VIR_FROM_QEMU, libvirt.VIR_FROM_STORAGE, libvirt.VIR_FROM_RPC
SYSTEM, INTERNAL = libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_INTERNAL_ERROR


@pytest.mark.parametrize(
    ("number", "domain", "system", "text", "code"),
    [
        (SYSTEM, RPC, 111, "unable to connect to server", "UNAVAILABLE"),
        (SYSTEM, RPC, 2, "Failed to connect socket", "UNAVAILABLE"),
        (SYSTEM, RPC, -1, "Unable to resolve address", "UNAVAILABLE"),
        (INTERNAL, RPC, 0, "client socket is closed", "UNAVAILABLE"),
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, QEMU, 0, "cannot acquire the lock", "UNAVAILABLE"),
        (libvirt.VIR_ERR_STORAGE_VOL_EXIST, STORAGE, -1, "exists already", "UNAVAILABLE"),
        (libvirt.VIR_ERR_AUTH_FAILED, RPC, 0, "authentication failed", "UNAUTHENTICATED"),
        (libvirt.VIR_ERR_ACCESS_DENIED, QEMU, 0, "access denied", "PERMISSION_DENIED"),
        (SYSTEM, STORAGE, errno.ENOSPC, "cannot allocate bytes", "RESOURCE_EXHAUSTED"),
        (INTERNAL, STORAGE, 0, "qemu-img: No space left on device", "RESOURCE_EXHAUSTED"),
        (INTERNAL, QEMU, 0, "qemu: Cannot allocate memory", "RESOURCE_EXHAUSTED"),
        (SYSTEM, STORAGE, errno.ENAMETOOLONG, "File name too long", "INVALID_ARGUMENT"),
        (SYSTEM, 0, errno.ENODEV, "Cannot get interface MTU on 'br9'", "INVALID_ARGUMENT"),
        (libvirt.VIR_ERR_CONFIG_UNSUPPORTED, QEMU, -1, "CPU mode", "INVALID_ARGUMENT"),
        (libvirt.VIR_ERR_OPERATION_INVALID, QEMU, -1, "not running", "FAILED_PRECONDITION"),
        (SYSTEM, STORAGE, errno.EIO, "Input/output error", "INTERNAL"),
        (INTERNAL, QEMU, 0, "something new", "INTERNAL"),
        (libvirt.VIR_ERR_NO_SUPPORT, QEMU, 0, "not supported by the driver", "INTERNAL"),
    ],
)
def test_the_code(number: int, domain: int, system: int, text: str, code: str) -> None:
    found = meaning(error(number, text, domain, system))
    assert found.code.name == code
    assert text in found.message
