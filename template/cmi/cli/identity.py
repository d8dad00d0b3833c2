"""`cmi info` and `cmi probe`."""

import typer
from google.protobuf.json_format import MessageToDict

from cmi.cli.connection import Connection, connected
from cmi.cli.options import OutputOption
from cmi.cli.output import Output, print_line, print_rows


@connected(timeout=10.0)
def info(connection: Connection, output: OutputOption = Output.TABLE) -> None:
    """Print the driver's name, version and capabilities."""
    with connection.client() as client:
        answer, capabilities = client.info(), client.capabilities()
    if output is Output.NAME:
        print_line(answer.name)
        return
    fields = [("name", answer.name), ("version", answer.version)]
    names = ["capabilities", *[""] * (len(capabilities) - 1)]
    print_rows(
        ("FIELD", "VALUE"),
        [*fields, *sorted(answer.manifest.items()), *zip(names, capabilities or [""], strict=True)],
        output,
        MessageToDict(answer) | {"capabilities": capabilities},
    )


@connected(timeout=10.0)
def probe(connection: Connection) -> None:
    """Check whether the driver is ready; exit with 1 if it is not."""
    with connection.client() as client:
        ready = client.probe()
    if ready:
        print_line("ready", "good")
    else:
        print_line("not ready yet", "bad")
        raise typer.Exit(1)
