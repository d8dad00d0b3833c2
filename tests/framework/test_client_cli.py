"""`python -m cmi` with a real server: every command, both output formats, all kinds of errors."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pexpect
import pytest
import yaml
from pexpect.fdpexpect import fdspawn
from typer.testing import CliRunner, Result

from cmi import (
    CreateMachineResponse,
    DeleteMachineRequest,
    DeleteMachineResponse,
    FailedPrecondition,
    GetMachineStatusRequest,
    GetMachineStatusResponse,
    ListMachinesRequest,
    ListMachinesResponse,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from cmi.cli import app
from cmi.endpoint import Endpoint
from cmi.testing import serving
from cmi.testing.serving import TEST_PLUGIN
from cmi.v1 import cmi_pb2
from cmi.version import VERSION
from tests.framework.support import Keys, Scope, StandIn, created, raising
from tests.support import PATIENCE, ROOT, TEMPLATE, free_port
from tests.terminal import at_terminal

MANIFESTS = """
kind: Secret
stringData: {apiToken: correct-horse}
---
kind: MachineClass
providerSpec:
  region: north
  tags: {kubernetes.io/cluster/one: "1", kubernetes.io/role/node: "1"}
---
kind: PersistentVolume
spec: {csi: {driver: standin, volumeHandle: v1}}
---
kind: PersistentVolume
spec: {nfs: {}}
"""


@pytest.fixture
def driver() -> StandIn:
    return StandIn()


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A file with all the manifests that the commands read."""
    path = tmp_path / "all.yaml"
    path.write_text(MANIFESTS)
    return str(path)


@pytest.fixture
def endpoint(driver: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """Where the driver listens. The environment contains it too."""
    with serving(driver) as endpoint:
        monkeypatch.setenv("CMI_ENDPOINT", str(endpoint))
        yield endpoint


@pytest.fixture
def free_endpoint() -> str:
    """An endpoint at which nothing listens."""
    return f"tcp://127.0.0.1:{free_port()}"


def cmi(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def output(*arguments: str) -> str:
    result = cmi(*arguments)
    assert (result.exit_code, result.stderr) == (0, ""), result
    return result.stdout


def refusal(*arguments: str) -> str:
    result = cmi(*arguments)
    assert (result.exit_code, result.stdout) == (1, ""), result
    assert result.stderr.startswith("error: "), result
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("error: ")


def commands(file: str) -> dict[str, list[str]]:
    both = ["--class", file, "--secret", file]
    return {
        "create": ["create", "m1", *both],
        "status": ["status", "m1", *both],
        "list": ["list", *both],
        "shutdown": ["shutdown", "m1", *both],
        "delete": ["delete", "m1", *both],
    }


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("create", "MACHINE   PROVIDER ID   NODE NAME\nm1        m1            m1\n"),
        ("status", "MACHINE   PROVIDER ID    NODE NAME\nm1        standin:///m1   m1\n"),
        ("list", "MACHINE   PROVIDER ID\nm1        standin:///m1\n"),
        ("shutdown", "m1 is shut down\n"),
        ("delete", "m1 is deleted\n"),
    ],
)
def test_a_command_prints_a_table_or_a_sentence(file: str, command: str, expected: str) -> None:
    found = output(*commands(file)[command])
    assert [line.split() for line in found.splitlines()] == [
        line.split() for line in expected.splitlines()
    ]


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("create", {"MachineName": "m1", "ProviderID": "m1", "NodeName": "m1"}),
        ("status", {"MachineName": "m1", "ProviderID": "standin:///m1", "NodeName": "m1"}),
        ("list", {"standin:///m1": "m1"}),
    ],
)
def test_a_command_prints_json(file: str, command: str, expected: Any) -> None:
    assert json.loads(output(*commands(file)[command], "--output=json")) == expected
    assert json.loads(output(*commands(file)[command], "-o", "json")) == expected


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize("command", ["create", "status", "list"])
def test_a_command_prints_yaml_names_and_wide_tables(file: str, command: str) -> None:
    json_value = json.loads(output(*commands(file)[command], "-o", "json"))
    assert yaml.safe_load(output(*commands(file)[command], "-o", "yaml")) == json_value
    assert output(*commands(file)[command], "-o", "name") == "m1\n"
    assert "NODE NAME" in output(*commands(file)[command], "-o", "wide")


@pytest.mark.usefixtures("endpoint")
def test_a_wide_table_shows_the_last_known_state(file: str) -> None:
    row = output(*commands(file)["create"], "--last-known-state=step-2", "-o", "wide").splitlines()[
        1
    ]
    assert row.split() == ["m1", "m1", "m1", "step-2"]


