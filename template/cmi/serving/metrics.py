"""Prometheus metrics over HTTP.

Requests to the cloud's API have the names and labels that MCM's drivers in Go give them. Machine
calls have names of their own: the bridge counts them too, with the names of the drivers in Go, and
a sum over both would count each call twice.

Imported only where metrics are asked for, since prometheus_client takes 40 ms to import.
"""

import logging
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from socketserver import ThreadingTCPServer
from typing import Any, Final

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    MetricsHandler,
    PlatformCollector,
    ProcessCollector,
)

from cmi.call_context import ApiRequest
from cmi.contract import RPCS
from cmi.endpoint import Endpoint

log = logging.getLogger(__name__)

_OPERATIONS: Final = {rpc.name: rpc.method for rpc in RPCS}
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Prometheus' own in Go, and beyond them what the creation of a machine takes, in seconds."""
_GO_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Prometheus' own in Go: quantiles over both kinds of drivers need the same."""
_SCRAPE_TIMEOUT: Final = 10.0
_MAX_SCRAPES: Final = 16
"""Connections that are served at once. One more ends the oldest: nobody can shut out others."""


class Metrics:
    """The metrics of one server.

    Args:
        provider: The label of that name.
        in_flight: Returns how many machine calls run.
        waiting: Returns how many wait for their turn.
        bytes_in_flight: Returns the size of the requests in flight.
        dropped_lines: Returns how many lines of the log were dropped.
    """

    def __init__(
        self,
        provider: str,
        *,
        in_flight: Callable[[], int],
        waiting: Callable[[], int],
        bytes_in_flight: Callable[[], int],
        dropped_lines: Callable[[], int],
    ) -> None:
        self._provider = provider
        self._servers: list[_HttpServer] = []
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._duration = Histogram(
            "driver_request_duration_seconds",
            "Duration of the machine calls that succeeded.",
            ("provider", "operation"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._failed = Counter(
            "driver_requests_failed_total",
            "Machine calls that failed; error_code is the number of the gRPC status.",
            ("provider", "operation", "error_code"),
            registry=self._registry,
        )
        self._api_requests = Counter(
            "mcm_cloud_api_requests_total",
            "Requests to the cloud's API, failed ones included.",
            ("provider", "service"),
            registry=self._registry,
        )
        self._api_failed = Counter(
            "mcm_cloud_api_requests_failed_total",
            "Requests to the cloud's API that failed.",
            ("provider", "service"),
            registry=self._registry,
        )
        self._api_duration = Histogram(
            "mcm_cloud_api_api_request_duration_seconds",
            "Duration of the requests to the cloud's API that succeeded.",
            ("provider", "service"),
            buckets=_GO_BUCKETS,
            registry=self._registry,
        )
        self._left_out = Counter(
            "driver_machines_left_out_total",
            "VMs that a list left out, since their machine can't be told.",
            ("provider",),
            registry=self._registry,
        ).labels(provider)
        for name, text, function in (
            (
                "driver_requests_in_flight",
                "Machine calls that are running, those of callers that are gone included.",
                in_flight,
            ),
            (
                "driver_requests_waiting",
                "Machine calls that wait for their turn under --max-calls.",
                waiting,
            ),
            (
                "driver_request_bytes_in_flight",
                "Size of the requests in flight, which --max-bytes-in-flight bounds.",
                bytes_in_flight,
            ),
            (
                "driver_log_lines_dropped",
                "Lines of the log that were dropped since the start: nobody read them in time.",
                dropped_lines,
            ),
        ):
            gauge = Gauge(name, text, ("provider",), registry=self._registry)
            gauge.labels(provider).set_function(function)

    def record(self, rpc: str, code: grpc.StatusCode, seconds: float) -> None:
        """Count one machine call: as MCM does, its duration if it succeeded, else its code."""
        operation = _OPERATIONS[rpc]
        if code is grpc.StatusCode.OK:
            self._duration.labels(self._provider, operation).observe(seconds)
        else:
            self._failed.labels(self._provider, operation, code.value[0]).inc()

    def record_api_request(self, request: ApiRequest) -> None:
        """Count one request to the cloud's API."""
        self._api_requests.labels(self._provider, request.service).inc()
        if request.failed:
            self._api_failed.labels(self._provider, request.service).inc()
        else:
            self._api_duration.labels(self._provider, request.service).observe(request.seconds)

    def count_left_out(self, vms: int) -> None:
        """Count the VMs that a list left out."""
        self._left_out.inc(vms)

    def listen(self, endpoint: Endpoint, addresses: Iterable[str]) -> Endpoint:
        """Answer GET /metrics; return the endpoint, with the port that a port 0 became.

        Args:
            endpoint: Where to listen.
            addresses: Its IP addresses.

        Raises:
            OSError: One of them can't be listened on.
        """
        handler = MetricsHandler.factory(self._registry)
        for address in addresses:
            server = _HttpServer(address, endpoint.port, handler)
            self._servers.append(server)
            threading.Thread(
                target=server.serve_forever, args=(0.1,), name="metrics", daemon=True
            ).start()
            endpoint = replace(endpoint, port=server.server_address[1])
        return endpoint

    def close(self) -> None:
        """Stop answering."""
        for server in self._servers:
            server.shutdown()
            server.server_close()


class _HttpServer(ThreadingTCPServer):
    """Like that of `http.server`, which would look up the address in the DNS first."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: str, port: int, handler: type[MetricsHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._scrapes: deque[socket.socket] = deque(maxlen=_MAX_SCRAPES)
        super().__init__((address, port), handler)

    def get_request(self) -> Any:
        """Accept a connection, but not one that stays silent for good."""
        request, address = super().get_request()
        request.settimeout(_SCRAPE_TIMEOUT)
        if len(self._scrapes) == _MAX_SCRAPES:
            with suppress(OSError):  # it has ended by itself
                self._scrapes[0].shutdown(socket.SHUT_RDWR)
        self._scrapes.append(request)
        return request, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a scraper that went away; the base class prints its traceback."""
        log.debug("scrape failed", exc_info=sys.exception())
