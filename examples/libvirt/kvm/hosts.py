"""The hosts that the driver may use, and the connections to them.

The operator lists the hosts in `LIBVIRT_HOSTS`, and a machine class names one of them. A class
never contains a URI: `qemu+ssh` and others start programs and read files where the driver runs.
"""

import os
import re
import threading
from collections.abc import Mapping
from functools import cache, partial
from typing import Any, Final

import libvirt
from cmi import FailedPrecondition, InvalidArgument, StartupError, Unavailable, run_blocking

from .apis.provider_spec import Credentials
from .errors import has_number

VARIABLE: Final = "LIBVIRT_HOSTS"
EXAMPLE: Final = "rack1=qemu+tls://rack1.example/system rack2=qemu:///system"
KEEPALIVE_SECONDS: Final = 5
KEEPALIVE_COUNT: Final = 3
"""A host that answers none of so many messages is lost, and calls to it fail."""
MAX_CONNECTIONS: Final = 100
PATIENCE: Final = 30.0
"""How many seconds a call waits while another one opens the connection. Its thread would stay, even
after its machine call has ended."""

_is_host = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,62})=([a-z0-9+]+://\S*)").fullmatch
_Key = tuple[str, str, str]


def hosts_from_environment() -> dict[str, str]:
    """Return the URIs of the hosts, by name.

    Raises:
        StartupError: The variable is missing or malformed.
    """
    matches = [*map(_is_host, os.environ.get(VARIABLE, "").split())]
    hosts = {match[1]: match[2] for match in matches if match}
    if not hosts or len(hosts) < len(matches):
        raise StartupError(f"{VARIABLE} does not name each host once, as in: {EXAMPLE}")
    return hosts


class Connections:
    """Connections by host and credentials, each opened once, and again after it was lost."""

    def __init__(self, uris: Mapping[str, str]) -> None:
        self._uris = uris
        self._open: dict[_Key, libvirt.virConnect] = {}
        self._locks: dict[_Key, threading.Lock] = {}
        _run_events()

    def connect(self, host: str, credentials: Credentials) -> libvirt.virConnect:
        """Return a connection that was alive a moment ago. Blocks while it is opened.

        Raises:
            InvalidArgument: The operator's list has no such host.
            Unavailable: Another call is trying to connect, and the host does not answer it.
            libvirt.libvirtError: The host does not answer, or refuses the credentials.
        """
        if host not in self._uris:
            raise InvalidArgument(
                f"providerSpec.host: {host} is none of the driver's hosts: {', '.join(self._uris)}"
            )
        key = (host, _text(credentials.username), _text(credentials.password))
        lock = self._locks.setdefault(key, threading.Lock())
        if not lock.acquire(timeout=PATIENCE):
            raise Unavailable(f"host {host} takes long to answer; try again")
        try:
            connection = self._open.get(key)
            if connection is None or not connection.isAlive():
                connection = self._open[key] = self._new(key)
            return connection
        finally:
            lock.release()
            self._forget_oldest()

    def check(self) -> None:
        """Check that one of the hosts answers, with or without credentials (C6).

        Raises:
            FailedPrecondition: None does.
        """
        if any(connection.isAlive() for connection in [*self._open.values()]):
            return
        problems = [run_blocking(partial(self._problem, name)) for name in self._uris]
        if all(problems):
            raise FailedPrecondition(f"no host of {VARIABLE} answers: {'; '.join(problems)}")

    def _problem(self, host: str) -> str:
        try:
            self.connect(host, Credentials())
        except libvirt.libvirtError as error:
            if has_number(error, libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_AUTH_CANCELLED):
                return ""  # it answers, and the credentials come with each call
            return f"{host}: {error}"
        return ""

    def _new(self, key: _Key) -> libvirt.virConnect:
        host, username, password = key
        answers = {
            libvirt.VIR_CRED_AUTHNAME: username,
            libvirt.VIR_CRED_ECHOPROMPT: username,
            libvirt.VIR_CRED_PASSPHRASE: password,
            libvirt.VIR_CRED_NOECHOPROMPT: password,
        }

        def answer(questions: list[list[Any]], _: None) -> int:
            for question in questions:  # its kind, three texts, and the place for the answer
                question[4] = answers[question[0]]
            return 0 if username and password else -1

        connection = libvirt.openAuth(self._uris[host], [[*answers], answer, None])
        try:
            connection.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT)
        except libvirt.libvirtError as error:
            if not has_number(error, libvirt.VIR_ERR_NO_SUPPORT):  # it is not a remote one
                raise
        return connection

    def _forget_oldest(self) -> None:
        """Forget old connections, which are closed once no call uses them, and old credentials."""
        places: tuple[dict[_Key, Any], ...] = (self._open, self._locks)
        for place in places:
            for key in [*place][:-MAX_CONNECTIONS]:
                place.pop(key, None)


def _text(secret: Any) -> str:
    return secret.get_secret_value() if secret else ""


@cache
def _run_events() -> None:
    """Run libvirt's event loop, which keeps connections alive and notices those that are lost."""
    libvirt.registerErrorHandler(lambda _context, _error: None, None)  # it prints otherwise
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_events, name="libvirt-events", daemon=True).start()


def _events() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()
