"""The command line of a driver process. Every rendered driver has the same options."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cmi.serving import process

if TYPE_CHECKING:
    import typer

    from cmi.driver import Driver
    from cmi.endpoint import Endpoint

# Slow imports happen late, after the signal handlers are installed.


def driver_app(make_driver: "Callable[[], Driver]") -> Callable[[], None]:
    """Return the entrypoint of a process that serves the driver returned by `make_driver`.

    The driver's name and version are those of the installed distribution that contains the
    top-level package of `make_driver`.
    """

    def main() -> None:
        process.prepare()
        command_line(make_driver)()

    return main


def command_line(make_driver: "Callable[[], Driver]") -> "typer.Typer":
    """Return the command line of the driver returned by `make_driver`."""
    import typer

    from cmi.endpoint import DEFAULT_ENDPOINT, ENDPOINT_VARIABLE, Endpoint, EndpointError
    from cmi.serving.options import (
        DEFAULT_CALL_TIMEOUT,
        DEFAULT_GRACE_PERIOD,
        DEFAULT_MAX_BYTES_IN_FLIGHT,
        DEFAULT_MAX_CALLS,
        DEFAULT_MAX_REQUEST_BYTES,
        LogFormat,
        LogLevel,
        ServerOptions,
    )

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
            typer.Option(metavar="FILE", help="PEM with the certificate; reloaded when renewed."),
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
            typer.Option(
                metavar="HOST:PORT", help="Serve health checks here too, always in plain text."
            ),
        ] = None,
        metrics_address: Annotated[
            str | None,
            typer.Option(metavar="HOST:PORT", help="Serve Prometheus metrics here, over HTTP."),
        ] = None,
        tracing: Annotated[
            bool,
            typer.Option("--tracing", help="Send traces over OTLP, as the OTEL_* variables say."),
        ] = False,
        call_timeout: Annotated[
            float, typer.Option(min=0.001, help="Maximum duration of a machine call, in seconds.")
        ] = DEFAULT_CALL_TIMEOUT,
        max_calls: Annotated[
            int, typer.Option(min=1, help="Maximum machine calls at once; more calls wait.")
        ] = DEFAULT_MAX_CALLS,
        max_request_bytes: Annotated[
            int, typer.Option(min=1024, help="Maximum size of a request.")
        ] = DEFAULT_MAX_REQUEST_BYTES,
        max_bytes_in_flight: Annotated[
            int, typer.Option(min=1024, help="Maximum size of all running requests together.")
        ] = DEFAULT_MAX_BYTES_IN_FLIGHT,
        grace_period: Annotated[
            float, typer.Option(min=0, help="Seconds that running calls get after SIGTERM.")
        ] = DEFAULT_GRACE_PERIOD,
        log_level: Annotated[LogLevel, typer.Option(help="Minimum severity.")] = LogLevel.INFO,
        log_format: Annotated[
            LogFormat | None, typer.Option(help="[default: text on a terminal, else json]")
        ] = None,
        version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    ) -> None:
        import asyncio

        from cmi.errors import StartupError
        from cmi.serving import logs
        from cmi.serving.identity import PluginInfo
        from cmi.serving.server import serve
        from cmi.tls import TlsFiles
        from cmi.version import VERSION

        logs.configure(log_level, log_format)
        try:
            plugin = PluginInfo.of_package(package)
            if version:
                typer.echo(f"{plugin.name} {plugin.version}, of mcm-provider-template {VERSION}")
                return
            options = ServerOptions(
                endpoint=Endpoint.resolve(endpoint),
                insecure=insecure,
                tls=TlsFiles.resolve(tls_cert, tls_key, tls_client_ca, ca_option="--tls-client-ca"),
                health_address=_address("--health-address", health_address),
                metrics_address=_address("--metrics-address", metrics_address),
                tracing=tracing,
                call_timeout=call_timeout,
                max_calls=max_calls,
                max_request_bytes=max_request_bytes,
                max_bytes_in_flight=max_bytes_in_flight,
                grace_period=grace_period,
            )
            asyncio.run(serve(make_driver(), plugin, options))
        except (StartupError, EndpointError) as error:
            logs.flush()
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None

    return app


def _address(option: str, text: str | None) -> "Endpoint | None":
    from cmi.endpoint import Endpoint, EndpointError
    from cmi.errors import StartupError

    if text is None:
        return None
    try:
        return Endpoint.parse(f"tcp://{text}")
    except EndpointError:
        raise StartupError(
            f"{option} {text!r} is not of the form host:port; an example is 127.0.0.1:9090"
        ) from None
