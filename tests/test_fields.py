"""`make reference` in a rendered project: it describes the machine class for people and editors."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import link, make


@pytest.fixture
def project(installed: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    link(installed, folder)
    return folder


def verdict(project: Path, machine_class: Path) -> str:
    """Return what check-jsonschema says about a machine class."""
    schema = project / "docs/machine-class.schema.json"
    tool = Path(sys.executable).with_name("check-jsonschema")
    result = subprocess.run(
        [tool, "--schemafile", schema, machine_class], capture_output=True, text=True, check=False
    )
    return result.stdout


def test_the_fields_are_those_of_the_models(project: Path) -> None:
    make(project, "reference")
    page = (project / "docs/machine-class.md").read_text()
    for row in (
        "| `disks` | list of object | required | The VM boots from the first one |",
        "| `disks[].sizeGiB` | integer, at least 1 | required | Size in GiB |",
        '| `disks[].type` | `ssd` or `hdd` | `"ssd"` |  |',
        "| `network.securityGroups` | list of string |  |  |",
        "| `apiToken` | string | required |  |",
    ):
        assert row in page
    assert "/cluster/&lt;id>" in page


def test_the_schema_takes_what_the_driver_takes(project: Path, tmp_path: Path) -> None:
    make(project, "reference")
    sample = project / "kubernetes/machine-class.yaml"
    assert "ok" in verdict(project, sample)
    for good, bad, path in (
        ("sizeGiB: 20", "sizeGiB: none", "$.providerSpec.disks[0].sizeGiB"),
        ("machineType:", "machinetype:", "$.providerSpec"),
        ("kind: MachineClass", "kind: Machine", "$.kind"),
    ):
        text = sample.read_text()
        assert good in text
        wrong = tmp_path / "wrong.yaml"
        wrong.write_text(text.replace(good, bad))
        assert path in verdict(project, wrong)
