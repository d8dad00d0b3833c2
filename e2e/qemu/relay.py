"""A relay in front of libvirtd's socket, which interrupts a chosen call."""

import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple, Self


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


class Kind(IntEnum):
    """Kinds of messages, by the numbers in libvirt's `virnetprotocol.x`."""

    CALL = 0
    REPLY = 1
    STREAM = 3


class Message(NamedTuple):
    """A message to wait for.

    Attributes:
        procedure: The procedure that it belongs to.
        kind: Its kind.
        number: Which message of this kind it is, from 1.
    """

    procedure: Procedure
    kind: Kind
    number: int = 1


_PROGRAM: Final = 0x20008086
"""The program with the procedures; another one keeps connections alive."""

_HEADER: Final = struct.Struct(">IIIiiIi")
"""Of each message: length, program, version, procedure, kind, serial number, status."""

_OK: Final = 0


class _Interruption:
    def __init__(self, message: Message, action: Callable[[], None], *, passes_on: bool) -> None:
        self.message = message
        self.action = action
        self.passes_on = passes_on
        self.left = message.number
        self.happened = threading.Event()


class Relay:
    """Passes messages on, and calls a function at one of them.

    Args:
        path: Where it listens.
        target: Where libvirtd does.
    """

    def __init__(self, path: Path, target: Path) -> None:
        self.path = path
        self._target = target
        self._interruption: _Interruption | None = None

    @contextmanager
    def interruption(
        self, message: Message, action: Callable[[], None], *, passes_on: bool
    ) -> Iterator[threading.Event]:
        """Act once at a message, at most while the context is open; then end the connection.

        Args:
            message: Which one.
            action: What to do.
            passes_on: Whether to pass the message on first.

        Yields:
            An event that is set once the action is over.
        """
        interruption = _Interruption(message, action, passes_on=passes_on)
        self._interruption = interruption
        try:
            yield interruption.happened
        finally:
            self._interruption = None

    def __enter__(self) -> Self:
        relay = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                relay.pass_on(self.request)

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

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
            with suppress(OSError):  # it is dead
                libvirtd.connect(str(self._target))
            answers = threading.Thread(target=self._pass, args=(libvirtd, driver), daemon=True)
            answers.start()
            self._pass(driver, libvirtd)
            answers.join()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while message := _read_message(source):
                interruption = self._interruption_at(message)
                if interruption is None or interruption.passes_on:
                    target.sendall(message)
                if interruption:
                    interruption.action()
                    interruption.happened.set()
                    break
        except OSError:
            pass  # it is gone
        finally:
            for each in (source, target):
                with suppress(OSError):  # the other direction has done it
                    each.shutdown(socket.SHUT_RDWR)

    def _interruption_at(self, message: bytes) -> _Interruption | None:
        interruption = self._interruption
        if interruption is None:
            return None
        _, program, _, procedure, kind, _, status = _HEADER.unpack_from(message)
        wanted, wanted_kind, _ = interruption.message
        if (program, procedure, kind) != (_PROGRAM, wanted, wanted_kind):
            return None
        if kind == Kind.REPLY and status != _OK:
            return None
        interruption.left -= 1
        if interruption.left:
            return None
        self._interruption = None
        return interruption


def _read_message(source: socket.socket) -> bytes:
    """Read a message; nothing at the end."""
    start = _read(source, 4)
    rest = _read(source, int.from_bytes(start) - len(start)) if start else b""
    return start + rest if rest else b""


def _read(source: socket.socket, size: int) -> bytes:
    """Read so many bytes; nothing at the end."""
    data = bytearray()
    while len(data) < size:
        part = source.recv(size - len(data))
        if not part:
            return b""
        data += part
    return bytes(data)
