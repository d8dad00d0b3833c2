"""`cmi --version`."""

from importlib.metadata import entry_points

import typer

from cmi.contract import MACHINE


def show(wanted: bool) -> None:
    """Print the version of the contract, and of the project that the command is installed with."""
    if wanted:
        of = [
            f", of {command.dist.name} {command.dist.version}"
            for command in entry_points(group="console_scripts", name="cmi")
            if command.dist
        ]
        typer.echo("".join([f"cmi for the contract {MACHINE.file.package}", *of[:1]]))
        raise typer.Exit
