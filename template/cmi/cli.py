"""`python -m cmi`: talk to a running driver, with the YAML that kubectl applies."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeAlias

import grpc
import typer
from google.protobuf.json_format import MessageToDict

from cmi.client import Client, MachineClass
from cmi.endpoint import DEFAULT_ENDPOINT, ENDPOINT_VARIABLE, Endpoint, EndpointError
from cmi.manifests import ManifestError, read_provider_spec, read_secret, read_volumes
from cmi.redaction import Redactor, Sources
from cmi.tls import TlsError, TlsFiles
from cmi.v1 import cmi_pb2

if TYPE_CHECKING:
    from cmi.conformance import Target


class Output(StrEnum):
    """How an answer is printed."""

    TABLE = "table"
    JSON = "json"


EndpointOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help=f"Where the driver listens. [default: ${ENDPOINT_VARIABLE}, else {DEFAULT_ENDPOINT}]"
    ),
]
TimeoutOption: TypeAlias = Annotated[float, typer.Option(min=0.001, help="Deadline in seconds.")]
OutputOption: TypeAlias = Annotated[
    Output, typer.Option("--output", "-o", help="Form of the answer.")
]
ClassOption: TypeAlias = Annotated[
    Path, typer.Option("--class", metavar="FILE", help="YAML with the MachineClass.")
]
SecretOption: TypeAlias = Annotated[
    Path | None, typer.Option("--secret", metavar="FILE", help="YAML with its Secret.")
]
NameArgument: TypeAlias = Annotated[str, typer.Argument(help="The machine's name.")]
IdOption: TypeAlias = Annotated[str, typer.Option(help="The provider ID, if known.")]
StateOption: TypeAlias = Annotated[str, typer.Option(help="What the driver answered last.")]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


_tls: ContextVar[TlsFiles | None] = ContextVar("tls", default=None)
"""What the options say that stand before the command."""
_insecure: ContextVar[bool] = ContextVar("insecure", default=False)

_redactor = Redactor()
"""Knows the secrets that this process sends: what a driver tells of them is not shown."""


@app.callback()
def options(
    tls_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM with the CA of the driver.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM with your certificate.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM with its private key.")
    ] = None,
    tls_server_name: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="The name in the driver's certificate, if it is not the address."
        ),
    ] = "",
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="Send secrets in plain text to an address beyond loopback."
        ),
    ] = False,
) -> None:
    """Talk to a running driver for machine-controller-manager."""
    _insecure.set(insecure)
    with _errors_in_one_line():
        files = TlsFiles.resolve(
            tls_cert, tls_key, tls_ca, ca_option="--tls-ca", server_name=tls_server_name
        )
    _tls.set(files)


@app.command()
def info(
    endpoint: EndpointOption = None,
    timeout: TimeoutOption = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Print the driver's name, version and capabilities."""
    with _client(endpoint, timeout) as client:
        answer, capabilities = client.info(), client.capabilities()
    rows = [("name", answer.name), ("version", answer.version), *sorted(answer.manifest.items())]
    if output is Output.JSON:
        _print_json(MessageToDict(answer) | {"capabilities": capabilities})
    else:
        _print_table(("FIELD", "VALUE"), [*rows, ("capabilities", ", ".join(capabilities))])


@app.command()
def probe(endpoint: EndpointOption = None, timeout: TimeoutOption = 10.0) -> None:
    """Tell whether the driver is ready; exit 1 if it is not."""
    with _client(endpoint, timeout) as client:
        ready = client.probe()
    typer.echo("ready" if ready else "not ready yet")
    raise typer.Exit(0 if ready else 1)


