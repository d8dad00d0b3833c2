"""The Python code on the how-to pages, which is checked with an SDK and run as a driver."""

import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import grpc
import pytest
import yaml

import cmi
from cmi.spec import read_spec
from cmi.testing import Client, MachineClass, connected, refused, run_client, serving
from tests.docs.pages import blocks
from tests.docs.sdk import acme_sdk
from tests.support import TEMPLATE

T = TypeVar("T")

sys.modules["acme_sdk"] = acme_sdk  # so that the code on the pages can import it

ADAPTER = "docs/how-to/adapter.md"
ERRORS = "docs/how-to/errors.md"
LONG_CREATES = "docs/how-to/long-creates.md"
PROVIDER_IDS = "docs/how-to/provider-ids.md"
SCOPE = "docs/how-to/scope.md"
TIMEOUTS = "docs/how-to/timeouts.md"

MACHINE_CLASS = MachineClass(
    provider_spec=b'{"tags": {"kubernetes.io/cluster/c": "1", "kubernetes.io/role/r": "1"}}'
)
AnyRequest = cmi.CreateMachineRequest[cmi.TaggedScope, cmi.SecretsModel]


def written(page: str, folder: Path) -> Path:
    """Write the Python code of a page into a module."""
    module = folder / f"{Path(page).stem.replace('-', '_')}.py"
    code = f'"""The code of {page}."""\n'
    for number, block in enumerate(each for each in blocks(page, "python") if not each.title):
        goes_on = block.indented.startswith(" ")  # this continues the class of the previous block
        code += ("\n" if goes_on or number == 0 else "\n\n") + block.indented
    module.write_text(code)
    return module


def written_adapter(folder: Path) -> Path:
    """Write the adapter into its own package, from which another page imports it."""
    package = folder / "packages" / "acme"
    package.mkdir(parents=True)
    return written(ADAPTER, package).rename(package / "cloud.py")


def imported(page: str, folder: Path) -> ModuleType:
    path = written(page, folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", [ADAPTER, ERRORS, LONG_CREATES, PROVIDER_IDS, SCOPE, TIMEOUTS])
def test_types_and_style(page: str, tmp_path: Path) -> None:
    module = written(page, tmp_path)
    written_adapter(tmp_path)
    paths = [str(Path(__file__).parent / "sdk"), str(tmp_path / "packages")]
    style = f"--config={TEMPLATE / 'ruff.toml'}"
    for command in (
        ["mypy", f"--config-file={TEMPLATE / 'mypy.ini'}"],
        ["ruff", "check", style, "--ignore=E402,I001"],  # pages import names where they use them
        ["ruff", "format", style, "--check"],
    ):
        result = subprocess.run(
            [sys.executable, "-m", *command, module],
            env={**os.environ, "MYPYPATH": os.pathsep.join(paths)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (acme_sdk.LoginError(), "UNAUTHENTICATED"),
        (acme_sdk.ForbiddenError(), "PERMISSION_DENIED"),
        (acme_sdk.QuotaError(), "RESOURCE_EXHAUSTED"),
        (acme_sdk.ThrottledError(), "UNAVAILABLE"),
        (ConnectionResetError(), "UNAVAILABLE"),
        (acme_sdk.RequestError("MemoryLimit"), "OUT_OF_RANGE"),
        (acme_sdk.RequestError("NameTaken"), "ALREADY_EXISTS"),
        (acme_sdk.RequestError("Other"), "INTERNAL"),
    ],
    ids=repr,
)
def test_errors(error: Exception, code: str, tmp_path: Path) -> None:
    page = imported(ERRORS, tmp_path)

    class Failing(cmi.Driver):
        errors = page.ERRORS

        def create_machine(self, request: AnyRequest) -> cmi.CreateMachineResponse:
            raise error

        def delete_machine(
            self, request: cmi.DeleteMachineRequest[cmi.TaggedScope, cmi.SecretsModel]
        ) -> cmi.DeleteMachineResponse:
            raise AssertionError

    with serving(Failing()) as endpoint, Client(endpoint) as client, refused(code):
        client.create(MACHINE_CLASS, "m1")


def machine_class(**fields: object) -> MachineClass:
    """Return a machine class for the cloud on the page about the adapter."""
    tags = {"kubernetes.io/cluster/c": "1", "kubernetes.io/role/node": "1"}
    spec = {"tags": tags, "serverType": "small", "image": "linux", "network": "nodes", **fields}
    return MachineClass(
        provider_spec=json.dumps(spec).encode(),
        secrets={"token": b"secret-token", "userData": b"#cloud-config"},
    )


def repeated(call: Callable[..., T], *arguments: object) -> T:
    """Make a call as MCM does, which repeats it as long as the answer is UNAVAILABLE."""
    while True:
        try:
            return call(*arguments)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> acme_sdk.Project:
    """A cloud in which a server must be read three times until an action on it ends."""
    monkeypatch.setattr("cmi.waiting.FIRST_PAUSE", 0.001)
    return acme_sdk.Project(looks=3)


@pytest.fixture
def adapter(tmp_path: Path) -> ModuleType:
    return imported(ADAPTER, tmp_path)


def test_the_adapter_passes_the_conformance_kit(
    adapter: ModuleType,
    project: acme_sdk.Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TEMPLATE))
    (tmp_path / "class.yaml").write_text(
        json.dumps(
            {"kind": "MachineClass", "providerSpec": json.loads(machine_class().provider_spec)}
        )
    )
    data = {"token": "secret-token", "userData": "#cloud-config"}
    (tmp_path / "secret.yaml").write_text(json.dumps({"kind": "Secret", "stringData": data}))
    files = ["--class=class.yaml", "--secret=secret.yaml"]
    with serving(adapter.MachineServer(project)) as endpoint:
        report = run_client("conformance", f"--endpoint={endpoint}", *files, folder=tmp_path)
    assert " 0 FAILED" in report
    assert "passed   C31" in report
    assert project.servers == {}


