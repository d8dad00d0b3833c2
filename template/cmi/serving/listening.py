"""Listens on an endpoint that no other process uses; if that fails, the error says why."""

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
    """Listen, with TLS if there are credentials; return the endpoint with its actual port.

    A name is served on all its addresses, or not at all. gRPC would accept a single one, and
    clients might connect to another process at the others.
    """
    if endpoint.path:
        _check_socket(option, endpoint)
        with _private_umask():
            _add_port(server, option, endpoint, endpoint.target, credentials)
        return endpoint
    for address in free_addresses(option, endpoint):
        host = f"[{address}]" if ":" in address else address
        target = f"{host}:{endpoint.port}"
        endpoint = replace(endpoint, port=_add_port(server, option, endpoint, target, credentials))
    return endpoint


def free_addresses(option: str, endpoint: Endpoint) -> list[str]:
    """Return the IP addresses of an endpoint that this machine has.

    Raises:
        StartupError: The process can't listen on one of them. gRPC would not say why.
    """
    try:
        addresses = endpoint.addresses()
        free = [each for each in addresses if _is_free(each, endpoint.port)]
    except UnicodeError:  # raised by the codec for host names, for an empty or a long label
        raise _cannot_listen(option, endpoint, "its host is not a valid host name") from None
    except OSError as error:
        raise _cannot_listen(option, endpoint, _reason(error)) from None
    if not free:
        raise _cannot_listen(option, endpoint, "this machine does not have its address")
    return free


def _is_free(address: str, port: int) -> bool:
    """Return whether this machine has an address: a name may have an IPv6 address without IPv6.

    Raises:
        OSError: The process can't listen on it, for another reason.
    """
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            probe.listen()
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return False
        raise
    return True


def _add_port(
    server: grpc.aio.Server,
    option: str,
    endpoint: Endpoint,
    target: str,
    credentials: grpc.ServerCredentials | None,
) -> int:
    try:
        if credentials:
            return server.add_secure_port(target, credentials)
        return server.add_insecure_port(target)
    except RuntimeError:
        raise _cannot_listen(option, endpoint, "the address can't be bound") from None


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
        f"can't listen on {endpoint}: {reason}; fix that or choose another {option}"
    )


@contextmanager
def _private_umask() -> Iterator[None]:
    """Make new Unix sockets accessible to this user only."""
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)
