"""`cmi --version`."""

from importlib.metadata import entry_points

import typer

from cmi.contract import MACHINE
from cmi.version import VERSION


def show(wanted: bool) -> None:
    """Print the versions of the template, the contract and the driver's project."""
    if wanted:
        of = [
            f", installed with {command.dist.name} {command.dist.version}"
            for command in entry_points(group="console_scripts", name="cmi")
            if command.dist
        ]
        typer.echo("".join([f"cmi {VERSION} for the contract {MACHINE.file.package}", *of[:1]]))
        raise typer.Exit