@app.command()
def create(
    name: NameArgument,
    class_file: ClassOption,
    secret_file: SecretOption = None,
    last_known_state: StateOption = "",
    endpoint: EndpointOption = None,
    timeout: TimeoutOption = 300.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Create a machine."""
    with _client(endpoint, timeout) as client:
        answer = client.create(_machine_class(class_file, secret_file), name, last_known_state)
    _print_machine(name, answer, output)


@app.command()
def status(
    name: NameArgument,
    class_file: ClassOption,
    secret_file: SecretOption = None,
    provider_id: IdOption = "",
    endpoint: EndpointOption = None,
    timeout: TimeoutOption = 300.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Print a machine's provider ID and node name."""
    with _client(endpoint, timeout) as client:
        answer = client.status(_machine_class(class_file, secret_file), name, provider_id)
    _print_machine(name, answer, output)


@app.command("list")
def list_machines(
    class_file: ClassOption,
    secret_file: SecretOption = None,
    endpoint: EndpointOption = None,
    timeout: TimeoutOption = 300.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the machines of the class's cluster and role."""
    with _client(endpoint, timeout) as client:
        machines = client.list_machines(_machine_class(class_file, secret_file))
    if output is Output.JSON:
        _print_json(machines)
    else:
        rows = sorted((name, provider_id) for provider_id, name in machines.items())
        _print_table(("MACHINE", "PROVIDER ID"), rows)


@app.command()
def shutdown(
    name: NameArgument,
    class_file: ClassOption,
    secret_file: SecretOption = None,
    provider_id: IdOption = "",
    last_known_state: StateOption = "",
    endpoint: EndpointOption = None,
    timeout: TimeoutOption = 300.0,
) -> None:
    """Stop a machine without deleting it."""
    with _client(endpoint, timeout) as client:
        machine_class = _machine_class(class_file, secret_file)
        client.shut_down(machine_class, name, provider_id, last_known_state)
    typer.echo(f"{name} is shut down")


@app.command()
def delete(
    name: NameArgument,
    class_file: ClassOption,
    secret_file: SecretOption = None,
    provider_id: IdOption = "",
    last_known_state: StateOption = "",
    endpoint: EndpointOption = None,
    timeout: TimeoutOption = 300.0,
) -> None:
    """Delete a machine."""
    with _client(endpoint, timeout) as client:
        machine_class = _machine_class(class_file, secret_file)
        client.delete(machine_class, name, provider_id, last_known_state)
    typer.echo(f"{name} is deleted")


@app.command()
def volumes(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML with PersistentVolumes.")],
    endpoint: EndpointOption = None,
    timeout: TimeoutOption = 300.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Print the IDs of those volumes that are the driver's."""
    with _client(endpoint, timeout) as client:
        volume_ids = client.volume_ids(read_volumes(file))
    if output is Output.JSON:
        _print_json(volume_ids)
    else:
        _print_table(("VOLUME ID",), [(volume_id,) for volume_id in volume_ids])


@app.command()
def conformance(
    class_file: ClassOption,
    secret_file: SecretOption = None,
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
        typer.Option("--volumes", metavar="FILE", help="PersistentVolumes, some the driver's."),
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
        typer.Option(min=3, help="The most machines at once; C31 makes as many. [default: 3]"),
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, help="The most calls at once.")] = 10,
    endpoint: EndpointOption = None,
    timeout: TimeoutOption = 300.0,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to repeat a call that is ABORTED or UNAVAILABLE.")
    ] = 60.0,
) -> None:
    """Check a running driver, in any language, against the conformance list.

    It makes machines of the class in its cluster and in others derived from it, and deletes
    them again. Machines that it did not make are never touched.
    """
    try:
        from cmi.conformance import Target, command
    except ModuleNotFoundError as error:
        _fail(f"the conformance kit needs {error.name}; install it with pip")

    try:
        wanted = command.parse_items(items) if items else []
    except command.UnknownItemError as error:
        _fail(f"--items: {error}")

    def other(path: Path | None) -> MachineClass | None:
        return _machine_class(path, secret_file) if path else None

    with _errors_in_one_line():
        target = Target(
            endpoint=Endpoint.resolve(endpoint),
            machine_class=_machine_class(class_file, secret_file),
            other_class=other(other_class_file),
            changed_class=other(changed_class_file),
            moved_class=other(moved_class_file),
            volumes=json.loads(read_volumes(volumes_file)) if volumes_file else (),
            tls=_tls.get(),
            insecure=_insecure.get(),
            timeout=timeout,
            patience=patience,
            parallel=parallel,
            max_machines=max_machines,
        )
        with Client(target.endpoint, timeout, target.tls) as client, _unless_unimplemented():
            client.info()
    _offer_clean_up(target, clean_up)
    raise typer.Exit(command.run(target, wanted, junit))