def test_a_wide_list_shows_machines_that_are_not_finished(file: str) -> None:
    class HalfMade(StandIn):
        def get_machine_status(
            self, request: GetMachineStatusRequest[Scope, Keys]
        ) -> GetMachineStatusResponse:
            raise NotFound("half made")

    with serving(HalfMade()) as endpoint:
        table = output(*commands(file)["list"], "-o", "wide", f"--endpoint={endpoint}")
    assert table.splitlines()[1].split() == ["m1", "standin:///m1", "NOT_FOUND"]


@pytest.mark.usefixtures("endpoint")
def test_info_probe_and_volumes(file: str) -> None:
    rows = [line.split() for line in output("info").splitlines()]
    assert ["name", TEST_PLUGIN.name] in rows
    assert ["capabilities", "CREATE_MACHINE"] in rows
    assert ["LIST_MACHINES"] in rows
    answer = json.loads(output("info", "-o", "json"))
    assert (answer["name"], answer["version"]) == (TEST_PLUGIN.name, TEST_PLUGIN.version)
    assert "LIST_MACHINES" in answer["capabilities"]
    assert output("probe") == "ready\n"
    assert output("volumes", file).split() == ["VOLUME", "ID", "v1"]
    assert json.loads(output("volumes", file, "-o", "json")) == ["v1"]
    assert output("volumes", file, "-o", "name") == "v1\n"
    assert output("info", "-o", "name") == f"{TEST_PLUGIN.name}\n"
    assert yaml.safe_load(output("info", "-o", "yaml")) == answer


def test_options_reach_the_driver(endpoint: Endpoint, driver: StandIn, file: str) -> None:
    output(*commands(file)["delete"], "--provider-id=id", "--last-known-state=größe")
    (received,) = driver.requests
    assert (received.provider_id, received.last_known_state) == ("id", "größe")
    assert received.secrets.api_token.get_secret_value() == "correct-horse"


@pytest.mark.usefixtures("endpoint")
def test_the_last_known_state_is_printed_as_it_can_be_given_back(file: str) -> None:
    answer = output(*commands(file)["create"], "--last-known-state=größe", "-o", "json")
    assert json.loads(answer)["LastKnownState"] == "größe"


