"""What the driver's code tells about a call: its last known state, its requests to the cloud."""

import inspect
import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, Self, TypeVar, cast

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_STATE_BYTES: Final = 4096
"""A longer last known state would not fit into the metadata of an error."""


@dataclass(slots=True)
class CallContext:
    """A call while it is served, as the driver's code changes it. Its threads share it.

    Attributes:
        on_api_request: Is told of each request to the cloud's API that has ended.
        is_failure: Tells whether a request that raised this has failed. One that found nothing
            has not, as in drivers in Go.
        last_known_state: What `remember` was told; None before.
        request_id: The cloud's ID of the last request that failed.
    """

    on_api_request: "Callable[[ApiRequest], None] | None" = None
    is_failure: Callable[[Exception], bool] = lambda _error: True
    last_known_state: str | None = None
    request_id: str = ""


current: ContextVar[CallContext | None] = ContextVar("call_context", default=None)
"""The call that is served; None outside of a server."""


def remember(last_known_state: str) -> None:
    """Hand a text to the next call for this machine, however this call ends.

    The next CreateMachine or DeleteMachine gets it as `last_known_state`: also after an error, or
    if the time of the call is over. What is remembered last counts, and an answer's own
    `last_known_state` counts more. MCM stores it in the Machine's status, where everybody can
    read it, so it must hold no secret. Outside of CreateMachine, DeleteMachine and
    ShutDownMachine it does nothing.

    It is for what the cloud itself can't store, such as the ID of an order that has no VM yet.
    A tag on the VM is better wherever it is possible: MCM may lose the state, since it
    stores it only together with an error.

    Args:
        last_known_state: At most `MAX_STATE_BYTES` of UTF-8.

    Raises:
        ValueError: It is longer.
    """
    size = len(last_known_state.encode())
    if size > MAX_STATE_BYTES:
        raise ValueError(f"a last known state of {size} bytes is too long; {MAX_STATE_BYTES} fit")
    if call := current.get():
        call.last_known_state = last_known_state


class ApiRequest:
    """One request to the cloud's API, for metrics, traces and the log.

    As a context manager it ends with its block, and has failed if an exception leaves that which
    `Driver.errors` does not call `NotFound`::

        with ApiRequest("create_server") as request:
            answer = sdk.create_server(name)
            request.id = answer.request_id

    Where an SDK calls back at the begin and the end of a request, make one and `end` it.

    Args:
        service: What is asked for, such as `create_server`: the label `service` of the metrics.

    Attributes:
        service: The same.
        id: The cloud's own ID of the request, for its support; empty if it is not known. That
            of a failed one is taken from the exception's `request_id`, if it has one.
        began: When it began, in nanoseconds since 1970.
        seconds: How long it took; 0 before its end.
        failed: Whether it has failed.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self.id = ""
        self.began = time.time_ns()
        self.seconds = 0.0
        self.failed = False
        self._clock = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        self.id = self.id or _request_id(error)
        call = current.get()
        is_expected = call and isinstance(error, Exception) and not call.is_failure(error)
        self.end(failed=error is not None and not is_expected)

    def end(self, *, failed: bool = False) -> None:
        """Count it, and log it at debug level."""
        self.seconds = time.perf_counter() - self._clock
        self.failed = failed
        call = current.get()
        if call and failed and self.id:
            call.request_id = self.id
        if call and call.on_api_request:
            call.on_api_request(self)
        if log.isEnabledFor(logging.DEBUG):
            fields: dict[str, object] = {"service": self.service, "failed": str(failed).lower()}
            if self.id:
                fields["request_id"] = self.id
            log.debug(
                "api request", extra={"fields": fields | {"duration_ms": round(self.seconds * 1e3)}}
            )


def instrumented(client: T) -> T:
    """Return a client of an SDK whose methods are each an `ApiRequest` of the method's name.

    For SDKs whose methods make one request each, plain or async. What is no method, and what
    begins with an underscore, is left as it is. The ID of a request is the `request_id` of
    what the method returns or raises, if it has one.
    """
    return cast("T", _Instrumented(client))


class _Instrumented:
    def __init__(self, client: object) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if name.startswith("_") or not inspect.isroutine(attribute):
            return attribute

        @wraps(attribute)
        def method(*arguments: Any, **named: Any) -> Any:
            if inspect.iscoroutinefunction(attribute):
                return _awaited(name, attribute(*arguments, **named))
            with ApiRequest(name) as request:
                answer = attribute(*arguments, **named)
                request.id = _request_id(answer)
                return answer

        return method


async def _awaited(service: str, answer: Awaitable[T]) -> T:
    with ApiRequest(service) as request:
        found = await answer
        request.id = _request_id(found)
        return found


def _request_id(source: object) -> str:
    found = getattr(source, "request_id", "")
    return found if isinstance(found, str) else ""
