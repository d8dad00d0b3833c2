"""EC2 for tests: moto behind a gate, on a port of this process.

The gate sees every call that the driver makes. It makes EC2 fail as each test needs it. It also
adds features that moto lacks, according to AWS's documentation as of November 2025:

- client tokens, and how long EC2 keeps them (EC2's API reference, "Ensuring idempotency")
- IPv6 prefixes (EC2's API reference, `AssignIpv6Addresses`)
- web identities if credentials are checked (STS's API reference, `AssumeRoleWithWebIdentity`)
"""

import itertools
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeAlias

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

MOTO = DomainDispatcherApplication(create_backend_app)
FOREVER = float("inf")
SIGNATURE = ("AccessKey", "Region", "SecurityToken")


@dataclass(frozen=True)
class Answer:
    """An HTTP response of EC2."""

    status: int
    body: bytes

    def find(self, element: str) -> list[str]:
        """Return the texts of all elements of this name."""
        return re.findall(f"<{element}>(.*?)</{element}>", self.body.decode(), re.DOTALL)


Call: TypeAlias = Mapping[str, str]
"""The parameters of a call and, under the names in `SIGNATURE`, what it was signed with."""
Forward: TypeAlias = Callable[[], Answer]
Fault: TypeAlias = Callable[[Call, Forward], Answer | None]
"""Answers a call, given a function that makes it. None closes the connection."""


def answer_of(action: str, content: str) -> Answer:
    """Return the document with which AWS answers an action."""
    document = f"<requestId>r-1</requestId>{content}"
    return Answer(200, f"<{action}Response>{document}</{action}Response>".encode())


def error(code: str, message: str = "so it is", status: int = 400) -> Answer:
    """Return an error document as EC2 sends it."""
    document = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
    return Answer(status, f"<Response>{document}<RequestID>r-1</RequestID></Response>".encode())


def launched(instance_id: str, state: str) -> Answer:
    """Return the answer to RunInstances."""
    state = f"<instanceState><name>{state}</name></instanceState>"
    item = f"<item><instanceId>{instance_id}</instanceId>{state}</item>"
    return answer_of("RunInstances", f"<instancesSet>{item}</instancesSet>")


def untouched(_call: Call, forward: Forward) -> Answer:
    """Forward a call unchanged."""
    return forward()


def failing(
    answer: Answer | None, *actions: str, times: float = FOREVER, is_done: bool = False
) -> Fault:
    """Return a fault that gives this answer to some or all actions, which EC2 may carry out."""
    left = [times]

    def fault(call: Call, forward: Forward) -> Answer | None:
        if (actions and call["Action"] not in actions) or left[0] <= 0:
            return forward()
        left[0] -= 1
        if is_done:
            forward()
        return answer

    return fault


def after(action: str) -> Fault:
    """Return a fault that answers no more calls once an action was carried out."""
    seen: list[str] = []

    def fault(call: Call, forward: Forward) -> Answer | None:
        if action in seen:
            return None
        seen.append(call["Action"])
        return forward()

    return fault


def at_once(action: str, calls: int) -> Fault:
    """Return a fault that lets the first calls of an action wait until there are so many."""
    barrier, seen = threading.Barrier(calls, timeout=60), itertools.count()

    def fault(call: Call, forward: Forward) -> Answer:
        if call["Action"] == action and next(seen) < calls:
            barrier.wait()
        return forward()

    return fault


def reported(old: str, new: str, times: float = FOREVER) -> Fault:
    """Return a fault that replaces a pattern in the answers to DescribeInstances."""
    left = [times]

    def fault(call: Call, forward: Forward) -> Answer:
        answer = forward()
        if call["Action"] != "DescribeInstances" or left[0] <= 0:
            return answer
        text, count = re.subn(old, new, answer.body.decode(), flags=re.DOTALL)
        left[0] -= min(count, 1)
        return Answer(answer.status, text.encode()) if count else answer

    return fault


@contextmanager
def served(application: Any) -> Iterator[str]:
    """Serve a WSGI application on a free port, and yield its URL."""
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(WSGIRequestHandler):
    def log(self, *_args: Any) -> None:
        """Log nothing."""


