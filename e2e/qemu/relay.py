"""A socket in front of libvirtd's, which tells when a driver calls a procedure."""

import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Final, Self


class Procedure(IntEnum):
    """Procedures of libvirt's protocol, by the numbers in its `remote_protocol.x`."""

    DOMAIN_CREATE = 9
    DOMAIN_DESTROY = 12
    STORAGE_VOL_CREATE_XML = 93
    STORAGE_VOL_DELETE = 94
    STORAGE_VOL_UPLOAD = 208
    DOMAIN_UNDEFINE_FLAGS = 231
    DOMAIN_SET_METADATA = 264
    DOMAIN_DEFINE_XML_FLAGS = 350


_HEADER: Final = struct.Struct(">IIIiiIi")
"""Of each message: length, program, version, procedure, type, serial number, status."""

_CALL, _REPLY = 0, 1


class Relay:
    """Passes messages on, and calls a function at one of them, which is not passed on.

    Args:
        path: Where it listens.
        target: Where libvirtd does.
    """

    def __init__(self, path: Path, target: Path) -> None:
        self.path = path
        self._target = target
        self._interruption: tuple[int, int, Callable[[], None]] | None = None
        self._count = 0
        self.struck = threading.Event()

    def interrupt(
        self, procedure: Procedure, action: Callable[[], None], *, number: int = 1, done: bool
    ) -> None:
        """Act once at a call of a procedure.

        Args:
            procedure: Which one.
            action: What to do.
            number: Which of its calls, from 1.
            done: Whether libvirtd has done it, so that only its answer is lost.
        """
        self.struck.clear()
        self._count = number
        self._interruption = (procedure, _REPLY if done else _CALL, action)

    def __enter__(self) -> Self:
        relay = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                relay.pass_on(self.request)

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Say nothing: libvirtd or the driver has ended."""

        self._server = Server(str(self.path), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="relay")
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def pass_on(self, driver: socket.socket) -> None:
        """Pass on what a driver and libvirtd say, until one of them is gone."""
        with socket.socket(socket.AF_UNIX) as libvirtd:
            libvirtd.connect(str(self._target))
            answers = threading.Thread(target=self._pass, args=(libvirtd, driver), daemon=True)
            answers.start()
            self._pass(driver, libvirtd)
            answers.join()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while message := _message(source):
                if self._acts(message):
                    break
                target.sendall(message)
        except OSError:
            pass  # it is gone
        finally:
            for each in (source, target):
                with suppress(OSError):  # the other direction has done it
                    each.shutdown(socket.SHUT_RDWR)

    def _acts(self, message: bytes) -> bool:
        if self._interruption is None:
            return False
        _, _, _, procedure, kind, _, _ = _HEADER.unpack_from(message)
        wanted, wanted_kind, action = self._interruption
        if (procedure, kind) != (wanted, wanted_kind):
            return False
        self._count -= 1
        if self._count:
            return False
        self._interruption = None
        action()
        self.struck.set()
        return True


def _message(source: socket.socket) -> bytes:
    """Read a message; nothing at the end."""
    start = _read(source, 4)
    return start + _read(source, int.from_bytes(start) - 4) if start else b""


def _read(source: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = source.recv(size - len(data))
        if not part:
            return b""
        data += part
    return bytes(data)
