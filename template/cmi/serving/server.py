"""The gRPC server of a driver: listening, health, reflection, and a graceful stop."""

import asyncio
import gc
import logging
import os
import signal
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cmi.contract import SERVICES
from cmi.driver import Driver
from cmi.endpoint import DEFAULT_ENDPOINT, Endpoint
from cmi.errors import StartupError
from cmi.serving import background, logs
from cmi.serving.health import Health
from cmi.serving.identity import PluginInfo, identity_handler
from cmi.serving.intake import Intake
from cmi.serving.listening import free_addresses, listen
from cmi.serving.machine import machine_handler
from cmi.serving.methods import methods_of
from cmi.serving.options import ServerOptions
from cmi.serving.process import STOP_SIGNALS
from cmi.serving.runner import Runner
from cmi.tls import server_credentials

if TYPE_CHECKING:
    from cmi.serving.metrics import Metrics
    from cmi.serving.tracing import Tracing

log = logging.getLogger(__name__)

PROBE_TIMEOUT: Final = 5.0
_LAST_REPLIES: Final = 1.0
"""Seconds in which the replies of finished methods are sent."""
_HEALTH_STREAMS: Final = 100
"""The maximum number of simultaneous health checks and watches on one connection."""
_LEAST_PENDING: Final = 1000
"""The least limit of calls that wait to be accepted; gRPC cancels further ones."""
_MAX_HEALTH_REQUEST: Final = 4 * 1024
_GRPC_MAX_REQUEST: Final = 4 * 1024 * 1024
"""The limit of gRPC, which answers RESOURCE_EXHAUSTED. Our own limit is lower."""
_IDLE: Final = 15 * 60
_AGE: Final = 60 * 60
"""Seconds after which an idle connection is closed, and after which any connection is closed. The
client then shows its certificate again, and is turned away if its CA was removed."""

