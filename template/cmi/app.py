"""The command line of a driver process. Every rendered driver has the same options."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from cmi.driver import Driver
from cmi.endpoint import DEFAULT_ENDPOINT, ENDPOINT_VARIABLE, Endpoint, EndpointError
from cmi.errors import StartupError
from cmi.serving import logs
from cmi.serving.identity import PluginInfo
from cmi.serving.logs import LogFormat, LogLevel
from cmi.serving.server import (
    DEFAULT_CALL_TIMEOUT,
    DEFAULT_GRACE_PERIOD,
    DEFAULT_MAX_CALLS,
    ServerOptions,
    serve,
)
from cmi.tls import TlsFiles


def driver_app(make_driver: Callable[[], Driver]) -> typer.Typer:
    """Return the command line that serves the driver which `make_driver` returns.

    The driver's name and version are those of the installed distribution that holds the
    top-level package of `make_driver`.
    """
    package = make_driver.__module__.partition(".")[0]
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

    @app.command(help=f"Serve {package} to machine-controller-manager.")
    def main(
        endpoint: Annotated[
            str | None,
            typer.Option(
                help="Listen address, tcp://host:port or unix:///path. "
                f"[default: ${ENDPOINT_VARIABLE}, else {DEFAULT_ENDPOINT}]"
            ),
        ] = None,
        tls_cert: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="PEM with the certificate; renewals are noticed."),
        ] = None,
        tls_key: Annotated[
            Path | None, typer.Option(metavar="FILE", help="PEM with its private key.")
        ] = None,
        tls_client_ca: Annotated[
            Path | None, typer.Option(metavar="FILE", help="PEM with the CA of all clients.")
        ] = None,
        insecure: Annotated[
            bool,
            typer.Option(
                "--insecure", help="Allow an address that other machines can reach, without TLS."
            ),
        ] = False,
        health_address: Annotated[
            str | None,
            typer.Option(metavar="HOST:PORT", help="Serve health there too, always in plain text."),
        ] = None,
        metrics_address: Annotated[
            str | None,
            typer.Option(metavar="HOST:PORT", help="Serve Prometheus metrics there, over HTTP."),
        ] = None,
        call_timeout: Annotated[
            float, typer.Option(min=0.001, help="Longest duration of a machine call, in seconds.")
        ] = DEFAULT_CALL_TIMEOUT,
        max_calls: Annotated[
            int, typer.Option(min=1, help="Most machine calls in flight.")
        ] = DEFAULT_MAX_CALLS,
        grace_period: Annotated[
            float, typer.Option(min=0, help="Seconds that calls in flight get after SIGTERM.")
        ] = DEFAULT_GRACE_PERIOD,
        log_level: Annotated[LogLevel, typer.Option(help="Least severe records.")] = LogLevel.INFO,
        log_format: Annotated[
            LogFormat | None, typer.Option(help="[default: text on a terminal, else json]")
        ] = None,
        version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    ) -> None:
        logs.configure(log_level, log_format)
        try:
            plugin = PluginInfo.of_package(package)
            if version:
                typer.echo(f"{plugin.name} {plugin.version}")
                return
            options = ServerOptions(
                endpoint=Endpoint.resolve(endpoint),
                insecure=insecure,
                tls=TlsFiles.resolve(tls_cert, tls_key, tls_client_ca, ca_option="--tls-client-ca"),
                health_address=_address("--health-address", health_address),
                metrics_address=_address("--metrics-address", metrics_address),
                call_timeout=call_timeout,
                max_calls=max_calls,
                grace_period=grace_period,
            )
            asyncio.run(serve(make_driver(), plugin, options))
        except (StartupError, EndpointError) as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None

    return app


def _address(option: str, text: str | None) -> Endpoint | None:
    if text is None:
        return None
    try:
        return Endpoint.parse(f"tcp://{text}")
    except EndpointError:
        raise StartupError(
            f"{option} {text!r} has not the form host:port; use for example 127.0.0.1:9090"
        ) from None
