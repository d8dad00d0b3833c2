"""The gRPC server of a driver: listening, health, reflection, and a graceful stop."""

import asyncio
import errno
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cmi.calls import Calls
from cmi.driver import Driver
from cmi.endpoint import DEFAULT_ENDPOINT, Endpoint
from cmi.errors import StartupError
from cmi.identity_service import PluginInfo, identity_handler
from cmi.machine_service import machine_handler
from cmi.v1 import cmi_pb2

log = logging.getLogger(__name__)

DEFAULT_CALL_TIMEOUT: Final = 300.0
DEFAULT_MAX_CALLS: Final = 1000
DEFAULT_GRACE_PERIOD: Final = 30.0

SERVICES: Final = tuple(
    service.full_name for service in cmi_pb2.DESCRIPTOR.services_by_name.values()
)

_GRPC_OPTIONS: Final = (
    # Otherwise two drivers share a port in silence, and each gets half of the calls.
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How a driver is served.

    Attributes:
        endpoint: Where to listen.
        insecure: Listen without TLS also where other machines can connect.
        call_timeout: How long one machine call may take, in seconds.
        max_calls: How many machine calls may be in flight; more are RESOURCE_EXHAUSTED.
        grace_period: How long calls in flight may go on after a stop, in seconds.
    """

    endpoint: Endpoint = field(default_factory=lambda: Endpoint.parse(DEFAULT_ENDPOINT))
    insecure: bool = False
    call_timeout: float = DEFAULT_CALL_TIMEOUT
    max_calls: int = DEFAULT_MAX_CALLS
    grace_period: float = DEFAULT_GRACE_PERIOD


class Server:
    """Serves one driver on one address (C1).

    Raises:
        StartupError: The driver lacks a method, or the endpoint needs `insecure`.
    """

    def __init__(self, driver: Driver, plugin: PluginInfo, options: ServerOptions) -> None:
        if not (options.endpoint.is_local or options.insecure):
            raise StartupError(
                f"{options.endpoint} can be reached from other machines and would carry secrets in "
                f"plain text; use a loopback address such as {DEFAULT_ENDPOINT}, or add --insecure"
            )
        self._options = options
        self._calls = Calls(max_calls=options.max_calls, call_timeout=options.call_timeout)
        self._machine = machine_handler(driver, self._calls)
        self._identity = identity_handler(driver, plugin)
        self._health = health.aio.HealthServicer()

    async def start(self) -> Endpoint:
        """Listen and serve; return the endpoint, with the port that a port 0 became.

        Raises:
            StartupError: The address can't be listened on; the message says why.
        """
        self._server = grpc.aio.server(options=_GRPC_OPTIONS)
        self._server.add_generic_rpc_handlers((self._identity, self._machine))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        served = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(served, self._server)
        endpoint = self._listen()
        await self._server.start()
        for service in ("", *SERVICES):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return endpoint

    async def stop(self) -> bool:
        """Stop: health NOT_SERVING, new calls UNAVAILABLE, those in flight get their grace.

        Returns:
            True if every method has ended, False if some thread is still in one.
        """
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._options.grace_period)
        self._calls.close()
        return self._calls.in_flight == 0

    def _listen(self) -> Endpoint:
        endpoint = self._options.endpoint
        _check_free(endpoint)
        try:
            with _private_umask():
                port = self._server.add_insecure_port(endpoint.target)
        except RuntimeError:
            raise _cannot_listen(endpoint, "the address can't be bound") from None
        return endpoint if endpoint.path else replace(endpoint, port=port)


async def serve(driver: Driver, plugin: PluginInfo, options: ServerOptions) -> bool:
    """Serve `driver` until SIGTERM or SIGINT, then stop gracefully.

    A second signal ends the process at once.

    Returns:
        What `Server.stop` returns.

    Raises:
        StartupError: The driver can't be served.
    """
    server = Server(driver, plugin, options)
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            log.warning(
                "stopped at once by a second signal", extra={"fields": {"signal": number.name}}
            )
            os._exit(128 + number)
        log.info("stopping", extra={"fields": {"signal": number.name}})
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    endpoint = await server.start()
    log.info(
        "serving",
        extra={"fields": {"endpoint": endpoint, "plugin": plugin.name, "version": plugin.version}},
    )
    await stop.wait()
    ended = await server.stop()
    log.info("stopped")
    return ended


def _check_free(endpoint: Endpoint) -> None:
    """Refuse an address that can't be had.

    gRPC does not tell why, and takes over the Unix socket of a living process without a word.
    """
    if endpoint.path:
        _check_socket_path(endpoint)
        return
    try:
        family, _, _, _, address = socket.getaddrinfo(
            endpoint.host.strip("[]"), endpoint.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        raise _cannot_listen(endpoint, _reason(error)) from None


def _check_socket_path(endpoint: Endpoint) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(endpoint.path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ECONNREFUSED):
                raise _cannot_listen(endpoint, _reason(error)) from None
        else:
            raise _cannot_listen(endpoint, "another process listens there")
    folder = os.path.dirname(endpoint.path)  # noqa: PTH120 - no other use of pathlib here
    if not os.access(folder, os.W_OK):
        raise _cannot_listen(endpoint, f"the folder {folder} does not exist or is not writable")


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another process listens there"
    return (error.strerror or str(error)).lower()


def _cannot_listen(endpoint: Endpoint, reason: str) -> StartupError:
    return StartupError(
        f"can't listen on {endpoint}: {reason}; mend that or choose another --endpoint"
    )


@contextmanager
def _private_umask() -> Iterator[None]:
    """Make a Unix socket for this user alone."""
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)
