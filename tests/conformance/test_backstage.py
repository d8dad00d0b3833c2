"""The kit finds one wrong line in a rendered project, even if only the process shows the fault.

Such faults concern things that no API returns: the log, a quota or leftovers. A proxy can't produce
them, so these tests change the project itself.
"""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from cmi.conformance.items import ITEMS

# For each fault: the file, the original line, the wrong line, and the items that it breaks.
SPOILED = {
    "healthy-without-its-cloud": (
        "acme/machineserver.py",
        "return self._cloud.is_ready()",
        "return True",
        {"C6"},
    ),
    "quota-not-in-the-table": (
        "acme/cloud.py",
        "    sdk.QuotaError: ResourceExhausted,\n",
        "",
        {"C13"},
    ),
    "half-made-vms-are-reported": (
        "cmi/rules.py",
        "return vm.state in (VMState.RUNNING, VMState.STOPPED)",
        "return bool(vm.state)",
        {"C15"},
    ),
    "disks-are-left-over": (
        "cmi/rules.py",
        "            session.delete_leftover(leftover)\n        return not leftovers",
        "            pass\n        return True",
        {"C12", "C15", "C20", "C22", "C29"},
    ),
    "several-vms-pass-for-one": (
        "cmi/rules.py",
        "if len(vms) > 1:",
        "if len(vms) > 2:",
        {"C25"},
    ),
    "status-stops-the-vm": (
        "acme/machineserver.py",
        "        return rules.get_machine_status(self",
        (
            "        rules.shut_down_machine(self._cloud.login(request.secrets), request)\n"
            "        return rules.get_machine_status(self"
        ),
        {"C27", "C59"},
    ),
    "interruptions-of-nothing": (
        "acme/tests/test_conformance.py",
        "interruptions=interrupted | failed,",
        'interruptions={"delete_server": interrupted["delete_server"]},',
        {"C15"},
    ),
    "readers-may-write": (
        "acme/embedded_cloud.py",
        'if access == "write" and',
        'if access == "never" and',
        {"C44"},
    ),
    "unexpected-errors-are-quoted": (
        "cmi/serving/handler.py",
        "return Internal(f",
        "return Internal(str(error)) or Internal(f",
        {"C45"},
    ),
    "secrets-are-not-scrubbed": (
        "cmi/redaction.py",
        "return _mask(text, spans) if spans else text",
        "return text",
        {"C50"},
    ),
    "errors-of-several-lines": (
        "cmi/app.py",
        'typer.echo(f"error: {error}", err=True)',
        'typer.echo(f"error:\\n{error}", err=True)',
        {"C52"},
    ),
    "variables-of-its-own": (
        "acme/embedded_cloud.py",
        'read("EMBEDDED_CLOUD_QUOTA"',
        'read("CMI_QUOTA"',
        {"C54"},
    ),
    "two-calls-for-one-machine": (
        "cmi/serving/runner.py",
        "if machine is not None and machine in self._machines:",
        "if machine is None and machine in self._machines:",
        {"C57"},
    ),
}


_FIND = (
    "        return [_vm(server) for server in self._servers(_labels(scope, name), scope.region)]"
)
_LIST = "        return [_vm(server) for server in self._servers(_labels(scope), scope.region)]"
_ATTACH = """\
        if server.action.status == "succeeded" and not server.subnet:
            network = spec.network
            server = self._client.attach_network(server, network.subnet, network.security_groups)
"""

