"""The commands for machines: each makes the same calls as machine-controller-manager."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer

from cmi.cli import errors, many, watching
from cmi.cli.connection import Connection, connected
from cmi.cli.options import (
    ClassNameOption,
    ClassOption,
    IdOption,
    NameArgument,
    OutputOption,
    SecretOption,
    StateOption,
    machine_class_of,
)
from cmi.cli.output import Output, print_line, print_rows, print_table
from cmi.client import Client, MachineClass
from cmi.manifests import read_volumes
from cmi.v1 import cmi_pb2


@connected()
def create(
    connection: Connection,
    name: NameArgument,
    class_file: ClassOption,
    secret_files: SecretOption = None,
    class_name: ClassNameOption = "",
    count: Annotated[
        int | None, typer.Option(min=1, help="Create this many: NAME-1, NAME-2 and so on.")
    ] = None,
    last_known_state: StateOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Create a machine, or several at once."""
    names = [name] if count is None else [f"{name}-{number}" for number in range(1, count + 1)]
    with connection.client() as client:
        machine_class = machine_class_of(class_file, secret_files, class_name)
        result = many.call(
            "Creating", names, lambda each: client.create(machine_class, each, last_known_state)
        )
    if result.answers:
        _print_machines(result.answers, output, as_list=count is not None)
    result.end()


@connected()
def initialize(
    connection: Connection,
    name: NameArgument,
    class_file: ClassOption,
    secret_files: SecretOption = None,
    class_name: ClassNameOption = "",
    provider_id: IdOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Do the remaining steps for a created machine, if the driver has any."""
    with connection.client() as client:
        machine_class = machine_class_of(class_file, secret_files, class_name)
        answer = client.initialize(machine_class, name, provider_id)
    _print_machines({name: answer}, output, as_list=False)


@connected()
def status(
    connection: Connection,
    name: NameArgument,
    class_file: ClassOption,
    secret_files: SecretOption = None,
    class_name: ClassNameOption = "",
    provider_id: IdOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Print a machine's provider ID and node name."""
    with connection.client() as client:
        machine_class = machine_class_of(class_file, secret_files, class_name)
        answer = client.status(machine_class, name, provider_id)
    _print_machines({name: answer}, output, as_list=False)


@connected()
def list_machines(
    connection: Connection,
    class_file: ClassOption,
    secret_files: SecretOption = None,
    class_name: ClassNameOption = "",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Keep printing changes until Ctrl-C.")
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two lists with --watch.")
    ] = 2.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the machines of the class's cluster and role."""
    if watch and not output.is_table:
        errors.fail("--watch only prints a table; remove --output")
    with connection.client() as client:
        machine_class = machine_class_of(class_file, secret_files, class_name)
        if watch:
            watching.watch(
                lambda: client.list_machines(machine_class), interval, connection.endpoint
            )
        machines = client.list_machines(machine_class)
        rows = _by_name(machines)
        if output is Output.WIDE:
            nodes = _node_names(client, machine_class, machines)
            print_table(
                ("MACHINE", "PROVIDER ID", "NODE NAME"), [(*row, nodes[row[1]]) for row in rows]
            )
            return
    in_order = {provider_id: name for name, provider_id in rows}
    print_rows(("MACHINE", "PROVIDER ID"), rows, output, in_order)


@connected()
def shutdown(
    connection: Connection,
    name: NameArgument,
    class_file: ClassOption,
    secret_files: SecretOption = None,
    class_name: ClassNameOption = "",
    provider_id: IdOption = "",
    last_known_state: StateOption = "",
) -> None:
    """Stop a machine without deleting it."""
    with connection.client() as client:
        machine_class = machine_class_of(class_file, secret_files, class_name)
        client.shut_down(machine_class, name, provider_id, last_known_state)
    print_line(f"{name} is shut down", "good")


@connected()
def delete(
    connection: Connection,
    class_file: ClassOption,
    name: Annotated[str | None, typer.Argument(help="The machine's name.")] = None,
    secret_files: SecretOption = None,
    class_name: ClassNameOption = "",
    all_machines: Annotated[
        bool, typer.Option("--all", help="All machines of the class's cluster and role.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before --all.")] = False,
    provider_id: IdOption = "",
    last_known_state: StateOption = "",
) -> None:
    """Delete a machine, or all machines of a class."""
    if all_machines == (name is not None):
        errors.fail("name one machine, or use --all")
    with connection.client() as client:
        machine_class = machine_class_of(class_file, secret_files, class_name)
        if name is not None:
            client.delete(machine_class, name, provider_id, last_known_state)
            print_line(f"{name} is deleted", "good")
            return
        machines = client.list_machines(machine_class)
        if not machines:
            print_line("there are no machines", "good")
            return
        if not yes:
            _confirm_deletion(machines)
        result = many.call(
            "Deleting",
            [*machines],
            lambda each: client.delete(machine_class, machines[each], each),
            label=lambda each: machines[each],
        )
    style = "good" if len(result.answers) == len(machines) else ""
    print_line(f"deleted {len(result.answers)} of {len(machines)} machines", style)
    result.end()


@connected()
def volumes(
    connection: Connection,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML with PersistentVolumes.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Print the IDs of the volumes that are in the driver's cloud."""
    with connection.client() as client:
        volume_ids = client.volume_ids(read_volumes(file))
    print_rows(("VOLUME ID",), [(volume_id,) for volume_id in volume_ids], output, volume_ids)


def _by_name(machines: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted((name, provider_id) for provider_id, name in machines.items())


def _node_names(
    client: Client, machine_class: MachineClass, machines: Mapping[str, str]
) -> dict[str, str]:
    """Return the node name of each machine by provider ID, or the code of its status."""

    def ask(provider_id: str) -> str:
        try:
            return client.status(machine_class, machines[provider_id], provider_id).NodeName
        except grpc.RpcError as error:
            return error.code().name

    return many.call("Asking", [*machines], ask).answers


def _confirm_deletion(machines: Mapping[str, str]) -> None:
    if not sys.stdin.isatty():
        errors.fail("--all asks before it deletes; use --yes if nobody can answer")
    print_table(("MACHINE", "PROVIDER ID"), _by_name(machines))
    if not typer.confirm(f"Delete all {len(machines)}?"):
        errors.fail("nothing was deleted")


def _print_machines(answers: Mapping[str, Any], output: Output, *, as_list: bool) -> None:
    values = [
        {"MachineName": name, "ProviderID": answer.ProviderID, "NodeName": answer.NodeName}
        for name, answer in answers.items()
    ]
    header = ["MACHINE", "PROVIDER ID", "NODE NAME"]
    rows = [[*value.values()] for value in values]
    for answer, value in zip(answers.values(), values, strict=True):
        if isinstance(answer, cmi_pb2.CreateMachineResponse) and answer.LastKnownState:
            value["LastKnownState"] = answer.LastKnownState.decode(errors="replace")
    if output is Output.WIDE:
        header.append("LAST KNOWN STATE")
        rows = [
            [*row, value.get("LastKnownState", "")] for row, value in zip(rows, values, strict=True)
        ]
    print_rows(header, rows, output, values if as_list else values[0])
