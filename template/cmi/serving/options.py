"""How a driver is served. Imports nothing heavy: the command line reads it before it does."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cmi.endpoint import DEFAULT_ENDPOINT, Endpoint

if TYPE_CHECKING:
    from cmi.tls import TlsFiles

DEFAULT_CALL_TIMEOUT: Final = 300.0
DEFAULT_MAX_CALLS: Final = 1000
DEFAULT_GRACE_PERIOD: Final = 30.0
DEFAULT_MAX_REQUEST_BYTES: Final = 1024 * 1024
"""What a Secret of Kubernetes may hold, and four times what the most generous cloud takes as user
data (256 KiB)."""
DEFAULT_MAX_BYTES_IN_FLIGHT: Final = 32 * 1024 * 1024
"""Fits the memory limit of the sample Deployment: see docs/explanation/limits.md."""


class LogFormat(StrEnum):
    """How a log record is written."""

    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    """The least severe records that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How a driver is served.

    Attributes:
        endpoint: Where to listen.
        insecure: Listen without TLS also where other machines can connect.
        tls: The files for TLS; clients need a certificate of their CA.
        health_address: Where to serve health alone, in plain text: for those who ask without
            a certificate, or from outside of a loopback address.
        metrics_address: Where to serve metrics, over plain HTTP.
        tracing: Whether to send traces over OTLP.
        call_timeout: How long one machine call may take, in seconds.
        max_calls: How many machine calls may run; more wait, and are UNAVAILABLE in the end.
        max_request_bytes: The size of the largest request; larger ones are INVALID_ARGUMENT.
        max_bytes_in_flight: The size of all requests together; beyond it they are UNAVAILABLE.
        grace_period: How long calls in flight may go on after a stop, in seconds.
    """

    endpoint: Endpoint = field(default_factory=lambda: Endpoint.parse(DEFAULT_ENDPOINT))
    insecure: bool = False
    tls: "TlsFiles | None" = None
    health_address: Endpoint | None = None
    metrics_address: Endpoint | None = None
    tracing: bool = False
    call_timeout: float = DEFAULT_CALL_TIMEOUT
    max_calls: int = DEFAULT_MAX_CALLS
    max_request_bytes: int = DEFAULT_MAX_REQUEST_BYTES
    max_bytes_in_flight: int = DEFAULT_MAX_BYTES_IN_FLIGHT
    grace_period: float = DEFAULT_GRACE_PERIOD
