"""Listening on an endpoint: only where nobody else does, and with errors that say why."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import grpc

from cmi.endpoint import Endpoint
from cmi.errors import StartupError


def listen(
    server: grpc.aio.Server,
    option: str,
    endpoint: Endpoint,
    credentials: grpc.ServerCredentials | None = None,
) -> Endpoint:
    """Listen, with TLS if there are credentials; return the endpoint with its actual port."""
    check_free(option, endpoint)
    try:
        with _private_umask():
            if credentials:
                port = server.add_secure_port(endpoint.target, credentials)
            else:
                port = server.add_insecure_port(endpoint.target)
    except RuntimeError:
        raise _cannot_listen(option, endpoint, "the address can't be bound") from None
    return endpoint if endpoint.path else replace(endpoint, port=port)


def check_free(option: str, endpoint: Endpoint) -> None:
    """Refuse an address that can't be had.

    gRPC does not tell why, and takes over the Unix socket of a living process without a word.
    """
    if endpoint.path:
        _check_socket(option, endpoint)
        return
    try:
        family, _, _, _, address = socket.getaddrinfo(
            endpoint.host.strip("[]"), endpoint.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except UnicodeError:  # of the codec for host names, for one with an empty or a long label
        raise _cannot_listen(option, endpoint, "its host is no host name") from None
    except OSError as error:
        raise _cannot_listen(option, endpoint, _reason(error)) from None


def _check_socket(option: str, endpoint: Endpoint) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(endpoint.path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ECONNREFUSED):
                raise _cannot_listen(option, endpoint, _reason(error)) from None
        else:
            raise _cannot_listen(option, endpoint, "another process listens there")
    folder = os.path.dirname(endpoint.path)  # noqa: PTH120 - no other use of pathlib here
    if not os.access(folder, os.W_OK):
        raise _cannot_listen(
            option, endpoint, f"the folder {folder} does not exist or is not writable"
        )


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another process listens there"
    return (error.strerror or str(error)).lower()


def _cannot_listen(option: str, endpoint: Endpoint, reason: str) -> StartupError:
    return StartupError(
        f"can't listen on {endpoint}: {reason}; mend that or choose another {option}"
    )


@contextmanager
def _private_umask() -> Iterator[None]:
    """Make a Unix socket for this user alone."""
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)
