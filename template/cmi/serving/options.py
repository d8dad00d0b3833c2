"""The options of a server. Imports no slow modules, because the command line imports this early."""

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
"""The maximum size of a Kubernetes Secret, and four times the largest user data that any cloud
accepts (256 KiB)."""
DEFAULT_MAX_BYTES_IN_FLIGHT: Final = 32 * 1024 * 1024
"""Fits the memory limit of the sample Deployment: see docs/explanation/limits.md."""


class LogFormat(StrEnum):
    """The format of the log."""

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
    """The options of a server.

    Attributes:
        endpoint: The address to listen on.
        insecure: Allow an address that other machines can reach, without TLS.
        tls: The files for TLS; clients need a certificate from their CA.
        health_address: The address of a second server for health alone, in plain text. It is for
            clients that have no certificate, or can't reach a loopback address.
        metrics_address: The address that serves metrics, over plain HTTP.
        tracing: Whether to send traces over OTLP.
        call_timeout: The maximum duration of a machine call, in seconds.
        max_calls: The maximum number of machine calls at once. Further calls wait, and fail with
            UNAVAILABLE if they wait for too long.
        max_request_bytes: The maximum size of a request; larger ones are INVALID_ARGUMENT.
        max_bytes_in_flight: The maximum size of all requests together. A request beyond it is
            UNAVAILABLE.
        grace_period: How long calls in flight may continue after a stop, in seconds.
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
