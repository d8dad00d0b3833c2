"""HTTP/2 frames, for things that no client library does."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from cmi.endpoint import Endpoint
from tests.support import PATIENCE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream.to_bytes(4, "big") + payload


def settings(**values: int) -> bytes:
    """Return a SETTINGS frame. `window` is the initial window size of each stream."""
    return frame(
        SETTINGS,
        payload=b"".join(
            (4).to_bytes(2, "big") + each.to_bytes(4, "big") for each in values.values()
        ),
    )


def call(stream: int, path: str) -> bytes:
    """Return the beginning of a call: its headers, without a message."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "x",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    block = b"".join(
        b"\x00" + b"".join(bytes([len(text)]) + text.encode() for text in field)
        for field in fields.items()
    )
    return frame(HEADERS, END_HEADERS, stream, block)


def message(stream: int, wire: bytes = b"") -> bytes:
    """Return the message of a call, after which the client sends nothing more."""
    return frame(DATA, END_STREAM, stream, b"\x00" + len(wire).to_bytes(4, "big") + wire)


def reset(stream: int) -> bytes:
    """Return the frame that cancels a call."""
    return frame(RST_STREAM, stream=stream, payload=(8).to_bytes(4, "big"))


@contextmanager
def connection(endpoint: Endpoint, **window: int) -> Iterator[socket.socket]:
    """A connection on which the client's preface and settings have been sent."""
    with socket.create_connection((endpoint.host.strip("[]"), endpoint.port)) as connected:
        connected.sendall(PREFACE + settings(**window))
        yield connected


def received_until(connected: socket.socket, wanted: bytes) -> bytes:
    """Return the bytes received up to these."""
    connected.settimeout(PATIENCE)
    found = b""
    while wanted not in found:
        part = connected.recv(65536)
        assert part, found
        found += part
    return found


def received(connected: socket.socket, seconds: float) -> bytes:
    """Return the bytes received until none come for that long, or the other side closes."""
    found = b""
    try:
        connected.settimeout(seconds)
        while part := connected.recv(65536):
            found += part
    except OSError:  # such as TimeoutError, or because the socket was closed in the meantime
        pass
    return found
