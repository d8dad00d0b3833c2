"""The Python on the how-to pages: checked together with an SDK, and run behind a socket."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import cmi
from cmi.client import Client, MachineClass
from cmi.testing import serving
from tests.docs.pages import blocks
from tests.docs.sdk import acme_sdk
from tests.driver import refused
from tests.support import TEMPLATE

sys.modules["acme_sdk"] = acme_sdk  # as the pages import it

ERRORS = "docs/how-to/errors.md"
LONG_CREATES = "docs/how-to/long-creates.md"

MACHINE_CLASS = MachineClass(
    provider_spec=b'{"tags": {"kubernetes.io/cluster/c": "1", "kubernetes.io/role/r": "1"}}'
)
AnyRequest = cmi.CreateMachineRequest[cmi.TaggedScope, cmi.SecretsModel]


def written(page: str, folder: Path) -> Path:
    """Write the Python of a page into a module."""
    module = folder / f"{Path(page).stem.replace('-', '_')}.py"
    code = "\n\n".join(block.text for block in blocks(page, "python") if not block.title)
    module.write_text(f'"""The code of {page}."""\n\n{code}')
    return module


def imported(page: str, folder: Path) -> ModuleType:
    path = written(page, folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", [ERRORS, LONG_CREATES])
def test_types_and_style(page: str, tmp_path: Path) -> None:
    module = written(page, tmp_path)
    style = f"--config={TEMPLATE / 'ruff.toml'}"
    for command in (
        ["mypy", f"--config-file={TEMPLATE / 'mypy.ini'}"],
        ["ruff", "check", style, "--ignore=E402,I001"],  # a page imports where it needs
        ["ruff", "format", style, "--check"],
    ):
        result = subprocess.run(
            [sys.executable, "-m", *command, module],
            env={**os.environ, "MYPYPATH": str(Path(__file__).parent / "sdk")},
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


def test_create_and_come_back_later(tmp_path: Path) -> None:
    sdk = acme_sdk.Client(looks=2)
    driver = imported(LONG_CREATES, tmp_path).Later(sdk)
    with serving(driver) as endpoint, Client(endpoint) as client:
        for progress in ("98 %", "99 %"):
            with refused("UNAVAILABLE", "vm-1 is being built", progress):
                client.create(MACHINE_CLASS, "m1")
        assert client.create(MACHINE_CLASS, "m1").ProviderID == "acme:///vm-1"
        client.delete(MACHINE_CLASS, "m1")
    assert sdk.vms == {}


def test_wait_within_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cmi.waiting.FIRST_PAUSE", 0.001)
    sdk = acme_sdk.Client(looks=3)
    driver = imported(LONG_CREATES, tmp_path).Patient(sdk)
    with serving(driver) as endpoint, Client(endpoint) as client:
        assert client.create(MACHINE_CLASS, "m1").ProviderID == "acme:///vm-1"
        assert not sdk.vms["m1"].is_building
        assert client.create(MACHINE_CLASS, "m1").ProviderID == "acme:///vm-1"
