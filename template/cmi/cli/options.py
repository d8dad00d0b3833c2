"""Options that several commands share, and the machine class that they select."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from cmi.cli.output import Output, hide
from cmi.client import MachineClass
from cmi.manifests import read_machine_class

CLASS_VARIABLE = "MCM_CLASS"
SECRET_VARIABLE = "MCM_SECRET"  # noqa: S105 - the name of a variable

OutputOption: TypeAlias = Annotated[Output, typer.Option("--output", "-o", help="Output format.")]
ClassOption: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--class",
        metavar="FILE",
        envvar=CLASS_VARIABLE,
        help="The file with the MachineClass; - is standard input.",
    ),
]
ClassNameOption: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help="The MachineClass, if the file has several.")
]
SecretOption: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--secret",
        metavar="FILE",
        envvar=SECRET_VARIABLE,
        help="A file with its Secrets; can be repeated.",
    ),
]
NameArgument: TypeAlias = Annotated[str, typer.Argument(help="The machine's name.")]
IdOption: TypeAlias = Annotated[str, typer.Option(help="The provider ID, if known.")]
StateOption: TypeAlias = Annotated[str, typer.Option(help="The driver's last state.")]


def machine_class_of(
    class_file: Path, secret_files: list[Path] | None, name: str = ""
) -> MachineClass:
    """Return the machine class that the options select, with its secrets.

    Raises:
        ManifestError: A file can't be read, or the selection is ambiguous.
    """
    machine_class = read_machine_class(class_file, secret_files or (), name=name)
    hide(machine_class.secrets)
    return machine_class