def test_the_environment_names_the_class_and_its_secrets(
    endpoint: Endpoint, driver: StandIn, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCM_CLASS", file)
    assert refusal("create", "m1").startswith("UNAUTHENTICATED")
    monkeypatch.setenv("MCM_SECRET", file)
    output("create", "m1")
    output("create", "m1", "--class", file)
    assert [each.machine_name for each in driver.requests] == ["m1", "m1"]


def test_options_of_the_connection_come_before_or_after_the_command(
    endpoint: Endpoint, free_endpoint: str
) -> None:
    assert output(f"--endpoint={endpoint}", "probe") == "ready\n"
    assert output(f"--endpoint={free_endpoint}", "probe", f"--endpoint={endpoint}") == "ready\n"
    incomplete = "TLS needs --tls-cert, --tls-key and --tls-ca; set all three or none\n"
    assert refusal("--tls-ca=ca.crt", "probe") == incomplete
    assert refusal("probe", "--tls-ca=ca.crt") == incomplete
    assert "can't be read" in refusal("--tls-ca=a", "probe", "--tls-cert=b", "--tls-key=c")


def test_the_version() -> None:
    assert output("--version").startswith(f"cmi {VERSION} for the contract cmi.v1")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_a_shell(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    result = CliRunner().invoke(app, ["--show-completion", shell], prog_name="cmi")
    assert (result.exit_code, "_CMI_COMPLETE" in result.stdout) == (0, True)
    words = {"_CMI_COMPLETE": "complete_bash", "COMP_WORDS": "cmi sh", "COMP_CWORD": "1"}
    completed = CliRunner().invoke(app, [], prog_name="cmi", env=words)
    assert completed.stdout.split() == ["shutdown"]


class Cloud(StandIn):
    """A driver that remembers its machines."""

    def __init__(self) -> None:
        super().__init__(self.make)
        self.machines: dict[str, str] = {}
        self.quota = 1000
        self.in_use: set[str] = set()
        self.is_starting = False

    def make(self, request: Any) -> CreateMachineResponse:
        if len(self.machines) >= self.quota:
            raise ResourceExhausted("the quota is used up")
        self.machines[f"standin:///{request.machine_name}"] = request.machine_name
        return created(request)

    def delete_machine(self, request: DeleteMachineRequest[Scope, Keys]) -> DeleteMachineResponse:
        if request.machine_name in self.in_use:
            raise FailedPrecondition("it is protected")
        assert self.machines.pop(request.provider_id) == request.machine_name
        return DeleteMachineResponse()

    def list_machines(self, request: ListMachinesRequest[Scope, Keys]) -> ListMachinesResponse:
        if self.is_starting:
            raise Unavailable("starting")
        return ListMachinesResponse(machines=dict(self.machines))


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, file: str) -> Iterator[Cloud]:
    """A driver. Its address, machine class and secrets are set in the environment."""
    cloud = Cloud()
    with serving(cloud) as endpoint:
        monkeypatch.setenv("CMI_ENDPOINT", str(endpoint))
        monkeypatch.setenv("MCM_CLASS", file)
        monkeypatch.setenv("MCM_SECRET", file)
        yield cloud


def test_several_machines_are_created_at_once(cloud: Cloud) -> None:
    lines = output("create", "m", "--count=12").splitlines()
    names = [f"m-{number}" for number in range(1, 13)]
    assert [line.split()[0] for line in lines] == ["MACHINE", *names]
    assert sorted(cloud.machines.values()) == sorted(names)
    assert json.loads(output("create", "n", "--count=1", "-o", "json"))[0]["MachineName"] == "n-1"


def test_what_fails_of_several_is_said_once_for_each_reason(cloud: Cloud) -> None:
    cloud.quota = 2
    result = cmi("create", "m", "--count=6", "--output=name")
    assert (result.exit_code, len(result.stdout.split())) == (1, 2)
    (line,) = result.stderr.splitlines()
    assert line.endswith(" and 1 more: RESOURCE_EXHAUSTED: the quota is used up")


def test_all_machines_are_deleted(cloud: Cloud) -> None:
    assert output("delete", "--all", "--yes") == "there are no machines\n"
    output("create", "m", "--count=3")
    assert refusal("delete", "--all").startswith("--all asks before it deletes; use --yes")
    assert len(cloud.machines) == 3
    cloud.in_use.add("m-2")
    result = cmi("delete", "--all", "--yes")
    assert (result.exit_code, result.stdout) == (1, "deleted 2 of 3 machines\n")
    assert result.stderr == "error: m-2: FAILED_PRECONDITION: it is protected\n"
    assert [*cloud.machines.values()] == ["m-2"]


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("arguments", [["delete"], ["delete", "m1", "--all", "--yes"]])
def test_a_deletion_is_of_one_or_of_all(arguments: list[str]) -> None:
    assert refusal(*arguments) == "name one machine, or use --all\n"


@contextmanager
def terminal(
    *arguments: str, **variables: str
) -> "Iterator[tuple[fdspawn[str], subprocess.Popen[bytes]]]":
    """Run `python -m cmi` in a terminal."""
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    environment |= {"PYTHONPATH": str(TEMPLATE), **variables}
    command = [sys.executable, "-m", "cmi", *arguments]
    with at_terminal(command, ROOT, environment) as (screen, process):
        yield screen, process


def shown(*arguments: str, answer: str = "", **variables: str) -> tuple[int, str]:
    """Run a command in a terminal; return its exit code and what the terminal shows."""
    with terminal(*arguments, **variables) as (screen, process):
        if answer:
            screen.expect_exact("[y/N]")
            screen.send(f"{answer}\n")
        screen.expect(pexpect.EOF)
        return process.wait(PATIENCE), screen.before or ""


def test_a_person_is_asked_before_all_are_deleted(cloud: Cloud) -> None:
    output("create", "m", "--count=3")
    code, text = shown("delete", "--all", answer="n")
    assert (code, len(cloud.machines)) == (1, 3)
    assert "nothing was deleted" in text
    code, text = shown("delete", "--all", answer="y")
    assert (code, cloud.machines) == (0, {})
    assert "deleted 3 of 3 machines" in text


def test_colour_is_for_terminals_alone(cloud: Cloud, free_endpoint: str) -> None:
    cloud.machines["standin:///m1"] = "m1"
    assert "\x1b[1mMACHINE" in shown("list")[1]
    assert "\x1b" not in shown("list", NO_COLOR="1")[1]
    assert "\x1b[31merror:" in shown("list", f"--endpoint={free_endpoint}")[1]
    assert "\x1b" not in output("list")


@pytest.mark.usefixtures("cloud")
def test_several_machines_are_made_behind_a_bar() -> None:
    _, text = shown("create", "m", "--count=3")
    assert "Creating" in text
    assert "3/3" in text


def test_a_list_that_is_watched(cloud: Cloud) -> None:
    cloud.machines["standin:///m1"] = "m1"
    with terminal("list", "--watch", "--interval=0.1", NO_COLOR="1") as (screen, process):
        screen.expect(r"CHANGE +MACHINE +PROVIDER ID\r\nlisted +m1 +standin:///m1\r\n")
        cloud.machines["standin:///m2"] = "m2"
        screen.expect(r"added +m2 +standin:///m2\r\n")
        del cloud.machines["standin:///m1"]
        screen.expect(r"removed +m1 +standin:///m1\r\n")
        screen.send("\x03")
        screen.expect(pexpect.EOF)
        assert "Traceback" not in (screen.before or "")
        assert process.wait(PATIENCE) == 130
    assert refusal("list", "--watch", "-o", "json").startswith("--watch only prints a table")


def test_a_watch_outlives_a_driver_that_is_restarted(cloud: Cloud) -> None:
    with terminal("list", "--watch", "--interval=0.1", NO_COLOR="1") as (screen, _):
        screen.expect_exact("CHANGE")
        cloud.is_starting = True
        screen.expect_exact("error: UNAVAILABLE: starting")
        cloud.is_starting = False
        cloud.machines["standin:///m2"] = "m2"
        screen.expect(r"added +m2 +standin:///m2\r\n")


def test_standard_input_contains_class_and_secrets(endpoint: Endpoint, file: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "cmi", "create", "m1", "--class=-", "--secret=-", "-o", "name"],
        env=os.environ | {"PYTHONPATH": str(TEMPLATE)},
        input=MANIFESTS,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "m1\n", "")


