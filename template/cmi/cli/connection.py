"""The connection to the driver: options that all commands share."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from cmi.cli import errors
from cmi.client import Client
from cmi.endpoint import DEFAULT_ENDPOINT, ENDPOINT_VARIABLE, Endpoint
from cmi.tls import TlsFiles

EndpointOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help=f"The driver's address. [default: ${ENDPOINT_VARIABLE}, else {DEFAULT_ENDPOINT}]"
    ),
]
TlsCa: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="PEM with the driver's CA.")
]
TlsCert: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="PEM with your certificate.")
]
TlsKey: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="PEM with its private key.")
]
TlsServerName: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The name in the driver's certificate, if not its address."),
]
Insecure: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--insecure",
        help="Send secrets in plain text to an address beyond loopback.",
        show_default=False,
    ),
]
TimeoutOption: TypeAlias = Annotated[float, typer.Option(min=0.001, help="Deadline in seconds.")]


@dataclass(frozen=True, kw_only=True)
class Given:
    """The connection options, as written on the command line."""

    endpoint: EndpointOption = None
    tls_ca: TlsCa = None
    tls_cert: TlsCert = None
    tls_key: TlsKey = None
    tls_server_name: TlsServerName = None
    insecure: Insecure = None


_NOTHING: Final = Given()
before_the_command: ContextVar[Given] = ContextVar("before_the_command", default=_NOTHING)


@dataclass(frozen=True)
class Connection:
    """A driver's address, and how to call it.

    Attributes:
        endpoint: The address.
        tls: The files for TLS; None means plain text.
        timeout: The deadline of a call, in seconds.
        insecure: Allow plain text to an address beyond loopback.
    """

    endpoint: Endpoint
    tls: TlsFiles | None
    timeout: float
    insecure: bool

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Open a client; an error in this context ends the command with one line and code 1."""
        with (
            errors.in_one_line(self.endpoint),
            Client(self.endpoint, self.timeout, self.tls, insecure=self.insecure) as client,
        ):
            yield client


def connected(timeout: float = 300.0) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the connection options, and pass it the resulting `connection`.

    Args:
        timeout: The default deadline of its calls, in seconds.
    """
    options = {
        name: inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        for name, annotation, default in (
            *((name, kind, None) for name, kind in Given.__annotations__.items()),
            ("timeout", TimeoutOption, timeout),
        )
    }

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**arguments: Any) -> None:
            seconds = arguments.pop("timeout")
            after = {name: arguments.pop(name) for name in Given.__annotations__}
            command(connection=_connection(after, seconds), **arguments)

        # typer derives a command's options from its signature.
        own = [
            each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, each in inspect.signature(command).parameters.items()
            if name != "connection"
        ]
        parameters = [*own, *options.values()]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        del run.__wrapped__
        return run

    return decorate


def _connection(after: dict[str, Any], timeout: float) -> Connection:
    before = before_the_command.get()
    given = {
        name: getattr(before, name) if value is None else value for name, value in after.items()
    }
    with errors.in_one_line():
        tls = TlsFiles.resolve(
            given["tls_cert"],
            given["tls_key"],
            given["tls_ca"],
            ca_option="--tls-ca",
            server_name=given["tls_server_name"] or "",
        )
        return Connection(
            Endpoint.resolve(given["endpoint"]), tls, timeout, insecure=bool(given["insecure"])
        )
