"""A driver whose SDK reveals all secrets that it gets: `python -m tests.faults.leaky`."""

import asyncio
import base64
import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

from cmi import CreateMachineRequest, CreateMachineResponse, ErrorTable, Unavailable
from cmi.endpoint import Endpoint
from cmi.serving import logs
from cmi.serving.identity import PluginInfo
from cmi.serving.options import LogFormat, LogLevel, ServerOptions
from cmi.serving.server import serve
from tests.framework.support import Keys, Spec, StandIn

log = logging.getLogger(__name__)


class SdkError(Exception):
    """The SDK's own exception, which quotes the request."""


class Session:
    """A session whose finaliser raises an exception, which no code can catch."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __del__(self) -> None:
        raise SdkError(self._text)


def _in_debug_log(text: str) -> None:
    log.debug("%s", text)


def _in_thread(text: str) -> None:
    def run() -> None:
        raise SdkError(text)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def _in_unmapped_error(text: str) -> None:
    raise LookupError(text)


def _in_mapped_error(text: str) -> None:
    raise SdkError(text)


def _in_crash(text: str) -> None:
    log.critical("%s", text)
    os.kill(os.getpid(), signal.SIGKILL)


WAYS: dict[str, Callable[[str], object]] = {
    "debug log": _in_debug_log,
    "warning": warnings.warn,
    "finaliser": Session,
    "thread": _in_thread,
    "unmapped error": _in_unmapped_error,
    "mapped error": _in_mapped_error,
    "crash": _in_crash,
}
"""The ways in which CreateMachine can leak the secrets of its call, by the machine's name."""


class Leaky(StandIn):
    errors: ClassVar[ErrorTable] = {SdkError: Unavailable}

    def create_machine(self, request: CreateMachineRequest[Spec, Keys]) -> CreateMachineResponse:
        spec, keys = request.provider_spec, request.secrets
        told = [
            form
            for secret in (keys.api_token, keys.user_data, spec.login)
            if secret is not None
            for form in _forms(secret.get_secret_value())
        ]
        WAYS[request.machine_name](f"told by {request.machine_name}: {' '.join(told)}")
        raise SdkError("refused")


def _forms(value: str) -> tuple[Any, ...]:
    return value, repr(value), base64.b64encode(value.encode()).decode()


def main() -> None:
    """Serve on free ports, and log at debug level."""
    logs.configure(LogLevel.DEBUG, LogFormat.JSON)
    free = Endpoint.parse("tcp://127.0.0.1:0")
    options = ServerOptions(endpoint=free, metrics_address=free)
    asyncio.run(serve(Leaky(), PluginInfo("leaky.example", "0"), options))


if __name__ == "__main__":
    main()
