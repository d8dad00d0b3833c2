"""`cmi conformance`: runs the conformance kit against a running driver."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import grpc
import typer

from cmi.cli import errors
from cmi.cli.connection import Connection, connected
from cmi.cli.options import ClassNameOption, ClassOption, SecretOption, machine_class_of
from cmi.client import MachineClass
from cmi.manifests import read_volumes

if TYPE_CHECKING:
    from cmi.conformance import Target


@connected()
def conformance(
    connection: Connection,
    class_file: ClassOption,
    secret_files: SecretOption = None,
    class_name: ClassNameOption = "",
    other_class_file: Annotated[
        Path | None,
        typer.Option("--other-class", metavar="FILE", help="MachineClass of another cluster."),
    ] = None,
    changed_class_file: Annotated[
        Path | None,
        typer.Option("--changed-class", metavar="FILE", help="Same cluster, VMs of another size."),
    ] = None,
    moved_class_file: Annotated[
        Path | None,
        typer.Option("--moved-class", metavar="FILE", help="Same cluster, another region."),
    ] = None,
    volumes_file: Annotated[
        Path | None,
        typer.Option(
            "--volumes", metavar="FILE", help="PersistentVolumes, some in the driver's cloud."
        ),
    ] = None,
    items: Annotated[str, typer.Option(help="Only these items, such as C10,C17.")] = "",
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a JUnit report.")
    ] = None,
    clean_up: Annotated[
        bool,
        typer.Option("--clean-up", help="Delete what killed runs left behind, without asking."),
    ] = False,
    max_machines: Annotated[
        int | None,
        typer.Option(min=3, help="Maximum machines at once; C31 creates that many. [default: 3]"),
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, help="Maximum calls at once.")] = 10,
    patience: Annotated[
        float, typer.Option(min=0, help="How long to repeat ABORTED or UNAVAILABLE calls, in s.")
    ] = 60.0,
) -> None:
    """Check a driver against the conformance list.

    The driver may be written in any language. The check creates machines of the class, in its
    cluster and in others derived from it, and deletes them again. It never touches machines that
    it did not create.
    """
    try:
        from cmi.conformance import Target, command
    except ModuleNotFoundError as error:
        if error.name == "cmi.conformance":
            errors.fail("an installed driver has no conformance kit; run this in its project")
        errors.fail(f"the conformance kit needs {error.name}; install it with pip")

    try:
        wanted = command.parse_items(items) if items else []
    except command.UnknownItemError as error:
        errors.fail(f"--items: {error}")

    def other(path: Path | None) -> MachineClass | None:
        return machine_class_of(path, secret_files) if path else None

    with errors.in_one_line(connection.endpoint):
        target = Target(
            endpoint=connection.endpoint,
            machine_class=machine_class_of(class_file, secret_files, class_name),
            other_class=other(other_class_file),
            changed_class=other(changed_class_file),
            moved_class=other(moved_class_file),
            volumes=json.loads(read_volumes(volumes_file)) if volumes_file else (),
            tls=connection.tls,
            insecure=connection.insecure,
            timeout=connection.timeout,
            patience=patience,
            parallel=parallel,
            max_machines=max_machines,
        )
    with connection.client() as client, _unless_unimplemented():
        client.info()
    _offer_clean_up(target, clean_up)
    raise typer.Exit(command.run(target, wanted, junit))


@contextmanager
def _unless_unimplemented() -> Iterator[None]:
    """Accept a driver that answers but does not have the RPC."""
    try:
        yield
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
            raise


def _offer_clean_up(target: "Target", without_asking: bool) -> None:
    """Delete machines that earlier runs of the kit left behind, if the user agrees."""
    from cmi.conformance import leftovers

    found = leftovers.find(target)
    if not found:
        return
    for each in found:
        typer.echo(f"left behind by an earlier run: {each.name}  {each.provider_id}")
    if not without_asking and sys.stdin.isatty():
        without_asking = typer.confirm("Delete them? Say no if another run is in progress.")
    elif not without_asking:
        typer.echo("delete them with --clean-up, unless another run is in progress")
    if without_asking:
        for machine in leftovers.delete(target, found):
            typer.echo(f"can't be deleted: {machine}", err=True)
