"""`python -m cmi` against a real server: every command, both outputs, every kind of error."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner, Result

from cmi import NotFound
from cmi.cli import app
from cmi.endpoint import Endpoint
from cmi.testing import serving
from cmi.testing.serving import TEST_PLUGIN
from cmi.v1 import cmi_pb2
from tests.framework.support import StandIn, raising
from tests.support import PATIENCE

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
    """A file with all manifests that the commands read."""
    path = tmp_path / "all.yaml"
    path.write_text(MANIFESTS)
    return str(path)


@pytest.fixture
def endpoint(driver: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """Where the driver listens, also named by the environment."""
    with serving(driver) as endpoint:
        monkeypatch.setenv("CMI_ENDPOINT", str(endpoint))
        yield endpoint


@pytest.fixture
def free_endpoint() -> str:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"tcp://127.0.0.1:{port}"


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
def test_info_probe_and_volumes(file: str) -> None:
    rows = dict(line.split(None, 1) for line in output("info").splitlines())
    assert rows["name"].strip() == TEST_PLUGIN.name
    assert "CREATE_MACHINE" in rows["capabilities"]
    answer = json.loads(output("info", "-o", "json"))
    assert (answer["name"], answer["version"]) == (TEST_PLUGIN.name, TEST_PLUGIN.version)
    assert "LIST_MACHINES" in answer["capabilities"]
    assert output("probe") == "ready\n"
    assert output("volumes", file).split() == ["VOLUME", "ID", "v1"]
    assert json.loads(output("volumes", file, "-o", "json")) == ["v1"]


def test_options_reach_the_driver(endpoint: Endpoint, driver: StandIn, file: str) -> None:
    output(*commands(file)["delete"], "--provider-id=id", "--last-known-state=größe")
    (received,) = driver.requests
    assert (received.provider_id, received.last_known_state) == ("id", "größe")
    assert received.secrets.api_token.get_secret_value() == "correct-horse"


@pytest.mark.usefixtures("endpoint")
def test_the_last_known_state_is_printed_as_it_can_be_given_back(file: str) -> None:
    answer = output(*commands(file)["create"], "--last-known-state=größe", "-o", "json")
    assert json.loads(answer)["LastKnownState"] == "größe"


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
    assert message.startswith("UNAVAILABLE: no driver answers")


def test_a_socket_that_does_not_exist(tmp_path: Path) -> None:
    message = refusal("probe", f"--endpoint=unix://{tmp_path}/x.sock")
    assert message.startswith("UNAVAILABLE: no driver answers")


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
        ("kind: Secret\nstringData: {a: b}\n", "holds no object of kind MachineClass"),
        ("kind: MachineClass\n", "has no providerSpec"),
        ("kind: MachineClass\nproviderSpec: null\n", "INVALID_ARGUMENT: providerSpec: "),
        ("kind: MachineClass\nproviderSpec: [a]\n", "INVALID_ARGUMENT: providerSpec: "),
        ("kind: MachineClass\nproviderSpec: text\n", "INVALID_ARGUMENT: providerSpec: "),
        ("kind: MachineClass\n providerSpec:\n", "is not YAML at line 2"),
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
        ["info", "--output=yaml"],
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
    """A driver in another language, with less manners: no IDs, and messages of many lines."""

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