def test_a_server_that_runs_is_not_finished_before_it_has_its_network(
    adapter: ModuleType, project: acme_sdk.Project
) -> None:
    project.failing["attach_network"] = "NoCapacity"
    with connected(adapter.MachineServer(project)) as client:
        with refused("RESOURCE_EXHAUSTED", "no room"):
            client.create(machine_class(), "m1")
        project.failing.clear()
        created = repeated(client.create, machine_class(), "m1")
        (server,) = project.servers.values()
        assert created.ProviderID == f"acme://{server.id}"
        assert created.NodeName == server.name
        assert server.networks == ("nodes",)
        assert project.user_data[server.id] == "#cloud-config"


def test_two_clusters_share_a_project(adapter: ModuleType, project: acme_sdk.Project) -> None:
    other = machine_class(tags={"kubernetes.io/cluster/d": "1", "kubernetes.io/role/node": "1"})
    with connected(adapter.MachineServer(project)) as client:
        client.create(machine_class(), "m1")
        client.create(other, "m1")
        assert len(project.servers) == 2
        assert [*client.list_machines(other).values()] == ["m1"]


def test_a_server_of_the_same_name_is_not_adopted(
    adapter: ModuleType, project: acme_sdk.Project
) -> None:
    with connected(adapter.MachineServer(project)) as client:
        client.create(machine_class(), "m1")
        (server,) = project.servers.values()
        project.servers[server.id] = dataclasses.replace(server, labels={})
        with refused("ALREADY_EXISTS", "another server has this name"):
            client.create(machine_class(), "m1")


def test_volumes_as_nodes_report_them(adapter: ModuleType, project: acme_sdk.Project) -> None:
    volumes = [
        {"csi": {"driver": "csi.acme.example", "volumeHandle": "disks/123"}},
        {"csi": {"driver": "csi.elsewhere", "volumeHandle": "disks/4"}},
    ]
    with connected(adapter.MachineServer(project)) as client:
        assert client.volume_ids(json.dumps(volumes).encode()) == ["123"]


def test_an_async_sdk(adapter: ModuleType, project: acme_sdk.Project) -> None:
    clients = acme_sdk.Client(project), acme_sdk.AsyncClient(project)

    class AsyncServer(adapter.MachineServer):  # type: ignore[name-defined,misc]
        def _login(self, _credentials: object) -> object:
            return adapter.AsyncSession(*clients)

    with connected(AsyncServer(project)) as client:
        client.create(machine_class(), "m1")
        assert [*client.list_machines(machine_class()).values()] == ["m1"]


def test_answer_at_once(
    project: acme_sdk.Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(written_adapter(tmp_path).parents[1]))
    page = imported(LONG_CREATES, tmp_path)
    adapter = sys.modules["acme.cloud"]

    class AnsweringServer(adapter.MachineServer):  # type: ignore[name-defined,misc]
        def _login(self, _credentials: object) -> object:
            return page.AnsweringSession(acme_sdk.Client(project))

    with connected(AnsweringServer(project)) as client:
        with refused("UNAVAILABLE", "is being created", "% done"):
            client.create(machine_class(), "m1")
        created = repeated(client.create, machine_class(), "m1")
        (server,) = project.servers.values()
        assert created.ProviderID == f"acme://{server.id}"
        assert server.networks == ("nodes",)


@pytest.mark.parametrize(
    ("number", "name"),
    [
        *enumerate(
            ["MapScope", "PrefixScope", "ListScope", "PairScope", "NestedScope", "FieldScope"]
        )
    ],
)
def test_scopes(number: int, name: str, tmp_path: Path) -> None:
    """Each class reads the sample above it, and refuses one that names no cluster (C33)."""
    scope = getattr(imported(SCOPE, tmp_path), name)
    sample = yaml.safe_load(blocks(SCOPE, "yaml")[number].text) | {"region": "eu-1"}
    found, problems = read_spec(scope, json.dumps(sample).encode())
    assert problems == []
    assert found is not None
    assert (found.cluster, found.role) == ("shoot--dev--one", "node")
    nameless = json.dumps(sample).replace("shoot--dev--one", "")
    found, problems = read_spec(scope, nameless.encode())
    assert found is None
    assert re.match(r"providerSpec\.(tags|spec\.tags|cluster): ", problems[0])


def test_provider_ids(tmp_path: Path) -> None:
    page = imported(PROVIDER_IDS, tmp_path)
    assert page.REGION.format(region="eu-1", id="vm-1") == "acme:///eu-1/vm-1"
    assert page.PROJECT_AND_ZONE.parse("acme:///p/z/vm-1") == {
        "project": "p",
        "zone": "z",
        "name": "vm-1",
    }
    assert page.NUMBER.parse(page.NUMBER.format(id=4711)) == {"id": "4711"}
    with pytest.raises(ValueError, match=re.escape("hcloud://{id:d}")):
        page.NUMBER.parse("hcloud://vm-1")


def test_one_client_for_a_token(tmp_path: Path) -> None:
    page = imported(TIMEOUTS, tmp_path)
    assert page.client_of("a") is page.client_of("a")
    assert page.client_of("a") is not page.client_of("b")