_MANY: Final = 2**31 - 1
_GRPC_OPTIONS: Final = (
    # Otherwise, two drivers would silently share a port, and each would get half of the calls.
    ("grpc.so_reuseport", 0),
    # A client may ping every few seconds during a long call. Otherwise, gRPC answers "too many
    # pings" and ends the calls.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    # If a client vanishes without closing its connection, its calls are cancelled.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)


def _bounds(*, streams: int, grace: float) -> tuple[tuple[str, int], ...]:
    """Return gRPC's options that limit one client, or all clients together.

    Args:
        streams: The maximum number of calls on one connection.
        grace: How long calls may continue after their connection's maximum age, in seconds.
    """
    pending = max(_LEAST_PENDING, 2 * streams)
    return (
        ("grpc.max_concurrent_streams", streams),
        # With gRPC's default limit, it cancels some of a thousand simultaneous calls. Without a
        # limit, calls that their caller resets at once pile up, since no stream limit counts them.
        ("grpc.server.max_pending_requests", pending),
        ("grpc.server.max_pending_requests_hard_limit", pending),
        ("grpc.max_connection_idle_ms", _IDLE * 1000),
        ("grpc.max_connection_age_ms", _AGE * 1000),
        ("grpc.max_connection_age_grace_ms", min(_MANY, int(grace * 1000))),
    )


class Server:
    """Serves one driver on one address (C1).

    Attributes:
        health_address: The address of the separate health server, once it listens; else None.
        metrics_address: The same for metrics.

    Raises:
        StartupError: The driver lacks a method, the endpoint needs TLS or `insecure`, or the
            files for TLS are invalid.
    """

    health_address: Endpoint | None = None
    metrics_address: Endpoint | None = None

    def __init__(self, driver: Driver, plugin: PluginInfo, options: ServerOptions) -> None:
        if not (options.endpoint.is_local or options.insecure or options.tls):
            raise StartupError(
                f"{options.endpoint} can be reached from other machines and would carry secrets in "
                f"plain text; use a loopback address such as {DEFAULT_ENDPOINT}, or add "
                "--tls-cert, --tls-key and --tls-client-ca, or --insecure"
            )
        self._options = options
        self._credentials = server_credentials(options.tls) if options.tls else None
        self._runner = Runner(
            max_calls=options.max_calls, call_timeout=options.call_timeout, errors=driver.errors
        )
        self._probes = Runner(max_calls=1, call_timeout=PROBE_TIMEOUT)
        self._intake = Intake(options.max_request_bytes, options.max_bytes_in_flight)
        self._metrics = self._make_metrics(plugin) if options.metrics_address else None
        record = self._metrics.record if self._metrics else None
        count_left_out = self._metrics.count_left_out if self._metrics else None
        record_api_request = self._metrics.record_api_request if self._metrics else None
        self._tracing = _tracing(plugin) if options.tracing else None
        methods = methods_of(driver)
        self._machine = machine_handler(
            driver,
            methods,
            self._runner,
            self._intake,
            record,
            count_left_out,
            record_api_request,
            self._tracing,
        )
        self._identity = identity_handler(driver, methods, plugin, self._probes)
        self._health = Health(*SERVICES)
        self._refusal = _RefusalWhileStopping()
        self._server: grpc.aio.Server | None = None
        self._health_server: grpc.aio.Server | None = None

    @property
    def calls(self) -> tuple[int, int]:
        """The number of machine calls that run, and of those that wait for their turn."""
        return self._runner.in_flight, self._runner.waiting

    @property
    def bytes_in_flight(self) -> int:
        """The size of the requests in flight."""
        return self._intake.bytes_in_flight

    async def start(self) -> Endpoint:
        """Listen and serve; return the endpoint with its actual port.

        Raises:
            StartupError: The process can't listen on the address; the message says why.
        """
        background.start()
        server = self._server = grpc.aio.server(options=self._grpc_options())
        server.add_generic_rpc_handlers((self._refusal, self._machine, self._identity))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        served = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(served, server)
        endpoint = listen(server, "--endpoint", self._options.endpoint, self._credentials)
        await self._start_health()
        self._start_metrics()
        await server.start()
        return endpoint

    async def stop(self) -> bool:
        """Stop gracefully. Health becomes NOT_SERVING, and new calls fail with UNAVAILABLE.

        Calls in flight may continue for the grace period. You may also stop a server that was
        never started, or whose start failed.

        Returns:
            True if every method has ended, False if some still run.
        """
        self._health.stop()
        self._refusal.is_on = True
        ended = await self._runner.drain(self._options.grace_period)
        if self._server:
            await self._server.stop(_LAST_REPLIES if ended else None)
        self._runner.close()
        self._probes.close()
        if self._health_server:
            await self._health_server.stop(None)
        if self._tracing:
            await asyncio.to_thread(self._tracing.close)
        if self._metrics and self.metrics_address:
            await asyncio.to_thread(self._metrics.close)
        return ended and not self._probes.in_flight

    def _grpc_options(self) -> tuple[tuple[str, int], ...]:
        # Closing an old connection must not end a call that waits, and then runs, for as long as
        # allowed.
        longest_call = 2 * self._options.call_timeout + 60
        return (
            *_GRPC_OPTIONS,
            # Leave room for waiting calls, and for health checks and Probe.
            *_bounds(streams=2 * self._options.max_calls + _HEALTH_STREAMS, grace=longest_call),
            (
                "grpc.max_receive_message_length",
                max(_GRPC_MAX_REQUEST, 2 * self._options.max_request_bytes),
            ),
        )

    async def _start_health(self) -> None:
        if address := self._options.health_address:
            server = self._health_server = grpc.aio.server(
                options=(
                    *_GRPC_OPTIONS,
                    *_bounds(streams=_HEALTH_STREAMS, grace=1),
                    ("grpc.max_receive_message_length", _MAX_HEALTH_REQUEST),
                )
            )
            health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
            self.health_address = listen(server, "--health-address", address)
            await server.start()

    def _make_metrics(self, plugin: PluginInfo) -> "Metrics":
        from cmi.serving.metrics import Metrics

        return Metrics(
            plugin.name,
            in_flight=lambda: self._runner.in_flight,
            waiting=lambda: self._runner.waiting,
            bytes_in_flight=lambda: self.bytes_in_flight,
            dropped_lines=logs.dropped,
        )

    def _start_metrics(self) -> None:
        if self._metrics and (address := self._options.metrics_address):
            addresses = free_addresses("--metrics-address", address)
            self.metrics_address = self._metrics.listen(address, addresses)


def _tracing(plugin: PluginInfo) -> "Tracing":
    from cmi.serving.tracing import Tracing

    return Tracing(plugin.name, plugin.version)


class _RefusalWhileStopping(grpc.GenericRpcHandler):
    """Refuses new calls while the server stops; health checks are still answered.

    gRPC's own stop would cancel some of them, as if their callers had done so. This is not an
    interceptor, because gRPC starts coroutines for interceptors at every call.
    """

    is_on = False

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Return the handler that refuses a call, or None to leave it to others."""
        if self.is_on and details.method.startswith("/cmi.v1."):
            return grpc.unary_unary_rpc_method_handler(_refuse)
        return None


async def _refuse(_wire: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    await context.abort(grpc.StatusCode.UNAVAILABLE, "the driver is stopping; try again")


async def serve(driver: Driver, plugin: PluginInfo, options: ServerOptions) -> None:
    """Serve `driver` until SIGTERM or SIGINT, then stop gracefully.

    A second signal ends the process at once. After the grace period, the process ends even if a
    method still runs.

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
            logs.flush()
            os._exit(128 + number)
        log.info("stopping", extra={"fields": {"signal": number.name}})
        stop.set()

    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    endpoint = await server.start()
    gc.freeze()  # objects made so far stay alive, so the collector need not examine them again
    with logs.captured_output():
        _log_serving(server, endpoint, plugin)
        await stop.wait()
        ended = await server.stop()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)  # the server has already stopped
    log.info("stopped")
    logs.flush()
    if not ended:
        # A method that hangs in an SDK can't be stopped, and a normal exit would wait for it.
        os._exit(0)


def _log_serving(server: Server, endpoint: Endpoint, plugin: PluginInfo) -> None:
    fields = {"endpoint": endpoint, "plugin": plugin.name, "version": plugin.version}
    if server.health_address:
        fields["health"] = server.health_address.target
    if server.metrics_address:
        fields["metrics"] = f"http://{server.metrics_address.target}/metrics"
    log.info("serving", extra={"fields": fields})
