"""The kit can fail backstage too: a rendered project with one line spoiled is caught.

What the kit sees in process only (the log, a quota, leftovers) can't be spoiled by a proxy.
"""

import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

# What is wrong: the file, the line as it is and as it becomes, and the items that it breaks.
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
        "if vm.state not in (VMState.RUNNING, VMState.STOPPED):",
        "if not vm.state:",
        {"C15"},
    ),
    "disks-are-left-over": (
        "cmi/rules.py",
        "            session.delete_leftover(leftover)\n        return not leftovers",
        "            pass\n        return True",
        {"C15", "C22"},
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
        {"C27"},
    ),
    "first-page-only": (
        "acme/cloud.py",
        (
            "            page = self._client.list_servers(region, labels, after)\n"
            "            yield from page.items\n"
            "            after = page.next"
        ),
        (
            "            page = self._client.list_servers(region, labels, after)\n"
            "            yield from page.items\n"
            "            after = None"
        ),
        {"C31"},
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


@pytest.mark.parametrize(
    ("file", "line", "spoiled", "items"), list(SPOILED.values()), ids=list(SPOILED)
)
def test_a_spoiled_project_is_caught(
    installed: Path, tmp_path: Path, file: str, line: str, spoiled: str, items: set[str]
) -> None:
    project = tmp_path / "project"
    shutil.copytree(installed, project, ignore=shutil.ignore_patterns(".venv", "build", ".git"))
    text = (project / file).read_text()
    assert text.count(line) == 1
    (project / file).write_text(text.replace(line, spoiled))
    junit = tmp_path / "junit.xml"
    suite = "acme/tests/test_conformance.py"
    ended = subprocess.run(
        [installed / ".venv/bin/python", "-m", "pytest", "-q", suite, f"--junit-xml={junit}"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    failed = {
        case.get("name", "").split("_")[1]
        for case in ET.parse(junit).iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    }
    assert failed == items, ended.stdout