TWO_CLASSES = """
kind: MachineClass
metadata: {name: north}
providerSpec: {region: north, tags: {kubernetes.io/cluster/one: "", kubernetes.io/role/node: ""}}
---
kind: MachineClass
metadata: {name: south}
providerSpec: {region: south, tags: {kubernetes.io/cluster/one: "", kubernetes.io/role/node: ""}}
secretRef: {name: user-data}
credentialsSecretRef: {name: account}
"""
TWO_SECRETS = """
kind: Secret
metadata: {name: user-data}
stringData: {userData: hello}
---
kind: Secret
metadata: {name: account}
stringData: {apiToken: battery-staple}
"""


def test_a_class_is_chosen_by_name_and_gets_both_of_its_secrets(
    endpoint: Endpoint, driver: StandIn, tmp_path: Path
) -> None:
    classes, secrets = tmp_path / "classes.yaml", tmp_path / "secrets.yaml"
    classes.write_text(TWO_CLASSES)
    secrets.write_text(TWO_SECRETS)
    both = ["--class", str(classes), "--secret", str(secrets)]
    message = refusal("create", "m1", *both)
    assert message.endswith("contains several of kind MachineClass: north, south; choose one\n")
    output("create", "m1", *both, "--class-name=south")
    (request,) = driver.requests
    assert request.provider_spec.region == "south"
    assert request.secrets.api_token.get_secret_value() == "battery-staple"


def test_the_flag_precedes_the_environment(
    file: str, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMI_ENDPOINT", "nonsense")
    assert output("probe", f"--endpoint={endpoint}") == "ready\n"
    assert "'nonsense'" in refusal("probe")


def test_a_driver_that_is_not_ready_is_exit_code_1() -> None:
    class NotReady(StandIn):
        def probe(self) -> bool:
            return False

    with serving(NotReady()) as endpoint:
        result = cmi("probe", f"--endpoint={endpoint}")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "not ready yet\n", "")


@pytest.mark.parametrize("command", ["create", "status", "list", "shutdown", "delete"])
def test_nobody_listens(file: str, command: str, free_endpoint: str) -> None:
    message = refusal(*commands(file)[command], f"--endpoint={free_endpoint}")
    assert message.startswith(f"UNAVAILABLE: no driver answers at {free_endpoint};")


def test_a_socket_that_does_not_exist(tmp_path: Path) -> None:
    message = refusal("probe", f"--endpoint=unix://{tmp_path}/x.sock")
    assert message.startswith(f"UNAVAILABLE: no driver answers at unix://{tmp_path}/x.sock;")


def test_a_status_of_the_driver_is_one_line(file: str) -> None:
    with serving(StandIn(raising(NotFound("no such\nimage")))) as endpoint:
        message = refusal(*commands(file)["create"], f"--endpoint={endpoint}")
    assert message == "NOT_FOUND: no such image\n"