# Adapters that are wrong on purpose: the changes to `cloud.py` (once to `machineserver.py`), and
# the items that they break.
WRONG_ADAPTERS: dict[str, tuple[dict[str, str], set[str]]] = {
    "half-made-vms-are-not-listed": (
        {_LIST: f"{_LIST[:-1]} if server.status not in ('creating', 'created')]"},
        {"C29"},
    ),
    "a-loop-of-sleep": (
        {
            """\
        if server.action.status == "running":
            return  # the cloud runs one action at a time; the rules call again
""": """\
        while server.action.status == "running":
            __import__("time").sleep(0.1)
            server = self._client.get_server(server.region, server.id)
""",
        },
        {"C14"},
    ),
    "delete-goes-by-name": (
        {
            "rules.delete_machine(self._cloud.login(request.secrets), request)": (
                "rules.delete_machine(self._cloud.login(request.secrets), "
                "__import__('dataclasses').replace(request, provider_id=''))"
            ),
        },
        {"C20"},
    ),
    "first-page-only": ({"            after = page.next": "            after = None"}, {"C31"}),
    "a-provider-id-without-its-region": (
        {
            ":///{region}/{id}": ":///{id}",
            "format(region=server.region, id=server.id)": "format(id=server.id)",
            "format(region=disk.region, id=disk.server_id)": "format(id=disk.server_id)",
            'PROVIDER_ID.parse(leftover.provider_id)["region"]': '"north-1"',
        },
        {"C20"},
    ),
    "the-error-of-an-action-is-ignored": (
        {'state is VMState.CREATING and server.action.status == "failed"': "False"},
        {"C58"},
    ),
    "no-network-on-a-retry": (
        {
            _ATTACH: "",
            "        return _vm(server)\n\n    def advance_vm": (
                f"{_ATTACH}        return _vm(server)\n\n    def advance_vm"
            ),
        },
        {"C58"},
    ),
    "no-user-data": ({"secrets.user_data.get_secret_value()": '""'}, {"C58"}),
    "no-tags": ({"{**spec.tags, **_labels(spec, name)": "{**_labels(spec, name)"}, {"C58"}),
    "strangers-are-adopted": (
        {
            _FIND: """\
        from dataclasses import replace
        mine = {"name": name, "cluster": scope.cluster, "role": scope.role}
        found = [_vm(each) for each in self._servers({}, scope.region) if each.name == name]
        return [replace(each, **mine) for each in found]
""",
        },
        {"C12", "C19", "C26", "C34", "C60"},
    ),
    "the-display-name-is-the-machine": (
        {
            '        name=server.labels.get(NAME_LABEL, ""),\n        provider_id': (
                "        name=server.name,\n        provider_id"
            ),
        },
        {"C29"},
    ),
    "renamed-vms-are-lost": (
        {
            "        return _vm(server) if server else None": """\
        vm = _vm(server) if server else None
        return vm if vm and vm.name == vm.server.name else None
""",
        },
        {"C20", "C23"},
    ),
    "leftovers-are-not-listed": (
        {
            "        disks = [*self._disks(labels, scope.region)]": (
                "        disks = [*self._disks(labels, scope.region)] if name else []"
            ),
        },
        {"C29"},
    ),
    "one-vm-without-a-name-spoils-the-list": (
        {_LIST: f"{_LIST[:-1]} if server.labels[NAME_LABEL]]"},
        {"C30"},
    ),
}


each_spoiled = pytest.mark.parametrize("name", list(SPOILED))
each_wrong = pytest.mark.parametrize("name", list(WRONG_ADAPTERS))


@each_spoiled
def test_a_spoiled_project_is_caught(installed: Path, tmp_path: Path, name: str) -> None:
    project, items = spoiled(installed, tmp_path, name)
    assert broken(installed, project, items) == items


@pytest.mark.nightly
@each_spoiled
def test_a_spoiled_project_breaks_no_other_items(
    installed: Path, tmp_path: Path, name: str
) -> None:
    project, items = spoiled(installed, tmp_path, name)
    # C52 starts ten processes.
    assert broken(installed, project, ITEMS.keys() - ({"C52"} - items)) == items


@each_wrong
def test_a_wrong_adapter_is_caught(installed: Path, tmp_path: Path, name: str) -> None:
    project, items = with_wrong_adapter(installed, tmp_path, name)
    assert broken(installed, project, items) == items


@pytest.mark.nightly
@each_wrong
def test_a_wrong_adapter_breaks_no_other_items(installed: Path, tmp_path: Path, name: str) -> None:
    project, items = with_wrong_adapter(installed, tmp_path, name)
    assert broken(installed, project, ITEMS.keys() - {"C52"}) == items


def spoiled(installed: Path, folder: Path, name: str) -> tuple[Path, set[str]]:
    file, line, changed, items = SPOILED[name]
    project = copy_of(installed, folder)
    assert change(project / file, line, changed) == 1
    return project, items


def with_wrong_adapter(installed: Path, folder: Path, name: str) -> tuple[Path, set[str]]:
    changes, items = WRONG_ADAPTERS[name]
    project = copy_of(installed, folder)
    for line, wrong in changes.items():
        files = (project / "acme/cloud.py", project / "acme/machineserver.py")
        assert sum(change(file, line, wrong) for file in files), line
    return project, items


def copy_of(installed: Path, folder: Path) -> Path:
    project = folder / "project"
    shutil.copytree(installed, project, ignore=shutil.ignore_patterns(".venv", "build", ".git"))
    return project


def change(file: Path, line: str, changed: str) -> int:
    """Replace all occurrences of a text in a file; return how many there were."""
    text = file.read_text()
    file.write_text(text.replace(line, changed))
    return text.count(line)


def broken(installed: Path, project: Path, items: Iterable[str]) -> set[str]:
    """Run these items of the project's kit, and return those that it finds broken."""
    junit = project / "junit.xml"
    ended = subprocess.run(
        [
            *(installed / ".venv/bin/python", "-m", "pytest", "acme/tests/test_conformance.py"),
            *("-k", " or ".join(f"test_{item}_" for item in items), f"--junit-xml={junit}"),
        ],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    print(ended.stdout)
    return {
        case.get("name", "").split("_")[1]
        for case in ET.parse(junit).iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    }