class Gate:
    """A WSGI application in front of moto.

    Args:
        is_there: Returns whether an instance exists and is not terminated.

    Attributes:
        calls: All calls so far.
        prefixes: The number of IPv6 prefixes of each network interface.
        identities: The tokens that STS accepts, and the access keys that it returns for them.
    """

    def __init__(self, is_there: Callable[[str], bool]) -> None:
        self.calls: list[Call] = []
        self.identities: dict[str, str] = {}
        self._is_there = is_there
        self._fault: Fault = untouched
        self._struck = threading.Event()
        self._launches: dict[str, tuple[Call, Answer]] = {}
        self.prefixes: dict[str, int] = {}
        self._one_at_a_time = threading.Lock()

    def asked(self, action: str, since: int = 0) -> list[Call]:
        """Return the calls of an action, starting from the call with this number."""
        return [call for call in self.calls[since:] if call["Action"] == action]

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[threading.Event]:
        """Let EC2 fail while the context is open. The event is set once a call was affected."""
        self._fault, self._struck = fault, threading.Event()
        try:
            yield self._struck
        finally:
            self._fault = untouched

    def new_fault(self, make: Callable[[], Fault]) -> AbstractContextManager[threading.Event]:
        """Likewise, with a fault that no call has reached yet."""
        return self.fault(make())

    def failing(
        self, answer: Answer | None, *actions: str
    ) -> AbstractContextManager[threading.Event]:
        return self.fault(failing(answer, *actions))

    @contextmanager
    def hold(self) -> Iterator[threading.Event]:
        """Let the first call wait while the context is open. The event is set once it waits."""
        waiting, go_on = threading.Event(), threading.Event()

        def fault(_call: Call, forward: Forward) -> Answer:
            if not waiting.is_set():
                waiting.set()
                go_on.wait()
            return forward()

        with self.fault(fault):
            try:
                yield waiting
            finally:
                go_on.set()

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        body = Request(environ).get_data()

        def request() -> Any:
            return {**environ, "wsgi.input": BytesIO(body)}

        call = {**Request(request()).form.to_dict(), **_signature(environ)}
        passed: list[Answer] = []

        def forward() -> Answer:
            def moto() -> Answer:
                response = Response.from_app(MOTO, request())
                return Answer(response.status_code, response.get_data())

            passed.append(IMITATIONS.get(call["Action"], Gate._by_moto)(self, call, moto))
            return passed[-1]

        self.calls.append(call)
        answer = self._fault(call, forward)
        if answer not in passed:
            self._struck.set()
        if answer is None:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        return Response(answer.body, answer.status, mimetype="text/xml")(environ, start_response)

    def _by_moto(self, _call: Call, moto: Forward) -> Answer:
        return moto()

    def _launch(self, call: Call, moto: Forward) -> Answer:
        """Launch an instance, or answer a known client token as EC2 does."""
        call = {name: value for name, value in call.items() if name not in SIGNATURE}
        with self._one_at_a_time:
            asked, answer = self._launches.get(call["ClientToken"], (call, None))
            if answer is None:
                answer = moto()
                if answer.status == 200:
                    self._launches[call["ClientToken"]] = call, answer
                return answer
        if asked != call:
            return error("IdempotentParameterMismatch")
        (instance_id,) = answer.find("instanceId")
        return answer if self._is_there(instance_id) else error("IdempotentInstanceTerminated")

    def _assign(self, call: Call, _moto: Forward) -> Answer:
        """Assign IPv6 prefixes to a network interface."""
        interface, count = call["NetworkInterfaceId"], int(call["Ipv6PrefixCount"])
        self.prefixes[interface] = self.prefixes.get(interface, 0) + count
        return answer_of("AssignIpv6Addresses", "")

    def _describe(self, _call: Call, moto: Forward) -> Answer:
        """Add the prefixes to the description of the instance."""
        answer = moto()
        body = answer.body.decode()
        for interface, count in self.prefixes.items():
            name = f"<networkInterfaceId>{interface}</networkInterfaceId>"
            items = "<item><ipv6Prefix>2001:db8::/80</ipv6Prefix></item>" * count
            body = body.replace(name, f"{name}<ipv6PrefixSet>{items}</ipv6PrefixSet>")
        return Answer(answer.status, body.encode())

    def _assume(self, call: Call, _moto: Forward) -> Answer:
        """Return access keys for a web identity."""
        key = self.identities.get(call["WebIdentityToken"])
        if key is None:
            message = "<Error><Code>InvalidIdentityToken</Code><Message>so it is</Message></Error>"
            return Answer(400, f"<ErrorResponse>{message}</ErrorResponse>".encode())
        values = {
            "AccessKeyId": key,
            "SecretAccessKey": "secret",
            "SessionToken": f"session of {key}",
            "Expiration": "2099-01-01T00:00:00Z",
        }
        content = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
        result = "AssumeRoleWithWebIdentityResult"
        metadata = "<ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata>"
        return answer_of(
            "AssumeRoleWithWebIdentity",
            f"<{result}><Credentials>{content}</Credentials></{result}>{metadata}",
        )


def _signature(environ: Mapping[str, Any]) -> dict[str, str]:
    """Return what a request was signed with: AWS4-HMAC-SHA256 Credential=KEY/DAY/REGION/…, …"""
    key, _day, region, *_ = f"{environ.get('HTTP_AUTHORIZATION', '')}///".split("/")
    token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
    return dict(zip(SIGNATURE, (key.rpartition("=")[2], region, token), strict=True))


IMITATIONS: Mapping[str, Callable[[Gate, Call, Forward], Answer]] = {
    "RunInstances": Gate._launch,
    "AssignIpv6Addresses": Gate._assign,
    "DescribeInstances": Gate._describe,
    "AssumeRoleWithWebIdentity": Gate._assume,
}
