"""Prometheus metrics over HTTP, with the names and labels of MCM's drivers in Go.

Imported only where metrics are asked for, since prometheus_client takes 40 ms to import.
"""

import logging
import socket
import sys
import threading
from collections.abc import Callable
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

from cmi.contract import RPCS
from cmi.endpoint import Endpoint

log = logging.getLogger(__name__)

_OPERATIONS: Final = {rpc.name: rpc.method for rpc in RPCS}
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Prometheus' own in Go, and beyond them what the creation of a machine takes, in seconds."""
_SCRAPE_TIMEOUT: Final = 10.0


class Metrics:
    """The metrics of one server.

    Args:
        provider: The label of that name.
        in_flight: Returns how many machine calls are in flight.
    """

    def __init__(self, provider: str, in_flight: Callable[[], int]) -> None:
        self._provider = provider
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
        self._left_out = Counter(
            "driver_machines_left_out_total",
            "VMs that a list left out, since their machine can't be told.",
            ("provider",),
            registry=self._registry,
        ).labels(provider)
        Gauge(
            "driver_requests_in_flight",
            "Machine calls that are running, those of callers that are gone included.",
            ("provider",),
            registry=self._registry,
        ).labels(provider).set_function(in_flight)

    def record(self, rpc: str, code: grpc.StatusCode, seconds: float) -> None:
        """Count one machine call: as MCM does, its duration if it succeeded, else its code."""
        operation = _OPERATIONS[rpc]
        if code is grpc.StatusCode.OK:
            self._duration.labels(self._provider, operation).observe(seconds)
        else:
            self._failed.labels(self._provider, operation, code.value[0]).inc()

    def count_left_out(self, vms: int) -> None:
        """Count the VMs that a list left out."""
        self._left_out.inc(vms)

    def listen(self, address: Endpoint) -> Endpoint:
        """Answer GET /metrics; return the address, with the port that a port 0 became.

        Raises:
            OSError: The address can't be listened on.
        """
        self._server = _HttpServer(address, MetricsHandler.factory(self._registry))
        threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True
        ).start()
        return replace(address, port=self._server.server_address[1])

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


class _HttpServer(ThreadingTCPServer):
    """Like that of `http.server`, which would look up the address in the DNS first."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: Endpoint, handler: type[MetricsHandler]) -> None:
        host = address.host.strip("[]")
        found = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM)
        self.address_family = found[0][0]
        super().__init__((host, address.port), handler)

    def get_request(self) -> Any:
        """Accept a connection, but not one that stays silent for good."""
        request, address = super().get_request()
        request.settimeout(_SCRAPE_TIMEOUT)
        return request, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a scraper that went away; the base class prints its traceback."""
        log.debug("scrape failed", exc_info=sys.exception())
