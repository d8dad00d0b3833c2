"""Prometheus metrics over HTTP.

The metrics of requests to the cloud's API have the same names and labels as in MCM's drivers in
Go. Those of machine calls have other names: the bridge counts these calls too, under the names
used in Go, and a sum over both would count each call twice.

This module is imported only if metrics are enabled, since importing prometheus_client takes 40 ms.
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
"""The defaults in Go, extended to the duration of a machine's creation, in seconds."""
_GO_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""The defaults in Go: quantiles over drivers in both languages need equal buckets."""
_SCRAPE_TIMEOUT: Final = 10.0
_MAX_SCRAPES: Final = 16
"""The maximum number of connections. A further one closes the oldest, so nobody is locked out."""


class Metrics:
    """The metrics of one server.

    Args:
        provider: The value of the label `provider`.
        in_flight: Returns the number of running machine calls.
        waiting: Returns the number of machine calls that wait for their turn.
        bytes_in_flight: Returns the size of the requests in flight.
        dropped_lines: Returns the number of dropped log lines.
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
            "Requests to the cloud's API, including failed ones.",
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
            "VMs that a list left out because their machine is unknown.",
            ("provider",),
            registry=self._registry,
        ).labels(provider)
        for name, text, function in (
            (
                "driver_requests_in_flight",
                "Machine calls that are running, including those whose callers are gone.",
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
                "Log lines that were dropped because nobody read them in time.",
                dropped_lines,
            ),
        ):
            gauge = Gauge(name, text, ("provider",), registry=self._registry)
            gauge.labels(provider).set_function(function)

    def record(self, rpc: str, code: grpc.StatusCode, seconds: float) -> None:
        """Count one machine call as MCM does: its duration if it succeeded, else its code."""
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
        """Serve GET /metrics; return the endpoint with its actual port.

        Args:
            endpoint: Where to listen.
            addresses: Its IP addresses.

        Raises:
            OSError: The process can't listen on one of them.
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
    """Like the class in `http.server`, which would first look up the address in the DNS."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: str, port: int, handler: type[MetricsHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._scrapes: deque[socket.socket] = deque(maxlen=_MAX_SCRAPES)
        super().__init__((address, port), handler)

    def get_request(self) -> Any:
        """Accept a connection, with a timeout for clients that send nothing."""
        request, address = super().get_request()
        request.settimeout(_SCRAPE_TIMEOUT)
        if len(self._scrapes) == _MAX_SCRAPES:
            with suppress(OSError):  # it may have ended already
                self._scrapes[0].shutdown(socket.SHUT_RDWR)
        self._scrapes.append(request)
        return request, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log that a scraper disconnected; the base class would print a traceback."""
        log.debug("scrape failed", exc_info=sys.exception())
