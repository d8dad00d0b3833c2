"""What the driver's code reports about a call: its last known state, its requests to the cloud."""

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
"""A longer last known state does not fit into the metadata of an error."""


@dataclass(slots=True)
class CallContext:
    """What the driver's code reports while a call is served. All threads of the call share it.

    Attributes:
        on_api_request: Called with each finished request to the cloud's API.
        is_failure: Returns whether a request that raised this exception has failed. A request
            that found nothing has not failed, as in drivers in Go.
        last_known_state: The last argument of `remember`; None if it was not called.
        request_id: The cloud's ID of the last request that failed.
    """

    on_api_request: "Callable[[ApiRequest], None] | None" = None
    is_failure: Callable[[Exception], bool] = lambda _error: True
    last_known_state: str | None = None
    request_id: str = ""


current: ContextVar[CallContext | None] = ContextVar("call_context", default=None)
"""The call that is being served; None outside of a server."""


def remember(last_known_state: str) -> None:
    """Pass a text to the next call for this machine, however this call ends.

    The next CreateMachine or DeleteMachine gets it as `last_known_state`, even if this call fails
    or takes too long. A later call of `remember` replaces the text, and so does a response with a
    `last_known_state`. MCM stores the text in the Machine's status, where everybody can read it,
    so it must not contain a secret. Outside of CreateMachine, DeleteMachine and ShutDownMachine,
    this function does nothing.

    Use it for things that the cloud can't store, such as the ID of an order that has no VM yet. If
    you can use a tag on the VM, do so: MCM stores the state only together with an error, and may
    lose it.

    Args:
        last_known_state: At most `MAX_STATE_BYTES` of UTF-8.

    Raises:
        ValueError: The text is longer.
    """
    size = len(last_known_state.encode())
    if size > MAX_STATE_BYTES:
        raise ValueError(f"a last known state of {size} bytes is too long; {MAX_STATE_BYTES} fit")
    if call := current.get():
        call.last_known_state = last_known_state


class ApiRequest:
    """One request to the cloud's API, for metrics, traces and the log.

    Use it as a context manager. The request ends with the block, and has failed if the block
    raises an exception, unless `Driver.errors` maps that to `NotFound`::

        with ApiRequest("create_server") as request:
            answer = sdk.create_server(name)
            request.id = answer.request_id

    If an SDK has callbacks for the beginning and the end of a request, create an object in the
    first one and call its `end` in the second.

    Args:
        service: The API method, such as `create_server`; the value of the metrics' label `service`.

    Attributes:
        service: The API method.
        id: The ID that the cloud gave the request, which its support asks for; empty if unknown.
            The ID of a failed request is the exception's `request_id`, if it has one.
        began: When the request began, in nanoseconds since 1970.
        seconds: How long the request took; 0 before its end.
        failed: Whether the request has failed.
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
        """Count the request, and log it at debug level."""
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
    """Wrap an SDK's client, so that each call of a method is an `ApiRequest` of that name.

    Use it if each method of the client makes one request; methods may be plain or async. Other
    attributes, and names that begin with an underscore, are passed through. The ID of a request is
    the `request_id` of the value or the exception that the method produces, if it has one.
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
