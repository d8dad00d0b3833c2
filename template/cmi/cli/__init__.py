"""`cmi`: calls a running driver, using the files that `kubectl apply` reads."""

from typing import Annotated

import typer

from cmi.cli import connection, identity, kit, machines, version
from cmi.cli.connection import EndpointOption, Insecure, TlsCa, TlsCert, TlsKey, TlsServerName

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def options(
    endpoint: EndpointOption = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_server_name: TlsServerName = None,
    insecure: Insecure = None,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=version.show),
    ] = False,
) -> None:
    """Call a running driver for machine-controller-manager.

    Connection options can be written before the command or after it.
    """
    connection.before_the_command.set(
        connection.Given(
            endpoint=endpoint,
            tls_ca=tls_ca,
            tls_cert=tls_cert,
            tls_key=tls_key,
            tls_server_name=tls_server_name,
            insecure=insecure,
        )
    )


app.command()(identity.info)
app.command()(identity.probe)
app.command()(machines.create)
app.command()(machines.initialize)
app.command()(machines.status)
app.command("list")(machines.list_machines)
app.command()(machines.shutdown)
app.command()(machines.delete)
app.command()(machines.volumes)
app.command()(kit.conformance)


def main() -> None:
    """Run the command `cmi`."""
    app(prog_name="cmi")