@contextmanager
def _unless_unimplemented() -> Iterator[None]:
    """Let a driver pass that answers, though it does not have the RPC."""
    try:
        yield
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
            raise


def _offer_clean_up(target: "Target", without_asking: bool) -> None:
    """Delete what earlier runs of the conformance kit left behind, if that is wanted."""
    from cmi.conformance import leftovers

    found = leftovers.find(target)
    if not found:
        return
    for each in found:
        typer.echo(f"left behind by an earlier run: {each.name}  {each.provider_id}")
    if not without_asking and sys.stdin.isatty():
        without_asking = typer.confirm("Is no other run going on, and may they be deleted?")
    elif not without_asking:
        typer.echo("delete them with --clean-up, unless another run is still going on")
    if without_asking:
        for machine in leftovers.delete(target, found):
            typer.echo(f"can't be deleted: {machine}", err=True)


@contextmanager
def _client(endpoint: str | None, timeout: float) -> Iterator[Client]:
    """Open a client; turn every error within into one line and exit code 1."""
    with (
        _errors_in_one_line(),
        Client(Endpoint.resolve(endpoint), timeout, _tls.get(), insecure=_insecure.get()) as client,
    ):
        yield client


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except (EndpointError, ManifestError, TlsError) as error:
        _fail(str(error))
    except UnicodeEncodeError:
        _fail("an argument is not UTF-8")
    except grpc.RpcError as error:
        code, details = error.code(), error.details() or ""
        if code is grpc.StatusCode.UNAVAILABLE and "failed to connect" in details:
            details = _no_connection(details)
        _fail(f"{code.name}: {' '.join(details.split())}")


def _no_connection(details: str) -> str:
    """Tell what to do about a connection that failed for the reason that gRPC gives."""
    if "handshake failed" in details or "erification" in details:
        return (
            "the driver there does not prove to be the right one; check --tls-ca and "
            "--tls-server-name, and whether it serves TLS"
        )
    if "Socket closed" in details:
        return (
            "the driver there turned the connection away; if it serves TLS, give --tls-ca, "
            "--tls-cert and --tls-key, with a certificate of the CA that it expects"
        )
    return "no driver answers there; start it, or give another --endpoint"


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {_shown(message)}", err=True)
    sys.exit(1)


def _shown(text: str) -> str:
    """Return a text of a driver without secrets, and without what a terminal would obey."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode()
        for each in _redactor.scrub(text)
    )


def _machine_class(class_file: Path, secret_file: Path | None) -> MachineClass:
    secrets = read_secret(secret_file) if secret_file else {}
    _redactor.add(Sources(plain=[*secrets.values()]))
    return MachineClass(provider_spec=read_provider_spec(class_file), secrets=secrets)


def _print_machine(
    name: str,
    answer: cmi_pb2.CreateMachineResponse | cmi_pb2.GetMachineStatusResponse,
    output: Output,
) -> None:
    row = {"MachineName": name, "ProviderID": answer.ProviderID, "NodeName": answer.NodeName}
    if output is Output.TABLE:
        _print_table(("MACHINE", "PROVIDER ID", "NODE NAME"), [[*row.values()]])
        return
    if isinstance(answer, cmi_pb2.CreateMachineResponse) and answer.LastKnownState:
        row["LastKnownState"] = answer.LastKnownState.decode(errors="replace")
    _print_json(row)


def _print_json(value: object) -> None:
    typer.echo(_redactor.scrub(json.dumps(value, indent=2)))


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [header, *([_shown(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for row in lines:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        typer.echo("   ".join(cells).rstrip())
