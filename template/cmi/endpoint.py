"""Endpoints: `tcp://127.0.0.1:8080`, `tcp://[::1]:8080`, `unix:///run/driver.sock` (C52)."""

import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from urllib.parse import quote

DEFAULT_ENDPOINT = "tcp://127.0.0.1:8080"
"""Where a driver serves, and where the client looks for one, unless they are told otherwise."""

ENDPOINT_VARIABLE = "CMI_ENDPOINT"
"""The environment variable that the contract names for the listen address."""

_TCP = re.compile(r"tcp://(?P<host>\[[^\[\]/]+\]|[^:/\[\]\s]+):(?P<port>[0-9]{1,5})")
_MAX_UNIX_PATH_BYTES = 103
"""The smallest limit of all supported systems (macOS: 104 with the terminating zero)."""


class EndpointError(ValueError):
    """The text is not an endpoint; the message says why and shows a valid one."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to listen on or to call: a TCP host and port, or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """Read `tcp://host:port` or `unix:///path`.

        Port 0 asks the system for a free port when listening.

        Raises:
            EndpointError: `text` has another form.
        """
        if text.startswith("unix://"):
            return cls(path=_unix_path(text))
        match = _TCP.fullmatch(text)
        if match is None:
            raise _refused(text, "it has neither the form tcp://host:port nor unix:///path")
        host, port = match["host"], int(match["port"])
        if port > 65535:
            raise _refused(text, "the port is above 65535")
        if host.startswith("[") and not _is_ipv6(host[1:-1]):
            raise _refused(text, "the brackets hold no IPv6 address")
        return cls(host=host, port=port)

    @classmethod
    def resolve(cls, flag: str | None) -> "Endpoint":
        """Return the endpoint of the flag, else of CMI_ENDPOINT, else the default.

        Raises:
            EndpointError: The endpoint is malformed. An empty one is malformed too.
        """
        if flag is not None:
            return cls.parse(flag)
        return cls.parse(os.environ.get(ENDPOINT_VARIABLE, DEFAULT_ENDPOINT))

    @property
    def target(self) -> str:
        """The address in the form that gRPC expects for ports and channels."""
        return f"unix:{quote(self.path)}" if self.path else f"{self.host}:{self.port}"

    def addresses(self) -> list[str]:
        """Return the IP addresses of the host, each once, in the order of preference.

        Raises:
            OSError: The host has no address.
            UnicodeError: The host is not a valid host name.
        """
        found = socket.getaddrinfo(self.host.strip("[]"), self.port, type=socket.SOCK_STREAM)
        return [*dict.fromkeys(str(address[0]) for *_, address in found)]

    @property
    def is_local(self) -> bool:
        """True if only processes of this machine can reach it: loopback or a Unix socket.

        For a name, all addresses have to be loopback addresses, even for `localhost`: what a name
        means depends on the machine's configuration.
        """
        if self.path:
            return True
        try:
            return all(_is_loopback(address) for address in self.addresses())
        except (OSError, UnicodeError):
            return False

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.path else f"tcp://{self.host}:{self.port}"


def _unix_path(text: str) -> str:
    path = text.removeprefix("unix://")
    if not path.startswith("/") or path.endswith("/"):
        raise _refused(text, "the path of a Unix socket is absolute and names a file")
    if len(os.fsencode(path)) > _MAX_UNIX_PATH_BYTES:
        raise _refused(text, f"the path is longer than {_MAX_UNIX_PATH_BYTES} bytes")
    return path


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _refused(text: str, reason: str) -> EndpointError:
    return EndpointError(f"endpoint {text!r}: {reason}; use for example {DEFAULT_ENDPOINT}")
