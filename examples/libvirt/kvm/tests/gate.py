"""libvirt for tests: its own test driver, in this process, behind a gate.

The gate wraps methods of libvirt's Python classes. It makes them fail as each test needs it. It
also adds features that the test driver lacks, according to libvirt's reference as of November 2026:
the content of volumes (`virStorageVolUpload`), and flags of `virDomainUndefineFlags`.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial, wraps
from typing import Any, Final, TypeAlias

import pytest

import libvirt

METHODS: Final[dict[type, tuple[str, ...]]] = {
    libvirt.virConnect: (
        "defineXMLFlags",
        "getAllDomainStats",
        "listAllDomains",
        "listAllStoragePools",
        "lookupByUUIDString",
        "storagePoolLookupByName",
    ),
    libvirt.virDomain: ("create", "destroy", "setAutostart", "setMetadata", "undefineFlags"),
    libvirt.virStoragePool: ("createXML",),
    libvirt.virStorageVol: ("delete", "upload"),
    libvirt.virStream: ("sendAll", "finish"),
}
"""The methods that the gate wraps."""

UNDEFINE: Final = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
)
"""The flags that the test driver supports."""

FOREVER: Final = float("inf")

Forward: TypeAlias = Callable[[], Any]
Fault: TypeAlias = Callable[[str, Forward], Any]
"""Answers a call of a method, given its name and a function that makes the call."""


def error(
    number: int, message: str = "so it is", domain: int = libvirt.VIR_FROM_QEMU, system: int = 0
) -> libvirt.libvirtError:
    """Return an error of libvirt as its Python module raises it."""
    found = libvirt.libvirtError(message)
    found.err = (number, domain, message, 2, None, None, None, system, 0)
    return found


LOST: Final = error(libvirt.VIR_ERR_RPC, "the connection was lost", libvirt.VIR_FROM_RPC)


def untouched(_method: str, forward: Forward) -> Any:
    """Forward a call unchanged."""
    return forward()


def failing(
    trouble: Exception, *methods: str, times: float = FOREVER, is_done: bool = False
) -> Fault:
    """Return a fault that makes some or all methods fail, before or after they are done."""
    left = [times]

    def fault(method: str, forward: Forward) -> Any:
        if (methods and method not in methods) or left[0] <= 0:
            return forward()
        left[0] -= 1
        if is_done:
            forward()
        raise trouble

    return fault


def after(method: str) -> Fault:
    """Return a fault that makes all calls fail once a method was carried out."""
    seen: list[str] = []

    def fault(called: str, forward: Forward) -> Any:
        if method in seen:
            raise LOST
        answer = forward()
        seen.append(called)
        return answer

    return fault


class Gate:
    """Wraps libvirt's methods.

    Attributes:
        calls: The names of the methods called so far, such as `virDomain.create`.
        contents: The contents of volumes, by the volumes' keys.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.contents: dict[str, bytes] = {}
        self._uploads: dict[int, tuple[str, bytes]] = {}
        self._fault: Fault = untouched

    def stand(self, patch: pytest.MonkeyPatch) -> None:
        """Begin to wrap the methods."""
        undefine = libvirt.virDomain.undefineFlags
        lacking = {
            "undefineFlags": lambda domain, flags: undefine(domain, flags & UNDEFINE),
            "upload": self._upload,
            "sendAll": self._send_all,
            "finish": self._finish,
        }
        for kind, names in METHODS.items():
            for name in names:
                method = getattr(kind, name)
                patch.setattr(kind, name, self._guarded(method, lacking.get(name, method)))

    def new_fault(self, make: Callable[[], Fault]) -> AbstractContextManager[threading.Event]:
        """Use a fault that no call has reached yet."""
        return self.fault(make())

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[threading.Event]:
        """Use a fault while the context is open. The event is set once a call was affected."""
        struck = threading.Event()

        def noticed(method: str, forward: Forward) -> Any:
            try:
                return fault(method, forward)
            except Exception:
                struck.set()
                raise

        self._fault = noticed
        try:
            yield struck
        finally:
            self._fault = untouched

    def failing(self, trouble: Exception, *methods: str) -> AbstractContextManager[object]:
        """Let these methods fail while the context is open."""
        return self.fault(failing(trouble, *methods))

    @contextmanager
    def holding(self, *methods: str, times: float = FOREVER) -> Iterator[threading.Event]:
        """Hold that many calls of some or all methods. The event is set once a call waits."""
        release, waits = threading.Event(), threading.Event()
        left = [times]

        def fault(method: str, forward: Forward) -> Any:
            if (not methods or method in methods) and left[0] > 0:
                left[0] -= 1
                waits.set()
                release.wait()
            return forward()

        self._fault = fault
        try:
            yield waits
        finally:
            self._fault = untouched
            release.set()

    def _guarded(self, method: Any, answer: Callable[..., Any]) -> Callable[..., Any]:
        name: str = method.__qualname__

        @wraps(method)
        def guarded(*arguments: Any) -> Any:
            self.calls.append(name)
            return self._fault(name, partial(answer, *arguments))

        return guarded

    def _upload(self, volume: libvirt.virStorageVol, stream: object, *_: int) -> None:
        self._uploads[id(stream)] = volume.key(), b""

    def _send_all(self, stream: Any, handler: Any, source: Any) -> None:
        key, _ = self._uploads[id(stream)]
        content = b"".join(iter(lambda: handler(stream, 1000, source), b""))
        self._uploads[id(stream)] = key, content

    def _finish(self, stream: object) -> None:
        key, content = self._uploads.pop(id(stream))
        self.contents[key] = content