@pytest.mark.usefixtures("endpoint")
def test_a_forgotten_secret_is_unauthenticated(file: str) -> None:
    assert refusal("create", "m1", "--class", file).startswith("UNAUTHENTICATED: secrets.apiToken")


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize(
    ("text", "mentioned"),
    [
        ("kind: Secret\nstringData: {a: b}\n", "contains no MachineClass, but Secret"),
        ("kind: MachineClass\n", "has no providerSpec"),
        ("kind: MachineClass\nproviderSpec: null\n", "INVALID_ARGUMENT: providerSpec: "),
        ("kind: MachineClass\nproviderSpec: [a]\n", "INVALID_ARGUMENT: providerSpec: "),
        ("kind: MachineClass\nproviderSpec: text\n", "INVALID_ARGUMENT: providerSpec: "),
        ("kind: MachineClass\n providerSpec:\n", "can't be read at line 2"),
    ],
)
def test_a_file_that_is_no_machine_class(
    tmp_path: Path, file: str, text: str, mentioned: str
) -> None:
    path = tmp_path / "class.yaml"
    path.write_text(text)
    assert mentioned in refusal("create", "m1", "--class", str(path), "--secret", file)


@pytest.mark.usefixtures("endpoint")
def test_files_that_are_none(tmp_path: Path, file: str) -> None:
    assert "no such file" in refusal("create", "m1", "--class", str(tmp_path / "x"))
    assert "is a directory" in refusal("volumes", str(tmp_path))
    assert "is a directory" in refusal("list", "--class", file, "--secret", str(tmp_path))


def test_a_call_that_takes_too_long_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        message = refusal("probe", f"--endpoint=tcp://127.0.0.1:{port}", "--timeout=0.05")
    assert message.startswith("DEADLINE_EXCEEDED: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["create"],
        ["create", "m1"],
        ["nonsense"],
        ["probe", "--timeout=0"],
        ["probe", "--timeout=soon"],
        ["info", "--output=xml"],
        ["list", "--class"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_without_a_traceback(arguments: list[str]) -> None:
    result = cmi(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize("timeout", ["nan", "inf", "1e300"])
def test_an_odd_timeout_is_no_traceback(timeout: str) -> None:
    result = cmi("probe", f"--timeout={timeout}")
    assert result.exit_code in (0, 1, 2)
    assert not result.exception or isinstance(result.exception, SystemExit)


class Foreign(grpc.GenericRpcHandler):
    """A driver in another language whose responses have no IDs, and whose errors have two lines."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        def create(_request: bytes, _context: grpc.ServicerContext) -> bytes:
            return cmi_pb2.CreateMachineResponse(LastKnownState=b"\xff").SerializeToString()

        def fail(_request: bytes, context: grpc.ServicerContext) -> bytes:
            context.abort(grpc.StatusCode.INTERNAL, "two\nlines")

        found = create if details.method.endswith("/CreateMachine") else fail
        return grpc.unary_unary_rpc_method_handler(found)


@pytest.fixture
def foreign() -> Iterator[str]:
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((Foreign(),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"tcp://127.0.0.1:{port}"
        server.stop(None).wait()


def test_a_foreign_drivers_odd_answers_are_printed(file: str, foreign: str) -> None:
    assert "m1" in output(*commands(file)["create"], f"--endpoint={foreign}")
    answer = output(*commands(file)["create"], f"--endpoint={foreign}", "-o", "json")
    assert json.loads(answer)["MachineName"] == "m1"
    assert refusal("probe", f"--endpoint={foreign}") == "INTERNAL: two lines\n"


def test_a_process_says_one_line(file: str, endpoint: Endpoint) -> None:
    root = Path(__file__).parents[2]

    def run(*arguments: str | bytes) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "cmi", *arguments],
            env=os.environ | {"PYTHONPATH": str(root / "template")},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    good = run(*commands(file)["create"], "-o", "json")
    assert (good.returncode, good.stderr) == (0, "")
    assert json.loads(good.stdout)["NodeName"] == "m1"
    bad = run("create", b"not-utf-8-\xff", "--class", file, "--secret", file)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr.startswith("error: ")
    assert bad.stderr.count("\n") == 1


@pytest.mark.usefixtures("endpoint")
def test_columns_line_up_under_a_long_name(file: str) -> None:
    name = "machine-" * 10
    header, row = output("create", name, "--class", file, "--secret", file).splitlines()
    assert row.index(name, 1) == header.index("PROVIDER ID")
